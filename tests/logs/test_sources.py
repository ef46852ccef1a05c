"""Where lines come from: packed files, rotated sets, pipes, a file that grows; and how reading ends."""

from __future__ import annotations

import errno
import fcntl
import gzip
import io
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from pathlib import Path
from typing import Any, ClassVar

import pytest

from ftpsproxy.cli.main import main
from ftpsproxy.observe import schema
from ftpsproxy.reading import sources
from tests.logs.lines import Captured, line
from tests.support import vocabulary

PATIENCE_SECONDS = 60.0
zstandard = sources._zstandard()


def test_packed_files_and_rotated_sets_in_order(tmp_path: Path, capfd: Captured) -> None:
    def at(hour: int) -> bytes:
        return line(timestamp=f"2026-11-28T{hour:02}:00:00.000Z", path=f"{hour}").encode()

    live = tmp_path / "g.log"
    live.write_bytes(at(5))
    (tmp_path / "g.log.1").write_bytes(at(4))
    (tmp_path / "g.log.2.gz").write_bytes(gzip.compress(at(1)) + gzip.compress(at(2)))
    (tmp_path / "g.log-20261128.zst").write_bytes(zstandard.compress(at(0)) + zstandard.compress(at(3)))
    (tmp_path / "other.log").write_bytes(at(9))

    def paths(*arguments: str) -> list[str]:
        assert main(["logs", "--json", *arguments]) == 0
        return [json.loads(one)["path"] for one in capfd.readouterr().out.splitlines()]

    assert paths(str(live)) == ["5"]
    assert paths("--rotated", str(live)) == ["0", "3", "1", "2", "4", "5"]
    assert paths(*(str(one) for one in sorted(tmp_path.glob("g.log*"), reverse=True))) == ["0", "3", "1", "2", "4", "5"]


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress])
def test_a_packed_file_that_is_cut_or_damaged_is_read_as_far_as_it_goes(
    pack: Any, tmp_path: Path, capfd: Captured
) -> None:
    whole = pack("".join(line(path=f"{number}{os.urandom(100).hex()}") for number in range(5000)).encode())
    for spoilt in (whole[: len(whole) // 2], whole[: len(whole) // 2] + b"\xff" * 5000):
        path = tmp_path / "g.log.gz"
        path.write_bytes(spoilt)
        assert main(["logs", str(path)]) == 1
        said, told = capfd.readouterr()
        assert re.search(r"\n[\d,]{3,} transfers, ", said)
        assert told.startswith(f"ftpsproxy: {path}: ")
        assert told.count("\n") == 1


@pytest.mark.parametrize("arguments", [["missing.log"], ["."], ["-", "x"], ["--follow", "x.gz"]])
def test_a_file_that_can_not_be_read_is_one_line(
    arguments: list[str], tmp_path: Path, capfd: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.gz").write_bytes(gzip.compress(b""))
    assert main(["logs", *arguments]) == 2
    said, told = capfd.readouterr()
    assert (said, told.count("\n")) == ("", 1)


def command(*arguments: str, **options: Any) -> subprocess.Popen[bytes]:
    program = [sys.executable, "-m", "ftpsproxy", "logs", *arguments]
    return subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)


def test_standard_input_that_breaks_is_named(capfd: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(io.RawIOBase):
        said: ClassVar = [line().encode()]

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: Any) -> int:
            if not self.said:
                raise OSError(errno.EIO, "Input/output error")
            text = self.said.pop()
            buffer[: len(text)] = text
            return len(text)

    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(Broken())))
    assert main(["logs", "-"]) == 1
    said, told = capfd.readouterr()
    assert "1 transfer, 1 complete" in said
    assert told == "ftpsproxy: standard input: input/output error\n"


