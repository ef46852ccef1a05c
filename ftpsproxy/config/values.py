"""Every setting the gateway knows, in one row: its name, type, bounds, default, unit and the reason for the default.

Plain frozen values. They may be built directly (tests do). What stands beside a type reads what an operator has
written, and checks its bounds, in `loader.load`. `config/ftpsproxy.toml` documents the same keys for operators, and a
test holds the two together.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from ipaddress import ip_network
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Literal, get_args, get_origin, get_type_hints

from ftpsproxy.config import devices, names, parse
from ftpsproxy.config.parse import Cores, KeyFile, Network, Parser, PortRange, seconds, whole
from ftpsproxy.ftp.charsets import AS_THEY_ARE, Charsets
from ftpsproxy.ftp.rights import EVERYTHING, Rights

_WEEK = 7 * 24 * 3600.0

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
    upstream: Annotated[str, parse.text]
    clients: Annotated[tuple[Network, ...], parse.networks] = PRIVATE_NETWORKS
    passive_ports: Annotated[PortRange | None, parse.ports] = None
    passive_address: Annotated[str | None, parse.address] = None
    active_source_port: Annotated[int | None, whole(1, 65535)] = None  # 20 is for who may (CAP_NET_BIND_SERVICE)
    # load balancers: whoever connects from there has to say, by the header of the PROXY protocol, for whom
    proxy_protocol: Annotated[tuple[Network, ...], parse.balancers] = ()
    # also data connections: HAProxy makes a proper end of a client's reset, which tears an upload unseen
    proxy_protocol_data: Annotated[bool, parse.boolean] = False
    digest: Literal["none", "sha256"] = "none"
    greeting: Literal["own", "upstream"] = "own"  # embedded clients die of long or multi-line banners: ours is one line
    # a probe that connects and leaves costs the server nothing, and a client shows what it hears to USER
    dial: Literal["login", "connect"] = "login"
    rights: Rights = EVERYTHING  # whoever wants less says so
    charsets: Charsets = AS_THEY_ARE

    @property
    def greets_first(self) -> bool:
        """Whether a client is greeted before its server is reached."""
        return self.dial == "login" and self.greeting == "own"

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
    server_name: Annotated[str, parse.server_name] = ""
    ca_file: Annotated[Path | None, parse.readable] = None
    crl_file: Annotated[Path | None, parse.readable] = None
    cert_file: Annotated[Path | None, parse.readable] = None
    key_file: Annotated[Path | None, parse.private] = None
    verify: Literal["chain", "pin"] = "chain"
    pins: Annotated[tuple[str, ...], parse.pins] = ()
    tls_min: Literal["1.2", "1.3"] = "1.2"
    tls_max: Literal["1.2", "1.3"] = "1.3"
    data_mode: Literal["auto", "epsv", "pasv", "eprt", "port"] = "auto"
    active_ports: Annotated[PortRange | None, parse.ports] = None
    active_address: Annotated[str | None, parse.address] = None
    close_notify: Literal["prove", "require", "reply", "ignore"] = "prove"
    data_session_reuse: Literal["prefer", "require"] = "prefer"
    alpn: Annotated[bool, parse.boolean] = True
    auth: Annotated[tuple[str, ...], parse.auth] = ("TLS",)
    send_proxy_protocol: Literal["off", "v1", "v2"] = (
        "off"  # only by the operator's word: to others it is no TLS, no FTP
    )
    send_proxy_protocol_data: Annotated[bool, parse.boolean] = True  # on data connections, too
    ahead: Annotated[bool, parse.boolean] = True  # a server far away is asked nothing twice
    sessions: Annotated[int, whole(0, 1_000_000)] = 0  # at a time; 0: no limit, as many as limits.sessions
    # of these, however few others want one; 0: all that nobody else waits for
    sessions_per_client: Annotated[int, whole(0, 1_000_000)] = 0

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


Format = Literal["json", "logfmt", "console", "ecs", "xferlog", "auto"]
Facility = Literal[
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp",
    "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class LogOutput:
    """One of several places for the log. What is not said of it is as the log says."""

    name: str
    to: Annotated[str, parse.destination] = "stdout"
    format: Format = "auto"
    level: Literal["debug", "info", "warning"] = "info"
    chain: Annotated[bool, parse.boolean] = False
    chain_key_file: Annotated[KeyFile | None, parse.key_file] = None
    address: Annotated[str | tuple[str, int] | None, parse.log_address] = None  # of syslog and journald
    facility: Facility = "daemon"
    app_name: Annotated[str, parse.app_name] = "ftpsproxy"
    max_bytes: Annotated[int, whole(2048, 65000)] = 8192  # what rsyslog takes by default; a datagram ends at 65507

    @property
    def place(self) -> str | tuple[str, int]:
        """The address, or the usual one."""
        return self.address or ("/run/systemd/journal/socket" if self.to == "journald" else "/dev/log")

    @property
    def where(self) -> str:
        """The place as an operator writes it."""
        return self.place if isinstance(self.place, str) else f"udp://{endpoint(*self.place)}"

    @property
    def chain_by(self) -> bytes | None:
        """The key to chain lines by, empty where there is none; None: they are not chained."""
        return (self.chain_key_file.key if self.chain_key_file is not None else b"") if self.chain else None


@dataclass(frozen=True, slots=True)
class Log:
    """How the log is written: `auto` is console on a terminal and json elsewhere. Without `outputs` it goes to standard
    output."""

    format: Literal["json", "logfmt", "console", "ecs", "auto"] = "auto"
    level: Literal["debug", "info", "warning"] = "info"
    progress_seconds: Annotated[float, seconds(0, _WEEK)] = 60.0  # so often a transfer that lasts says so; 0: never
    chain: Annotated[bool, parse.boolean] = False  # it costs each line some 200 bytes
    chain_key_file: Annotated[KeyFile | None, parse.key_file] = (
        None  # without one whoever changes a line can chain it anew
    )

    outputs: tuple[LogOutput, ...] = ()

    @property
    def chain_by(self) -> bytes | None:
        """As LogOutput has it."""
        return (self.chain_key_file.key if self.chain_key_file is not None else b"") if self.chain else None

    @property
    def debugs(self) -> bool:
        """Whether anybody is told of each command and reply."""
        return any(one.level == "debug" for one in self.outputs or (self,))


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds that keep one client, or one server, from taking more than its share."""

    sessions: Annotated[int, whole(1, 1_000_000)] = 2000
    sessions_per_client: Annotated[int, whole(1, 1_000_000)] = 200  # a site behind one NAT address is one client here
    # new ones of a client, after a burst: each is a TLS handshake for the server
    sessions_per_second: Annotated[int, whole(1, 1_000_000)] = 50
    # one client has so much of an IPv6 address in common: any host may use all of its /64
    client_prefix: Annotated[int, whole(16, 128)] = 64
    pending_data: Annotated[int, whole(1, 1_000_000)] = 2000  # data connections waited for: one a session
    # a healthy client waits for replies and comes nowhere near
    commands_per_second: Annotated[int, whole(1, 1_000_000)] = 10000
    # of a client, in `timeouts.refused_logins`: else a new session begins to count anew
    refused_logins: Annotated[int, whole(1, 1_000_000)] = 30
    # failed ones in a session: the upstream bans our address, not the client's
    login_attempts: Annotated[int, whole(1, 1000)] = 6
    line_bytes: Annotated[int, whole(512, 65_536)] = 8192  # a path of 4096 bytes with every byte doubled by Telnet
    bad_lines: Annotated[int, whole(1, 10_000)] = 10  # over-long or malformed lines before the good-bye
    reply_bytes: Annotated[int, whole(4096, 67_108_864)] = 1_048_576  # one multi-line reply of the server
    reply_lines: Annotated[int, whole(100, 10_000_000)] = 20_000  # STAT of a large directory is a reply, not a transfer


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds. Every wait of the gateway ends by one of these."""

    connect: Annotated[float, seconds(0.1, 600)] = 15.0
    handshake: Annotated[float, seconds(0.1, 600)] = 15.0
    # a server that says nothing is asked by TLS whether it is implicit: most greet at once, some look names up first
    greeting: Annotated[float, seconds(0.1, 600)] = 10.0
    reply: Annotated[float, seconds(0.1, 3600)] = 60.0  # an ordinary reply of the server
    # before and after the data: servers fetch tapes, scan files, commit them to storage
    final_reply: Annotated[float, seconds(0.1, _WEEK)] = 600.0
    # from the greeting to the client's first word for the server, and from the connection to the server, whose slow
    # greeting counts, to a successful login
    login: Annotated[float, seconds(0.1, 3600)] = 60.0
    # for a place at an upstream that limits its sessions; clients give up waiting for a greeting
    queue: Annotated[float, seconds(0, 3600)] = 30.0
    # for so long they are remembered; guards of servers look at about as much
    refused_logins: Annotated[float, seconds(1, _WEEK)] = 600.0
    # for whoever only holds a place there: devices log in at once; well below `queue`
    others_wait: Annotated[float, seconds(0.1, 3600)] = 10.0
    idle: Annotated[float, seconds(0.1, _WEEK)] = 900.0  # a logged-in client that says nothing
    # until a data connection stands, with each side: most clients give up after 20 to 60 s, and are to hear why before
    data_connect: Annotated[float, seconds(0.1, 600)] = 15.0
    # a passive port that no transfer comes for: they are few, and shared by all of an address
    data_unused: Annotated[float, seconds(0.1, 3600)] = 60.0
    client_stall: Annotated[float, seconds(0.1, _WEEK)] = 300.0  # no byte moves because of the client
    server_stall: Annotated[float, seconds(0.1, _WEEK)] = 300.0  # no byte moves because of the server
    drain: Annotated[float, seconds(0, _WEEK)] = 30.0  # how long running transfers may go on after SIGTERM
    # how long sessions of a process may go on that another one has taken the place of
    replaced: Annotated[float, seconds(0, _WEEK)] = 3600.0
    # until the server answers for a transfer that was broken off; ABOR is sent then
    abort: Annotated[float, seconds(0.1, 600)] = 5.0
    # reading on after an upload: closing earlier could reset it; the quiet that ends MODE C
    linger: Annotated[float, seconds(0.1, 600)] = 10.0
    # TCP keepalive on both control connections, against forgetful NATs
    keepalive: Annotated[float, seconds(1, 7200)] = 30.0


@dataclass(frozen=True, slots=True)
class Process:
    """How the gateway itself runs."""

    workers: Annotated[int, parse.workers] = 1  # one keeps a core busy; more than the cores there are only cost memory


@dataclass(frozen=True, slots=True)
class Admin:
    """Where probes and scrapers ask by HTTP; without `host` nowhere. `port` 0 asks for any free port."""

    host: str = ""
    port: int = 0
    clients: Annotated[tuple[Network, ...], parse.networks] = PRIVATE_NETWORKS
    # without it the page, which says who and what, is for this machine alone
    token_file: Annotated[KeyFile | None, parse.key_file] = None
    paths: Annotated[bool, parse.boolean] = True

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

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """Each listener, and an upstream that its clients may be led to: all there are, by their names."""
        return tuple((one.name, one.upstream) for one in self.listeners)


def same_workers(settings: Settings, old: Settings) -> Settings:
    """With the old number of workers, where that was and is `auto`: how many cores there are may have changed."""
    if isinstance(settings.process.workers, Cores) and isinstance(old.process.workers, Cores):
        return replace(settings, process=replace(settings.process, workers=old.process.workers))
    return settings


def _rows(cls: type, **others: Parser) -> Mapping[str, Parser]:
    """What an operator may write of this table, and how each key is read: what stands beside its type, one of a few
    words, or `others` for what gives several fields."""
    rows: dict[str, Parser] = dict(others)
    for name, hint in get_type_hints(cls, include_extras=True).items():
        if get_origin(hint) is Annotated:
            rows[name] = hint.__metadata__[0]
        elif get_origin(hint) is Literal:
            rows[name] = parse.choice(*get_args(hint))
    return rows


RIGHTS: Mapping[str, Parser] = {
    "allow": parse.choice("all", "upload", "download", "read"),
    "deny": devices.denied,
    "paths": devices.globs,
    "max_file_bytes": whole(0, 2**62),
}
"""The keys of `Rights`, and how each is read."""

CHARSETS: Mapping[str, Parser] = {"client_charset": devices.charset, "server_charset": devices.charset}
"""The keys of `Charsets`, and how each is read."""

TABLES: Mapping[type, Mapping[str, Parser]] = {
    Listener: {**_rows(Listener, listen=parse.listen), **RIGHTS, **CHARSETS},
    Upstream: _rows(Upstream, url=parse.url),
    Log: _rows(Log),
    LogOutput: _rows(LogOutput),
    Limits: _rows(Limits),
    Timeouts: _rows(Timeouts),
    Process: _rows(Process),
    Admin: _rows(Admin, listen=parse.listen),
}
"""Every key an operator may write, and how it is read."""
