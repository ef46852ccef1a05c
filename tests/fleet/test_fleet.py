"""HAProxy and three gateways as deploy/haproxy has them: one is drained, one dies, one is reloaded."""

from __future__ import annotations

import re
import signal
from collections import Counter
from pathlib import Path

from tests.fleet.crowd import BIG, BIG_BYTES, HELD, SMALL, SMALL_BYTES, Attempt, Crowd, content, reset_uploads
from tests.fleet.network import CLIENTS, VIP, client_address, own
from tests.fleet.stage import CONFIG, Fleet, fleet
from tests.support.certificates import Certificates
from tests.support.gateway import Gateway

ADDRESSES = {client_address(number) for number in range(1, CLIENTS + 1)}


def test_one_drained_one_killed_one_reloaded(certificates: Certificates, tmp_path: Path) -> None:
    with fleet(certificates, tmp_path) as running:
        drained, killed, reloaded = running.gateways
        running.server.put(BIG, content(BIG, BIG_BYTES))
        running.server.put(SMALL, content(SMALL, SMALL_BYTES))
        crowd = Crowd()
        running.network.clients.call(crowd.start)
        crowd.wait_until_held()
        held = {gateway: _clients(gateway) for gateway in running.gateways}
        before = reloaded.mark()

        drained.signal(signal.SIGTERM)
        drained.wait_for_event("gateway.draining")
        left = drained.mark()
        killed.kill()
        assert reloaded.reload(CONFIG + "\n[timeouts]\nidle = 800\n")["event"] == "gateway.reloaded"
        running.restart_balancer()
        for server in ("gateways4/gateway1", "gateways4/gateway2", "gateways6/gateway1", "gateways6/gateway2"):
            running.wait_for_balancer(f"Server {server} is DOWN")
        crowd.wait_for_more(CLIENTS - HELD)
        crowd.end()
        assert drained.wait() == 0

        failed = [one for one in crowd.attempts if one.begun and not one.whole]
        assert failed
        assert {one.client for one in failed} <= _clients(killed), failed
        _every_client_has_its_gateway(running, held)
        _torn_is_known_to_both(running, crowd.attempts)
        assert not _clients(drained, left), "a gateway that is drained takes nobody"
        assert drained.events("transfer.finished", since=left)
        assert {one.client for one in failed} <= _clients(reloaded, before)
        for gateway in (drained, reloaded):
            outcomes = [(one["outcome"], one.get("client")) for one in gateway.events("transfer.finished")]
            assert {outcome for outcome, _ in outcomes} == {"complete"}, outcomes
        _all_ways_were_taken(running, crowd.attempts)
        _nobody_heard_of_health_checks(running)
        _a_reset_stays_one(running)


def _clients(gateway: Gateway, since: int = 0) -> set[str]:
    return {one["client"] for one in gateway.events("session.opened", since=since)}


def _every_client_has_its_gateway(running: Fleet, held: dict[Gateway, set[str]]) -> None:
    """By its address: no two gateways have had the same one, before one of them was gone; each has had some."""
    assert set.union(*held.values()) == ADDRESSES
    assert sum(len(clients) for clients in held.values()) == CLIENTS
    assert all(len(clients) > CLIENTS // 10 for clients in held.values()), held


def _stored(running: Fleet) -> set[str]:
    """What the server takes for whole."""
    return set(re.findall(r'OK UPLOAD: Client "[^"]*", "/([^"]*)"', running.server.log()))


def _torn_is_known_to_both(running: Fleet, attempts: list[Attempt]) -> None:
    """What a client takes for whole the server has; what the server takes for whole is (the gateway may have died with
    the last word for the client); and there were uploads that neither did."""
    stored = _stored(running)
    uploads = [one for one in attempts if one.upload]
    assert {one.path for one in uploads if one.whole} <= stored
    for one in uploads:
        if one.path in stored:
            assert (running.server.home / one.path).read_bytes() == content(one.path, one.size)
    assert [one for one in uploads if one.begun and one.path not in stored]


def _a_reset_stays_one(running: Fleet) -> None:
    """On its way past HAProxy, which would often have made a proper end of it."""
    gateway, count = running.gateways[-1], 7
    since = gateway.mark()
    paths = running.network.clients.call(lambda: reset_uploads(count))
    finished = {one["path"]: one["outcome"] for one in gateway.events("transfer.finished", since=since)}
    assert finished == dict.fromkeys(paths, "torn")
    assert not set(paths) & _stored(running)


def _all_ways_were_taken(running: Fleet, attempts: list[Attempt]) -> None:
    """Passive and active, IPv4 and IPv6, at each gateway; and clients see no other address than where they have
    connected to, but for those whom the third gateway has told its own."""
    assert {one.peer for one in attempts if one.whole} == {*VIP, own(2)}
    for gateway in running.gateways:
        ways: Counter[tuple[str, bool]] = Counter()
        for one in gateway.events("transfer.started"):
            ways[one["client_mode"], ":" in one["client"]] += 1
        assert set(ways) == {(mode, ipv6) for mode in ("passive", "active") for ipv6 in (False, True)}, ways


def _nobody_heard_of_health_checks(running: Fleet) -> None:
    for gateway in running.gateways:
        others = [one for one in gateway.events() if one.get("client", "10.1.1.1") not in ADDRESSES]
        assert not others
