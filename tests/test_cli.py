"""The command line as scripts use it: exit codes, one line for each error, ready and gone on a signal."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import ftpsproxy
from ftpsproxy.cli.main import main
from ftpsproxy.config import PRIVATE_NETWORKS
from tests.support import vocabulary
from tests.support.certificates import Certificates

PATIENCE_SECONDS = 60
COMMAND = [sys.executable, "-m", "ftpsproxy"]
UPSTREAM = ["--upstream", "ftpes://127.0.0.1:9"]


@pytest.fixture(autouse=True)
def _no_settings_around(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("FTPSPROXY_")]:
        monkeypatch.delenv(name)


class Said:
    """What a command said: exit code, standard output, standard error."""

    def __init__(self, capfd: pytest.CaptureFixture[str], *arguments: str) -> None:
        try:
            self.code: object = main(arguments)
        except SystemExit as error:
            self.code = error.code
        self.out, self.err = capfd.readouterr()

    def one_line(self, code: int) -> str:
        assert self.code == code
        assert self.out == ""
        assert self.err.startswith("ftpsproxy: ")
        assert self.err.endswith("\n")
        assert self.err.count("\n") == 1
        return self.err


# --- usage ----------------------------------------------------------------------------------------------------------


def test_version(capfd: pytest.CaptureFixture[str]) -> None:
    said = Said(capfd, "--version")
    assert (said.code, said.out, said.err) == (0, f"ftpsproxy {ftpsproxy.__version__}\n", "")


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["check", "-h"], ["demo", "--help"]])
def test_help(capfd: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    said = Said(capfd, *arguments)
    assert (said.code, said.err) == (0, "")
    assert said.out.startswith("usage: ftpsproxy")


def test_run_help_names_every_option(capfd: pytest.CaptureFixture[str]) -> None:
    said = Said(capfd, "run", "--help")
    for option in ("-c FILE", "--listen ADDR:PORT", "--upstream URL", "--ca-file PEM", "--log-format", "--log-level"):
        assert option in said.out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "say what to do: run, check, reload, replace, probe, csr, logs, report or demo"),
        (["serve"], "invalid choice: 'serve'"),
        (["run", "--listn", "x"], "unknown argument '--listn'; did you mean '--listen'?"),
        (["run", "--listn=x"], "unknown argument '--listn=x'; did you mean '--listen'?"),
        (["run", "extra"], "unknown argument 'extra'"),
        (["run", "--listen"], "--listen: expected one argument; see ftpsproxy run --help"),
        (["--verbose"], "unknown argument '--verbose'"),
        (["demo", "--kep"], "did you mean '--keep'?"),
        (["run"], "no upstream; say --upstream ftpes://HOST"),
        (["check"], "no upstream"),
        (["run", "-c", "/no/such/file"], "/no/such/file: cannot read the configuration file"),
        (["check", "--upstream", "ftp://h"], "--upstream: ftp:// would send passwords and files in clear"),
        (["run", *UPSTREAM, "--listen", "here"], "--listen: must be ADDR:PORT"),
        (["run", *UPSTREAM, "--log-format", "xml"], "--log-format: must be one of json, logfmt, console, ecs, auto"),
        (["run", *UPSTREAM, "--log-level", "all"], "--log-level: must be one of debug, info, warning"),
        (["run", *UPSTREAM, "--ca-file", "/no/ca"], "--ca-file: cannot read /no/ca: no such file or directory"),
    ],
)
def test_wrong_usage(capfd: pytest.CaptureFixture[str], arguments: list[str], told: str) -> None:
    assert told in Said(capfd, *arguments).one_line(2)


def test_wrong_variable(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FTPSPROXY_UPSTREM", "ftpes://h")
    assert "did you mean 'FTPSPROXY_UPSTREAM'?" in Said(capfd, "check").one_line(2)


# --- check ----------------------------------------------------------------------------------------------------------


def test_check_says_what_would_run(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "gateway.toml"
    path.write_text("""
        [[listener]]
        listen = "[::1]:2121"
        passive_ports = "50000-50003"
        passive_address = "192.0.2.10"
        clients = ["::1"]
        digest = "sha256"
        greeting = "upstream"
        [upstream.archive]
        url = "ftps://files.example.com"
        tls_min = "1.3"
        data_mode = "port"
        active_ports = "40000-40009"
        data_session_reuse = "require"
        close_notify = "require"
        """)
    said = Said(capfd, "check", "-c", str(path))
    assert (said.code, said.err) == (0, "")
    assert said.out.partition("settings, and where")[0] == (
        "listener default: plaintext FTP on [::1]:2121 -> upstream archive\n"
        "  clients: ::1/128\n"
        "  passive data: ports 50000-50003 on 192.0.2.10\n"
        "  digest of every file: sha256\n"
        "  greeting: the server's own\n"
        "upstream archive: files.example.com:990, implicit TLS\n"
        "  certificate verified: chain up to the system's roots, for the name files.example.com\n"
        "  TLS 1.3, ALPN ftp, client certificate: none\n"
        "  data: active, PORT from our own address, ports 40000-40009; TLS session must be resumed\n"
        "  download without close_notify: refused\n"
        "log: auto, from level info\n"
    )


def test_check_of_variables_alone(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FTPSPROXY_UPSTREAM", "ftpes://files.example.com:2100")
    monkeypatch.setenv("FTPSPROXY_UPSTREAM__DEFAULT__VERIFY", "pin")
    monkeypatch.setenv("FTPSPROXY_UPSTREAM__DEFAULT__PINS", "sha256/" + "A" * 43 + "=")
    said = Said(capfd, "check", "--log-format", "json")
    assert (said.code, said.err) == (0, "")
    assert "listener default: plaintext FTP on 127.0.0.1:2121 -> upstream default\n" in said.out
    assert "upstream default: files.example.com:2100, explicit TLS, AUTH TLS\n" in said.out
    assert "certificate verified: by pin alone, 1 pinned\n" in said.out
    assert "TLS 1.2 to 1.3" in said.out
    assert "data: passive, EPSV or else PASV; TLS session resumed where the server can\n" in said.out


def test_check_says_every_setting_and_where_it_comes_from(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "timeouts__idle").write_text("70\n")
    path = tmp_path / "ftpsproxy.toml"
    path.write_text("""
