"""Every setting the gateway knows: its name, type, default, unit and the reason for the default.

Plain frozen values. They may be built directly (tests do); the bounds are checked by `loader.load`, not here.
`config/ftpsproxy.toml` documents the same keys for operators, and a test holds the two together.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from ftpsproxy.config import names

Network = IPv4Network | IPv6Network
PortRange = tuple[int, int]
"""Lowest and highest port, both included."""

PRIVATE_NETWORKS: tuple[Network, ...] = tuple(
    ip_network(text)
    for text in (
        "127.0.0.0/8",
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "169.254.0.0/16",
        "::1/128",
        "fc00::/7",
        "fe80::/10",
    )
)
"""Loopback, private (RFC 1918, RFC 4193) and link-local networks: who may connect unless the operator says otherwise.
The client leg is plaintext, so it must not be open to the world by accident."""


def endpoint(host: str, port: int) -> str:
    """HOST:PORT as an operator writes it."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@dataclass(frozen=True, slots=True)
class Listener:
    """An address that plaintext FTP clients connect to. `port` 0 asks for any free port."""

    name: str
    host: str
    port: int
    upstream: str
    clients: tuple[Network, ...] = PRIVATE_NETWORKS
    passive_ports: PortRange | None = None
    passive_address: str | None = None
    digest: Literal["none", "sha256"] = "none"
    greeting: Literal["own", "upstream"] = "own"  # embedded clients die of long or multi-line banners: ours is one line

    @property
    def endpoint(self) -> str:
        """ADDR:PORT."""
        return endpoint(self.host, self.port)


@dataclass(frozen=True, slots=True)
class Upstream:
    """An FTPS server and what its certificate must prove. `server_name` (SNI, the name verified) is by default the
    host."""

    name: str
    host: str
    port: int = 21
    implicit: bool = False
    implicit_greeting: Literal["tls", "clear"] = "tls"  # "clear" only by the operator's word: see ftp/opening.py
    server_name: str = ""
    ca_file: Path | None = None
    crl_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    verify: Literal["chain", "pin"] = "chain"
    pins: tuple[str, ...] = ()
    tls_min: Literal["1.2", "1.3"] = "1.2"
    tls_max: Literal["1.2", "1.3"] = "1.3"
    data_mode: Literal["auto", "epsv", "pasv", "eprt", "port"] = "auto"
    active_ports: PortRange | None = None
    active_address: str | None = None
    close_notify: Literal["prove", "require", "reply", "ignore"] = "prove"
    data_session_reuse: Literal["prefer", "require"] = "prefer"
    alpn: bool = True
    auth: tuple[str, ...] = ("TLS",)
    sessions: int = 0  # at a time; 0: no limit, as many as limits.sessions
    sessions_per_client: int = 0  # of these, however few others want one; 0: all that nobody else waits for

    def __post_init__(self) -> None:
        if not self.server_name:
            object.__setattr__(self, "server_name", names.server_name(self.host))

    @property
    def endpoint(self) -> str:
        """ADDR:PORT."""
        return endpoint(self.host, self.port)

    @property
    def tls_first(self) -> bool:
        """Whether TLS begins with the first byte."""
        return self.implicit and self.implicit_greeting == "tls"

    @property
    def url(self) -> str:
        """The URL as an operator would write it; carries no secret."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        scheme, usual = ("ftps", 990) if self.implicit else ("ftpes", 21)
        return f"{scheme}://{host}" + ("" if self.port == usual else f":{self.port}")


@dataclass(frozen=True, slots=True)
class Log:
    """How the log is written: `auto` is console on a terminal and json elsewhere."""

    format: Literal["json", "logfmt", "console", "auto"] = "auto"
    level: Literal["debug", "info", "warning"] = "info"


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds that keep one client, or one server, from taking more than its share."""

    sessions: int = 2000
    sessions_per_client: int = 200  # a site behind one NAT address is one client here
    sessions_per_second: int = 50  # new ones of a client, after a burst: each is a TLS handshake for the server
    client_prefix: int = 64  # one client has so much of an IPv6 address in common: any host may use all of its /64
    pending_data: int = 2000  # data connections waited for: one a session
    commands_per_second: int = 10000  # a healthy client waits for replies and comes nowhere near
    refused_logins: int = 30  # of a client, in `timeouts.refused_logins`: else a new session begins to count anew
    login_attempts: int = 6  # failed ones in a session: the upstream bans our address, not the client's
    line_bytes: int = 8192  # a path of 4096 bytes with every byte doubled by Telnet
    bad_lines: int = 10  # over-long or malformed lines before the good-bye
    reply_bytes: int = 1_048_576  # one multi-line reply of the server
    reply_lines: int = 20_000  # STAT of a large directory is a reply, not a transfer


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds. Every wait of the gateway ends by one of these."""

    connect: float = 15.0
    handshake: float = 15.0
    reply: float = 60.0  # an ordinary reply of the server
    final_reply: float = 600.0  # before and after the data: servers fetch tapes, scan files, commit them to storage
    login: float = 60.0  # from the connection to the server to a successful login; a server's slow greeting counts
    queue: float = 30.0  # for a place at an upstream that limits its sessions; clients give up waiting for a greeting
    refused_logins: float = 600.0  # for so long they are remembered; guards of servers look at about as much
    others_wait: float = 10.0  # for whoever only holds a place there: devices log in at once; well below `queue`
    idle: float = 900.0  # a logged-in client that says nothing
    data_connect: float = 30.0
    data_unused: float = (
        60.0  # a passive port that no transfer comes for: they are few, and shared by all of an address
    )
    client_stall: float = 300.0  # no byte moves because of the client
    server_stall: float = 300.0  # no byte moves because of the server
    drain: float = 30.0  # how long running transfers may go on after SIGTERM
    abort: float = 5.0  # until the server answers for a transfer that was broken off; ABOR is sent then
    linger: float = 10.0  # reading on after an upload: closing earlier could reset it; the quiet that ends MODE C
    keepalive: float = 30.0  # TCP keepalive on both control connections, against forgetful NATs


class Cores(int):
    """A number of workers that was counted, as the operator said `auto`."""


@dataclass(frozen=True, slots=True)
class Process:
    """How the gateway itself runs."""

    workers: int = 1  # one keeps a core busy; more than the cores there are only cost memory


@dataclass(frozen=True, slots=True)
class Admin:
    """Where probes and scrapers ask by HTTP; without `host` nowhere. `port` 0 asks for any free port."""

    host: str = ""
    port: int = 0
    clients: tuple[Network, ...] = PRIVATE_NETWORKS

    @property
    def endpoint(self) -> str:
        """ADDR:PORT."""
        return endpoint(self.host, self.port)


@dataclass(frozen=True, slots=True)
class Settings:
    """All of it. Every `Listener.upstream` is a key of `upstreams`."""

    listeners: tuple[Listener, ...]
    upstreams: Mapping[str, Upstream]
    log: Log = field(default_factory=Log)
    limits: Limits = field(default_factory=Limits)
    timeouts: Timeouts = field(default_factory=Timeouts)
    process: Process = field(default_factory=Process)
    admin: Admin = field(default_factory=Admin)

    def __post_init__(self) -> None:
        object.__setattr__(self, "upstreams", MappingProxyType(dict(self.upstreams)))


def same_workers(settings: Settings, old: Settings) -> Settings:
    """With the old number of workers, where that was and is `auto`: how many cores there are may have changed."""
    if isinstance(settings.process.workers, Cores) and isinstance(old.process.workers, Cores):
        return replace(settings, process=replace(settings.process, workers=old.process.workers))
    return settings
