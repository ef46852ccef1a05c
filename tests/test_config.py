"""The configuration: what may be written, in how many places, and how mistakes are told."""

import dataclasses
import ipaddress
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from ftpsproxy import config
from ftpsproxy.config import (
    Admin,
    ConfigError,
    Limits,
    Listener,
    Log,
    LogOutput,
    Process,
    Settings,
    Timeouts,
    Upstream,
    nearest,
)
from ftpsproxy.config.values import CHARSETS, RIGHTS, TABLES
from ftpsproxy.ftp.charsets import Charsets
from ftpsproxy.ftp.rights import Rights

SAMPLE = Path(__file__).parents[1] / "config" / "ftpsproxy.toml"
PIN = "sha256/" + "A" * 43 + "="
UP = '[upstream.archive]\nurl = "ftpes://ftp.example.com"\n'
LISTEN = '[[listener]]\nname = "scanners"\nlisten = "127.0.0.1:0"\n'


def load(path: Path | None = None, *, environ: dict[str, str] | None = None, **flags: str | None) -> Settings:
    return config.load(path, flags=flags, environ=environ or {})


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def write(text: str) -> Path:
        path = tmp_path / "gateway.toml"
        path.write_text(text)
        return path

    return write


# --- the sample file ------------------------------------------------------------------------------------------------


def _opened(text: str) -> str:
    """The sample with its commented defaults made real; keys without a default stay out."""
    return re.sub(r"(?m)^#([a-z_]+ = .+)$", r"\1", text)


def _outputs_in_sample() -> dict[str, str]:
    """What the sample says of each key of [[log.output]], which it has as a whole in comments."""
    text = SAMPLE.read_text().partition("#   [[log.output]]")[2].partition("\n# ---")[0]
    return dict(re.findall(r"(?m)^#   ([a-z_]+) = ?(\"[^\"]*\"|\S*)", text))


def test_sample_shows_the_defaults_of_an_output() -> None:
    shown = _outputs_in_sample()
    (default,) = load(
        environ={"FTPSPROXY_UPSTREAM": "ftpes://h", "FTPSPROXY_LOG__OUTPUT__stdout__TO": "stdout"}
    ).log.outputs
    assert {key for key, text in shown.items() if not text} == {"address", "chain_key_file"}
    for key, text in shown.items():
        if text:
            assert tomllib.loads(f"x = {text}")["x"] == getattr(default, key), key


def test_sample_documents_every_key() -> None:
    written = tomllib.loads(re.sub(r"(?m)^#([a-z_]+) =(.*)$", lambda m: f"{m[1]} ={m[2] or ' 0'}", SAMPLE.read_text()))
    tables: dict[type, dict[str, Any]] = {
        Listener: written["listener"][0],
        Upstream: written["upstream"]["archive"],
        Log: written["log"],
        LogOutput: _outputs_in_sample(),
        Limits: written["limits"],
        Timeouts: written["timeouts"],
        Process: written["process"],
        Admin: written["admin"],
    }
    assert written.keys() == {"listener", "upstream", "log", "limits", "timeouts", "process", "admin"}
    for cls, parsers in TABLES.items():
        assert tables[cls].keys() - {"name"} == parsers.keys(), cls.__name__


def test_sample_shows_the_defaults(write: Any) -> None:
    plain = load(SAMPLE)
    opened = load(write(_opened(SAMPLE.read_text())))
    assert opened == plain
    assert plain.upstreams["archive"] == Upstream(name="archive", host="ftp.example.com")
    assert plain.listeners == (Listener(name="scanners", host="127.0.0.1", port=2121, upstream="archive"),)
    assert (plain.log, plain.limits, plain.timeouts) == (Log(), Limits(), Timeouts())
    assert (plain.process, plain.admin) == (Process(), Admin())


def test_sample_leaves_open_only_what_has_no_default() -> None:
    without = set(re.findall(r"(?m)^#([a-z_]+) =$", SAMPLE.read_text()))
    tables = [cls for cls in TABLES if cls is not LogOutput]
    fields = [field for cls in (*tables, Rights, Charsets) for field in dataclasses.fields(cls)]
    names = {field.name for field in fields if field.default is None or field.default == ""}
    assert without == {{"host": "listen"}.get(name, name) for name in names}


