"""The settings as flags, the environment and the file give them, for the commands that want them."""

import argparse
import ipaddress
import os
from pathlib import Path

from ftpsproxy.cli.flags import FLAGS
from ftpsproxy.cli.terminal import fail
from ftpsproxy.config import Effective, Settings, effective, read


def settings_of(options: argparse.Namespace) -> Settings:
    """Raises ConfigError."""
    return explained(options)[0]


def explained(options: argparse.Namespace) -> tuple[Settings, list[Effective]]:
    """With every single one, and where it comes from. Raises ConfigError."""
    flags = {name: getattr(options, name) for name in FLAGS}
    settings, written = read(options.config, flags=flags, environ=os.environ)
    return settings, effective(settings, written)


def warn(settings: Settings) -> None:
    """What is allowed, but never by accident: a plaintext port open to the world, a log that nobody hears yet."""
    for output in settings.log.outputs:
        place = output.place
        if output.to in ("syslog", "journald") and isinstance(place, str) and not Path(place).is_socket():
            fail(
                f"warning: log.output.{output.name}: nobody listens at {place} yet; lines are kept for a while, "
                "look whether the daemon runs and its address is right",
                0,
            )
    for listener in settings.listeners:
        address = ipaddress.ip_address(listener.host)
        if (address.is_unspecified or address.is_global) and any(net.prefixlen == 0 for net in listener.clients):
            where = listener.endpoint
            fail(
                f"warning: listener '{listener.name}' on {where} lets anyone send passwords in clear; "
                "name the networks of its clients in listener.clients",
                0,
            )
