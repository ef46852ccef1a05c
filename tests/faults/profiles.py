"""The settings under which fault tests run the gateway, and the stages that go with them."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

from tests.faults.stage import Stage
from tests.support.bad_server import BadServer
from tests.support.certificates import Certificates
from tests.support.gateway import start_gateway

Settings = Mapping[str, Mapping[str, Any]]

WRONG_PIN = "sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
NOBODY = 1
"""A port where nobody listens (tcpmux)."""

_HASTY: Mapping[str, Any] = {
    "connect": 1.5,
    "handshake": 1.5,
    "reply": 1.5,
    "final_reply": 1.5,
    "login": 3,
    "idle": 2.5,
    "data_connect": 1.5,
    "client_stall": 1.5,
    "server_stall": 1.5,
    "abort": 1,
    "linger": 1.5,
}

PROFILES: Mapping[str, Settings] = {
    "default": {},
    "debug": {"log": {"level": "debug"}},
    "small_files": {"listener": {"max_file_bytes": 100_000}},
    "uploads_only": {"listener": {"allow": "upload", "deny": ["XMKD"], "paths": ["/in/**"]}},
    "digest": {"listener": {"digest": "sha256"}},
    "listed_clients": {"listener": {"clients": ["127.0.0.2/32"]}},
    "close_notify_never": {"upstream": {"close_notify": "reply"}},
    "close_notify_learned": {"upstream": {"close_notify": "reply"}},
    "close_notify_required": {"upstream": {"close_notify": "require"}},
    "close_notify_ignored": {"upstream": {"close_notify": "ignore"}},
    "reuse_required": {"upstream": {"data_session_reuse": "require"}},
    "epsv": {"upstream": {"data_mode": "epsv"}},
    "pasv": {"upstream": {"data_mode": "pasv"}},
    "eprt": {"upstream": {"data_mode": "eprt"}},
    "port": {"upstream": {"data_mode": "port"}},
    "tls_1_2_only": {"upstream": {"tls_max": "1.2"}},
    "tls_1_3_only": {"upstream": {"tls_min": "1.3"}},
    "auth_ssl": {"upstream": {"auth": ["TLS", "SSL"]}},
    "named": {"upstream": {"server_name": "localhost"}},
    "implicit": {"upstream": {"url": "ftps://127.0.0.1:{port}"}},
    "implicit_clear": {
        "upstream": {"url": "ftps://127.0.0.1:{port}", "implicit_greeting": "clear"},
        "listener": {"greeting": "upstream"},
        "timeouts": {"reply": 1.5, "handshake": 1.5},
    },
    "ipv6": {"listener": {"listen": "[::1]:0"}, "upstream": {"url": "ftpes://[::1]:{port}"}},
    "ipv6_only_upstream": {"upstream": {"url": "ftpes://[::1]:{port}"}},
    "nobody": {"upstream": {"url": f"ftpes://127.0.0.1:{NOBODY}"}},
    "nobody_implicit": {"upstream": {"url": f"ftps://127.0.0.1:{NOBODY}"}},
    "pinned": {"upstream": {"pins": [WRONG_PIN, "{pin}"]}},
    "pinned_wrong": {"upstream": {"pins": [WRONG_PIN]}},
    "pin_only": {"upstream": {"verify": "pin", "pins": ["{pin}"]}},
    "pin_only_wrong": {"upstream": {"verify": "pin", "pins": [WRONG_PIN]}},
    "crl": {"upstream": {"crl_file": "{crl_file}"}},
    "client_certificate": {"upstream": {"cert_file": "{client_certificate}", "key_file": "{client_key}"}},
    "brief_abort": {"timeouts": {"abort": 1}},
    "brief_linger": {"timeouts": {"linger": 1}},
    "one_place": {"upstream": {"sessions": 1}, "timeouts": {"queue": 20}},
    "one_place_at_once": {"upstream": {"sessions": 1}, "timeouts": {"queue": 20}, "listener": {"dial": "connect"}},
    "two_places": {"upstream": {"sessions": 2}, "timeouts": {"queue": 20}},
    "one_place_hasty": {"upstream": {"sessions": 1}, "timeouts": {"queue": 1}},
    "starved": {},
    "ports": {"listener": {"passive_ports": "{ports}"}},
    "watched": {
        "admin": {"listen": "127.0.0.1:0"},
        "timeouts": {"reply": 5, "login": 10},
        "limits": {"reply_bytes": 400_000},  # by default a million: in records of one byte that is all a core can do
    },
    "few": {"limits": {"sessions": 2}},
    "few_per_client": {"limits": {"sessions_per_client": 2}},
    "slow_commands": {"limits": {"commands_per_second": 10}},
    "limits": {
        "limits": {
            "login_attempts": 3,
            "line_bytes": 1000,
            "bad_lines": 3,
            "reply_bytes": 30_000,
            "reply_lines": 300,
        }
    },
    "hasty": {"timeouts": _HASTY},
    "pasv_hasty": {"timeouts": _HASTY, "upstream": {"data_mode": "pasv"}},
    "implicit_hasty": {"timeouts": _HASTY, "upstream": {"url": "ftps://127.0.0.1:{port}"}},
    "eprt_hasty": {"timeouts": _HASTY, "upstream": {"data_mode": "eprt"}},
    "port_hasty": {"timeouts": _HASTY, "upstream": {"data_mode": "port"}},
    "impatient": {"timeouts": {"greeting": 0.5, "login": 10}},
    "impatient_clear": {
        "timeouts": {"greeting": 0.5, "login": 10},
        "upstream": {"url": "ftps://127.0.0.1:{port}", "implicit_greeting": "clear"},
    },
    "progress": {"log": {"level": "info", "progress_seconds": 0.5}},
    "unused_soon": {"timeouts": {"data_unused": 1}},
}


class Stages:
    """Opens stages by the name of their profile; one gateway and one server for each, until `close`."""

    def __init__(self, certificates: Certificates) -> None:
        self._certificates = certificates
        self._open: dict[str, Stage] = {}
        self._begun: list[Stage] = []
        self._stack = ExitStack()

    def __call__(
        self, profile: str, *, upstream_port: int | None = None, facts: Mapping[str, str] | None = None
    ) -> Stage:
        """Return the stage, ready for this test. One with an `upstream_port` of its own is not shared; `facts` go into
        the settings of a new one."""
        if upstream_port is None and profile in self._open:
            stage = self._open[profile]
        else:
            stage = self._start(profile, upstream_port, facts or {})
            if upstream_port is None:
                self._open[profile] = stage
        if stage not in self._begun:
            stage.begin()
            self._begun.append(stage)
        return stage

    def end_test(self) -> None:
        """Check every stage the test has used."""
        begun, self._begun = self._begun, []
        for stage in begun:
            stage.end()

    def close(self) -> None:
        self._stack.close()

    def _start(self, profile: str, upstream_port: int | None, more: Mapping[str, str]) -> Stage:
        certificates = self._certificates
        server = self._stack.enter_context(
            BadServer(
                certificates.server.certificate_file,
                certificates.server.key_file,
                host="::1" if profile.startswith("ipv6") else "127.0.0.1",
            )
        )
        facts: dict[str, object] = {"port": upstream_port or server.port, "pin": certificates.server.spki_pin, **more}
        if profile == "crl":
            facts["crl_file"] = certificates.crl_file
        if profile == "client_certificate":
            facts["client_certificate"] = certificates.client.certificate_file
            facts["client_key"] = certificates.client.key_file
        tables = {
            name: {key: _fill(value, facts) for key, value in table.items()}
            for name, table in PROFILES[profile].items()
        }
        gateway = start_gateway(
            f"ftpes://127.0.0.1:{facts['port']}",
            certificates.ca_file,
            env={"PYTHONWARNINGS": "always::ResourceWarning"},
            **{"log": {"level": "info"}, **tables},
        )
        return Stage(self._stack.enter_context(gateway), server, certificates, more)


def _fill(value: object, facts: Mapping[str, object]) -> object:
    """Put the facts of this run into a setting."""
    if isinstance(value, str):
        return value.format(**facts)
    if isinstance(value, list):
        return [_fill(item, facts) for item in value]
    return value
