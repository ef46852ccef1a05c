"""The demo does what it shows, and cleans up after itself."""

import ftplib
import io
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from ftpsproxy.cli import demo

PATIENCE_SECONDS = 120


def environment(folder: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FTPSPROXY_")}
    return {**kept, "TMPDIR": str(folder), "COLUMNS": "100"}


def test_demo_sends_a_file_through_and_back(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ftpsproxy", "demo"],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        env=environment(tmp_path),
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    sums = re.findall(r"^(?:sent|on server|came back) +sha256 ([0-9a-f]{64})$", done.stdout, re.MULTILINE)
    assert len(sums) == 3
    assert len(set(sums)) == 1
    assert re.search(r"^client, all of it +plaintext *$", done.stdout, re.MULTILINE)
    for leg in ("control", "STOR", "RETR"):
        assert re.search(rf"^server, {leg} +TLSv1\.[23] +\S+ +(new|resumed) *$", done.stdout, re.MULTILINE), leg
    assert "upload" in done.stdout
    assert "All well: 16 MiB each way" in done.stdout
    log = done.stdout.partition("The session in the log\n")[2].splitlines()
    assert re.fullmatch(r"\d\d:\d\d:\d\d ·   session +demo +127\.0\.0\.1", log[0])
    for arrow in "↑↓":
        said = rf"\S+ ✓ {arrow} parcel\.bin +17 MB +\S+ m?s +\S+ .B/s  demo@demo +TLS 1\.[23]( resumed)? +127\.0\.0\.1"
        assert [line for line in log if re.fullmatch(said, line)], log
    assert re.search("session over after .* quit, 2 transfers, ↑ 17 MB, ↓ 17 MB$", log[-3]), log
    assert list(tmp_path.iterdir()) == []


def test_kept_demo_serves_clients_until_ctrl_c(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "ftpsproxy", "demo", "--keep"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(tmp_path),
    )
    try:
        assert process.stdout is not None
        said = ""
        found = None
        while found is None:
            line = process.stdout.readline()
            assert line, said
            said += line
            found = re.search(r"curl --user (\w+):(\S+) ftp://127\.0\.0\.1:(\d+)/", said)
        with ftplib.FTP(timeout=PATIENCE_SECONDS) as client:
            client.connect("127.0.0.1", int(found[3]))
            client.login(found[1], found[2])
            assert client.nlst() == ["parcel.bin"]
        while "session.closed" not in said.rpartition("lftp -u")[2]:
            line = process.stdout.readline()
            assert line, said
            said += line
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=PATIENCE_SECONDS)
    finally:
        process.kill()
        process.communicate()
    assert (process.returncode, err) == (0, "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("missing", ["pyftpdlib", "OpenSSL", "rich"])
def test_demo_without_its_extra(missing: str) -> None:
    code = "from ftpsproxy.cli.main import main; sys.exit(main(['demo']))"
    program = f"import sys; sys.modules[{missing!r}] = None; {code}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=PATIENCE_SECONDS)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("ftpsproxy: ")
    assert "pip install 'ftpsproxy[demo]'" in done.stderr


SECURED = {
    "event": "upstream.secured",
    "tls_version": "TLSv1.3",
    "cipher": "TLS_AES_256_GCM_SHA384",
    "subject": "CN=x",
    "certificate_sha256": "ab" * 32,
}
WHOLE = {"event": "transfer.finished", "verb": "STOR", "outcome": "complete", "tls_version": "TLSv1.3", "resumed": True}


def test_report_is_not_content_with_less(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console(file=io.StringIO(), width=100)
    assert demo.report(console, ("a", "a", "a"), [SECURED, WHOLE, WHOLE])
    assert capsys.readouterr().err == ""
    cases: list[tuple[tuple[str, str, str], list[dict[str, Any]], str]] = [
        (("a", "b", "a"), [SECURED, WHOLE, WHOLE], "the bytes differ"),
        (("a", "a", "a"), [SECURED, WHOLE, {**WHOLE, "outcome": "torn"}], "a transfer was not complete"),
        (("a", "a", "a"), [SECURED, WHOLE], "a transfer was not complete"),
        (("a", "a", "a"), [SECURED, WHOLE, {**WHOLE, "tls_version": None}], "a leg was not protected"),
        (("a", "a", "a"), [WHOLE, WHOLE], "a leg was not protected"),
    ]
    for sums, events, told in cases:
        assert not demo.report(console, sums, events)
        assert told in capsys.readouterr().err
