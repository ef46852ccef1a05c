"""The log as evidence: what `--verify` says of a chained log that is whole, and of one that somebody has touched."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftpsproxy.cli.main import main
from ftpsproxy.observe import chain, log
from ftpsproxy.observe.chain import Chain
from ftpsproxy.reading.verifying import Verifier
from tests.logs.lines import Captured
from tests.support import vocabulary
from tests.support.certificates import Certificates
from tests.support.gateway import configuration, run_gateway, start_gateway
from tests.support.servers import pyftpdlib
from tests.test_log import in_a_session, transfer

KEY = b"0123456789abcdef0123456789abcdef"
Lines = list[bytes]


@pytest.fixture(autouse=True)
def _in_a_session() -> Iterator[None]:
    with in_a_session():
        yield


def chained(count: int = 6, key: bytes = b"") -> Lines:
    """A whole chain: its beginning, so many transfers, its end."""
    stream = io.StringIO()
    log.configure("json", "info", stream, chain=key)
    for number in range(1, count + 1):
        transfer(number=number, path=f"file {number}")
    log.flush()
    return stream.getvalue().encode().splitlines()


def findings(lines: Lines, key: bytes = b"", *, open: bool = False) -> list[str]:
    verifier = Verifier(key, open=open)
    found = [one for at, line in enumerate(lines, 1) for one in verifier.line(line, f"log:{at}")]
    return [one.replace(f"chain {writer}", "chain") for one in (*found, *verifier.end()) for writer in [_writer(one)]]


def _writer(finding: str) -> str:
    return finding.partition("chain ")[2][:16]


def test_a_chain_is_whole_and_says_so_itself() -> None:
    lines = chained()
    events = [json.loads(line) for line in lines]
    assert [one["seq"] for one in events] == list(range(1, 9))
    assert [events[0]["event"], events[-1]["event"]] == ["gateway.chain_begun", "gateway.chain_ended"]
    assert len({one["writer"] for one in events}) == 1
    assert [vocabulary.fault(one) for one in events] == [None] * 8
    assert findings(lines) == []


def test_a_chain_is_what_its_description_says() -> None:
    """Made again by other means than the gateway's."""
    lines = chained()
    before = hashlib.sha256(json.loads(lines[0])["writer"].encode()).hexdigest()
    for line in lines:
        body, _, rest = line.rpartition(b',"chain":"')
        before = hashlib.sha256(before.encode() + body).hexdigest()
        assert rest == f'{before}"}}'.encode()


def test_without_it_nothing_is_added() -> None:
    stream = io.StringIO()
    log.configure("json", "info", stream)
    transfer()
    log.flush()
    (line,) = stream.getvalue().splitlines()
    assert {"writer", "seq", "chain"}.isdisjoint(json.loads(line))


def _changed(lines: Lines) -> Lines:
    return [*lines[:3], lines[3].replace(b"file 3", b"file 8"), *lines[4:]]


def _other_chain(lines: Lines) -> Lines:
    old = json.loads(lines[3])["chain"].encode()
    return [*lines[:3], lines[3].replace(old, b"0" * 64), *lines[4:]]


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda x: x[:3] + x[4:], ["log:4: chain: line 4 is missing before this, whose own digest proves nothing"]),
        (
            lambda x: x[:2] + x[5:],
            ["log:3: chain: lines 3 to 5 are missing before this, whose own digest proves nothing"],
        ),
        (lambda x: x[1:], ["log:1: chain: line 1 is missing before this, whose own digest proves nothing"]),
        (_changed, ["log:4: chain: line 4 is changed, or not made with no key"]),
        (_other_chain, ["log:4: chain: line 4 is changed, or not made with no key"]),
        (lambda x: [*x[:3], x[4], x[3], *x[5:]], ["log:5: chain: line 4 is out of order, behind 5"]),
        (
            lambda x: [*x[:3], x[5], x[4], x[3], *x[6:]],
            [f"log:{at}: chain: line {seq} is out of order, behind 6" for at, seq in ((5, 5), (6, 4))],
        ),
        (lambda x: [*x[:4], x[3], *x[4:]], ["log:5: chain: line 4 is there twice"]),
        (
            lambda x: [*x[:3], x[3][:50], *x[4:]],
            [
                "log:4: of no chain: cut short, changed, or written by somebody else",
                "log:5: chain: line 4 is missing before this, whose own digest proves nothing",
            ],
        ),
        (
            lambda x: [*x[:3], b'{"event":"x"}', *x[3:]],
            ["log:4: of no chain: cut short, changed, or written by somebody else"],
        ),
        (
            lambda x: x[:-1],
            [
                "chain has no end behind line 7: lines are missing, the process was killed, or it still runs (--open)",
            ],
        ),
    ],
)
def test_each_kind_of_damage_is_said_once(damage: Callable[[Lines], Lines], said: list[str]) -> None:
    assert findings(damage(chained())) == said


