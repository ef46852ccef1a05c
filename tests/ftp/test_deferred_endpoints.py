"""The server's end of a data connection when it is put off: PRET, and a client's port used once more."""

import pytest

from ftpsproxy.ftp.addresses import Endpoint
from ftpsproxy.ftp.data_failure import Cause
from ftpsproxy.ftp.events import ClientListening, ClientLost, EndpointFailed, ServerDataReady
from ftpsproxy.ftp.protocol import Policy
from ftpsproxy.ftp.server_endpoint import UpstreamQuirks
from tests.ftp.play import CLIENT, Play

LISTENING = ClientListening(Endpoint("10.0.0.1", 3000))
READY = ServerDataReady()


def _pret(quirks: UpstreamQuirks | None = None, policy: Policy | None = None) -> Play:
    """Logged in, with a server that has said how it wants to be asked, and the client's PASV answered."""
    play = Play(policy, quirks).logged_in()
    play.client("PASV")
    assert play.server("550 PRET required before this") == ["ListenForClient"]
    assert play.happens(LISTENING) == ["C 227 Entering Passive Mode (10,0,0,1,11,184)"]
    return play


@pytest.mark.parametrize(
    "refusal", ["550 PRET required", "500-You need to use a client supporting\n500 pret", "503 PRET"]
)
@pytest.mark.parametrize("mode", ["auto", "epsv", "pasv"])
def test_pret_is_learned_and_said(mode: str, refusal: str) -> None:
    quirks = UpstreamQuirks()
    play = Play(Policy(client=CLIENT, data_mode=mode), quirks).logged_in()
    ask = "S PASV" if mode == "pasv" else "S EPSV"
    assert play.client("PASV") == ["DropEndpoints", ask]
    assert play.server(refusal) == ["ListenForClient"]
    play.happens(LISTENING)
    assert play.client("RETR a b") == ["S PRET RETR a b"]
    assert play.server("200 planned") == [ask]
    assert play.server("229 (|||2000|)")[0].startswith("connect ")
    assert play.happens(READY) == ["S RETR a b"]
    assert play.server("150 here") == ["begin 1 download", "C 150 here"]
    play.ended(1)
    play.server("226 done")
    # From now on, in every session of this upstream, the client's end comes first.
    assert play.client("EPSV") == ["DropEndpoints", "ListenForClient"]
    other = Play(Policy(client=CLIENT, data_mode=mode), quirks).logged_in()
    assert other.client("PORT 10,0,0,7,8,1") == [
        "DropEndpoints",
        "client at 10.0.0.7:2049",
        "C 200 PORT command successful.",
    ]
    assert other.client("STOR a") == ["S PRET STOR a"]


def test_epsv_may_still_fall_back_behind_pret() -> None:
    """Without a touch to the client's end, which stands by then and may have brought bytes."""
    play = _pret()
    play.client("LIST")
    play.server("200 planned")
    assert play.server("500 EPSV?") == ["drop server's end", "S PASV"]
    assert play.server("227 (192,0,2,1,8,0)") == ["connect pasv 2048"]
    assert play.happens(READY) == ["S LIST"]


def test_pret_refused_is_the_answer_to_the_command() -> None:
    play = _pret()
    play.client("RETR nothing")
    assert play.server("550 no such file") == ["drop server's end, refused", "C 550 no such file"]
    assert play.protocol.idle
    assert play.client("RETR a") == ["S PRET RETR a"]


@pytest.mark.parametrize("code", ["500", "502"])
def test_a_server_that_does_not_know_pret_any_more(code: str) -> None:
    quirks = UpstreamQuirks()
    play = _pret(quirks)
    play.client("RETR a")
    assert play.server(f"{code} PRET?") == ["S EPSV"]
    assert not quirks.needs_pret


@pytest.mark.parametrize("refusal", ["425 no port", "530 log in", "550 PRET required", "227 nonsense"])
def test_no_server_end_is_a_425(refusal: str) -> None:
    play = _pret(policy=Policy(client=CLIENT, data_mode="pasv"))
    play.client("RETR a")
    play.server("200 planned")
    orders = play.server(refusal)
    assert orders[0] == "drop server's end, refused"
    assert orders[1].startswith("C 425 ")
    assert play.protocol.idle