def test_standard_input_is_shown_as_it_comes() -> None:
    with command("-", "--json", stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for number in range(3):
            process.stdin.write(line(path=str(number)).encode())
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["path"] == str(number)
        process.stdin.close()
        assert process.wait(PATIENCE_SECONDS) == 0


def test_a_pipe_by_its_name(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with command(str(fifo), "--json") as process:
        fifo.write_bytes(gzip.compress(line().encode()))
        out, _ = process.communicate(timeout=PATIENCE_SECONDS)
    assert json.loads(out)["path"] == "a.pdf"


def test_follow_goes_on_through_rotation_until_ctrl_c(tmp_path: Path) -> None:
    """Moved, with lines still written to it behind the move; emptied (copytruncate); a line in two parts."""
    path = tmp_path / "g.log"
    path.write_text(line(path="0"))
    with command(str(path), "--follow", "--json") as process:
        try:
            assert process.stdout is not None
            stream = process.stdout

            def heard() -> str:
                found: str = json.loads(stream.readline())["path"]
                return found

            assert heard() == "0"
            with path.open("a") as file:
                text = line(path="1")
                file.write(text[:20])
                file.flush()
                file.write(text[20:])
                file.flush()
                assert heard() == "1"
                path.rename(tmp_path / "g.log.1")
                file.write(line(path="2") + line(path="cut")[:40])
            path.write_text(line(path="3"))
            assert [heard(), heard()] == ["2", "3"]
            os.truncate(path, 0)
            with path.open("a") as file:
                file.write(line(path="4").replace(", ", ","))
            assert heard() == "4"
            process.send_signal(signal.SIGINT)
            _, told = process.communicate(timeout=PATIENCE_SECONDS)
            assert process.returncode == 0
            assert told == b"ftpsproxy: 1 line damaged\n"
        finally:
            process.kill()


def test_ctrl_c_ends_it_without_a_word(tmp_path: Path) -> None:
    with command("-", "--json", stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(line().encode())
        process.stdin.flush()
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_SECONDS) == 130
        assert process.stderr is not None
        assert process.stderr.read() == b""


def test_a_reader_that_has_seen_enough_is_no_fault(tmp_path: Path) -> None:
    path = tmp_path / "g.log"
    path.write_text(line() * 20_000)
    with command(str(path), "--json") as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(PATIENCE_SECONDS) == 0
        assert process.stderr is not None
        assert process.stderr.read() == b""


@pytest.mark.parametrize("sober", [False, True])
def test_on_a_terminal_it_keeps_to_its_width_and_to_no_color(tmp_path: Path, sober: bool) -> None:
    path = tmp_path / "g.log"
    path.write_text(line() + line(outcome="torn", detail="the server broke it " * 10, path="x" * 200))
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 70, 0, 0))
    kept = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLUMNS")}
    program = [sys.executable, "-m", "ftpsproxy", "logs", "--events", str(path)]
    try:
        subprocess.run(
            program,
            stdout=theirs,
            check=True,
            timeout=PATIENCE_SECONDS,
            env=kept | ({"NO_COLOR": "1"} if sober else {}),
        )
        shown = os.read(ours, 65536).decode()
    finally:
        os.close(ours)
        os.close(theirs)
    assert ("\x1b[31m" in shown) is not sober
    plain = re.sub("\x1b\\[\\d*m", "", shown).splitlines()
    assert len(plain[2]) == 70
    assert "x" * 5 in plain[2]
    assert "torn: the server" in plain[2]
    assert all(len(one) <= 70 for one in plain[:3])


@pytest.mark.parametrize("closed", [0, 1])
def test_without_standard_input_or_output_there_is_no_traceback(tmp_path: Path, closed: int) -> None:
    path = tmp_path / "g.log"
    path.write_text(line())
    shell = f'exec "$0" -m ftpsproxy logs {"" if closed == 0 else path} {closed}>&-'
    program = ["sh", "-c", shell, sys.executable]
    done = subprocess.run(program, capture_output=True, text=True, timeout=PATIENCE_SECONDS)
    assert (done.returncode, done.stdout) == (2 if closed == 0 else 0, "")
    assert done.stderr.count("\n") == (closed == 0)


def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "g.log"
    path.write_text(line())
    with open("/dev/full", "wb") as full:
        program = [sys.executable, "-m", "ftpsproxy", "logs", str(path)]
        done = subprocess.run(program, stdout=full, stderr=subprocess.PIPE, timeout=PATIENCE_SECONDS)
    assert done.returncode == 1
    assert done.stderr == b"ftpsproxy: cannot write to standard output: no space left on device\n"


def test_without_its_extra_it_says_how_to_get_it(tmp_path: Path) -> None:
    code = "from ftpsproxy.cli.main import main; sys.exit(main(sys.argv[1:]))"
    program = [sys.executable, "-c", f"import sys; sys.modules['msgspec'] = None; {code}", "logs"]
    done = subprocess.run([*program, str(tmp_path)], capture_output=True, text=True, timeout=PATIENCE_SECONDS)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "ftpsproxy: to read a log: pip install 'ftpsproxy[logs]'\n"
    done = subprocess.run([*program, "--schema"], capture_output=True, text=True, timeout=PATIENCE_SECONDS)
    assert (done.returncode, done.stdout) == (0, schema.text())


# A process begins with the memory of the one it was forked from, so a small one starts it.
PEAK = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)
"""


def test_memory_does_not_grow_with_the_log(tmp_path: Path) -> None:
    """Peak of the process over 1 MB and over 50 MB of different sessions; the bound is far above what is needed."""
    with vocabulary.unwatched():
        peaks = []
        for size in (1_000_000, 50_000_000):
            path = tmp_path / "g.log"
            with path.open("w") as file:
                number = 0
                while file.tell() < size:
                    file.write(
                        "".join(line(session=f"{number + one:012x}", path=f"{number + one}") for one in range(1000))
                    )
                    number += 1000
            program = [sys.executable, "-c", PEAK, sys.executable, "-m", "ftpsproxy", "logs", str(path), "--sessions"]
            done = subprocess.run([*program, "--json"], capture_output=True, timeout=PATIENCE_SECONDS)
            peaks.append(int(done.stderr.split()[-1]))
    assert peaks[1] - peaks[0] < 60_000
    assert peaks[1] < 100_000
