"""Which way the data of a verb nobody knows goes, where nobody speaks."""

import contextlib

import pytest

from ftpsproxy.data.relay import direction, upload_end
from ftpsproxy.data.relay.flow import RelayError
from ftpsproxy.data.relay.records import Records
from tests.relay.test_contract import POLICY, connect, pair
from tests.support.certificates import Certificates
from tests.support.control import UnreadControl


async def test_a_client_lost_while_nobody_speaks_is_not_waited_for(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upload_end, "_PAUSE_SECONDS", 0.1)
    monkeypatch.setattr(direction, "_LOOK_SECONDS", 0.05)
    with contextlib.ExitStack() as stack:
        (client, far_client), (server, far_server), (control, far_control) = pair(), pair(), pair()
        leaves = upload_end.UploadEnd(UnreadControl(control))
        for each in (client, far_client, server, far_server, control, far_control, leaves):
            stack.callback(each.close)
        leaves.watch(client)
        far_control.close()
        tls = connect(certificates)
        speaks = direction.FirstToSpeak(client, server, tls, Records.behind(tls), leaves)
        with pytest.raises(RelayError, match="control connection was lost"):
            await speaks.found(POLICY)
