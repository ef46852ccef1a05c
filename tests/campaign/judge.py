"""The verdict on one case. The truth is what the wires saw the gateway be told, and nothing the gateway says of itself.

What can't be known from the gateway's place is no fault of it, and counted apart:

- A client leg cut by FIN in mid-upload is a client that has ended its file there (RFC 959: the end is the end of the
  connection). What the wire passed on must then be what the server has.
- A program that is killed ends its connections as one that closes them, and Linux closes the newest first: the data,
  then control, exactly as a camera that is done. With bytes still queued in its kernel the data's FIN comes last, for
  both of them.
- A connection cut after the gateway's own FIN has come in: by then the transfer was over.
- A server that takes a cut TLS stream for whole and says 2xx, when the gateway had sent it all.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

from tests.campaign.cases import Case
from tests.campaign.links import Link

_RACE_SECONDS = 0.05
"""A reply this soon after a cut was under way already."""


@dataclass(slots=True)
class Played:
    """All that is known of a case that was played."""

    case: Case
    name: str
    links: list[Link]
    fired_at: float
    client: dict[str, Any] | None  # None: it was killed
    stored: bytes | None
    content: bytes | None  # None for listings
    listing: tuple[int, str] | None
    server_says: bool | None
    events: list[dict[str, Any]]
    seconds: float
    hung: str = ""
    ours: bool = True
    beside: list[str] = field(default_factory=list)
    crashed: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Verdict:
    """``faults`` must be empty; ``notes`` are what could not be known, or is worth a look."""

    faults: dict[str, str] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    fired: bool = False
    whole: bool = False
    close_notify: bool | None = None  # of a transfer that the gateway calls complete


def final_reply(client: dict[str, Any] | None) -> tuple[int, float]:
    """The code of the transfer's final reply and when it came; 0 if none came."""
    if client is None or not client["started"]:
        return 0, 0.0
    codes = client["codes"]
    start = max(index for index, (code, _, _) in enumerate(codes) if code < 200)
    for code, at, _ in codes[start + 1 :]:
        return int(code), float(at)
    return 0, 0.0


def _link(links: list[Link], leg: str, channel: str) -> Link | None:
    found = [link for link in links if (link.leg, link.channel) == (leg, channel)]
    return found[-1] if found else None


def judge(played: Played) -> Verdict:
    """The whole verdict."""
    verdict = Verdict(fired=bool(played.fired_at))
    _plaintext(played, verdict)
    if played.hung:
        verdict.faults["hung"] = played.hung
    if played.beside:
        verdict.faults["disturbed"] = "; ".join(played.beside)
    if played.crashed:
        verdict.faults["traceback"] = played.crashed[0]
    if played.case.upload:
        _upload(played, verdict)
    else:
        _download(played, verdict)
    finished = [event for event in played.events if event.get("event") == "transfer.finished"]
    if finished and finished[-1]["outcome"] == "complete":
        verdict.close_notify = bool(finished[-1].get("close_notify"))
    case, client = played.case, played.client
    expected = not verdict.fired and case.rude in ("", "quit", "leave", "leave-half") and client is not None
    if expected and not verdict.whole and not verdict.faults and not verdict.notes:
        verdict.faults["whole_as_torn"] = _story(played)
    return verdict


def _plaintext(played: Played, verdict: Verdict) -> None:
    for link in played.links:
        if link.leg != "upstream":
            continue
        up = link.ways["up"]
        records = up.records
        clear = records.first[:1] not in (b"", b"\x16") or records.wrong
        if link.channel == "control":
            # mod_proxy asks for FEAT first: that gives nothing away, but what it hears may be forged.
            said = up.head if played.ours else up.head.removeprefix(b"FEAT\r\n")
            clear = clear or not b"AUTH TLS\r\n".startswith(said)
        if clear:
            verdict.faults["plaintext"] = f"{link.channel}: {up.head!r} {records.first!r}"


def _story(played: Played) -> str:
    """What happened, in one line."""
    client = played.client or {}
    finished = [event for event in played.events if event.get("event") == "transfer.finished"]
    log = " | ".join(f"{event['outcome']} {event['bytes']} {event['reason']}" for event in finished)
    stored = "no file" if played.stored is None else f"{len(played.stored)} bytes stored"
    codes = " ".join(str(code) for code, _, _ in client.get("codes", ()))
    last = client["codes"][-1][2] if client.get("codes") else ""
    received, data_end = client.get("received"), client.get("data_end")
    seen = stored if played.case.upload else f"{received} bytes received"
    says = played.server_says
    return (
        f"{seen}, data {data_end or '-'}, control {client.get('control_end') or '-'}, replies {codes} ({last}), "
        f"server says {says}, log: {log} {client.get('trouble', '')}"
    )


# --- uploads ------------------------------------------------------------------------------------------------------


