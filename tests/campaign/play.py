"""Plays one case: the client as a process, the fault on its wire, the clock; gathers what is to be judged."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.campaign.beside import Beside
from tests.campaign.cases import Case
from tests.campaign.judge import Played
from tests.campaign.links import Fault, Trigger
from tests.campaign.stage import AS_CLIENT, BOUND_SECONDS, HERE, TO_CLIENTS, Stage
from tests.support.servers import PASSWORD, USER, descendants, free_port

CLIENT = Path(__file__).with_name("client.py")


def _server_beside(case: Case) -> str:
    """Where the neighbour of this case has its files: at the same server.

    But pyftpdlib, at the end of a session in active mode, takes out of its epoll set whatever has by then the number
    of that session's connector: a listener or data connection of another session, which is then never read.
    """
    return "vsftpd" if case.server == "pyftpdlib" and case.upstream_mode in ("port", "eprt") else case.server


class Player:
    """Plays cases on a stage."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage

    def play(self, case: Case) -> Played:
        """The whole of one case, with a session beside it."""
        stage = self.stage
        if case.verb in ("LIST", "NLST"):
            self._learn_listing(case)
        if stage.gateway is None:
            return self._play(case, None)
        self._learn_close_notify(case)
        end = stage.gateway.endpoints[f"beside-{_server_beside(case)}"]
        with Beside(end, stage.blob, case.number) as beside:
            played = self._play(case, beside)
        played.beside = beside.troubles
        if case.strike is not None and case.strike.signal is not None and case.strike.signal[0] == "gateway":
            self._after_drain(played)
        return played

    def _after_drain(self, played: Played) -> None:
        stage = self.stage
        assert stage.gateway is not None
        if not played.fired_at:
            return
        try:
            code = stage.gateway.wait(20)
            if code != 0:
                played.crashed.append(f"the gateway ended with {code}")
            stage.stop_gateway()
        except AssertionError as error:
            played.hung = played.hung or f"drain: {str(error)[:200]}"
            with contextlib.suppress(BaseException):
                stage.stop_gateway()
        stage.start_gateway()

    def _learn_close_notify(self, case: Case) -> None:
        """The first download of a command at an upstream goes well.

        Until its server has said close_notify once, the gateway believes a 226 behind a FIN between two records (unless
        close_notify = "require"): a documented default, and not what is to be counted.
        """
        key = (self.stage.listener(case), case.verb)
        if case.upload or key in self.stage.calmed:
            return
        self._play(dataclasses.replace(case, strike=None, rude="", rude_at=-1), None)
        self.stage.calmed.add(key)

    def _learn_listing(self, case: Case) -> None:
        """What a listing is when nothing goes wrong."""
        key = (case.server, case.verb, case.size)
        if key in self.stage.listings:
            return
        for _ in range(3):
            calm = Case(case.number, "reference", case.server, "1.3", "epsv", "EPSV", case.verb, case.size)
            played = self._play(calm, None)
            client = played.client
            if client is not None and client.get("verdict") and client["data_end"] == "fin":
                self.stage.listings[key] = (client["received"], client["sha256"])
                return
        raise RuntimeError(f"no reference of {case.verb} at {case.server}: {client}")

    def _play(self, case: Case, beside: Beside | None) -> Played:
        stage = self.stage
        name = {"STOR": f"up-{case.number}", "RETR": f"down-{case.size}"}.get(case.verb, f"dir-{case.size}")
        listed = case.verb in ("LIST", "NLST")
        server = stage.servers[case.server]
        stage.aim(case)
        stage.client_port = free_port(HERE)
        before = set(descendants(server.pid)) if self._kills(case, "server") else set()
        mark = stage.gateway.mark() if stage.gateway is not None else 0
        stopped: list[int] = []
        process: subprocess.Popen[bytes] | None = None

        def signal_to(pids: list[int], number: int) -> None:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
                    if number == signal.SIGSTOP:
                        stopped.append(pid)

        def strike() -> None:
            what = case.strike
            assert what is not None
            if what.cut is not None:
                leg, channel, how = what.cut
                stage.wire.cut(leg, channel, how, sender=case.way)
            elif what.signal is not None:
                whom, number = what.signal
                if whom == "client":
                    assert process is not None
                    signal_to([process.pid], number)
                elif whom == "server":
                    signal_to([pid for pid in descendants(server.pid) if pid not in before], number)
                elif stage.gateway is not None:
                    if beside is not None:
                        beside.draining = True
                    stage.gateway.signal(number)

        fault = None
        if case.strike is not None:
            where = case.strike
            fault = Fault(Trigger(where.leg, where.channel, where.direction, where.place, where.at), strike)
        stage.wire.begin(fault)
        plan = {
            "host": TO_CLIENTS,
            "port": stage.front_port,
            "user": USER,
            "password": PASSWORD,
            "mode": case.client_mode,
            "verb": case.verb,
            "name": name,
            "size": 0 if listed else case.size,
            "content": "" if listed else str(stage.folder / "blob"),
            "listen": stage.client_port,
            "announce": [AS_CLIENT, stage.active_port],
            "rude": case.rude,
            "rude_at": case.rude_at,
        }
        started = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(CLIENT), json.dumps(plan)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        hung = self._wait(case, process, mark)
        seconds = time.monotonic() - started
        stage.wire.end_all()
        if process.poll() is None:
            signal_to([process.pid], signal.SIGCONT)
            if any(pid == process.pid for pid in stopped):
                process.kill()
        try:
            output, errors = process.communicate(timeout=25)
        except subprocess.TimeoutExpired:
            process.kill()
            output, errors = process.communicate()
            hung = hung or "the client was not let go"
        for pid in stopped:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        client = json.loads(output) if output.strip() else None
        if client is None and not self._kills(case, "client"):
            raise RuntimeError(f"the client failed on {case}: {errors.decode()}")
        stored = self._stored(case, name)
        return Played(
            case,
            name,
            list(stage.wire.links),
            fault.fired_at if fault is not None else 0.0,
            client,
            stored,
            None if listed else stage.blob[: case.size],
            stage.listings.get((case.server, case.verb, case.size)),
            stage.verdict_of_server(case, name) if case.upload else None,
            self._events(case, mark),
            seconds,
            hung,
            stage.gateway is not None,
            crashed=[str(event) for event in self._events(case, mark) if event.get("event") == "session.crashed"],
        )

    @staticmethod
    def _kills(case: Case, whom: str) -> bool:
        return case.strike is not None and case.strike.signal is not None and case.strike.signal[0] == whom

    def _events(self, case: Case, mark: int) -> list[dict[str, Any]]:
        if self.stage.gateway is None:
            return []
        name = self.stage.listener(case)
        return [event for event in self.stage.gateway.events(since=mark) if event.get("listener") == name]

    def _over(self, case: Case, mark: int) -> bool:
        """Whether the gateway is done with the session."""
        gateway = self.stage.gateway
        if gateway is None:
            _, pid = self.stage.others[f"{case.server}-{case.tls}"]
            return len(descendants(pid)) <= 1
        events = self._events(case, mark)
        opened = sum(event.get("event") == "session.opened" for event in events)
        closed = sum(event.get("event") == "session.closed" for event in events)
        unused = any(event.get("event") == "session.unused" for event in events)
        return unused or bool(opened > 0 and closed >= opened)

    def _wait(self, case: Case, process: subprocess.Popen[bytes], mark: int) -> str:
        """Until both the client and the gateway are done -> what hung, if anything did."""
        deadline = time.monotonic() + BOUND_SECONDS
        since_over = since_left = 0.0
        while True:
            now = time.monotonic()
            left, over = process.poll() is not None, self._over(case, mark)
            if left and over:
                return ""
            since_over = (since_over or now) if over else 0.0
            since_left = (since_left or now) if left else 0.0
            if over and now - since_over > 1.0:
                return ""  # the client is silent, or its wire is
            if left and now - since_left > 1.0 and not self.stage.wire.links:
                return ""  # it never got as far as the gateway
            if now > deadline:
                return f"the session was not over after {BOUND_SECONDS:g} s (client {'gone' if left else 'waits'})"
            time.sleep(0.01)

    def _stored(self, case: Case, name: str) -> bytes | None:
        if not case.upload:
            return None
        path = self.stage.servers[case.server].home / name
        return path.read_bytes() if path.exists() else None

    def forget(self, case: Case) -> None:
        """Make room."""
        if case.upload:
            (self.stage.servers[case.server].home / f"up-{case.number}").unlink(missing_ok=True)
