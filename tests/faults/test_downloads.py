"""Downloads: the client hears a clean end of file only when the file is whole and the server has said so."""

from __future__ import annotations

import hashlib
import time

import pytest

from tests.faults.profiles import Stages
from tests.faults.stage import FILE, Stage
from tests.support.bad_server import Control, Fault, Final, Quirks

REFUSED = (421, 425, 426, 450, 451)
"""What the gateway itself may say of a torn transfer."""


def _assert_torn(stage: Stage, quirks: Quirks, *, mode: str = "EPSV", codes: tuple[int, ...] = REFUSED) -> None:
    stage.play(quirks)
    with stage.logged_in() as client:
        downloaded, replies = client.download(mode=mode)
        assert downloaded.ended == "reset", f"{len(downloaded.data)} bytes, then {downloaded.ended}; {replies}"
        assert FILE.startswith(downloaded.data)
        assert replies[-1].code in codes, replies
        finished = stage.event("transfer.finished")
        assert finished["outcome"] == "torn"
        assert finished["detail"]
        assert finished["level"] == "warning"
        if quirks.control is Control.OPEN:
            assert client.command("PWD").code == 257
            assert client.command("QUIT").code == 221
    assert stage.event("session.closed")["torn"] == 1


@pytest.mark.parametrize("fault_at", [0, 16384, 100_000, None], ids=lambda at: f"at-{at}")
@pytest.mark.parametrize(
    "fault", [Fault.RESET, Fault.CUT_RECORD, Fault.CUT_RECORD_RESET], ids=lambda fault: fault.value
)
def test_a_226_after_a_cut_is_a_lie(stage: Stage, fault: Fault, fault_at: int | None) -> None:
    """U8, U26: the connection broke and the server says 226 all the same."""
    _assert_torn(stage, Quirks(fault=fault, fault_at=fault_at))


@pytest.mark.parametrize("mode", ["PASV", "PORT", "EPRT"])
def test_torn_in_every_client_mode(stage: Stage, mode: str) -> None:
    _assert_torn(stage, Quirks(fault=Fault.RESET, fault_at=50_000), mode=mode)


@pytest.mark.parametrize("fault", [Fault.CORRUPT, Fault.ALERT, Fault.PLAIN], ids=lambda fault: fault.value)
@pytest.mark.parametrize("fault_at", [0, 65536])
def test_a_broken_tls_stream_is_torn(stage: Stage, fault: Fault, fault_at: int) -> None:
    _assert_torn(stage, Quirks(fault=fault, fault_at=fault_at))


@pytest.mark.parametrize("final", [b"426 link lost\r\n", b"451 disk\r\n", b"550 no\r\n"], ids=["426", "451", "550"])
@pytest.mark.parametrize("fault", [Fault.NONE, Fault.FIN], ids=lambda fault: fault.value)
def test_an_error_after_the_data_tears_it(stage: Stage, fault: Fault, final: bytes) -> None:
    """U26: 4xx or 5xx after a proper end of the data; after a FIN without close_notify in mid-file."""
    at = None if fault is Fault.NONE else 70_000
    _assert_torn(stage, Quirks(fault=fault, fault_at=at, final=final), codes=(int(final[:3]),))


def test_an_error_long_after_the_data_still_tears_it(stage: Stage) -> None:
    """The end of the file is held until the server's verdict, and the data is not held with it."""
    stage.play(Quirks(final=b"451 virus found\r\n", final_when=Final.HELD))
    with stage.logged_in() as client:
        data = client.passive()
        assert client.command("RETR file").code == 150
        assert data.read(len(FILE)) == FILE
        stage.server.wait(lambda: stage.server.last.data[0].ended)
        assert stage.server.last.data[0].ended == "close_notify"  # answered at once, nothing waits for the client
        stage.server.release()
        assert data.read_to_end().ended == "reset"
        assert client.reply().code == 451


