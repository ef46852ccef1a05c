"""`[[log.output]]`: where it may be written, what it inherits, and how each mistake is told."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from ftpsproxy import config
from ftpsproxy.cli.main import main
from ftpsproxy.config import ConfigError, LogOutput

UP = '[upstream.archive]\nurl = "ftpes://ftp.example.com"\n[[listener]]\nlisten = "127.0.0.1:0"\n'


def write(folder: Path, text: str) -> Path:
    path = folder / "gateway.toml"
    path.write_text(UP + text)
    return path


def outputs(path: Path, *, environ: dict[str, str] | None = None, **flags: str) -> tuple[LogOutput, ...]:
    return config.load(path, flags=flags, environ=environ or {}).log.outputs


def test_what_one_does_not_say_is_as_the_log_says(tmp_path: Path) -> None:
    text = """
[log]
format = "logfmt"
[[log.output]]
[[log.output]]
to = "./logs.json"
format = "json"
level = "debug"
chain = true
[[log.output]]
to = "./xferlog"
format = "xferlog"
[[log.output]]
to = "journald"
[[log.output]]
name = "far"
to = "syslog"
address = "udp://[::1]"
"""
    path = write(tmp_path, text)
    assert outputs(path, log_level="warning") == (
        LogOutput("stdout", "stdout", "logfmt", "warning"),
        LogOutput("logs.json", str(tmp_path / "logs.json"), "json", "debug", chain=True),
        LogOutput("xferlog", str(tmp_path / "xferlog"), "xferlog"),
        LogOutput("journald", "journald", "auto", "warning"),
        LogOutput("far", "syslog", "logfmt", "warning", address=("::1", 514)),
    )
    found = outputs(path, environ={"FTPSPROXY_LOG_FORMAT": "ecs", "FTPSPROXY_LOG__OUTPUT__FAR__FORMAT": "json"})
    assert [one.format for one in found] == ["ecs", "json", "xferlog", "auto", "json"]


def test_environment_alone_makes_them(tmp_path: Path) -> None:
    (found,) = outputs(write(tmp_path, ""), environ={"FTPSPROXY_LOG__OUTPUT__AUDIT__TO": f"{tmp_path}/audit"})
    assert (found.name, found.to) == ("audit", f"{tmp_path}/audit")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            'to = "stdot"',
            "must be one of stdout, stderr, syslog, journald, or a path with a /, not 'stdot' (did you mean",
        ),
        ('to = "/none/of/it"', "to: the directory /none/of does not exist; make it, for the user the gateway runs as"),
        ('to = "/proc/self/status/x"', "to: "),
        ('to = "./"', "is a directory; name a file in it"),
        ('to = "./socket"', 'is a socket; write to = "syslog" and address = '),
        ("to = 3", "to: must be text in quotes, not 3"),
        ('format = "xml"', "must be one of json, logfmt, console, ecs, xferlog, auto, not 'xml'"),
        ('level = "loud"', "must be one of debug, info, warning, not 'loud'"),
        ('to = "journald"\nformat = "xferlog"', "format: journald has fields of its own, and no formats; leave it out"),
        ('to = "journald"\naddress = "udp://h"', "address: journald has a unix socket; write its path"),
        (
            'format = "xferlog"\nlevel = "info"',
            "level: xferlog has a line for each transfer, and no levels; leave it out",
        ),
        ('facility = "ftp"', "facility: is for syslog only, and this output is to stdout; leave it out"),
        ('address = "/dev/log"', "address: is for syslog and journald only, and this output is to stdout"),
        ('to = "syslog"\nfacility = "local9"', "must be one of kern, user,"),
        (
            'to = "syslog"\naddress = "tcp://h:1"',
            "must be the path of a socket, such as /dev/log, or udp://HOST:PORT, not",
        ),
        ('to = "syslog"\naddress = "udp://h:0"', "port 0 does not exist; use 1 to 65535"),
        ('to = "syslog"\napp_name = "a b"', "must be 1 to 48 characters of ASCII without blanks, not 'a b'"),
        ('to = "syslog"\nmax_bytes = 100', "must be from 2048 to 65000, not 100"),
        ('format = "console"\nchain = true', "only JSON lines are chained, and this output has 'console'; write chain"),
        ('format = "xferlog"\nchain = true', "only JSON lines are chained, and this output has 'xferlog'; write chain"),
        ('to = "journald"\nchain = true', "only JSON lines are chained, and this output has journald; write chain"),
        ('chain_key_file = "key"', "chain_key_file: a key without a chain; set chain = true too"),
        ('colour = "red"', "colour: unknown key; did you mean 'format'?"),
        ('name = "a b"', "a name is 1 to 63 letters"),
        ('[[log.output]]\nto = "stdout"', "'stdout' is the name of another output; write name = \"…\""),
        ('name = "b"\n[[log.output]]', "output 'b' goes to the same place; give each a place of its own"),
        (
            'to = "./x"\n[[log.output]]\nname = "y"\nto = "./link/../x"',
            "output 'x' goes to the same place; give each a place of its own",
        ),
    ],
)
def test_each_mistake_is_one_line(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "link").mkdir()
    (tmp_path / "key").touch(mode=0o600)
    (tmp_path / "key").write_bytes(b"k" * 32)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "socket"))
        with pytest.raises(ConfigError) as refused:
            outputs(write(tmp_path, f"[[log.output]]\n{text}\n"))
    if "unknown key" in said:
        assert "unknown key" in refused.value.faults[0]
        return
    (fault,) = refused.value.faults
    assert said in fault
    assert fault.startswith(f"{tmp_path}/gateway.toml:")
    assert "log.output" in fault


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[log]\noutput = 3\n", "log.output: must be a list of tables; write [[log.output]] with two brackets"),
        (
            '[log.output]\nto = "stdout"\n',
            "log.output: must be a list of tables; write [[log.output]] with two brackets",
        ),
        ("[log]\noutput = [3]\n", "must be a table; write [[log.output]] and its keys below"),
        ('["log.output"]\nto = "stdout"\n', "unknown key"),
        (
            '[log]\nchain = true\n[[log.output]]\nformat = "ecs"\n',
            "only JSON lines are chained, and this output has 'ecs'",
        ),
    ],
)
def test_a_list_that_is_none(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        outputs(write(tmp_path, text))
    assert len([fault for fault in refused.value.faults if said in fault]) == 1
    assert len(refused.value.faults) == 1


def test_variables_that_are_wrong(tmp_path: Path) -> None:
    for variable in ("FTPSPROXY_LOG__OUTPUT__A__FORM", "FTPSPROXY_LOG__OUTPUT__A", "FTPSPROXY_LOG__OUT__A__TO"):
        with pytest.raises(ConfigError) as refused:
            outputs(write(tmp_path, ""), environ={variable: "json"})
        (fault,) = refused.value.faults
        assert fault.startswith(variable)


def test_check_shows_them(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    text = f"""
[[log.output]]
[[log.output]]
to = "./audit.log"
format = "json"
chain = true
[[log.output]]
to = "./xferlog"
format = "xferlog"
[[log.output]]
to = "syslog"
address = "{tmp_path}/nobody"
"""
    path = write(tmp_path, text)
    assert main(["check", "-c", str(path), "--log-level", "warning"]) == 0
    shown = capfd.readouterr()
    assert [line for line in shown.out.splitlines() if line.startswith("log ")] == [
        "log stdout: standard output: auto, from level warning",
        f"log audit.log: {tmp_path}/audit.log: json, from level warning, chained",
        f"log xferlog: {tmp_path}/xferlog: xferlog, a line for each transfer",
        f"log syslog: syslog at {tmp_path}/nobody, facility daemon: auto, from level warning",
    ]
    assert '  log.output.audit.log.level = "warning"  (--log-level)' in shown.out.splitlines()
    assert f"warning: log.output.syslog: nobody listens at {tmp_path}/nobody yet" in shown.err
    assert main(["check", "-c", str(path), "--json"]) == 0
    told: dict[str, Any] = json.loads(capfd.readouterr().out)
    assert told["settings"]["log.output.syslog.address"]["value"] == f"{tmp_path}/nobody"
    assert not (tmp_path / "audit.log").exists()  # looked at, not made