def test_an_open_log_needs_no_beginning_and_no_end() -> None:
    lines = chained()
    assert findings(lines[2:-2], open=True) == []
    assert findings([*lines[2:4], *lines[5:-2]], open=True)


def _alone(line: bytes, writer: bytes = b"00000000000000aa") -> bytes:
    """The line as one of a chain that is not there, which takes no key."""
    return line.rpartition(b',"writer":')[0] + b',"writer":"' + writer + b'","seq":7,"chain":"' + b"0" * 64 + b'"}'


def test_a_line_that_somebody_has_put_into_an_open_log_is_found() -> None:
    """Without the key: its digest is of a line that nobody has."""
    lines = chained(key=KEY)
    said = ["log:5: chain: line 7 is the only one of it here, so that nothing proves it"]
    assert findings([*lines[2:-2], _alone(lines[3])], KEY, open=True) == said
    forged = lines[-1].replace(b',"writer"', b',"event":"transfer.finished","writer"')
    assert findings([*lines[2:-2], _alone(forged)], KEY, open=True) == said
    assert findings([*lines[2:-2], _alone(lines[-1])], KEY, open=True) == []  # a worker that was idle since


def test_what_an_open_log_does_not_prove_is_said(tmp_path: Path, capfd: Captured) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"\n".join(chained()[2:]) + b"\n")
    assert main(["logs", "--verify", "--open", str(path)]) == 0
    assert capfd.readouterr().out == (
        "whole: 6 lines of 1 chain, but for 1 line, each the first here of its chain, which nothing proves\n"
    )


def test_a_chain_whose_parent_was_taken_away_is_found() -> None:
    """With the parent's chain goes what names its other children."""
    parent = chain.new_writer()
    child = Chain(KEY, chain.new_writer(), parent)
    lines = []
    for event in ({"event": chain.BEGUN, "keyed": True, "forked_from": parent}, {"event": chain.ENDED}):
        line = {"timestamp": "2026-01-31T00:00:00.000Z", "level": "info", **event}
        lines.append(child.sealed(json.dumps(line, separators=(",", ":")).encode()))
        child.written()
    assert findings(lines, KEY) == ["log:1: chain, of the process that has started this one, is missing"]
    assert findings(lines, KEY, open=True) == []


def test_with_another_key_each_line_takes_no_longer_than_the_one_before() -> None:
    """Each line is then wrong, and what each next one can be chained to are more and more."""
    verifier = Verifier(b"another key that is long", open=False)
    for line in chained(100, KEY):
        list(verifier.line(line, "log:1"))
    assert max(len(state.before) for state in verifier._chains.values()) <= 16


def test_a_changed_line_behind_a_missing_one_that_comes_late_is_found() -> None:
    lines = _changed(chained())
    assert findings([*lines[:2], lines[3], lines[2], *lines[4:]]) == [
        "log:4: chain: line 3 is out of order, behind 4",
        "log:3: chain: line 4 is changed, or not made with no key",
    ]