@pytest.mark.parametrize("control", [Control.FIN, Control.RESET, Control.SHUTS_DOWN], ids=lambda control: control.value)
@pytest.mark.parametrize(
    ("fault", "fault_at"),
    [(Fault.NONE, None), (Fault.NONE, 60_000), (Fault.FIN, 60_000), (Fault.RESET, 60_000), (Fault.STALL, 60_000)],
    ids=["whole", "goes-on", "fin", "reset", "stall"],
)
def test_without_its_control_connection_a_download_is_torn(
    stage: Stage, control: Control, fault: Fault, fault_at: int | None
) -> None:
    """U27: kill -9 of the server, a NAT that forgot, 421 in mid-transfer: there will be no verdict."""
    _assert_torn(stage, Quirks(fault=fault, fault_at=fault_at, control=control, final_when=Final.NEVER))


@pytest.mark.parametrize(
    "final", [b"550 permission denied\r\n", b"425 no session reuse, no data\r\n"], ids=["550", "425"]
)
def test_an_error_in_place_of_the_data_handshake_arrives_at_once(stage: Stage, final: bytes) -> None:
    """150, then an error, and never a TLS handshake on the data connection."""
    stage.play(Quirks(refuse_data_tls=final))
    started = time.monotonic()
    with stage.logged_in() as client:
        downloaded, replies = client.download()
        assert (downloaded.data, downloaded.ended) == (b"", "reset")
        assert [reply.code for reply in replies] == [150, int(final[:3])]
        assert client.command("PWD").code == 257
    assert time.monotonic() - started < 10  # the handshake's deadline is longer
    assert stage.event("transfer.finished")["outcome"] in ("torn", "refused")


@pytest.mark.parametrize("verb", ["RETR", "LIST", "STOR"])
def test_an_error_instead_of_150(stage: Stage, verb: str) -> None:
    stage.play(Quirks(replies={verb: b"550 nothing here\r\n"}))
    with stage.logged_in() as client:
        data = client.passive()
        assert client.command(f"{verb} file").code == 550
        data.close()
        stage.server.quirks = Quirks()
        downloaded, replies = client.download()
        assert (downloaded.data, downloaded.ended, replies[-1].code) == (FILE, "fin", 226)


def test_a_missing_close_notify_may_be_made_good_by_a_226(stages: Stages) -> None:
    """U8, close_notify = "reply": taken when the server vouches for it, and the log says so."""
    stage = stages("close_notify_never")
    stage.play(Quirks(fault=Fault.FIN))
    with stage.logged_in() as client:
        downloaded, replies = client.download()
        assert (downloaded.data, downloaded.ended, replies[-1].code) == (FILE, "fin", 226)
    finished = stage.event("transfer.finished")
    assert (finished["outcome"], finished["close_notify"], finished["bytes"]) == ("complete", False, len(FILE))


def test_a_server_that_said_close_notify_must_say_it_again(stages: Stages) -> None:
    """U8, close_notify = "reply": a wire that is cut between two records leaves nothing else to be seen, and the server
    means its 226."""
    stage = stages("close_notify_learned")
    stage.play(Quirks(), {b"file": FILE})
    with stage.logged_in() as client:
        assert client.download()[1][-1].code == 226
        stage.server.quirks = Quirks(fault=Fault.FIN)
        downloaded, replies = client.download("", verb="LIST")
        assert (downloaded.ended, replies[-1].code) == ("fin", 226)  # no LIST has said it yet
        downloaded, replies = client.download()
        assert (downloaded.ended, replies[-1].code) == ("reset", 426)
    assert stage.event("transfer.finished", 3)["outcome"] == "torn"


def test_close_notify_may_be_required(stages: Stages) -> None:
    """U8, close_notify = "require"."""
    stage = stages("close_notify_required")
    _assert_torn(stage, Quirks(fault=Fault.FIN))


def test_required_close_notify_is_satisfied_by_one(stages: Stages) -> None:
    stage = stages("close_notify_required")
    with stage.logged_in() as client:
        downloaded, replies = client.download()
        assert (downloaded.data, downloaded.ended, replies[-1].code) == (FILE, "fin", 226)
    assert stage.event("transfer.finished")["close_notify"] is True