[upstream.archive]
url = "ftps://localhost"
pins = ["sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="]

[[listener]]
name = "tills"
listen = "127.0.0.1:2121"
passive_ports = "50000-50009"

[timeouts]
reply = 30
""")
    monkeypatch.setenv("FTPSPROXY_SECRETS_DIR", str(tmp_path / "secrets"))
    monkeypatch.setenv("FTPSPROXY_UPSTREAM__ARCHIVE__DATA_MODE", "pasv")
    arguments = ["check", "-c", str(path), "--log-level", "debug"]
    said = Said(capfd, *arguments)
    assert (said.code, said.err) == (0, "")
    told = json.loads(Said(capfd, *arguments, "--json").out)
    assert told["ok"] is True
    for key, value, origin in (
        ("upstream.archive.url", "ftps://localhost", f"{path}:3"),
        ("upstream.archive.data_mode", "pasv", "FTPSPROXY_UPSTREAM__ARCHIVE__DATA_MODE"),
        ("upstream.archive.tls_min", "1.2", "default"),
        ("listener.tills.passive_ports", "50000-50009", f"{path}:9"),
        ("timeouts.reply", 30.0, f"{path}:12"),
        ("timeouts.idle", 70.0, str(tmp_path / "secrets" / "timeouts__idle")),
        ("log.level", "debug", "--log-level"),
        ("admin.listen", None, "default"),
        ("listener.tills.clients", [str(one) for one in PRIVATE_NETWORKS], "default"),
    ):
        assert told["settings"][key] == {"value": value, "from": origin}, key
        assert f"  {key} = {json.dumps(value)}  ({origin})\n" in said.out, key


def test_a_terminal_of_few_letters_gets_them_escaped(tmp_path: Path) -> None:
    path = tmp_path / "b\u00fc.toml"
    path.write_text('[upstream.a]\nurl = "ftps://localhost"\n')
    said = subprocess.run(
        [*COMMAND, "check", "-c", path],
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
        capture_output=True,
        timeout=PATIENCE_SECONDS,
    )
    assert (said.returncode, said.stderr) == (0, b"")
    assert b"b\\xfc.toml:2)" in said.stdout


@pytest.mark.parametrize("command", ["run", "check"])
def test_all_that_is_wrong_is_said_at_once(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: str
) -> None:
    path = tmp_path / "ftpsproxy.toml"
    path.write_text("""
[upstream.archive]
url = "ftp://localhost"
data_mod = "pasv"
pins = ["x"]

[[listener]]
listen = "2121"
upstream = "archiv"

