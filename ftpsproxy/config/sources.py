"""What was written where: a TOML file, a folder of secrets, the environment and flags, each as a tree of leaves that
remember their place, so that an error can name it. Later sources beat earlier ones."""

import re
import tomllib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ftpsproxy import errors
from ftpsproxy.config.parse import ConfigError, Text, nearest
from ftpsproxy.config.values import TABLES, Admin, Limits, Listener, Log, LogOutput, Process, Timeouts, Upstream

PREFIX = "FTPSPROXY_"
SECTIONS: Mapping[str, type] = {
    "listener": Listener,
    "upstream": Upstream,
    "log": Log,
    "log.output": LogOutput,
    "limits": Limits,
    "timeouts": Timeouts,
    "process": Process,
    "admin": Admin,
}
OUTPUT = "log.output"
NAMED = ("listener", "upstream", OUTPUT)
"""Sections that hold several tables, each with a name; outputs of the log are one inside another."""
SIMPLE = ("listen", "upstream", "ca_file", "log_format", "log_level", "workers")
"""Short forms, as flags and as FTPSPROXY_LISTEN and so on."""
CONTROL = ("config", "secrets_dir")
DEFAULT = "default"
"""The place of what nobody has written."""

_VARIABLE = re.compile(r"[A-Z0-9_]+")
# Kubernetes and Docker links describe a service called ftpsproxy… to every container near it in such variables.
_SERVICE_VARIABLE = re.compile(r"FTPSPROXY_(?:\w+_)?(?:SERVICE_(?:HOST|PORT)(?:_\w+)?|PORT(?:_[0-9]+_(?:TCP|UDP)\w*)?)")


@dataclass(frozen=True, slots=True)
class Leaf:
    """A written value and the place it was written, as an error names it: `gateway.toml: timeouts.idle`."""

    value: object
    place: str


Table = dict[str, Leaf]


class Written:
    """Everything written, section by section: `named[section][name][key]`, `plain[section][key]` and `simple[key]`; and
    what is wrong with it, in the order in which it was found."""

    def __init__(self) -> None:
        self.faults: list[str] = []
        self.named: dict[str, dict[str, Table]] = {section: {} for section in NAMED}
        self.plain: dict[str, Table] = {section: {} for section in SECTIONS if section not in NAMED}
        self.simple: Table = {}
        self.origin = ""

    def fault(self, place: str, text: str) -> None:
        """Something is wrong there; the rest is looked at all the same."""
        self.faults.append(f"{place}: {text}")

    def put(self, place: str, section: str, name: str | None, key: str, value: object) -> None:
        """Set one key, or say which key was meant."""
        known = TABLES[SECTIONS[section]]
        if key not in known:
            self.fault(place, f"unknown key; {nearest(key, known)}")
            return
        table = self.plain[section] if name is None else self.named[section].setdefault(name, {})
        table[key] = Leaf(value, place)


def parsed(written: Written, section: str, table: Table) -> dict[str, Any]:
    """Parsed values by key; those of no use are left out, and said."""
    parsers = TABLES[SECTIONS[section]]
    values: dict[str, Any] = {}
    for key, leaf in table.items():
        try:
            values[key] = parsers[key](leaf.value)
        except ValueError as error:
            written.fault(leaf.place, str(error))
    return values


class _File:
    """A configuration file that could be read, and where in it each key stands (`gateway.toml:12: timeouts.idle`)."""

    def __init__(self, path: Path, text: str) -> None:
        self.path = path
        self._lines = _lines_of_keys(text)

    def place(self, key: str, shown: str = "") -> str:
        """Where this key stands, `shown` to the operator by another name."""
        line = self._lines.get(key) or self._lines.get(f"{key}[1]")
        return f"{self.path}:{line}: {shown or key}" if line else f"{self.path}: {shown or key}"


_WORD = r"""(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')"""
_DOTTED = rf"{_WORD}(?:[ \t]*\.[ \t]*{_WORD})*"
_HEADER = re.compile(rf"[ \t]*(\[\[?)[ \t]*({_DOTTED})[ \t]*\]")
_KEY = re.compile(rf"[ \t]*({_DOTTED})[ \t]*=")