def test_every_key_is_a_field_and_every_field_a_key() -> None:
    made_of = {"listen": {"host", "port"}, "url": {"host", "port", "implicit"}, **{key: {"rights"} for key in RIGHTS}}
    made_of |= {key: {"charsets"} for key in CHARSETS}
    assert set(RIGHTS) == {field.name for field in dataclasses.fields(Rights)}
    assert set(CHARSETS) == {field.name for field in dataclasses.fields(Charsets)}
    for cls, parsers in TABLES.items():
        fields = {field.name for field in dataclasses.fields(cls)} - {"name", "outputs"}
        keys: set[str] = set()
        for key in parsers:  # `paths` are a right of a listener's, and a setting of the page's own
            keys |= {key} if key in fields else made_of.get(key, {key})
        assert keys == fields


def test_a_greeting_in_clear_is_for_implicit_tls(write: Any) -> None:
    clear = 'implicit_greeting = "clear"\n'
    assert not load(write(UP.replace("ftpes", "ftps") + clear)).upstreams["archive"].tls_first
    assert load(write(UP.replace("ftpes", "ftps"))).upstreams["archive"].tls_first
    with pytest.raises(ConfigError, match=r"upstream\.archive\.implicit_greeting: 'clear' is for implicit TLS only"):
        load(write(UP + clear))


def test_a_server_whose_greeting_is_shown_is_reached_at_once(write: Any) -> None:
    listener = '[[listener]]\nlisten = "127.0.0.1:0"\ngreeting = "upstream"\n'
    assert load(write(listener + UP)).listeners[0].dial == "connect"
    with pytest.raises(ConfigError, match=r"listener\.default\.dial: 'login' has a greeting of our own"):
        load(write(listener + 'dial = "login"\n' + UP))


# --- sources --------------------------------------------------------------------------------------------------------


def test_flags_alone_are_enough() -> None:
    settings = load(upstream="ftps://files.example.com", listen="[::1]:2100")
    assert settings.listeners == (Listener("default", "::1", 2100, "default"),)
    upstream = settings.upstreams["default"]
    assert (upstream.host, upstream.port, upstream.implicit) == ("files.example.com", 990, True)
    assert upstream.server_name == "files.example.com"


def test_environment_alone_is_enough() -> None:
    settings = load(environ={"FTPSPROXY_UPSTREAM": "ftpes://h:2121", "FTPSPROXY_LOG_FORMAT": "logfmt", "HOME": "/"})
    assert settings.listeners == (Listener("default", "127.0.0.1", 2121, "default"),)
    assert settings.upstreams["default"].port == 2121
    assert settings.log.format == "logfmt"


def test_flags_beat_environment_beats_secrets_beats_file(write: Any, tmp_path: Path) -> None:
    path = write(UP + LISTEN + '[log]\nformat = "json"\n[limits]\nsessions = 1\n[timeouts]\nidle = 1\nlogin = 1')
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / ".hidden").write_text("x")
    (secrets / "ftpsproxy_limits__sessions").write_text("2\n")
    (secrets / "TIMEOUTS__IDLE").write_text("2\n")
    environ = {
        "FTPSPROXY_CONFIG": str(path),
        "FTPSPROXY_SECRETS_DIR": str(secrets),
        "FTPSPROXY_TIMEOUTS__IDLE": "3.5",
        "FTPSPROXY_LOG_FORMAT": "logfmt",
        "FTPSPROXY_LISTEN": "127.0.0.1:5",
    }
    settings = load(environ=environ, log_format="console", listen=None)
    assert settings.log.format == "console"
    assert settings.listeners[0].name == "scanners"
    assert settings.listeners[0].port == 5
    assert (settings.limits.sessions, settings.timeouts.idle, settings.timeouts.login) == (2, 3.5, 1.0)