@pytest.mark.parametrize("fault", [Fault.FIN, Fault.RESET], ids=lambda fault: fault.value)
def test_close_notify_may_be_ignored(stages: Stages, fault: Fault) -> None:
    """U8, close_notify = "ignore": even a reset at a record's end passes when the server says 226."""
    stage = stages("close_notify_ignored")
    stage.play(Quirks(fault=fault))
    with stage.logged_in() as client:
        downloaded, replies = client.download()
        assert (downloaded.data, downloaded.ended, replies[-1].code) == (FILE, "fin", 226)


@pytest.mark.parametrize("fault", [Fault.CUT_RECORD, Fault.CORRUPT], ids=lambda fault: fault.value)
def test_ignoring_close_notify_does_not_forgive_a_cut_record(stages: Stages, fault: Fault) -> None:
    _assert_torn(stages("close_notify_ignored"), Quirks(fault=fault, fault_at=50_000))


@pytest.mark.parametrize("size", [0, 1, len(FILE)])
@pytest.mark.parametrize("mode", ["EPSV", "PORT"])
def test_a_client_that_resets_behind_the_last_byte_hears_so(stage: Stage, mode: str, size: int) -> None:
    """The server says 226, and it was all sent; that the client has it nobody knows any more."""
    stage.play(Quirks(final_when=Final.LATE, final_delay=0.5), {b"file": FILE[:size]})
    with stage.logged_in() as client:
        data = client.data(mode)
        assert client.command("RETR file").code == 150
        assert data.read(size) == FILE[:size]
        data.reset()
        code = client.reply().code
        assert code in (425, 426)  # 425 where the gateway had not yet seen its call to the client succeed
        assert client.command("PWD").code == 257
    finished = stage.event("transfer.finished")
    assert (finished["outcome"], finished["reply"]) == ("torn", code)


@pytest.mark.parametrize(
    "quirks",
    [
        Quirks(),
        Quirks(preliminary=b"125 here it comes\r\n"),
        Quirks(final=b"250 done\r\n"),
        Quirks(final_when=Final.EARLY),
        Quirks(final_when=Final.LATE, final_delay=0.5),
        Quirks(preliminary=b"150-many\r\n words\r\n150 now\r\n"),
    ],
    ids=["plain", "125", "250", "early-226", "late-226", "long-150"],
)
@pytest.mark.parametrize("size", [0, 1, len(FILE)])
def test_whole_downloads(stage: Stage, quirks: Quirks, size: int) -> None:
    """U18, U26: what servers say around a good transfer, and empty files."""
    stage.play(quirks, {b"file": FILE[:size]})
    with stage.logged_in() as client:
        downloaded, replies = client.download()
        assert (downloaded.data, downloaded.ended) == (FILE[:size], "fin")
        assert replies[-1].good
        assert client.command("PWD").code == 257
    finished = stage.event("transfer.finished")
    assert (finished["outcome"], finished["bytes"], finished["close_notify"]) == ("complete", size, True)
    stage.server.wait(lambda: stage.server.last.data[0].ended == "close_notify")


def test_a_download_without_a_150(stage: Stage) -> None:
    """Some servers say nothing but 226; the data connection still has to show what it carries."""
    stage.play(Quirks(preliminary=b"226 no 150 from me\r\n", final_when=Final.NEVER))
    with stage.logged_in() as client:
        data = client.passive()
        client.send(b"RETR file\r\n")
        downloaded = data.read_to_end()
        assert (downloaded.data, downloaded.ended, client.reply().code) == (FILE, "fin", 226)


def test_the_final_reply_waits_for_a_slow_client(stage: Stage) -> None:
    """An early 226 is not passed on while the client still has bytes to come; and no more than a bound is buffered."""
    body = bytes(range(256)) * (96 << 10)
    stage.play(Quirks(final_when=Final.EARLY), {b"file": body})
    with stage.logged_in(receive_buffer=8192) as client:
        data = client.passive()
        assert client.command("RETR file").code == 150
        assert data.read(1000) == body[:1000]
        assert client.quiet()
        assert stage.server.last.data[0].sent < len(body)  # 24 MiB fit into no buffer on the way
        downloaded = data.read_to_end()
        assert (downloaded.ended, len(downloaded.data) + 1000) == ("fin", len(body))
        assert client.reply().code == 226


