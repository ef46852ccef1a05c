"""The configuration: a TOML file, the environment and flags in; frozen values out.

`values` holds every setting with its bounds, default, unit and reason; `parse` turns one written value into one
setting; `sources` collects what was written where; `loader` joins them and checks what only the whole can tell;
`effective` lists what holds and why. Nothing here logs, prints or opens a connection. What is wrong is one
`ConfigError` with a line for each fault: where, which key, what, and what to do.
"""

from ftpsproxy.config.effective import Effective, effective
from ftpsproxy.config.loader import load, read
from ftpsproxy.config.names import host as host_name
from ftpsproxy.config.names import is_ipv6, server_name
from ftpsproxy.config.parse import ConfigError, Network, nearest, private, readable
from ftpsproxy.config.parse import pins as parse_pins
from ftpsproxy.config.parse import url as parse_url
from ftpsproxy.config.values import (
    PRIVATE_NETWORKS,
    Admin,
    Limits,
    Listener,
    Log,
    LogOutput,
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
    "Effective",
    "Limits",
    "Listener",
    "Log",
    "LogOutput",
    "Network",
    "Process",
    "Settings",
    "Timeouts",
    "Upstream",
    "effective",
    "endpoint",
    "host_name",
    "is_ipv6",
    "load",
    "nearest",
    "parse_pins",
    "parse_url",
    "private",
    "read",
    "readable",
    "same_workers",
    "server_name",
]
