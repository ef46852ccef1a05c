"""What was written where: a TOML file, a folder of secrets, the environment and flags, each as a tree of leaves that
remember their place, so that an error can name it. Later sources beat earlier ones."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ftpsproxy import errors
from ftpsproxy.config.parse import ConfigError, Text, nearest
from ftpsproxy.config.values import TABLES, Admin, Limits, Listener, Log, Process, Timeouts, Upstream

PREFIX = "FTPSPROXY_"
SECTIONS: Mapping[str, type] = {
    "listener": Listener,
    "upstream": Upstream,
    "log": Log,
    "limits": Limits,
    "timeouts": Timeouts,
    "process": Process,
    "admin": Admin,
}
NAMED = ("listener", "upstream")
"""Sections that hold several tables, each with a name."""
SIMPLE = ("listen", "upstream", "ca_file", "log_format", "log_level", "workers")
"""Short forms, as flags and as FTPSPROXY_LISTEN and so on."""
CONTROL = ("config", "secrets_dir")

# Kubernetes and Docker links describe a service called ftpsproxy… to every container near it in such variables.
_SERVICE_VARIABLE = re.compile(r"FTPSPROXY_(?:\w+_)?(?:SERVICE_(?:HOST|PORT)(?:_\w+)?|PORT(?:_[0-9]+_(?:TCP|UDP)\w*)?)")


@dataclass(frozen=True, slots=True)
class Leaf:
    """A written value and the place it was written, as an error names it: `gateway.toml: timeouts.idle`."""

    value: object
    place: str


Table = dict[str, Leaf]


class Written:
    """Everything written, section by section: `named[section][name][key]`, `plain[section][key]` and `simple[key]`."""

    def __init__(self) -> None:
        self.named: dict[str, dict[str, Table]] = {section: {} for section in NAMED}
        self.plain: dict[str, Table] = {section: {} for section in SECTIONS if section not in NAMED}
        self.simple: Table = {}
        self.origin = ""

    def put(self, place: str, section: str, name: str | None, key: str, value: object) -> None:
        """Set one key, or say which key was meant."""
        known = TABLES[SECTIONS[section]]
        if key not in known:
            raise ConfigError(f"{place}: unknown key; {nearest(key, known)}")
        table = self.plain[section] if name is None else self.named[section].setdefault(name, {})
        table[key] = Leaf(value, place)


def read_file(written: Written, path: Path) -> None:
    """Add a TOML file. Relative paths in it are relative to its own folder."""
    try:
        tree = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot read the configuration file: {errors.words(error)}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: not UTF-8 text; a TOML file must be") from None
    except (ValueError, RecursionError) as error:  # its own is a ValueError; numbers and lists without end
        raise ConfigError(f"{path}: not valid TOML: {' '.join(str(error).split())}") from None
    written.origin = f"{path}: "
    for section, content in tree.items():
        if section not in SECTIONS:
            raise ConfigError(f"{path}: {section}: unknown key; {nearest(section, SECTIONS)}")
        if section == "listener":
            _read_listeners(written, path, content)
        elif section == "upstream":
            for name, table in _table(path, section, content).items():
                _read_table(written, path, section, name, table)
        else:
            _read_table(written, path, section, None, content)


def _table(path: Path, key: str, content: object) -> dict[str, object]:
    if not isinstance(content, dict):
        example = {"listener": "[[listener]]", "upstream": "[upstream.NAME]"}.get(key.partition("[")[0], f"[{key}]")
        raise ConfigError(f"{path}: {key}: must be a table; write {example} and its keys below")
    return content


def _read_listeners(written: Written, path: Path, content: object) -> None:
    if not isinstance(content, list):
        raise ConfigError(f"{path}: listener: must be a list of tables; write [[listener]] with two brackets")
    for position, entry in enumerate(content, 1):
        table = dict(_table(path, f"listener[{position}]", entry))
        name = table.pop("name", "default" if len(content) == 1 else None)
        if name is None:
            raise ConfigError(f'{path}: listener[{position}].name: missing; with several listeners write name = "…"')
        if not isinstance(name, str):
            raise ConfigError(f"{path}: listener[{position}].name: must be text in quotes, not {name!r}")
        if name in written.named["listener"]:
            raise ConfigError(f"{path}: listener[{position}].name: '{name}' is the name of another listener")
        written.named["listener"][name] = {}
        _read_table(written, path, "listener", name, table)


def _read_table(written: Written, path: Path, section: str, name: str | None, content: object) -> None:
    where = section if name is None else f"{section}.{name}"
    if name is not None:
        check_name(f"{path}: {where}", name)
        written.named[section].setdefault(name, {})
    for key, value in _table(path, where, content).items():
        if key.endswith("_file") and isinstance(value, str) and value:
            value = str(path.parent / value)
        written.put(f"{path}: {where}.{key}", section, name, key, value)


def check_name(place: str, name: str) -> None:
    """Names of listeners and upstreams stand in every log line: letters, digits, dot, dash, underscore."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", name):
        raise ConfigError(f"{place}: a name is 1 to 63 letters, digits, dots, dashes and underscores, not {name!r}")


