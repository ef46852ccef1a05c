"""The gateway as users run it: a process with a configuration file, its log read line by line."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.support import vocabulary
from tests.support.servers import PASSWORD, ROOT, USER, Endpoint, end_process

Event = dict[str, Any]

READY_SECONDS = 30.0
STOP_SECONDS = 60.0


def _toml_value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml_value(each) for each in value) + "]"
    return json.dumps(str(value), ensure_ascii=False)  # a TOML basic string is a JSON string, near enough for tests


def _toml_table(header: str, values: Mapping[str, Any]) -> str:
    return header + "\n" + "".join(f"{key} = {_toml_value(value)}\n" for key, value in values.items()) + "\n"


class Gateway:
    """A running gateway. ``endpoint`` is where clients log in; ``events`` what it has logged."""

    def __init__(self, process: subprocess.Popen[bytes], errors_file: Path, config_file: Path) -> None:
        self._process = process
        self._config_file = config_file
        self._errors_file = errors_file
        self._lines: list[str] = []
        self._events: list[Event] = []
        self._news = threading.Condition()
        self._may_read = threading.Event()
        self._may_read.set()
        self._ended = self._killed = False
        self._reader = threading.Thread(target=self._read, name="gateway log", daemon=True)
        self._reader.start()
        self.endpoints: dict[str, Endpoint] = {}

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as stream:
            for raw in stream:
                self._may_read.wait()
                line = raw.decode("utf-8", "replace").rstrip("\n")
                with self._news:
                    self._lines.append(line)
                    with contextlib.suppress(ValueError):
                        event = json.loads(line)
                        if isinstance(event, dict):
                            self._events.append(event)
                            vocabulary.check(event)
                    self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()

    @contextlib.contextmanager
    def unread(self) -> Iterator[None]:
        """Nobody reads its log meanwhile."""
        self._may_read.clear()
        try:
            yield
        finally:
            self._may_read.set()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def endpoint(self) -> Endpoint:
        """Of the first listener."""
        return next(iter(self.endpoints.values()))

    @property
    def text(self) -> str:
        """All it wrote so far, log and standard error."""
        with self._news:
            return "\n".join(self._lines) + "\n" + self._errors_file.read_text(errors="replace")

    def mark(self) -> int:
        """A place in the log, for ``since``."""
        with self._news:
            return len(self._events)

    def events(self, name: str | None = None, *, since: int = 0) -> list[Event]:
        """The events called ``name`` (all, if None), in order."""
        with self._news:
            return [event for event in self._events[since:] if name is None or event.get("event") == name]

    def wait_for_sessions(self, seconds: float = 30.0) -> None:
        """Wait until the log has the end of every session whose beginning it has."""

        def all_over() -> bool:
            names = Counter(event["event"] for event in self._events)
            return names["session.opened"] == names["session.closed"]

        with self._news:
            assert self._news.wait_for(all_over, seconds), f"a session goes on after {seconds} s:\n{self.text}"

    def wait_for_event(self, name: str, seconds: float = 30.0, *, count: int = 1, since: int = 0) -> Event:
        """The ``count``-th event of that name after ``since``, waited for; AssertionError if it does not come."""
        deadline = time.monotonic() + seconds
        while True:
            with self._news:
                found = [event for event in self._events[since:] if event.get("event") == name]
                if len(found) >= count:
                    return found[count - 1]
                left = deadline - time.monotonic()
                if left <= 0 or self._ended:
                    break
                self._news.wait(left)
        ended = f" (it has ended with {self._process.poll()})" if self._ended else ""
        raise AssertionError(f"{len(found)} of {count} {name} after {seconds} s{ended}; the log:\n{self.text}")

    @property
    def admin_port(self) -> int:
        """Where it answers probes."""
        return int(self.events("gateway.ready")[0]["admin"].rpartition(":")[2])

    def signal(self, number: int = signal.SIGTERM) -> None:
        self._process.send_signal(number)

    def kill(self) -> None:
        """As a machine that fails; that is no fault of its own then."""
        self._killed = True
        self.signal(signal.SIGKILL)

    def reload_unheard(self, config: str) -> None:
        """The same, for one that says nothing of it."""
        self._config_file.write_text(config)
        self.signal(signal.SIGHUP)

    def reload(self, config: str) -> Event:
        """Write another configuration and have it read → `gateway.reloaded` or `gateway.reload_failed`."""
        since = self.mark()
        self.reload_unheard(config)
        deadline = time.monotonic() + READY_SECONDS
        while True:
            for event in self.events(since=since):
                if event["event"] in ("gateway.reloaded", "gateway.reload_failed"):
                    if event["event"] == "gateway.reloaded":
                        self.endpoints = _parse_ready(event)
                    return event
            assert time.monotonic() < deadline, f"no answer to SIGHUP; the log:\n{self.text}"
            time.sleep(0.01)

    def wait(self, seconds: float = STOP_SECONDS) -> int:
        """The exit code, once it has ended and its log is read to the end."""
        try:
            code = self._process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the gateway runs on {seconds} s after being told to stop:\n{self.text}") from None
        self._reader.join(timeout=10)
        return code

    def stop(self) -> None:
        """SIGTERM; it must end with 0 if nobody has killed it, never have crashed or written the password."""
        if self._process.poll() is None:
            self.signal(signal.SIGTERM)
        code = self.wait()
        text = self.text
        assert code == (-signal.SIGKILL if self._killed else 0), f"the gateway ended with {code}:\n{text}"
        assert "Traceback" not in text, text
        assert not self.events("session.crashed"), text
        assert PASSWORD not in text, "the password is in the log"


def _parse_ready(event: Event) -> dict[str, Endpoint]:
    """The endpoints by listener name."""
    return {one["listener"]: Endpoint(one["address"], one["port"], USER, PASSWORD) for one in event["listening"]}


@contextlib.contextmanager
def run_gateway(
    config: str, *, env: Mapping[str, str] | None = None, launcher: Sequence[str] = (), pass_fds: Sequence[int] = ()
) -> Iterator[Gateway]:
    """``ftpsproxy run -c FILE`` with that configuration text, once it is ready; stopped, and checked, at the end.

    ``launcher``: a command before that one, which becomes it; it has ``pass_fds`` open."""
    with tempfile.TemporaryDirectory(prefix="ftpsproxy-gateway-") as folder:
        path = Path(folder, "ftpsproxy.toml")
        path.write_text(config)
        errors_file = Path(folder, "errors")
        environ = {key: value for key, value in os.environ.items() if not key.startswith("FTPSPROXY_")}
        environ |= {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **(env or {})}
        with errors_file.open("wb") as errors:
            process = subprocess.Popen(
                [*launcher, sys.executable, "-m", "ftpsproxy", "run", "-c", str(path)],
                pass_fds=pass_fds,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                cwd=folder,
                env=environ,
                start_new_session=True,
            )
        gateway = Gateway(process, errors_file, path)
        try:
            gateway.endpoints = _parse_ready(gateway.wait_for_event("gateway.ready", READY_SECONDS))
            yield gateway
            gateway.stop()
        except BaseException:
            # The test has failed already: show what the gateway saw, and do not add a second failure.
            sys.stderr.write(gateway.text[-20000:])
            raise
        finally:
            end_process(process)
            gateway.wait()


def configuration(
    upstream_url: str,
    ca_file: Path | None,
    *,
    listen: str = "127.0.0.1:0",
    listener: Mapping[str, Any] | None = None,
    upstream: Mapping[str, Any] | None = None,
    limits: Mapping[str, Any] | None = None,
    timeouts: Mapping[str, Any] | None = None,
    log: Mapping[str, Any] | None = None,
    process: Mapping[str, Any] | None = None,
    admin: Mapping[str, Any] | None = None,
) -> str:
    """The TOML of a gateway with one listener and one upstream; the mappings add keys to their tables."""
    listener_table = {"name": "tests", "listen": listen, "upstream": "server"} | dict(listener or {})
    upstream_table: dict[str, Any] = {"url": upstream_url}
    if ca_file is not None:
        upstream_table["ca_file"] = ca_file
    upstream_table |= dict(upstream or {})
    # Every test run logs in from one address: the defaults that guard against that would be in the way.
    limits_table = {
        "sessions_per_client": 1000,
        "sessions_per_second": 1000,
        "commands_per_second": 5000,
        "refused_logins": 1000,
    } | dict(limits or {})
    return (
        _toml_table("[[listener]]", listener_table)
        + _toml_table("[upstream.server]", upstream_table)
        + _toml_table("[limits]", limits_table)
        + _toml_table("[timeouts]", timeouts or {})
        + _toml_table("[log]", {"format": "json", "level": "debug"} | dict(log or {}))
        + _toml_table("[process]", process or {})
        + _toml_table("[admin]", admin or {})
    )


def start_gateway(
    upstream_url: str, ca_file: Path | None, *, env: Mapping[str, str] | None = None, **tables: Any
) -> contextlib.AbstractContextManager[Gateway]:
    """`run_gateway` with `configuration`; keyword arguments are those of `configuration`."""
    return run_gateway(configuration(upstream_url, ca_file, **tables), env=env)