@given(st.data())
def test_whatever_is_done_to_a_log_is_found(data: st.DataObject) -> None:
    lines = data.draw(st.sampled_from([WHOLE, KEYED]))
    key = KEY if lines is KEYED else b""
    assert findings(lines, key) == []
    spoilt = list(lines)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(spoilt) - 1))
        match data.draw(st.sampled_from(["remove", "swap", "twice", "byte", "cut"])):
            case "remove":
                del spoilt[at]
            case "swap":
                other = data.draw(st.integers(0, len(spoilt) - 1))
                spoilt[at], spoilt[other] = spoilt[other], spoilt[at]
            case "twice":
                spoilt.insert(data.draw(st.integers(0, len(spoilt))), spoilt[at])
            case "byte" if spoilt[at]:
                place = data.draw(st.integers(0, len(spoilt[at]) - 1))
                spoilt[at] = spoilt[at][:place] + bytes([spoilt[at][place] ^ 1]) + spoilt[at][place + 1 :]
            case _:
                spoilt[at] = spoilt[at][: data.draw(st.integers(1, max(1, len(spoilt[at]) - 1)))]
        if not spoilt:
            return
    assert bool(findings(spoilt, key)) is (spoilt != lines)


WHOLE, KEYED = chained(3), chained(3, KEY)
log.configure("json", "info", io.StringIO())


def test_a_key_that_is_missing_or_another_is_said_and_a_chain_cannot_be_made_without_it() -> None:
    lines = chained(key=KEY)
    assert findings(lines, KEY) == []
    assert findings(lines) == [
        "log:1: chain was made with a key: give it by --chain-key",
        "log:1: chain: lines 1 to 8 are changed, or not made with no key",
    ]
    assert findings(lines, b"another key that is long") == [
        "log:1: chain: lines 1 to 8 are changed, or not made with this key"
    ]
    forged = chained()
    assert findings(forged, KEY)[0] == "log:1: chain was made without a key"


def test_several_processes_in_one_file() -> None:
    """Their lines are mixed, and one of them is cut out of it."""
    first, second = chained(), chained()
    mixed = [line for pair in zip(first, second, strict=True) for line in pair]
    assert findings(mixed) == []
    assert len(findings(mixed[:5] + mixed[6:])) == 1


def test_lines_that_cannot_be_written_are_said_and_break_nothing(tmp_path: Path) -> None:
    """The disk is full for a while: in the middle of a line, too."""
    path = tmp_path / "log"
    real = os.write
    room = [10_000]

    def write(descriptor: int, data: bytes) -> int:
        if descriptor == 2:
            return len(data)
        if room[0] <= 0:
            raise OSError(28, "No space left on device")
        written = real(descriptor, data[: room[0]])
        room[0] -= written
        return written

    with path.open("w") as stream, pytest.MonkeyPatch.context() as patch:
        log.configure("json", "info", stream, chain=b"")
        patch.setattr(os, "write", write)
        for number in range(1, 31):
            transfer(number=number)
        room[0] = 1_000_000
        for number in range(31, 34):
            transfer(number=number)
        log.flush()
    lines = path.read_bytes().splitlines()
    (lost,) = (json.loads(line)["lost"] for line in lines if b"log_lost" in line)
    said = findings(lines)
    assert f"the log says that {lost} lines before this could not be written" in said[-1]
    assert len(said) == 2, said
    assert "of no chain" in said[0]
    assert len([line for line in lines if b"transfer.finished" in line and chain.read(line)]) == 33 - lost


def test_a_reader_that_stands_still_leaves_a_chain_that_goes_on() -> None:
    reader, writer = os.pipe()
    with os.fdopen(writer, "w") as stream, os.fdopen(reader, "rb") as pipe:
        log.configure("json", "info", stream, chain=b"")
        for number in range(1, 301):
            transfer(number=number, path="y" * 9000)
        lines: Lines = []
        while sum(json.loads(line).get("lost", b"transfer" in line) for line in lines) < 300:
            lines.append(pipe.readline().rstrip(b"\n"))
        log.flush()
        while b"chain_ended" not in lines[-1]:
            lines.append(pipe.readline().rstrip(b"\n"))
    found = findings(lines)
    assert found
    assert all("could not be written" in one for one in found)