def test_variables_reach_every_table(write: Any) -> None:
    path = write(UP.replace("archive", "Main-Archive") + LISTEN)
    environ = {
        "FTPSPROXY_UPSTREAM__MAIN_ARCHIVE__ALPN": "no",
        "FTPSPROXY_UPSTREAM__MAIN_ARCHIVE__PINS": f"{PIN},{PIN}",
        "FTPSPROXY_UPSTREAM__OTHER__URL": "ftps://[::1]",
        "FTPSPROXY_LISTENER__SCANNERS__CLIENTS": "10.0.0.0/8, ::1",
        "FTPSPROXY_LISTENER__SCANNERS__UPSTREAM": "Main-Archive",
        "FTPSPROXY_LISTENER__SCANNERS__PASSIVE_PORTS": "50000",
        "FTPSPROXY_TIMEOUTS__IDLE": "",
    }
    settings = load(path, environ=environ)
    assert settings.upstreams["Main-Archive"].pins == (PIN, PIN)
    assert settings.upstreams["Main-Archive"].alpn is False
    assert settings.upstreams["other"].url == "ftps://[::1]"
    assert settings.listeners[0].clients == (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("::1"))
    assert settings.listeners[0].passive_ports == (50000, 50000)
    assert settings.timeouts.idle == Timeouts().idle


def test_variables_that_describe_a_service_are_no_settings() -> None:
    environ = {
        "FTPSPROXY_UPSTREAM": "ftpes://h",
        "FTPSPROXY_SERVICE_HOST": "10.96.0.7",
        "FTPSPROXY_SERVICE_PORT": "21",
        "FTPSPROXY_SERVICE_PORT_FTP": "21",
        "FTPSPROXY_PORT": "tcp://10.96.0.7:21",
        "FTPSPROXY_PORT_21_TCP_ADDR": "10.96.0.7",
        "FTPSPROXY_ARCHIVE_PORT_21_TCP": "tcp://10.96.0.7:21",
    }
    assert load(environ=environ).upstreams.keys() == {"default"}


