"""The settings as flags, the environment and the file give them, for the commands that want them."""

import argparse
import ipaddress
import os

from ftpsproxy.cli.flags import FLAGS
from ftpsproxy.cli.terminal import fail
from ftpsproxy.config import Settings, load


def settings_of(options: argparse.Namespace) -> Settings:
    """Raises ConfigError."""
    flags = {name: getattr(options, name) for name in FLAGS}
    return load(options.config, flags=flags, environ=os.environ)


def warn(settings: Settings) -> None:
    """A plaintext port open to the world is allowed, but never by accident."""
    for listener in settings.listeners:
        address = ipaddress.ip_address(listener.host)
        if (address.is_unspecified or address.is_global) and any(net.prefixlen == 0 for net in listener.clients):
            where = listener.endpoint
            fail(
                f"warning: listener '{listener.name}' on {where} lets anyone send passwords in clear; "
                "name the networks of its clients in listener.clients",
                0,
            )