def test_a_dead_port_is_a_425() -> None:
    play = _pret(policy=Policy(client=CLIENT, data_mode="epsv"))
    play.client("RETR a")
    play.server("200 planned")
    play.server("229 (|||2000|)")
    assert play.happens(EndpointFailed("refused", Cause.REFUSED)) == [
        "drop server's end, refused",
        "C 425 No data connection to the server: refused.",
    ]


def test_a_clients_own_pret_passes() -> None:
    play = Play().logged_in()
    assert play.client("PRET RETR a") == ["S PRET RETR a"]
    assert play.server("200 planned") == ["C 200 planned"]
    play.passive()


def test_rest_is_said_again_right_before_its_command() -> None:
    play = _pret()
    assert play.client("REST 100") == ["S REST 100"]
    assert play.server("350 ok") == ["C 350 ok"]
    play.client("RETR a")
    play.server("200 planned")
    play.server("229 (|||2000|)")
    assert play.happens(READY) == ["S REST 100"]
    assert play.server("350 ok") == ["S RETR a"]
    play.server("150 here")
    play.ended(1)
    play.server("226 done")
    play.client("PASV")
    play.happens(LISTENING)
    play.client("RETR b")
    play.server("200 planned")
    play.server("229 (|||2000|)")
    assert play.happens(READY) == ["S RETR b"]


def test_rest_refused_the_second_time_is_no_transfer_from_the_start() -> None:
    play = _pret()
    play.client("REST 100")
    play.server("350 ok")
    play.client("STOR a")
    play.server("200 planned")
    play.server("229 (|||2000|)")
    play.happens(READY)
    assert play.server("501 no")[-1] == "S REST 0"
    assert play.server("501 no")[-1] == "C 425 No data connection to the server: REST again: 501 no"


@pytest.mark.parametrize("far", [0, 1, 2])
def test_abor_before_the_command_has_gone(far: int) -> None:
    play = _pret()
    play.client("RETR a")
    for said in ("200 planned", "229 (|||2000|)")[:far]:
        play.server(said)
    assert play.client("ABOR") == ["DropEndpoints", "S ABOR"]
    if far < 2:
        assert play.server("229 (|||2000|)") == ["C 426 Transfer aborted.", "S PWD"]
        assert play.server("225 nothing") == []
        assert play.server("257 ok") == ["C 225 nothing"]
    else:
        assert play.server("225 nothing") == ["C 426 Transfer aborted.", "S PWD"]
        assert play.server("257 ok") == ["C 226 Abort successful."]
    assert play.protocol.idle


def test_other_commands_wait_until_the_transfer_is_over() -> None:
    play = _pret()
    play.client("RETR a")
    assert play.client("PWD") == []
    assert play.server("550 no")[-1] == "S PWD"


def test_a_client_that_leaves_behind_its_upload_before_the_command_has_gone() -> None:
    play = _pret()
    play.client("STOR a")
    assert play.protocol.upload_under_way
    assert play.happens(ClientLost("", data_left=True)) == []
    play.server("200 planned")
    play.server("229 (|||2000|)")
    assert play.happens(READY) == ["S STOR a"]


def test_a_port_used_again_of_an_active_client() -> None:
    """The address it gave stands until the next PORT (RFC 959 section 3.2)."""
    play = Play().logged_in()
    play.client("PORT 10,0,0,7,8,1")
    play.server("229 (|||2000|)")
    play.happens(READY)
    play.client("RETR a")
    assert play.server("550 no") == ["drop server's end, refused", "C 550 no"]
    assert play.client("RETR b") == ["S EPSV"]
    play.server("229 (|||2001|)")
    assert play.happens(READY) == ["S RETR b"]
    assert play.server("150 here")[0] == "begin 1 download"


def test_active_upstream_needs_no_pret() -> None:
    """DrFTPD wants it for PASV only."""
    play = Play(Policy(client=CLIENT, data_mode="port"), UpstreamQuirks(needs_pret=True)).logged_in()
    assert play.client("PASV") == ["DropEndpoints", "listen for server port"]