def test_file_with_all_kinds_of_values(write: Any, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").touch()
    (tmp_path / "crt.pem").touch(mode=0o600)
    path = write(f"""
        [[listener]]
        name = "scanners"
        listen = "0.0.0.0:21"
        upstream = "archive"
        clients = ["10.0.0.0/8", "fd00::/8"]
        passive_ports = "50000-50099"
        passive_address = "192.0.2.10"
        digest = "sha256"
        greeting = "upstream"
        [[listener]]
        name = "v6"
        listen = "[::]:21"
        upstream = "archive"
        [upstream.archive]
        url = "FTPES://ftp.example.com:2121/"
        server_name = "other.example.com"
        ca_file = "ca.pem"
        cert_file = "{tmp_path}/crt.pem"
        key_file = "crt.pem"
        verify = "pin"
        pins = ["{PIN}"]
        tls_min = "1.3"
        data_mode = "eprt"
        active_ports = "40000-40001"
        active_address = "::1"
        close_notify = "require"
        data_session_reuse = "require"
        alpn = false
        auth = ["TLS", "ssl"]
        """)
    settings = load(path)
    assert settings.listeners == (
        Listener(
            name="scanners",
            host="0.0.0.0",
            port=21,
            upstream="archive",
            clients=(ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("fd00::/8")),
            passive_ports=(50000, 50099),
            passive_address="192.0.2.10",
            digest="sha256",
            greeting="upstream",
            dial="connect",
        ),
        Listener(name="v6", host="::", port=21, upstream="archive"),
    )
    assert settings.upstreams["archive"] == Upstream(
        name="archive",
        host="ftp.example.com",
        port=2121,
        server_name="other.example.com",
        ca_file=tmp_path / "ca.pem",
        cert_file=tmp_path / "crt.pem",
        key_file=tmp_path / "crt.pem",
        verify="pin",
        pins=(PIN,),
        tls_min="1.3",
        data_mode="eprt",
        active_ports=(40000, 40001),
        active_address="::1",
        close_notify="require",
        data_session_reuse="require",
        alpn=False,
        auth=("TLS", "SSL"),
    )


def test_settings_cannot_be_changed() -> None:
    settings = load(upstream="ftpes://h")
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.timeouts.idle = 0  # type: ignore[misc]
    with pytest.raises(TypeError):
        settings.upstreams["x"] = settings.upstreams["default"]  # type: ignore[index]


# --- mistakes -------------------------------------------------------------------------------------------------------


def refused(path: Path | None = None, *, environ: dict[str, str] | None = None, **flags: str | None) -> str:
    with pytest.raises(ConfigError) as caught:
        load(path, environ=environ, **flags)
    text = str(caught.value)
    assert text.isprintable(), text
    return text


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[timeout]\nidle = 1", "timeout: unknown key; did you mean 'timeouts'?"),
        ("[timeouts]\nidel = 1", "timeouts.idel: unknown key; did you mean 'idle'?"),
        ("[upstream.x]\nurll = 'ftps://h'", "upstream.x.urll: unknown key; did you mean 'url'?"),
        ("[[listener]]\nlisten = '127.0.0.1:1'\nclient = []", "client: unknown key; did you mean 'clients'?"),
        ("[upstream.x]\nalpn = true", "upstream.x.url: missing"),
        (LISTEN + "[[listener]]\nname = 'b'", "listener.b.listen: missing"),
        ("[[listener]]\nlisten='127.0.0.1:1'\n[[listener]]\nlisten='127.0.0.1:2'", "listener[1].name: missing"),
        (LISTEN + "upstream = 'archvie'", "no upstream is called 'archvie'; did you mean 'archive'?"),
        (LISTEN + LISTEN, "listener[2].name: 'scanners'"),
        ((LISTEN + LISTEN.replace("scanners", "b")).replace(":0", ":7"), "listener 'scanners' has the same address"),
        ("[listener]\nlisten = '127.0.0.1:1'", "write [[listener]] with two brackets"),
        ("listener = ['a']", "listener[1]: must be a table; write [[listener]]"),
        ("upstream = 'ftps://h'", "upstream: must be a table; write [upstream.NAME]"),
        ("log = 1", "log: must be a table; write [log]"),
        ("[timeouts]\nidle = '5'", "timeouts.idle: must be a number of seconds, not '5'"),
        ("[timeouts]\nidle = nan", "timeouts.idle: must be a number of seconds"),
        ("[timeouts]\nidle = true", "timeouts.idle: must be a number of seconds"),
        ("[timeouts]\nidle = -1", "timeouts.idle: must be from 0.1 to 604800 seconds, not -1"),
        ("[limits]\nsessions = 1.5", "limits.sessions: must be a whole number"),
        ("[limits]\nsessions = false", "limits.sessions: must be a whole number"),
        ("[limits]\nline_bytes = 10", "limits.line_bytes: must be from 512 to 65536, not 10"),
        ("[log]\nformat = 'jsno'", "one of json, logfmt, console, ecs, auto, not 'jsno' (did you mean 'json'?)"),
        ("[log]\nchain = true\nformat = 'logfmt'", "log.chain: only JSON lines are chained"),
        (
            f"{LISTEN}allow = 'uploads'",
            "allow: must be one of all, upload, download, read, not 'uploads' (did you mean",
        ),
        (f"{LISTEN}deny = ['DELETE']", "deny: 'DELETE' is no command that is known"),
        (f"{LISTEN}deny = ['SITE']\npaths = []", "paths: an empty list allows nothing"),
        (f"{LISTEN}paths = ['in/*']", "paths: 'in/*' is no path from the root"),
        (f"{LISTEN}paths = ['/in/../*']", "paths: '/in/../*' is no path from the root"),
        (f"{LISTEN}paths = ['/in/**.csv']", "paths: '/in/**.csv': only * and ? stand for letters"),
        (f"{LISTEN}paths = ['/in/[ab]']", "paths: '/in/[ab]': only * and ? stand for letters"),
        (f"{LISTEN}client_charset = 'cp12520'", "client_charset: 'cp12520' is no charset that is known"),
        (f"{LISTEN}client_charset = 'rot13'", "client_charset: 'rot13' can't be used for names over FTP"),
        (
            f"{LISTEN}client_charset = 'iso-2022-jp'",
            "'iso-2022-jp' can't be used for names over FTP: some of its letters",
        ),
        (f"{LISTEN}client_charset = 'utf-16'", "'utf-16' can't be used for names over FTP: ASCII does not look like"),
        (f"{LISTEN}client_charset = 'utf-7'", "'utf-7' can't be used for names over FTP"),
        (f"{LISTEN}client_charset = 'cp037'", "'cp037' can't be used for names over FTP: ASCII does not look like"),
        (f"{LISTEN}client_charset = 'cp1252'\nserver_charset = 'hz'", "server_charset: 'hz' can't be used for names"),
        (f"{LISTEN}server_charset = 'cp1252'", "server_charset: without client_charset nothing is translated"),
        (f"{LISTEN}max_file_bytes = -1", "max_file_bytes: must be from 0 to"),
        ("[log]\nchain_key_file = '/dev/null'", "log.chain_key_file: cannot read /dev/null: not a file"),
        ("[log]\nlevel = 3", "log.level: must be one of"),
        ('"a\\nb\\u001b" = 1', "a\\nb\\x1b: unknown key"),
        ("a = ", "not valid TOML"),
        ("[upstream.'a b']\nurl='ftps://h'", "a name is 1 to 63 letters"),
    ],
)
def test_mistakes_in_a_file(write: Any, text: str, told: str) -> None:
    if text.startswith("[upstream.x]"):
        path = write(text)
    else:
        path = write(text + "\n" + (UP if "upstream = 'ftps" not in text else ""))
    message = refused(path)
    assert re.match(rf"{re.escape(str(path))}(:\d+)?: ", message)
    assert told in message


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("url", "'ftp://h'", "ftp:// would send passwords and files in clear"),
        ("url", "'http://h'", "must be ftpes://HOST[:PORT] or ftps://HOST[:PORT], not 'http://h'"),
        ("url", "'h:21'", "must be ftpes://"),
        ("url", "'ftps://h/dir'", "no path, only a host"),
        ("url", "'ftps://h:0'", "port 0 does not exist"),
        ("url", "'ftps://h:70000'", "port 70000 does not exist"),
        ("url", "'ftps://::1'", "an IPv6 address needs brackets: ftps://[::1]"),
        ("url", "'ftps://[::g]'", "no IPv6 address"),
        ("url", "'ftps://[1:2]'", "no IPv6 address"),
        ("url", "''", "must not be empty"),
        ("url", "7", "must be text in quotes"),
        ("pins", "['sha256/AAAA']", "can't be a pin"),
        ("pins", "['md5/AAAA']", "can't be a pin"),
        ("pins", "'x'", "must be a list"),
        ("verify", "'pin'", "set pins"),
        ("verify", "'none'", "must be one of chain, pin"),
        ("tls_min", "'1.1'", "must be one of 1.2, 1.3"),
        ("auth", "[]", "must list TLS, SSL or both"),
        ("auth", "['GSSAPI']", "must list TLS, SSL or both"),
        ("alpn", "'yes'", "must be true or false"),
        ("active_ports", "'20-21'", "must lie within 1024-65535"),
        ("active_ports", "'5000-4000'", "must lie within 1024-65535, the lower port first"),
        ("active_ports", "'many'", "must be a range of ports"),
        ("active_address", "'host'", "must be an IPv4 or IPv6 address"),
        ("ca_file", "'none.pem'", "none.pem: no such file or directory"),
        ("ca_file", "'.'", "is a directory"),
        ("ca_file", "''", "must not be empty"),
        ("ca_file", "'a\\u0000b'", "must"),
    ],
)
def test_mistakes_in_an_upstream(write: Any, key: str, value: str, told: str) -> None:
    base = "" if key == "url" else 'url = "ftps://h"\n'
    value = value.replace("'", '"')
    path = write(f"[upstream.x]\n{base}{key} = {value}\n")
    message = refused(path)
    assert re.match(rf"{re.escape(str(path))}:\d+: upstream\.x\.{key}: ", message)
    assert told in message


