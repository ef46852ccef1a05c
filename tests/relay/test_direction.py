"""Which way the data of a verb nobody knows goes, where nobody speaks."""

import contextlib

import pytest

from ftpsproxy.relay import departure, direction
from ftpsproxy.relay.contract import RelayError
from ftpsproxy.relay.records import Records
from tests.relay.test_contract import PACE, connect, pair
from tests.support.certificates import Certificates
from tests.support.control import UnreadControl
from tests.support.reacting import reacting


async def test_a_client_lost_while_nobody_speaks_is_not_waited_for(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(departure, "_PAUSE_SECONDS", 0.1)
    monkeypatch.setattr(direction, "_LOOK_SECONDS", 0.05)
    with contextlib.ExitStack() as stack:
        (client, far_client), (server, far_server), (control, far_control) = pair(), pair(), pair()
        leaves = departure.Departure(UnreadControl(control))
        for each in (client, far_client, server, far_server, control, far_control, leaves):
            stack.callback(each.close)
        leaves.watch(client)
        async with reacting() as on:
            far_control.close()
            tls = connect(certificates)
            with pytest.raises(RelayError, match="control connection was lost"):
                await on.call(
                    direction.first_to_speak(on.reactor, client, server, tls, Records.behind(tls), PACE, leaves)
                )