def test_another_key_and_none_at_all_end_a_chain() -> None:
    stream = io.StringIO()
    for key in (KEY, b"", b""):
        log.configure("json", "info", stream, chain=key)
        transfer()
    log.configure("json", "info", stream)
    transfer()
    lines = stream.getvalue().encode().splitlines()
    assert findings(lines[:3], KEY) == []
    assert findings(lines[3:-1]) == []
    assert "chain" not in json.loads(lines[-1])


# --- the command ------------------------------------------------------------------------------------------------------


def test_the_command_says_what_is_wrong_across_rotation(tmp_path: Path, capfd: Captured) -> None:
    lines = chained()
    live, old = tmp_path / "g.log", tmp_path / "g.log.1"
    old.write_bytes(b"\n".join(lines[:4]) + b"\n")
    live.write_bytes(b"\n".join(lines[4:]) + b"\n")
    assert main(["logs", "--verify", "--rotated", str(live)]) == 0
    assert main(["logs", "--verify", str(live), str(old)]) == 0
    assert capfd.readouterr().out == "whole: 8 lines of 1 chain\n" * 2
    assert main(["logs", "--verify", str(live)]) == 1
    assert "lines 1 to 4 are missing" in capfd.readouterr().out
    assert main(["logs", "--verify", "--open", str(live)]) == 0
    live.write_bytes(b"")
    capfd.readouterr()
    assert main(["logs", "--verify", str(live)]) == 1
    assert "nothing is proved" in capfd.readouterr().out
    assert main(["logs", "--verify", str(tmp_path / "none")]) == 2
    assert main(["logs", "--verify", "--chain-key", str(tmp_path / "none"), str(live)]) == 2
    assert main(["logs", "--open", str(live)]) == 2
    assert capfd.readouterr().err.count("\n") == 3


@pytest.mark.parametrize("workers", [1, 2])
def test_a_gateway_leaves_a_whole_log_through_reload_and_end(
    workers: int, tmp_path: Path, certificates: Certificates, capfd: Captured
) -> None:
    """Each worker has a chain of its own, announced by the parent."""
    key = tmp_path / "key"
    key.write_bytes(KEY + b"\n")
    key.chmod(0o600)
    with pyftpdlib(certificates) as server:
        config = configuration(
            server.url,
            certificates.ca_file,
            log={"chain": True, "chain_key_file": str(key)},
            process={"workers": workers},
        )
        with run_gateway(config) as gateway:
            gateway.reload(config)
            gateway.signal(signal.SIGTERM)
            gateway.wait()
            text = gateway.text
    path = tmp_path / "log"
    path.write_text(text)
    assert main(["logs", "--verify", "--chain-key", str(key), str(path)]) == 0, capfd.readouterr().out
    assert f"of {'1 chain' if workers == 1 else '3 chains'}" in capfd.readouterr().out


def test_a_worker_that_is_killed_leaves_a_chain_without_an_end(
    tmp_path: Path, certificates: Certificates, capfd: Captured
) -> None:
    with (
        pyftpdlib(certificates) as server,
        start_gateway(server.url, certificates.ca_file, log={"chain": True}, process={"workers": 2}) as gateway,
    ):
        first = gateway.events("gateway.chain_forked")[0]
        os.kill(first["pid"], signal.SIGKILL)
        gateway.wait_for_event("gateway.worker_lost")
        gateway.wait_for_event("gateway.chain_forked", count=3)
        gateway.signal(signal.SIGTERM)
        gateway.wait()
        text = gateway.text
    path = tmp_path / "log"
    path.write_text(text)
    assert main(["logs", "--verify", str(path)]) == 1
    *found, last = capfd.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in found] == [f"chain {first['child']} has no end behind line 1"]
    assert last.endswith("of 4 chains")
