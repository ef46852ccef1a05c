"""The configuration: a TOML file, the environment and flags in; frozen values out.

`values` holds every setting with its bounds, default, unit and reason; `parse` turns one written value into one
setting; `sources` collects what was written where; `loader` joins them and checks what only the whole can tell. Nothing
here logs, prints or opens a connection. Every error is a `ConfigError` of one line: where, which key, what, and what to
do.
"""

from ftpsproxy.config.loader import load
from ftpsproxy.config.parse import ConfigError, Network, nearest
from ftpsproxy.config.values import (
    PRIVATE_NETWORKS,
    Admin,
    Limits,
    Listener,
    Log,
    Process,
    Settings,
    Timeouts,
    Upstream,
    endpoint,
    same_workers,
)

__all__ = [
    "PRIVATE_NETWORKS",
    "Admin",
    "ConfigError",
    "Limits",
    "Listener",
    "Log",
    "Network",
    "Process",
    "Settings",
    "Timeouts",
    "Upstream",
    "endpoint",
    "load",
    "nearest",
    "same_workers",
]