[timeout]
idle = 0
""")
    monkeypatch.setenv("FTPSPROXY_LIMITS__SESSIONS", "many")
    said = Said(capfd, command, "-c", str(path))
    assert said.code == 2
    assert [line.split(": ", 3)[1:3] for line in said.err.splitlines()] == [
        [f"{path}:4", "upstream.archive.data_mod"],
        [f"{path}:11", "timeout"],
        [f"{path}:3", "upstream.archive.url"],
        [f"{path}:5", "upstream.archive.pins"],
        [f"{path}:8", "listener.default.listen"],
        [f"{path}:9", "listener.default.upstream"],
        ["FTPSPROXY_LIMITS__SESSIONS", "must be a whole number, not 'many'"],
    ]
    if command == "check":
        told = json.loads(Said(capfd, command, "-c", str(path), "--json").out)
        assert [f"ftpsproxy: {fault}" for fault in told["faults"]] == said.err.splitlines()


@pytest.mark.parametrize("command", ["run", "check"])
def test_certificates_that_are_none(capfd: pytest.CaptureFixture[str], tmp_path: Path, command: str) -> None:
    roots = tmp_path / "ca.pem"
    roots.write_text("no certificate")
    line = Said(capfd, command, *UPSTREAM, "--listen", "127.0.0.1:0", "--ca-file", str(roots)).one_line(2)
    assert str(roots) in line


def test_plaintext_open_to_the_world_is_said(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["check", *UPSTREAM, "--listen", "0.0.0.0:2121"]
    assert Said(capfd, *arguments).err == ""
    monkeypatch.setenv("FTPSPROXY_LISTENER__DEFAULT__CLIENTS", "0.0.0.0/0")
    said = Said(capfd, *arguments)
    assert said.code == 0
    assert said.err.startswith("ftpsproxy: warning: listener 'default' on 0.0.0.0:2121 lets anyone")
    assert said.err.count("\n") == 1
    assert Said(capfd, "check", *UPSTREAM).err == ""


# --- run ------------------------------------------------------------------------------------------------------------


@contextmanager
def running(*arguments: str) -> Iterator[tuple["subprocess.Popen[str]", int]]:
    """`ftpsproxy run` with its port, once it says that it is ready."""
    process = subprocess.Popen(
        [*COMMAND, "run", "--listen", "127.0.0.1:0", *UPSTREAM, "--log-format", "json", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, process.communicate()
        event = vocabulary.read(line)
        assert event["event"] == "gateway.ready"
        (shown,) = event["listening"]
        yield process, shown["port"]
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_run_ends_on_a_signal(number: signal.Signals) -> None:
    with running() as (process, port):
        with socket.create_connection(("127.0.0.1", port), PATIENCE_SECONDS) as client:
            client.settimeout(PATIENCE_SECONDS)
            assert client.recv(100).startswith(b"220 ")  # there is no server behind it, but nobody has asked for one
            process.send_signal(number)
            assert client.recv(100).startswith(b"421 ")
        out, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 0
    assert err == ""
    assert [vocabulary.read(line)["event"] for line in out.splitlines()][-1] == "gateway.stopped"


def test_run_where_the_address_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = subprocess.run(
            [*COMMAND, "run", "--listen", address, *UPSTREAM],
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
        )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("ftpsproxy: ")
    assert address in done.stderr
    assert done.stderr.count("\n") == 1


def test_output_that_cannot_be_written() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*COMMAND, "check", *UPSTREAM], stdout=full, stderr=subprocess.PIPE, text=True, timeout=PATIENCE_SECONDS
        )
    assert (done.returncode, done.stderr) == (
        1,
        "ftpsproxy: cannot write to standard output: no space left on device\n",
    )


def test_errors_that_cannot_be_written() -> None:
    with open("/dev/full", "w") as full:
        arguments = ["run", "--listen", "127.0.0.1:0"]  # and no upstream
        done = subprocess.run([*COMMAND, *arguments], stderr=full, timeout=PATIENCE_SECONDS)
    assert done.returncode == 2


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        ("main(['--version'])", ["trio", "ssl", "structlog", "cryptography", "ftpsproxy.config"]),
        (
            "main(['check', '--upstream', 'ftpes://h']); import ftpsproxy.serve.gateway",
            ["pyftpdlib", "OpenSSL", "pydantic", "typer"],
        ),
    ],
    ids=["version", "run"],
)
def test_start_is_quick_because_little_is_imported(code: str, absent: list[str]) -> None:
    program = f"import sys; from ftpsproxy.cli.main import main; {code}; print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=PATIENCE_SECONDS)
    assert done.returncode == 0, done.stderr
    assert not set(absent) & set(done.stderr.split())


@pytest.mark.parametrize(
    ("content", "told"),
    [("certificate", "it holds a certificate, which belongs into ca_file"), ("nothing", "no revocation list in it")],
)
def test_a_crl_file_holds_lists_alone(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, certificates: Certificates, content: str, told: str
) -> None:
    # OpenSSL would trust any certificate in it.
    lists = tmp_path / "lists.pem"
    lists.write_bytes(certificates.crl_file.read_bytes() if content == "certificate" else b"")
    if content == "certificate":
        lists.write_bytes(lists.read_bytes() + certificates.other_authority.certificate_file.read_bytes())
    path = tmp_path / "ftpsproxy.toml"
    path.write_text(f'[upstream.a]\nurl = "ftpes://localhost"\ncrl_file = "{lists}"\n')
    said = Said(capfd, "check", "-c", str(path))
    assert said.code == 2
    assert said.err == f"ftpsproxy: upstream a: crl_file {lists} can't be used: {told}\n"


@pytest.mark.parametrize("key", ["ca_file", "crl_file", "cert_file"])
def test_a_pipe_is_no_file(capfd: pytest.CaptureFixture[str], tmp_path: Path, key: str) -> None:
    """Reading one would wait for ever."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    path = tmp_path / "ftpsproxy.toml"
    path.write_text(f'[upstream.a]\nurl = "ftpes://localhost"\n{key} = "{pipe}"\n')
    said = Said(capfd, "check", "-c", str(path))
    assert said.code == 2
    assert said.err == f"ftpsproxy: {path}:3: upstream.a.{key}: cannot read {pipe}: not a file\n"