def test_a_file_that_a_windows_editor_has_written(write: Any) -> None:
    settings = load(write("\ufeff" + LISTEN + UP))
    assert settings.upstreams["archive"].host == "ftp.example.com"


def test_a_secret_that_is_no_setting(tmp_path: Path) -> None:
    (tmp_path / "clientkey.pem").write_text("x")
    said = refused(environ={"FTPSPROXY_SECRETS_DIR": str(tmp_path), "FTPSPROXY_UPSTREAM": "ftps://hh"})
    assert "clientkey.pem: is called like no setting" in said
    assert "cert_file and key_file" in said


@pytest.mark.parametrize(
    ("word", "known", "told"),
    [
        ("--frobnicate", ["--config", "--listen"], "known: --config, --listen"),
        ("--lisen", ["--config", "--listen"], "did you mean '--listen'?"),
        ("FTPSPROXY_CLIENTKEY", ["FTPSPROXY_LISTEN", "FTPSPROXY_LOG"], "known: FTPSPROXY_LISTEN, FTPSPROXY_LOG"),
        ("x", [], "there is none"),
    ],
)
def test_only_a_word_like_it_is_proposed(word: str, known: list[str], told: str) -> None:
    assert nearest(word, known) == told


DIGEST = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    "written",
    [
        DIGEST,
        DIGEST.upper(),
        ":".join(DIGEST[at : at + 2] for at in range(0, 64, 2)),
        f"sha256 Fingerprint={':'.join(DIGEST[at : at + 2] for at in range(0, 64, 2)).upper()}",
        f"SHA256:{DIGEST}",
        f"sha256/{DIGEST}",
    ],
)
def test_a_fingerprint_as_others_show_it_is_a_pin(write: Any, written: str) -> None:
    settings = load(write(f'{LISTEN}[upstream.x]\nurl = "ftps://h"\npins = ["{written}"]\n'))
    assert settings.upstreams["x"].pins == (DIGEST,)


