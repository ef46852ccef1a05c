"""A server that says nothing where its greeting belongs is told apart in seconds, and its cure is named."""

from __future__ import annotations

import re
import ssl

from tests.faults.profiles import Stages
from tests.faults.stage import FILE, Stage
from tests.support.bad_server import Quirks
from tests.support.gateway import start_gateway
from tests.support.web_server import web_server


def refusal(stage: Stage) -> str:
    """What the client hears; within two seconds, where it was a minute."""
    with stage.client(patience=5) as client:
        refusal = client.refusal()
        assert refusal.code == 530
    assert stage.event("session.closed")["seconds"] < 5
    return refusal.text


def test_an_implicit_server_behind_an_explicit_url(stages: Stages) -> None:
    """The cure is what was printed."""
    stage = stages("impatient")
    stage.play(Quirks(implicit=True))
    said = refusal(stage)
    assert "it is implicit" in said
    assert stage.event("upstream.failed")["cause"] == "implicit_tls"
    cure = re.search(r"\((ftps://\S+)\)", said)
    assert cure is not None, said
    with start_gateway(cure[1], stage.certificates.ca_file) as gateway:
        cured = Stage(gateway, stage.server, stage.certificates)
        with cured.logged_in() as client:
            assert client.download()[0].data == FILE


def test_an_implicit_server_that_was_to_greet_in_clear(stages: Stages) -> None:
    stage = stages("impatient_clear")
    stage.play(Quirks(implicit=True))
    assert 'implicit_greeting = "tls"' in refusal(stage)


def test_an_implicit_server_that_is_silent_behind_tls(stages: Stages) -> None:
    """It does what the settings say: nothing is wrong with them."""
    stage = stages("implicit_hasty")
    stage.play(Quirks(implicit=True, greeting=b"", tls_max=ssl.TLSVersion.TLSv1_2))
    assert "did not answer in time; greeting was awaited" in refusal(stage)


def test_a_web_server(stages: Stages) -> None:
    with web_server() as port:
        stage = stages("impatient", upstream_port=port)
        assert "speaks HTTP, not FTP" in refusal(stage)
        assert stage.event("upstream.failed")["cause"] == "protocol_error"


def test_a_server_that_is_slow_to_greet_is_waited_for(stages: Stages) -> None:
    """It looks up the name of whoever comes; the second connection changes nothing for the first."""
    stage = stages("impatient")
    stage.play(Quirks(greeting_after=1.5))
    with stage.logged_in() as client:
        assert client.download()[0].data == FILE
    assert not stage.events("upstream.failed")
    assert all(b"USER" not in seen.in_clear for seen in stage.server.sessions)