def read_secrets(written: Written, folder: Path) -> None:
    """Add a folder with one file per variable, named like it, with or without the prefix (as a mounted Kubernetes
    secret or /run/secrets has them)."""
    place = f"{PREFIX}SECRETS_DIR"
    values = {}
    try:
        for path in sorted(folder.iterdir()):
            if not path.name.startswith(".") and path.is_file():
                name = path.name.upper()
                values[name if name.startswith(PREFIX) else PREFIX + name] = path.read_text("utf-8").strip()
    except OSError as error:
        raise ConfigError(f"{place}: cannot read {error.filename or folder}: {errors.words(error)}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{place}: a file in {folder} is not UTF-8 text; point it at a folder of settings") from None
    read_environment(written, values, folder=folder)


def read_environment(written: Written, environ: Mapping[str, str], folder: Path | None = None) -> None:
    """Add FTPSPROXY_… variables: the short forms and SECTION__KEY or SECTION__NAME__KEY. An empty value is no value."""
    for variable in sorted(environ):
        if not variable.startswith(PREFIX) or _SERVICE_VARIABLE.fullmatch(variable) or not environ[variable]:
            continue
        place = variable if folder is None else str(folder / variable)
        value = Text(environ[variable])
        section, *rest = variable.removeprefix(PREFIX).lower().split("__")
        if not rest and section in SIMPLE:
            written.simple[section] = Leaf(value, place)
        elif not rest and section in CONTROL:
            continue
        elif section in NAMED and len(rest) == 2:
            name = _match(rest[0], written.named[section])
            check_name(place, name)
            written.put(place, section, name, rest[1], value)
        elif section in written.plain and len(rest) == 1:
            written.put(place, section, None, rest[0], value)
        else:
            raise ConfigError(f"{place}: unknown variable; {nearest(variable, _variables(written))}")


def _match(name: str, known: Mapping[str, object]) -> str:
    """The known name a variable means: variables have neither case nor dashes."""
    return next((known_name for known_name in known if re.sub(r"[^a-z0-9]", "_", known_name.lower()) == name), name)


def _variables(written: Written) -> list[str]:
    names = [*SIMPLE, *CONTROL]
    for section, cls in SECTIONS.items():
        inner = [f"__{name}" for name in written.named[section] or ("name",)] if section in NAMED else [""]
        names += [f"{section}{name}__{key}" for name in inner for key in TABLES[cls]]
    return [PREFIX + name.upper() for name in names]


def read_flags(written: Written, flags: Mapping[str, str | None]) -> None:
    """Add command-line options by their names with underscores; None is an option not given."""
    for name, value in flags.items():
        if value is not None:
            written.simple[name] = Leaf(Text(value), "--" + name.replace("_", "-"))