def test_pins_of_the_environment_as_openssl_writes_them() -> None:
    colons = ":".join(DIGEST[at : at + 2] for at in range(0, 64, 2)).upper()
    environ = {
        "FTPSPROXY_UPSTREAM": "ftps://hh",
        "FTPSPROXY_UPSTREAM__DEFAULT__PINS": f"sha256 Fingerprint={colons}, {PIN} SHA256 Fingerprint={colons}",
    }
    assert load(environ=environ).upstreams["default"].pins == (DIGEST, PIN, DIGEST)


def test_what_a_device_may_do_hangs_on_its_listener(write: Any) -> None:
    text = f"{LISTEN}allow = 'upload'\ndeny = ['dele', 'site chmod']\npaths = ['/in/**']\nmax_file_bytes = 1000\n{UP}"
    settings, written = config.read(write(text), flags={}, environ={})
    rights = Rights("upload", ("DELE", "SITE CHMOD"), ("/in/**",), 1000)
    assert settings.listeners[0].rights == rights
    shown = {one.key: one.value for one in config.effective(settings, written)}
    assert shown["listener.scanners.allow"] == "upload"
    assert shown["listener.scanners.deny"] == ["DELE", "SITE CHMOD"]
    environ = {"FTPSPROXY_UPSTREAM": "ftps://h", "FTPSPROXY_LISTENER__DEFAULT__DENY": "DELE, SITE CHMOD"}
    assert load(environ=environ).listeners[0].rights.deny == ("DELE", "SITE CHMOD")


