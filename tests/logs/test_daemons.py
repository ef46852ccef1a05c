"""The log at the programs it is for: logrotate, rsyslog, systemd's journal, and ProFTPD's statistics of `xferlog`."""

from __future__ import annotations

import contextlib
import ftplib
import io
import itertools
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ftpsproxy.cli.main import main
from tests.support import systemd
from tests.support.certificates import Certificates
from tests.support.gateway import Gateway, configuration, run_gateway
from tests.support.receivers import PATIENCE, until
from tests.support.servers import ROOT, Server, end_process, pyftpdlib
from tests.support.servers.common import free_port

PEERS = ROOT / ".peers"


@pytest.fixture(scope="module")
def server(certificates: Certificates) -> Iterator[Server]:
    with pyftpdlib(certificates) as running:
        yield running


@contextlib.contextmanager
def logging_to(
    server: Server, certificates: Certificates, *outputs: dict[str, Any], workers: int = 1, **log: Any
) -> Iterator[Gateway]:
    """A gateway that has these outputs, and standard output for the test."""
    config = configuration(server.url, certificates.ca_file, process={"workers": workers}, log=log)
    for output in ({"to": "stdout", "chain": False}, *outputs):
        config += "\n[[log.output]]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in output.items())
    with run_gateway(config) as gateway:
        yield gateway


def upload(gateway: Gateway, name: str, content: bytes = b"x" * 1000) -> None:
    end = gateway.endpoint
    since = gateway.mark()
    with ftplib.FTP(timeout=30) as ftp:
        ftp.connect(end.host, end.port)
        ftp.login(end.user, end.password)
        ftp.storbinary(f"STOR {name}", io.BytesIO(content))
    gateway.wait_for_event("session.closed", since=since)


def files_in(*paths: Path) -> list[str]:
    """Of the transfers in these logs, in order; each line must be whole."""
    lines = [json.loads(line) for path in paths for line in path.read_text().splitlines()]
    return [one["path"] for one in lines if one["event"] == "transfer.finished"]


# --- logrotate ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("way", ["create, signal", "create", "copytruncate"])
def test_logrotate(way: str, workers: int, server: Server, certificates: Certificates, tmp_path: Path) -> None:
    """Nothing is lost or torn, whichever way, and the new file has what comes then."""
    file, state = tmp_path / "log" / "gateway.log", tmp_path / "state"
    file.parent.mkdir()
    output = {"to": str(file), "format": "json", "level": "info"}
    with logging_to(server, certificates, output, workers=workers) as gateway:
        upload(gateway, "one")
        rules = "copytruncate" if way == "copytruncate" else "create 0640"
        if "signal" in way:
            rules += f"\n  postrotate\n    kill -USR1 {gateway.pid}\n  endscript"
        config = tmp_path / "rotate"
        config.write_text(f"{file} {{\n  rotate 3\n  su root root\n  {rules}\n}}\n")
        config.chmod(0o600)
        rotate = [str(PEERS / "usr/sbin/logrotate"), "--force", "--state", str(state), str(config)]
        subprocess.run(rotate, check=True, timeout=60)
        old = file.with_name("gateway.log.1")
        late = time.monotonic() + PATIENCE
        for number in itertools.count(2):  # without a signal it may take a second to be noticed
            upload(gateway, f"name {number}")
            if files_in(file):
                break
            assert time.monotonic() < late
        subprocess.run(rotate, check=True, timeout=60)
    found = files_in(file.with_name("gateway.log.2"), old, file)
    assert found == ["one", *(f"name {at}" for at in range(2, number + 1))]
    if way == "create, signal":
        assert files_in(file.with_name("gateway.log.2")) == ["one"]
    assert not gateway.events("gateway.log_failing")
    last = (old.read_text() + file.read_text()).splitlines()[-1]
    assert json.loads(last)["event"] == "gateway.stopped"