def _lines_of_keys(text: str) -> dict[str, int]:
    """Line numbers by dotted key, for people: tomllib tells none. What a long string holds may look like a key, too."""
    lines: dict[str, int] = {}
    table, positions = "", Counter[str]()
    for number, line in enumerate(text.split("\n"), 1):
        header = _HEADER.match(line)
        if header is not None and (header[2][0].isalpha() or _bare(header[2]).partition(".")[0] in SECTIONS):
            table = _bare(header[2])
            if header[1] == "[[":
                positions[table] += 1
                table = f"{table}[{positions[table]}]"
            lines.setdefault(table, number)
        elif (key := _KEY.match(line)) is not None:
            lines.setdefault(f"{table}.{_bare(key[1])}" if table else _bare(key[1]), number)
    return lines


def _bare(key: str) -> str:
    return re.sub(r"""[ \t]*\.[ \t]*|["']""", lambda found: "." if "." in found[0] else "", key)


def read_file(written: Written, path: Path) -> None:
    """Add a TOML file. Relative paths in it are relative to its own folder. Raises ConfigError where it is none."""
    try:
        text = path.read_text("utf-8-sig")  # Windows editors begin it with a mark
        tree = tomllib.loads(text)
    except OSError as error:
        raise ConfigError(f"{path}: cannot read the configuration file: {errors.words(error)}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: not UTF-8 text; a TOML file must be") from None
    except (ValueError, RecursionError) as error:  # its own is a ValueError; numbers and lists without end
        raise ConfigError(f"{path}: not valid TOML: {' '.join(str(error).split())}") from None
    written.origin = f"{path}: "
    file = _File(path, text)
    for section, content in tree.items():
        if section not in SECTIONS or section == OUTPUT:
            written.fault(file.place(section), f"unknown key; {nearest(section, SECTIONS.keys() - {OUTPUT})}")
        elif section == "listener":
            _read_list(written, file, section, content)
        elif section == "log" and isinstance(content, dict) and "output" in content:
            _read_table(written, file, section, None, {key: content[key] for key in content if key != "output"})
            _read_list(written, file, OUTPUT, content["output"])
        elif section == "upstream":
            for name, table in _table(written, file, section, content).items():
                _read_table(written, file, section, name, table)
        else:
            _read_table(written, file, section, None, content)


def _table(written: Written, file: _File, key: str, content: object) -> dict[str, object]:
    if isinstance(content, dict):
        return content
    example = {"listener": "[[listener]]", "upstream": "[upstream.NAME]", OUTPUT: "[[log.output]]"}.get(
        key.partition("[")[0], f"[{key}]"
    )
    written.fault(file.place(key), f"must be a table; write {example} and its keys below")
    return {}


def _read_list(written: Written, file: _File, section: str, content: object) -> None:
    """Listeners, or outputs of the log."""
    if not isinstance(content, list):
        place = file.place(section)
        written.fault(place, f"must be a list of tables; write [[{section}]] with two brackets")
        return
    what = section.rpartition(".")[2]
    for position, entry in enumerate(content, 1):
        at = f"{section}[{position}]"
        table = dict(_table(written, file, at, entry))
        name = table.pop("name", _name_of_output(table) if section == OUTPUT else _name_of_listener(content))
        place = file.place(f"{at}.name")
        if name is None:
            place = file.place(at, f"{at}.name")
            written.fault(place, f'missing; with several {what}s write name = "…"')
        elif not isinstance(name, str):
            written.fault(place, f"must be text in quotes, not {name!r}")
        elif name in written.named[section]:
            written.fault(place, f"'{name}' is the name of another {what}; write name = \"…\"")
        else:
            _read_table(written, file, section, name, table, at)


def _name_of_listener(listeners: list[object]) -> str | None:
    return "default" if len(listeners) == 1 else None


def _name_of_output(table: Mapping[str, object]) -> str:
    """What it is called that has no name: the word, or the name of the file."""
    to = table.get("to", "stdout")
    return to.rpartition("/")[2] or "file" if isinstance(to, str) else "output"


def _read_table(written: Written, file: _File, section: str, name: str | None, content: object, at: str = "") -> None:
    """`at`: how the table is found in the file, where that is not by its name."""
    where = section if name is None else f"{section}.{name}"
    at = at or where
    if name is not None:
        if not check_name(written, file.place(at, where), name):
            return
        written.named[section].setdefault(name, {})
    for key, value in _table(written, file, where, content).items():
        if isinstance(value, str) and value and _is_path(section, key, value):
            value = str(file.path.parent / value)
        written.put(file.place(f"{at}.{key}", f"{where}.{key}"), section, name, key, value)