def test_a_key_of_the_log_is_read_once_and_never_shown(write: Any, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_bytes(b"s3cret" * 6 + b"\r\n")
    key.chmod(0o600)
    path = write(f"[log]\nchain = true\nchain_key_file = 'key'\n{UP}")
    settings, written = config.read(path, flags={}, environ={})
    assert settings.log.chain_by == b"s3cret" * 6
    assert "s3cret" not in repr(settings)
    shown = {one.key: one.value for one in config.effective(settings, written)}
    assert (shown["log.chain"], shown["log.chain_key_file"]) == (True, str(key))
    assert "set log.chain = true too" in refused(write(f"[log]\nchain_key_file = 'key'\n{UP}"))
    key.chmod(0o604)
    assert "others may read it" in refused(path)
    key.chmod(0o600)
    key.write_bytes(b"short\n")
    assert "holds 5 bytes, and a key has 16 to 4096" in refused(path)


def test_a_pin_is_kept_as_it_will_be_compared(write: Any) -> None:
    loose = PIN[:-2] + "B="  # the last two bits belong to nothing
    assert load(write(f'{LISTEN}[upstream.x]\nurl = "ftps://h"\npins = ["{loose}"]\n')).upstreams["x"].pins == (PIN,)


@pytest.mark.parametrize("number", ["1" + "0" * 400, "0x" + "f" * 5000])
@pytest.mark.parametrize("key", ["timeouts.idle", "limits.sessions"])
def test_a_number_beyond_all_measure(write: Any, key: str, number: str) -> None:
    said = refused(write(f"{LISTEN}{UP}[{key.partition('.')[0]}]\n{key.partition('.')[2]} = {number}\n"))
    assert f": {key}: must be from " in said
    assert len(said) < 500


def test_lines_are_found_in_odd_files(write: Any) -> None:
    path = write(
        "# \u2028 ends no line\n"
        '[ upstream . "a" ]\n'
        "url = 'ftps://h'\n"
        "pins = [\n"
        '["x"],\n'
        "]\n"
        "tls_mni = 1\n"
        "[[odd]]\n"
        "[[listener]]\n"
        "listen = '1.2.3.4:5'\n"
        "clents = 3\n"
    )
    said = refused(path)
    assert f"{path}:7: upstream.a.tls_mni" in said
    assert f"{path}:8: odd" in said
    assert f"{path}:11: listener.default.clents" in said


def test_only_a_variable_has_made_this_upstream(write: Any) -> None:
    said = refused(write(LISTEN + UP), environ={"FTPSPROXY_UPSTREAM__Q__PINS": PIN})
    assert said.startswith("FTPSPROXY_UPSTREAM__Q__PINS: upstream.q.url: missing")


@pytest.mark.parametrize(
    "written", [DIGEST[:-1], "sha256/\u00e9", DIGEST + "0", DIGEST[:-2], "z" + DIGEST[1:], f"md5/{DIGEST}"]
)
def test_what_is_almost_a_fingerprint_is_no_pin(write: Any, written: str) -> None:
    assert "can't be a pin" in refused(write(f'[upstream.x]\nurl = "ftps://h"\npins = ["{written}"]\n'))


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("listen", "'2121'", "must be ADDR:PORT"),
        ("listen", "':2121'", "write 0.0.0.0:2121"),
        ("listen", "'*:2121'", "write 0.0.0.0:2121"),
        ("listen", "'::1:2121'", "an IPv6 address needs brackets: [::1]:2121"),
        ("listen", "'::1'", "a port is missing, and an IPv6 address needs brackets: [::1]:2121"),
        ("listen", "'[::1:2121'", "must be ADDR:PORT"),
        ("listen", "'host:2121'", "is no IP address"),
        ("listen", "'127.0.0.1:65536'", "port 65536 does not exist"),
        ("clients", "[]", "lets nobody in"),
        ("clients", "['10.0.0.1/8']", "write 10.0.0.0/8"),
        ("clients", "['any']", "is no network"),
        ("clients", "[5]", "is no network"),
        ("clients", "'10.0.0.0/8'", "must be a list"),
        ("passive_ports", "true", "must be a range of ports"),
        ("passive_address", "'1.2.3'", "must be an IPv4 or IPv6 address"),
        ("passive_address", "'0.0.0.0'", "must be an address of one host"),
        ("passive_address", "'[ff02::1]'", "must be an address of one host"),
        ("digest", "'md5'", "must be one of none, sha256"),
        ("greeting", "'none'", "must be one of own, upstream"),
    ],
)
def test_mistakes_in_a_listener(write: Any, key: str, value: str, told: str) -> None:
    base = "" if key == "listen" else 'listen = "127.0.0.1:0"\n'
    path = write(f"{UP}[[listener]]\n{base}{key} = {value}\n")
    message = refused(path)
    assert re.match(rf"{re.escape(str(path))}:\d+: listener\.default\.{key}: ", message)
    assert told in message