def test_the_example_is_taken_by_logrotate(tmp_path: Path) -> None:
    text = (ROOT / "deploy" / "ftpsproxy.logrotate").read_text()
    assert "kill --signal=USR1" in text
    config, log = tmp_path / "rotate", tmp_path / "ftpsproxy.log"
    log.write_text("line\n")
    marker = tmp_path / "told"
    text = text.replace("/var/log/ftpsproxy/*.log", str(log))
    config.write_text(re.sub(r"systemctl .*", f"touch {marker}", text))
    config.chmod(0o600)
    done = subprocess.run(
        [PEERS / "usr/sbin/logrotate", "--force", "--verbose", "--state", tmp_path / "state", config],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "error" not in done.stderr
    assert marker.exists()
    assert not log.exists()  # the gateway makes it
    assert (tmp_path / "ftpsproxy.log.1").read_text() == "line\n"


# --- rsyslog --------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def rsyslog(folder: Path, port: int) -> Iterator[None]:
    """With a socket for datagrams, one for streams, and UDP; what it hears stands in `messages`."""
    (modules,) = (PEERS / "usr/lib").glob("*/rsyslog")
    config = folder / "rsyslog.conf"
    config.write_text(
        f"""
global(workDirectory="{folder}")
module(load="{modules}/imuxsock.so" SysSock.Use="off")
module(load="{modules}/imudp.so")
module(load="{modules}/imptcp.so")
input(type="imuxsock" Socket="{folder}/socket" UseSpecialParser="off" ParseHostname="on")
input(type="imptcp" Path="{folder}/stream")
input(type="imudp" address="127.0.0.1" port="{port}")
template(name="whole" type="string" string="%syslogfacility-text%.%syslogseverity-text% %app-name% %msgid% %msg%\\n")
action(type="omfile" file="{folder}/messages" template="whole")
"""
    )
    for name in ("socket", "stream"):
        (folder / name).unlink(missing_ok=True)
    process = subprocess.Popen(
        [PEERS / "usr/sbin/rsyslogd", "-n", "-f", config, "-i", folder / "pid", "-M", modules],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until("rsyslogd listens", lambda: (folder / "stream").exists() and (folder / "pid").exists())
        yield
    finally:
        end_process(process)


def messages(folder: Path) -> list[tuple[str, str, str, dict[str, Any]]]:
    path = folder / "messages"
    found = [line.split(" ", 3) for line in path.read_text().splitlines()] if path.exists() else []
    return [(priority, app, msgid, json.loads(text)) for priority, app, msgid, text in found]


@pytest.mark.parametrize("way", ["socket", "stream", "udp"])
def test_rsyslog(way: str, server: Server, certificates: Certificates, tmp_path: Path) -> None:
    """Also when it is started anew; over UDP what is said meanwhile may be lost, and that is said."""
    port = free_port("127.0.0.1")
    address = f"udp://127.0.0.1:{port}" if way == "udp" else str(tmp_path / way)
    output = {"name": "daemon", "to": "syslog", "address": address, "format": "json", "facility": "local1"}
    with contextlib.ExitStack() as stack:
        daemon = stack.enter_context(contextlib.ExitStack())
        daemon.enter_context(rsyslog(tmp_path, port))
        gateway = stack.enter_context(logging_to(server, certificates, output, level="info"))
        upload(gateway, "one")

        def heard(name: str) -> bool:
            return any(event.get("path") == name for *_, event in messages(tmp_path))

        until("heard of one", lambda: heard("one"))
        daemon.close()
        upload(gateway, "two")
        gateway.wait_for_event("gateway.log_failing")
        stack.enter_context(rsyslog(tmp_path, port))
        upload(gateway, "three")
        until("heard of three", lambda: heard("three"))
        restored = gateway.wait_for_event("gateway.log_restored")
    found = messages(tmp_path)
    assert {(priority, app) for priority, app, *_ in found} <= {
        ("local1.info", "ftpsproxy"),
        ("local1.err", "ftpsproxy"),
    }
    assert all(msgid == event["event"] for _, _, msgid, event in found)
    names = [event["path"] for *_, event in found if event["event"] == "transfer.finished"]
    if way == "udp":
        said = sum(event["lost"] for *_, event in found if event["event"] == "gateway.log_lost")
        assert said == restored["lost"]
        assert 0 < said < 10
    else:
        assert names == ["one", "two", "three"]


# --- systemd's journal ----------------------------------------------------------------------------------------------


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Path]:
    """A journald of its own: its /run, as others can reach it."""
    journald = systemd.tool(systemd.JOURNALD)
    script = f"mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/journal /run/log/journal && exec {journald}"
    process = subprocess.Popen(["unshare", "--mount", "sh", "-c", script], stderr=subprocess.DEVNULL)
    run = Path(f"/proc/{process.pid}/root/run")
    try:
        until("journald listens", lambda: (run / "systemd/journal/socket").is_socket() or process.poll() is not None)
        assert process.poll() is None
        yield run
    finally:
        end_process(process)


def test_systemds_journal(journal: Path, server: Server, certificates: Certificates) -> None:
    output = {"to": "journald", "address": str(journal / "systemd/journal/socket"), "level": "debug"}
    with logging_to(server, certificates, output) as gateway:
        upload(gateway, "a name")

    def entries(*matches: str) -> list[dict[str, Any]]:
        folder = journal / "log/journal"
        done = subprocess.run(
            [systemd.tool(systemd.JOURNALCTL), "-D", folder, "-o", "json", "--no-pager", *matches],
            capture_output=True,
            check=True,
            text=True,
        )
        return [json.loads(line) for line in done.stdout.splitlines()]

    until("stopped", lambda: entries("FTPSPROXY_EVENT=gateway.stopped"))
    (entry,) = entries("FTPSPROXY_EVENT=transfer.finished", "FTPSPROXY_PATH=a name")
    assert (entry["PRIORITY"], entry["SYSLOG_IDENTIFIER"]) == ("6", "ftpsproxy")
    assert entry["MESSAGE"].startswith('✓ ↑ "a name"')
    assert len(entries("FTPSPROXY_SESSION=" + entry["FTPSPROXY_SESSION"])) > 5
    assert len(entries()) >= len(gateway.events())


# --- xferlog --------------------------------------------------------------------------------------------------------


def test_statistics_of_xferlog(server: Server, certificates: Certificates, tmp_path: Path) -> None:
    path = tmp_path / "xferlog"
    with logging_to(server, certificates, {"to": str(path), "format": "xferlog"}) as gateway:
        for number in range(3):
            upload(gateway, f"/day {number}.pdf", b"x" * 100_000)
    assert [line.split()[8] for line in path.read_text().splitlines()] == [f"/day_{number}.pdf" for number in range(3)]
    done = subprocess.run(
        ["perl", PEERS / "usr/sbin/ftpstats", "-a", "-r", "-i", "-h", "-f", path],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert re.search(r"^Files Transmitted During Summary Period +3$", done.stdout, re.MULTILINE), done.stdout
    assert re.search(r"^Bytes Transmitted During Summary Period +300000$", done.stdout, re.MULTILINE)


# --- several processes ----------------------------------------------------------------------------------------------


def test_each_file_alone_is_a_whole_log(
    server: Server, certificates: Certificates, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Of two workers, through rotation by a signal: each output has a chain for each process."""
    one, other = tmp_path / "a.log", tmp_path / "b.log"
    outputs = ({"to": str(one)}, {"to": str(other), "level": "info"})
    with logging_to(server, certificates, *outputs, workers=2, chain=True) as gateway:
        upload(gateway, "first")
        one.rename(tmp_path / "a.log.1")
        gateway.signal(signal.SIGUSR1)
        upload(gateway, "second")
    assert one.exists()
    capfd.readouterr()
    assert main(["logs", "--verify", "--rotated", str(one)]) == 0, capfd.readouterr().out
    assert main(["logs", "--verify", str(other)]) == 0, capfd.readouterr().out
    assert capfd.readouterr().out.count("of 3 chains") == 2


def test_a_signal_early_or_without_files_ends_nothing(server: Server, certificates: Certificates) -> None:
    with logging_to(server, certificates) as gateway:
        gateway.signal(signal.SIGUSR1)
        upload(gateway, "still there")
    assert os.WEXITSTATUS(gateway.wait()) == 0


def test_a_new_configuration_changes_outputs_or_says_why_not(
    server: Server, certificates: Certificates, tmp_path: Path
) -> None:
    one, two = tmp_path / "one.log", tmp_path / "two.log"
    for workers in (1, 2):
        base = configuration(server.url, certificates.ca_file, process={"workers": workers}, log={"level": "info"})
        base += '[[log.output]]\nto = "stdout"\n'
        with run_gateway(base + f'[[log.output]]\nto = "{one}"\nformat = "json"\n') as gateway:
            failed = gateway.reload(base + f'[[log.output]]\nto = "{tmp_path}/none/x.log"\n')
            assert failed["event"] == "gateway.reload_failed"
            assert f"the directory {tmp_path}/none does not exist" in failed["detail"]
            upload(gateway, f"before {workers}")
            done = gateway.reload(base + f'[[log.output]]\nto = "{two}"\nformat = "json"\n')
            assert done["event"] == "gateway.reloaded"
            upload(gateway, f"after {workers}")
        assert files_in(one)[-1] == f"before {workers}"
        assert files_in(two)[-1] == f"after {workers}"
