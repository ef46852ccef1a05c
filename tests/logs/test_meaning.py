"""What lines of the version before mean, and what each failure does."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from ftpsproxy.ftp.data_failure import Cause
from ftpsproxy.observe import advice
from ftpsproxy.observe.events import EVENTS
from ftpsproxy.observe.fields import LIMITS_OF_CLIENTS, LIMITS_OF_SESSIONS, UPSTREAM_CAUSES
from tests.logs.lines import line, read, records
from tests.support import vocabulary
from tests.test_log import EVENTS as CALLS
from tests.test_log import in_a_session, logged, transfer


@pytest.fixture
def _in_a_session() -> Iterator[None]:
    with vocabulary.unwatched(), in_a_session():  # lines of the gateway, too, are written in a session here
        yield


@pytest.mark.usefixtures("_in_a_session")
@pytest.mark.parametrize("name", CALLS)
def test_a_line_of_the_version_before_says_the_same(name: str) -> None:
    """As far as it said it then: with only the old names of those that have one, it is as with the new."""
    text = logged("json", CALLS[name][1])
    said = json.loads(text)
    old = EVENTS[name].old.keys()
    if not old & said.keys():
        return
    (now,) = records(text, "events")
    new = {"cause", "detail", "remark", "listening", "drain_seconds", "said", "tls_version", "server", "server_address"}
    new |= {"handshake_seconds", "came_from", "lost"}
    if name == "session.reply":
        new = {"reply"}
    elif name == "transfer.finished":
        new = {"detail", "remark"}
    then = {key: value for key, value in said.items() if key in old or key not in new}
    (found,) = records(json.dumps(then) + "\n", "events")
    for key in ("cause", "detail", "tls_version", "server", "server_address", "handshake_seconds", "said", "came_from"):
        if key in now and name not in ("data.failed", "upstream.reply_ignored", "upstream.failed"):
            assert found.get(key) == now[key], key
    if name in ("gateway.ready", "gateway.reloaded"):
        assert [one["address"] for one in found["listening"]] == [one["address"] for one in now["listening"]]
        assert read(json.dumps(then) + "\n", "events").count("→") == 2


def test_who_and_where_come_from_the_lines_before_where_a_line_has_them_not() -> None:
    old = {key: value for key, value in json.loads(line()).items() if key not in ("user", "server", "directory")}
    text = line("upstream.secured", host="ftp.example.com", port=21, address="192.0.2.1", version="TLSv1.3", user=None)
    text = json.dumps({key: value for key, value in json.loads(text).items() if key not in ("server", "user")}) + "\n"
    text += line("session.login", ok=True, reply=230, user="tester")
    text += json.dumps({**old, "outcome": "torn", "reason": "broke"}) + "\n"
    (found,) = records(text, user="tester")
    assert (found["user"], found["server"], found["server_address"]) == ("tester", "ftp.example.com:21", "192.0.2.1")
    assert found["detail"] == "broke"
    assert records(text, user="other") == []


# --- why, and what to do --------------------------------------------------------------------------------------------


def test_every_cause_and_limit_has_its_words() -> None:
    assert advice._UPSTREAM.keys() == set(UPSTREAM_CAUSES)
    assert advice._DATA.keys() == {cause.value for cause in Cause}
    assert advice._LIMITS.keys() == {*LIMITS_OF_CLIENTS, *LIMITS_OF_SESSIONS}


@pytest.mark.usefixtures("_in_a_session")
@pytest.mark.parametrize("name", CALLS)
def test_every_failure_has_a_reason(name: str) -> None:
    for found in records(logged("json", CALLS[name][1], "warning"), "failures"):
        assert found["why"], name


@pytest.mark.usefixtures("_in_a_session")
def test_what_went_well_is_no_failure() -> None:
    said = "".join(logged("json", call) for call in (transfer, CALLS["session.opened"][1], CALLS["gateway.ready"][1]))
    assert records(said, "failures") == []


def test_what_an_event_advises_itself_comes_first() -> None:
    (found,) = records(line("data.failed", side="server", cause="refused", hint="look there"), "failures")
    assert found["advice"] == "look there"
