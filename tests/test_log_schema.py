"""The log's schema: it is one, it stands in the package, it holds for every event, and for nothing else."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from ftpsproxy.cli.main import main
from ftpsproxy.ftp.commands import Direction
from ftpsproxy.ftp.data_failure import Cause
from ftpsproxy.ftp.orders import Ending, HangUp, Transfer
from ftpsproxy.observe import dictionary, log, schema
from ftpsproxy.observe.events import ABOUT_A_FILE, EVENTS, IN_A_CHAIN, IN_A_SESSION, IN_EVERY_LINE, Of
from ftpsproxy.observe.fields import FIELDS, UPSTREAM_CAUSES
from ftpsproxy.observe.old_names import OLD
from tests.support import vocabulary
from tests.test_log import EVENTS as CALLS
from tests.test_log import logged, session_in
from tests.write_vocabulary import with_events

ROOT = Path(__file__).parents[1]
VALID = Draft202012Validator(schema.schema())


def begin() -> None:
    log.bind("0123456789ab", "10.0.0.1", "scanners", "archive")
    log.configure("json", "info", io.StringIO())
    session_in()


@pytest.fixture(autouse=True)
def _in_a_session() -> Iterator[None]:
    begin()
    yield
    log.unbind()
    log.configure("json", "info", io.StringIO())


def said(event: str) -> dict[str, Any]:
    """A line of that event, as it is written where it belongs."""
    if EVENTS[event].of is not Of.SESSION:
        log.unbind()
    found: dict[str, Any] = json.loads(logged("json", CALLS[event][1]))
    begin()
    return found


def test_it_is_a_schema_and_stands_in_the_package() -> None:
    Draft202012Validator.check_schema(schema.schema())
    assert schema.FILE.read_text() == schema.text(), "the vocabulary has changed: python -m tests.write_vocabulary"
    assert json.loads(schema.text()) == json.loads(json.dumps(schema.schema()))


def test_it_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["logs", "--schema"]) == 0
    assert capsys.readouterr().out == schema.text()


def test_it_knows_every_event_the_log_can_say() -> None:
    chain = {"gateway.chain_begun", "gateway.chain_forked", "gateway.chain_ended"}
    said_while_writing = {"gateway.log_lost", "gateway.log_failing", "gateway.log_restored", *chain}
    assert EVENTS.keys() - said_while_writing == CALLS.keys()


@pytest.mark.parametrize("event", CALLS)
def test_no_name_stands_twice_in_a_line(event: str) -> None:
    """Of a client that waits, or is turned away, with or without a session."""
    for unbind in (False, True):
        begin()
        if unbind:
            log.unbind()
        with vocabulary.unwatched():
            pairs = json.loads(
                logged("json", CALLS[event][1]), object_pairs_hook=lambda pairs: [key for key, _ in pairs]
            )
        assert sorted(pairs) == sorted(set(pairs))


@pytest.mark.parametrize("event", CALLS)
def test_each_event_is_as_it_says(event: str) -> None:
    line = said(event)
    assert list(VALID.iter_errors(line)) == []
    assert vocabulary.fault(line) is None
    for changed in (
        {**line, "strange": 1},
        {**line, "level": "loud"},
        {**line, "event": event + "s"},
        {key: value for key, value in line.items() if key != "timestamp"},
        *({**line, name: [[]]} for name in line),
        *({key: value for key, value in line.items() if key != name} for name in EVENTS[event].always),
    ):
        assert list(VALID.iter_errors(changed)), changed
        assert vocabulary.fault(changed) is not None


def test_a_line_about_a_file_says_all_that_makes_it_stand_alone() -> None:
    for event in (name for name, one in EVENTS.items() if one.about_a_file):
        line = said(event)
        for name in ABOUT_A_FILE:
            assert list(VALID.iter_errors({key: value for key, value in line.items() if key != name}))
        assert list(VALID.iter_errors({**line, "directory": None})) == []


def test_each_field_is_used_and_each_that_is_used_is_described() -> None:
    used = {*IN_EVERY_LINE, *IN_A_CHAIN, *IN_A_SESSION, *ABOUT_A_FILE, "directory_relative", "suppressed"}
    for event in EVENTS.values():
        used |= {*event.always, *event.maybe}
        assert not event.old.keys() & {*event.always, *event.maybe}
        assert event.lists.keys() <= {*event.always, *event.maybe}
    assert used == FIELDS.keys()


def test_a_closed_list_of_an_event_is_part_of_its_fields() -> None:
    for event in EVENTS.values():
        for name, shape in event.lists.items():
            assert set(shape["enum"]) <= set(FIELDS[name].shape["enum"])


def test_each_old_name_is_written_and_marked() -> None:
    assert {name for name, event in EVENTS.items() if event.old} == OLD.keys()
    for name, event in EVENTS.items():
        properties = schema.schema()["$defs"][f"event.{name}"]["properties"]
        assert {one for one, shape in properties.items() if shape.get("deprecated")} == event.old.keys()
        if name in CALLS and name != "gateway.worker_lost":  # its reason is known now and then
            assert event.old.keys() <= said(name).keys(), name


def finished(**changed: Any) -> dict[str, Any]:
    order = Transfer(1, b"RETR", "a", Direction.DOWNLOAD)
    values: dict[str, Any] = dict.fromkeys(
        ("ttfb_seconds", "tls_version", "cipher", "resumed", "close_notify", "reply", "failed", "sha256")
    )
    values |= {"direction": "download", "bytes": 1, "seconds": 1.0, "client_mode": "", "upstream_mode": ""}
    text = logged("json", lambda: log.transfer_finished(order, log.facts(None), **{**values, **changed}))
    found: dict[str, Any] = json.loads(text)
    return found


@pytest.mark.parametrize(
    ("why", "remark"),
    [
        ("", None),
        ("client_gone_before_226", "client_gone_before_226"),
        ("proved by SIZE", "proved_by_size"),
        ("ended_in_band", "ended_in_band"),
    ],
)
def test_what_is_remarkable_of_a_whole_transfer_is_a_word(why: str, remark: str | None) -> None:
    line = finished(outcome="complete", why=why)
    assert (line.get("remark"), line.get("detail"), line["reason"]) == (remark, None, why)


def test_a_torn_transfer_says_why_in_a_word_and_in_words() -> None:
    line = finished(outcome="torn", why="the server broke it", failed=("server", Cause.BROKEN))
    assert (line["side"], line["cause"], line["detail"], line["reason"]) == (
        "server",
        "broken",
        "the server broke it",
        "the server broke it",
    )


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        (HangUp(Ending.QUIT), "quit"),
        (HangUp(Ending.CLIENT_GONE), "client gone"),
        (HangUp(Ending.CLIENT_GONE, "reset"), "client gone: reset"),
        (HangUp(Ending.SERVER_LOST, "reset"), "server lost: reset"),
        (HangUp(Ending.SERVER_FAREWELL, "421 bye"), "server: 421 bye"),
        (HangUp(Ending.STOPPED, "Too many commands."), "Too many commands."),
        (HangUp(Ending.UPSTREAM_FAILED, "expired"), "expired"),
        (HangUp(Ending.IDLE_TIMEOUT), "idle timeout"),
    ],
)
def test_the_end_of_a_session_is_a_word(end: HangUp, reason: str) -> None:
    call = lambda: log.session_closed(  # noqa: E731 - as the others are
        seconds=1.0, end=end, commands=1, transfers=0, torn=0, bytes_up=0, bytes_down=0
    )
    line = json.loads(logged("json", call))
    assert (line["cause"], line.get("detail", ""), line["reason"]) == (end.ending.value, end.detail, reason)


def test_every_word_of_a_failed_upstream_is_in_its_list() -> None:
    """As the code has them: by the classes that carry one, and the tables of TLS."""
    floors = ("ftp", "tls", "session", "serve")
    code = "\n".join(path.read_text() for one in floors for path in sorted((ROOT / "ftpsproxy" / one).rglob("*.py")))
    used = set(re.findall(r"\b(?:Refused|ServerRefused|_refuse|\.refuse)\(\s*\"(\w+)\"", code))
    used |= set(re.findall(r"^    \d+: \(\s*\"(\w+)\"", (ROOT / "ftpsproxy/tls/errors.py").read_text(), re.MULTILINE))
    assert {"unknown_ca", "auth_refused", "connect_failed"} <= used
    assert used - set(UPSTREAM_CAUSES) == set()


def test_the_dictionary_stands_in_the_package_and_in_the_readme(capsys: pytest.CaptureFixture[str]) -> None:
    readme = (ROOT / "README.md").read_text()
    changed = "the vocabulary has changed: python -m tests.write_vocabulary"
    assert dictionary.FILE.read_text() == dictionary.text(), changed
    assert with_events(readme) == readme, changed
    assert main(["logs", "--dictionary"]) == 0
    assert capsys.readouterr().out == dictionary.text()


def test_the_dictionary_has_every_event_field_and_word_of_the_schema() -> None:
    page = dictionary.text()
    for name, made in schema.schema()["$defs"].items():
        kind, _, one = name.partition(".")
        (row,) = re.findall(rf"^\| `{re.escape(one)}` \| .*\|.*\|(?:.*\|)?$", page, re.MULTILINE)[:1]
        assert made.get("description", "") in row.replace("\\|", "|"), name
        if kind == "event":
            own = set(made["required"]) - {*IN_EVERY_LINE, *IN_A_SESSION, *ABOUT_A_FILE}
            assert {field for field in own if f"`{field}`" not in row} == set(), name
        assert {word for word in made.get("enum", ()) if f"`{word}`" not in row} == set(), name


def test_every_row_of_a_table_has_as_many_cells_as_its_head() -> None:
    for table in dictionary.text().split("\n\n"):
        rows = [line for line in table.splitlines() if line.startswith("|")]
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows}) <= 1, rows[:1]