@pytest.mark.parametrize("url", ["ftpes://bob:hunter2@h", "ftps://bob@h", "ftp://bob:hunter2@h", "bob:hunter2@h"])
def test_login_in_a_url_is_refused_and_not_repeated(url: str) -> None:
    message = refused(upstream=url)
    assert message.startswith("--upstream: a URL must not hold a user name or password")
    assert "bob" not in message
    assert "hunter2" not in message


def test_mistakes_in_the_environment(tmp_path: Path) -> None:
    base = {"FTPSPROXY_UPSTREAM": "ftpes://h"}
    assert "did you mean 'FTPSPROXY_LISTEN'" in refused(environ={**base, "FTPSPROXY_LISTN": "x"})
    assert "did you mean 'FTPSPROXY_TIMEOUTS__IDLE'" in refused(environ={**base, "FTPSPROXY_TIMEOUTS_IDLE": "1"})
    assert "FTPSPROXY_TIMEOUTS__IDEL: unknown key" in refused(environ={**base, "FTPSPROXY_TIMEOUTS__IDEL": "1"})
    assert "FTPSPROXY_TIMEOUTS__IDLE: must be a number" in refused(environ={**base, "FTPSPROXY_TIMEOUTS__IDLE": "x"})
    assert "FTPSPROXY_LIMITS__SESSIONS: must be a whole" in refused(environ={**base, "FTPSPROXY_LIMITS__SESSIONS": "x"})
    assert "FTPSPROXY_SECRETS_DIR: cannot read" in refused(environ={**base, "FTPSPROXY_SECRETS_DIR": "/nowhere"})
    assert "cannot read the configuration file" in refused(environ={"FTPSPROXY_CONFIG": "/nowhere"})
    assert refused().startswith("no upstream; say --upstream ftpes://HOST")
    (tmp_path / "FTPSPROXY_LOG__LEVEL").write_text("loud")
    message = refused(environ={**base, "FTPSPROXY_SECRETS_DIR": str(tmp_path)})
    assert message.startswith(f"{tmp_path}/FTPSPROXY_LOG__LEVEL: must be one of")


def test_the_only_listener_needs_no_address(write: Any) -> None:
    assert load(write(UP)).listeners == (Listener("default", "127.0.0.1", 2121, "archive"),)
    assert load(write(UP + "[[listener]]\nname = 'a'")).listeners == (Listener("a", "127.0.0.1", 2121, "archive"),)
    environ = {"FTPSPROXY_UPSTREAM": "ftpes://h", "FTPSPROXY_LISTENER__DEFAULT__CLIENTS": "127.0.0.1"}
    (listener,) = load(environ=environ).listeners
    assert (listener.host, listener.port) == ("127.0.0.1", 2121)


def test_short_forms_need_a_single_listener_and_upstream(write: Any) -> None:
    path = write(UP + UP.replace("archive", "other") + LISTEN + 'upstream = "other"\n')
    assert load(path, listen="127.0.0.1:9").listeners[0].port == 9
    assert refused(path, upstream="ftps://h").startswith("--upstream: there are 2 upstreams (archive, other)")
    assert refused(path, ca_file="/dev/null").startswith("--ca-file: there are 2 upstreams")
    path = write(UP + UP.replace("archive", "other") + LISTEN)
    assert "listener.scanners.upstream: missing; name one of archive, other" in refused(path)


def test_key_needs_certificate_and_versions_an_order(write: Any, tmp_path: Path) -> None:
    (tmp_path / "key.pem").touch(mode=0o600)
    assert "a key without a certificate" in refused(write(UP + 'key_file = "key.pem"'))
    assert "is above tls_max" in refused(write(UP + 'tls_min = "1.3"\ntls_max = "1.2"'))


def test_file_that_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "gateway.toml"
    path.write_bytes(b"\xff\xfe")
    assert refused(path) == f"{path}: not UTF-8 text; a TOML file must be"


@pytest.mark.parametrize("text", ["a = " + "1" * 5000, "a = " + "[" * 5000], ids=["number", "lists"])
def test_file_that_is_too_much_for_its_reader(write: Any, text: str) -> None:
    assert "not valid TOML" in refused(write(text))