def test_a_silent_client_does_not_hear_226_for_what_lies_in_our_buffers(stages: Stages) -> None:
    """The server's part is done, all bytes are in the kernel here; the client takes none, so it has no whole file."""
    stage = stages("hasty")
    with stage.logged_in(receive_buffer=4096) as client:
        data = client.passive()
        assert client.command("RETR file").code == 150
        stage.server.wait(lambda: stage.server.last.data[0].over)
        assert client.quiet()
        assert client.reply().code == 426
        assert data.read_to_end().ended == "reset"
        assert client.command("PWD").code == 257
    finished = stage.event("transfer.finished")
    assert (finished["outcome"], finished["reply"]) == ("torn", 426)
    assert finished["detail"] == "the client took no bytes for 1.5 seconds"


@pytest.mark.parametrize("how", ["reset", "gone"])
def test_a_client_that_breaks_off_while_our_buffers_drain(stages: Stages, how: str) -> None:
    stage = stages("debug")
    with stage.logged_in(receive_buffer=4096) as client:
        data = client.passive()
        assert client.command("RETR file").code == 150
        stage.server.wait(lambda: stage.server.last.data[0].over)  # it has heard our end: all bytes have been passed on
        stage.wait(lambda: any(reply["code"] == 226 for reply in stage.events("session.reply")), "the verdict")
        if how == "reset":
            data.reset()
            assert client.reply().code == 426
            assert client.command("PWD").code == 257
        else:
            client.reset()  # of its control connection alone: what has its verdict is carried through
            assert data.read_to_end().ended == "fin"
    assert stage.event("transfer.finished")["outcome"] == ("torn" if how == "reset" else "complete")


@pytest.mark.parametrize("verb", ["RETR", "XRETR"])
@pytest.mark.parametrize("how", ["fin", "reset", "reset with a command held"])
def test_a_lost_control_connection_tears_the_download(stage: Stage, verb: str, how: str) -> None:
    """Also that of a verb nobody knows, which might have been an upload."""
    big = FILE * 40
    stage.play(Quirks(extra_data_verbs={"XRETR": big}), {b"file": big})
    with stage.logged_in(receive_buffer=4096) as client:
        data = client.passive()
        assert client.command(f"{verb} file").code == 150
        assert data.read(1000) == big[:1000]
        if "held" in how:
            client.send(b"CWD x\r\n")
            time.sleep(0.1)  # the gateway holds it
        client.close() if how == "fin" else client.reset()
        time.sleep(1.5 if "held" in how else 0)  # as long as until the next look at a client that is not heard
        assert data.read_to_end().ended == "reset"
    assert stage.event("transfer.finished")["outcome"] == "torn"


def test_the_digest_of_a_download_stands_in_the_log(stages: Stages) -> None:
    stage = stages("digest")
    with stage.logged_in() as client:
        client.download()
        client.upload(FILE[:1000], "up")
    assert stage.event("transfer.finished")["sha256"] == hashlib.sha256(FILE).hexdigest()
    assert stage.event("transfer.finished", 2)["sha256"] == hashlib.sha256(FILE[:1000]).hexdigest()


def test_a_client_that_resets_its_download_leaves_no_trace(stage: Stage) -> None:
    """The server is told, by a reset too, and the session goes on."""
    body = bytes(64 << 20)  # more than all the kernels on the way keep
    stage.play(Quirks(), {b"file": body})
    with stage.logged_in() as client:
        data = client.passive()
        assert client.command("RETR file").code == 150
        data.read(50_000)
        data.reset()
        assert client.reply().code in (426, 451)
        assert client.command("PWD").code == 257
    assert stage.event("transfer.finished")["outcome"] == "torn"
    stage.server.wait(lambda: stage.server.last.over)
    assert stage.server.last.data[0].sent < len(body)