def _is_path(section: str, key: str, value: str) -> bool:
    """Whether it begins at the file's folder, if it does not at the root."""
    if section == OUTPUT and key in ("to", "address"):
        return "/" in value and "://" not in value
    return key.endswith("_file")


def check_name(written: Written, place: str, name: str) -> bool:
    """Names of listeners and upstreams stand in every log line: letters, digits, dot, dash, underscore → whether this
    one does."""
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", name):
        return True
    written.fault(place, f"a name is 1 to 63 letters, digits, dots, dashes and underscores, not {name!r}")
    return False


def read_secrets(written: Written, folder: Path) -> None:
    """Add a folder with one file per variable, named like it, with or without the prefix (as a mounted Kubernetes
    secret or /run/secrets has them)."""
    place = f"{PREFIX}SECRETS_DIR"
    values, places = {}, {}
    try:
        for path in sorted(folder.iterdir()):
            if not path.name.startswith(".") and path.is_file():
                name = path.name.upper()
                if not _VARIABLE.fullmatch(name):
                    written.fault(
                        f"{place}: {path}",
                        "is called like no setting; the folder holds one file for each, such as upstream or "
                        "timeouts__idle. Certificates and keys belong elsewhere, and ca_file, cert_file and key_file "
                        "name them",
                    )
                    continue
                variable = name if name.startswith(PREFIX) else PREFIX + name
                values[variable], places[variable] = path.read_text("utf-8").strip(), str(path)
    except OSError as error:
        raise ConfigError(f"{place}: cannot read {error.filename or folder}: {errors.words(error)}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{place}: a file in {folder} is not UTF-8 text; point it at a folder of settings") from None
    read_environment(written, values, places)


def read_environment(
    written: Written, environ: Mapping[str, str], places: Mapping[str, str] = MappingProxyType({})
) -> None:
    """Add FTPSPROXY_… variables: the short forms and SECTION__KEY or SECTION__NAME__KEY. An empty value is no value.
    `places`: where they stand, if not in the environment."""
    for variable in sorted(environ):
        if not variable.startswith(PREFIX) or _SERVICE_VARIABLE.fullmatch(variable) or not environ[variable]:
            continue
        place = places.get(variable, variable)
        value = Text(environ[variable])
        section, *rest = variable.removeprefix(PREFIX).lower().split("__")
        if not rest and section in SIMPLE:
            written.simple[section] = Leaf(value, place)
        elif not rest and section in CONTROL:
            continue
        elif section in NAMED and len(rest) == 2:
            name = _match(rest[0], written.named[section])
            if check_name(written, place, name):
                written.put(place, section, name, rest[1], value)
        elif section == "log" and len(rest) == 3 and rest[0] == "output":
            name = _match(rest[1], written.named[OUTPUT])
            if check_name(written, place, name):
                written.put(place, OUTPUT, name, rest[2], value)
        elif section in written.plain and len(rest) == 1:
            written.put(place, section, None, rest[0], value)
        else:
            written.fault(place, f"unknown variable; {nearest(variable, _variables(written))}")


def _match(name: str, known: Mapping[str, object]) -> str:
    """The known name a variable means: variables have neither case nor dashes."""
    return next((known_name for known_name in known if re.sub(r"[^a-z0-9]", "_", known_name.lower()) == name), name)


def _variables(written: Written) -> list[str]:
    names = [*SIMPLE, *CONTROL]
    for section, cls in SECTIONS.items():
        inner = [f"__{name}" for name in written.named[section] or ("name",)] if section in NAMED else [""]
        names += [f"{section.replace('.', '__')}{name}__{key}" for name in inner for key in TABLES[cls]]
    return [PREFIX + name.upper() for name in names]


def read_flags(written: Written, flags: Mapping[str, str | None]) -> None:
    """Add command-line options by their names with underscores; None is an option not given."""
    for name, value in flags.items():
        if value is not None:
            written.simple[name] = Leaf(Text(value), "--" + name.replace("_", "-"))