def _upload(played: Played, verdict: Verdict) -> None:
    content = played.content
    assert content is not None
    stored = played.stored
    data, control = _link(played.links, "client", "data"), _link(played.links, "client", "control")
    upstream = _link(played.links, "upstream", "data")
    code, _ = final_reply(played.client)
    told_whole = 200 <= code < 300
    whole = stored == content
    verdict.whole = whole and (told_whole or (played.client is not None and "leave" in played.case.rude))
    if stored is not None and not content.startswith(stored):
        verdict.faults["corrupt"] = _story(played)
        return
    if data is None:
        if told_whole:
            verdict.faults["torn_as_whole"] = "2xx without a data connection: " + _story(played)
        return
    up = data.ways["up"]
    # Ended by the gateway as an end of file upstream: close_notify, then FIN; and not by us.
    ended_there = upstream.ways["up"].told if upstream is not None else None
    cut_there = upstream is not None and upstream.cut is not None
    closed = upstream is not None and upstream.ways["up"].records.close_notify and upstream.ways["up"].source_ended
    sent_all_there = closed or (cut_there and upstream is not None and upstream.ended_before_cut)
    gateway_ended = closed and (ended_there is None or cut_there or ended_there.how == "fin")
    fin = up.told is not None and up.told.how == "fin"
    control_end = control.ways["up"].told if control is not None else None
    in_order = fin and (control_end is None or (up.told is not None and up.told.order < control_end.order))
    if fin and ended_there is not None and up.told is not None and up.told.order > ended_there.order:
        in_order = False  # the gateway had ended it before
    short = up.passed < len(content)
    killed = played.client is None
    if gateway_ended and not in_order:
        if fin and not short:
            verdict.notes["control ended first, file whole all the same"] = ""
        elif fin and data.queued_at_control_end:
            verdict.notes["unknowable: killed with bytes queued, taken for whole"] = _story(played)
        else:
            why = "no end of the client's data" if not fin else "its control connection ended before"
            verdict.faults["torn_as_whole"] = f"ended upstream: {why}: {up.passed} bytes: {_story(played)}"
            return
    if gateway_ended and fin and not cut_there and played.server_says and stored != content[: up.passed]:
        verdict.faults["torn_as_whole"] = "ended upstream before all was sent: " + _story(played)
        return
    if fin and short and in_order:
        verdict.notes["unknowable: FIN in mid-upload" + (", client killed" if killed else "")] = ""
        if told_whole and stored != content[: up.passed]:
            verdict.faults["torn_as_whole"] = _story(played)
        return
    if told_whole and not whole:
        if cut_there and sent_all_there:
            verdict.notes["unknowable: server took a cut stream for whole"] = _story(played)
        else:
            verdict.faults["torn_as_whole"] = _story(played)
    if not gateway_ended and not verdict.fired and control_end is not None:
        if data.queued_at_control_end:
            verdict.notes["unknowable: left with bytes queued, taken for torn"] = ""
        elif in_order and not short and not whole:
            verdict.faults["whole_as_torn"] = "left after its end: " + _story(played)


# --- downloads and listings ---------------------------------------------------------------------------------------


def _download(played: Played, verdict: Verdict) -> None:
    client = played.client
    data = _link(played.links, "client", "data")
    if client is None or data is None:
        return
    down = data.ways["down"]
    size, digest = played.listing or (len(played.content or b""), hashlib.sha256(played.content or b"").hexdigest())
    whole = client["received"] == size and (client["sha256"] == digest)
    code, at = final_reply(client)
    told_whole = 200 <= code < 300
    verdict.whole = whole and told_whole and client["data_end"] == "fin"
    if not client["matches"]:
        verdict.faults["corrupt"] = _story(played)
        return
    ours = down.told is not None and down.told.cut
    if client["data_end"] == "fin" and not whole and not ours:
        verdict.faults["torn_as_whole"] = "FIN: " + _story(played)
        return
    logged = [event["outcome"] for event in played.events if event.get("event") == "transfer.finished"]
    if told_whole and logged and logged[-1] != "complete":
        verdict.faults["reset_as_whole"] = "the client heard 2xx, the log says torn: " + _story(played)
        return
    if not told_whole or (data.reset_at and at - data.reset_at < _RACE_SECONDS and data.cut is None):
        return
    if data.ended_before_cut:
        if not whole:
            verdict.notes["unknowable: cut behind the gateway's FIN"] = ""
        return
    if data.cut is not None and at - data.cut_at < _RACE_SECONDS:
        return
    if data.cut in ("silence", "fin"):
        # Acknowledged by the wire's kernel: to the gateway it has arrived.
        whole = whole or down.passed == size or (data.cut == "silence" and down.taken + data.unread >= size)
    if data.cut == "rst" or (data.cut is None and data.reset_at and at - data.reset_at > _RACE_SECONDS):
        verdict.faults["reset_as_whole"] = f"{code} long after a reset: " + _story(played)
    elif not whole and data.cut == "silence" and client["data_end"] != "fin":
        # It had been handed to the kernel, FIN and all, when 2xx was said; the client saw no end of it.
        verdict.notes["2xx with bytes still in the gateway's kernel"] = _story(played)
    elif not whole and client["data_end"] != "closed":
        verdict.faults["torn_as_whole"] = _story(played)
    elif not whole:
        # Closed early by the client, with a FIN: all that had been sent had been read, or had not come yet.
        verdict.notes["unknowable: client closed early"] = ""
