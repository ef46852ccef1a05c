"""What must never be, whatever the peers do, judged from outside: by what they have seen, and by the log.

Only what is certain counts. Whole is what a peer has sent and ended properly: a client by FIN, a server by
close_notify, or by FIN alone where a SIZE it has said agrees, or where it was a listing.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

from tests.campaign.links import Records
from tests.mutants.cases import SETTINGS, Case
from tests.mutants.seen import ClientData, SeenClient, SeenServer, ServerData
from tests.mutants.steps import PASSWORD
from tests.support.gateway import Event

_AUTH = re.compile(rb"(AUTH [A-Z-]+\r\n)*")
_UP = (b"STOR", b"STOU", b"APPE")


def judge(case: Case, client: SeenClient, servers: list[SeenServer], events: list[Event]) -> list[str]:
    """What was wrong."""
    faults = [*_crashes(events), *_secrets(client, events)]
    servers = [*servers[:1], *(server for server in servers[1:] if not _only_asks(server))]
    for server in servers:
        faults += _in_clear(case, server)
    if len(servers) > 1:
        faults.append(f"{len(servers)} connections to the server for one client")
    in_blocks = any(re.match(rb"MODE\W+[^S\W]", line.strip(), re.IGNORECASE) for line in client.said)
    if not in_blocks:  # there a file ends in its data, which the peers here know nothing of
        faults += _torn_as_whole(case, client, servers, events)
    return faults


def _crashes(events: list[Event]) -> Iterable[str]:
    for event in events:
        if event["event"] == "session.crashed":
            yield f"crashed: {event.get('traceback')}"


def _secrets(client: SeenClient, events: list[Event]) -> Iterable[str]:
    """The password, where it was said behind PASS."""
    lines = [line for line in b"".join(client.said).split(b"\n") if PASSWORD.encode() in line]
    if all(re.match(rb"PASS [^\r]*\r?$", line) for line in lines) and PASSWORD in str(events):
        yield "the password is in the log"


def _only_asks(server: SeenServer) -> bool:
    """Whether this is the connection by which a silent server is asked what it is: the beginning of TLS, perhaps empty
    lines, and no more."""
    raw = bytes(server.raw).removesuffix(b"\r\n\r\n")
    records = Records()
    records.feed(raw)
    return raw.startswith(b"\x16\x03") and not records.wrong and not server.secured


def _in_clear(case: Case, server: SeenServer) -> Iterable[str]:
    raw = bytes(server.raw)
    if not SETTINGS[case.setting].get("implicit"):
        raw = raw[_AUTH.match(raw).end() :]  # type: ignore[union-attr] # it matches nothing at least
    records = Records()
    records.feed(raw)
    if records.wrong and not b"AUTH TLS\r\n".startswith(raw):
        yield f"upstream, outside TLS: {bytes(server.raw[:200])!r}"
    if server.secured and not server.good_certificate:
        yield "TLS with a bad certificate"
    for data in server.data:
        if data.in_clear:
            yield f"upstream data, outside TLS: {data.in_clear[:200]!r}"
        if not data.good_certificate and (data.secured or data.received):
            yield "data to a bad certificate"


def _torn_as_whole(case: Case, client: SeenClient, servers: list[SeenServer], events: list[Event]) -> Iterable[str]:
    server = servers[0] if servers else SeenServer()
    uploads = [data for data in server.data if data.verb in _UP]
    downloads = [data for data in server.data if data.verb not in _UP]
    sent_whole = [bytes(data.sent) for data in client.data if data.fin]

    for data in uploads:
        if data.secured and data.ended == "close_notify" and not data.first and bytes(data.received) not in sent_whole:
            yield f"an upload of {len(data.received)} bytes was ended well, no such file was"
    for mine in client.data:
        got = bytes(mine.received)
        if got and mine.ended == "fin" and not any(_may_be_whole(case, server, data, got) for data in downloads):
            yield f"a download of {len(got)} bytes was ended by FIN, no such file was ended well"
    for line in client.claims:
        if not client.data:
            yield f"{line!r} has succeeded without a data connection"
        elif line[:4].upper() in _UP:
            if not any(_arrived(mine, uploads) for mine in client.data):
                yield f"{line!r} has succeeded, and no file has arrived whole"
        elif all(mine.ended == "reset" for mine in client.data):
            yield f"{line!r} has succeeded, and its data connection was reset"
    for event in events:
        if event["event"] == "transfer.finished":
            yield from _told(case, event, client, server)


def _may_be_whole(case: Case, server: SeenServer, data: ServerData, got: bytes) -> bool:
    if data.whole is not None:
        return data.whole == got
    if data.bare is None or SETTINGS[case.setting].get("close_notify") == "require":
        return False
    if data.verb != b"RETR":
        return data.bare == got
    said = b"".join(server.said)
    sizes = {int(size) for size in re.findall(rb"^213[ -](\d{1,12})", said, re.MULTILINE)}
    offsets = {0} | {int(line.split()[1]) for line in server.commands if re.match(rb"REST \d{1,12}\s*$", line)}
    return data.bare == got and any(len(got) == size - offset for size in sizes for offset in offsets)


def _arrived(mine: ClientData, uploads: list[ServerData]) -> bool:
    if mine.fin and any(data.ended == "close_notify" and data.received == mine.sent for data in uploads):
        return True
    return mine.fin and any(data.first or data.spoilt for data in uploads)  # a server that lies is believed


def _told(case: Case, event: Event, client: SeenClient, server: SeenServer) -> Iterable[str]:
    """One transfer in the log."""
    what = f"{event['verb']} of {event['bytes']} bytes is {event['outcome']} in the log"
    reply = event.get("reply")
    if (event["outcome"] == "complete") != (reply is not None and 200 <= reply < 300):
        yield f"{what}, its reply {reply}"
    if event["outcome"] != "complete":
        return
    if event["direction"] == "upload":
        if not any(data.fin and _same(bytes(data.sent), event) for data in client.data):
            yield f"{what}, no such file was ended by FIN"
    elif event["direction"] == "download":
        wholes = [
            whole
            for data in server.data
            if (whole := data.whole if data.whole is not None else data.bare) is not None
            and _may_be_whole(case, server, data, whole)
        ]
        if not any(_same(whole, event) for whole in wholes):
            yield f"{what}, no such file was ended well"
        elif not any(_had(data, whole) for data in client.data for whole in wholes if _same(whole, event)):
            yield f"{what}, the client has not had it"


def _had(data: ClientData, whole: bytes) -> bool:
    if data.ended == "reset":
        return False
    return bytes(data.received) == whole if data.ended else whole.startswith(bytes(data.received))


def _same(content: bytes, event: Event) -> bool:
    if len(content) != event["bytes"]:
        return False
    return event.get("sha256") in (None, hashlib.sha256(content).hexdigest())
