"""When each alert of deploy/prometheus/alerts.yaml is to fire, and when it must not, in the notation of promtool's unit
tests: `0x10 1x20` is 0 at the first eleven minutes and 1 at the next twenty-one."""

from collections.abc import Mapping
from dataclasses import dataclass, field

Series = Mapping[str, str]

_WAY = 'instance="gateway:9121", job="ftpsproxy", listener="scanners", upstream="partner"'
_HERE = 'instance="gateway:9121", job="ftpsproxy"'
_TORN = f'ftpsproxy_transfers_total{{{_WAY}, direction="upload", outcome="torn"}}'
_COMPLETE = f'ftpsproxy_transfers_total{{{_WAY}, direction="upload", outcome="complete"}}'
_REFUSED = f'ftpsproxy_data_failures_total{{{_WAY}, side="server", cause="refused"}}'
_LEFT = f'ftpsproxy_data_failures_total{{{_WAY}, side="client", cause="control_lost"}}'
_UNREACHED = f'ftpsproxy_upstream_failures_total{{{_WAY}, reason="connect_failed"}}'
_SECURED = f'ftpsproxy_upstream_handshake_seconds_count{{{_HERE}, upstream="partner"}}'
_EXPIRES = f'ftpsproxy_upstream_certificate_expiry_timestamp_seconds{{{_HERE}, upstream="partner"}}'
_WAITING = f'ftpsproxy_sessions_waiting{{{_HERE}, upstream="partner"}}'
_DAY = 86400


@dataclass(frozen=True)
class Story:
    """One alert: the series for which it fires at `minute`, in which words, and others for which nothing may fire then.
    `labels` beside those of where it is."""

    alert: str
    severity: str
    summary: str
    fires: Series
    quiet: Mapping[str, Series]
    minute: int = 30
    labels: Mapping[str, str] = field(default_factory=dict)


_PAIR = {"listener": "scanners", "upstream": "partner"}
_SERVER = {"upstream": "partner"}


def _count(name: str, labels: str = "") -> str:
    return f"ftpsproxy_{name}{{{_HERE}{labels}}}"


STORIES = [
    Story(
        "FtpsproxyDown",
        "page",
        "The gateway gateway:9121 does not answer.",
        {f"up{{{_HERE}}}": "1x25 0x20"},
        {"one scrape was lost": {f"up{{{_HERE}}}": "1x28 0 1x20"}},
    ),
    Story(
        "FtpsproxyTransfersTorn",
        "ticket",
        "Transfers between scanners and partner broke off within the last 15 minutes.",
        {_TORN: "0x20 1x20", _COMPLETE: "0+1x60"},
        {
            "it was an hour ago": {_TORN: "0 1x60", _COMPLETE: "0+1x60"},
            "none was torn": {_TORN: "0x60", _COMPLETE: "0+100x60"},
        },
        labels=_PAIR,
    ),
    Story(
        "FtpsproxyManyTransfersTorn",
        "page",
        "More than one in ten transfers between scanners and partner breaks off.",
        {_TORN: "0+1x60", _COMPLETE: "0+2x60", "also": "FtpsproxyTransfersTorn"},
        {
            "one in a hundred": {_TORN: "0+1x60", _COMPLETE: "0+100x60", "also": "FtpsproxyTransfersTorn"},
            "a night with two transfers": {_TORN: "0x20 2x40", _COMPLETE: "0x60", "also": "FtpsproxyTransfersTorn"},
        },
        labels=_PAIR,
    ),
    Story(
        "FtpsproxyDataConnectionsFail",
        "ticket",
        "Data connections between scanners and partner fail on the side of the server: refused.",
        {_REFUSED: "0x5 1x4 2x4 3x60", _COMPLETE: "0+1x60"},
        {
            "one in an hour, between many files": {_REFUSED: "0x5 1x60", _COMPLETE: "0+1x60"},
            "clients that leave": {_LEFT: "0+1x60", _COMPLETE: "0+1x60"},
        },
        labels=_PAIR | {"side": "server", "cause": "refused"},
    ),
    Story(
        "FtpsproxyDataConnectionsFail",
        "ticket",
        "Data connections between scanners and partner fail on the side of the server: refused.",
        {_REFUSED: "0x5 1x60", _COMPLETE: "7x60"},
        {"the next one got through": {_REFUSED: "0x5 1x60", _COMPLETE: "7x9 8x60"}},
        labels=_PAIR | {"side": "server", "cause": "refused"},
    ),
    Story(
        "FtpsproxyDataConnectionsContested",
        "ticket",
        "Two data connections came to gateway:9121 for one transfer; neither was kept.",
        {_count("data_contested_total"): "0x20 1x20"},
        {"never": {_count("data_contested_total"): "0x60"}},
    ),
    Story(
        "FtpsproxyUpstreamDown",
        "page",
        "No secure session with partner, though clients ask for one: connect_failed.",
        {_UNREACHED: "0x22 1x60", _SECURED: "9x60"},
        {
            "it is back": {_UNREACHED: "0x22 1x60", _SECURED: "9x26 10x60"},
            "it has just begun": {_UNREACHED: "0x27 1x60", _SECURED: "9x60"},
            "nobody asks": {_UNREACHED: "4x60", _SECURED: "9x60"},
        },
        labels=_SERVER | {"reason": "connect_failed"},
    ),
    Story(
        "FtpsproxyUpstreamFails",
        "ticket",
        "Sessions with partner fail now and then: connect_failed.",
        {_UNREACHED: "0x4 1x4 2x4 3x60", _SECURED: "0+1x60"},
        {"one of sixty": {_UNREACHED: "0x4 1x60", _SECURED: "0+1x60"}},
        labels=_SERVER | {"reason": "connect_failed"},
    ),
    Story(
        "FtpsproxyCertificateExpires",
        "ticket",
        "The certificate of partner expires in 13d 0h 0m 0s.",
        {_EXPIRES: f"{13 * _DAY + 120 * 60}x200"},
        {
            "next month": {_EXPIRES: f"{30 * _DAY}x200"},
            "no session yet": {_SECURED: "0x200"},
        },
        minute=120,
        labels=_SERVER,
    ),
    Story(
        "FtpsproxyCertificateExpiresSoon",
        "page",
        "The certificate of partner expires in 1d 0h 0m 0s.",
        {_EXPIRES: f"{1 * _DAY + 120 * 60}x200", "also": "FtpsproxyCertificateExpires"},
        {"next week": {_EXPIRES: f"{7 * _DAY}x200", "also": "FtpsproxyCertificateExpires"}},
        minute=120,
        labels=_SERVER,
    ),
    Story(
        "FtpsproxyReloadFailed",
        "ticket",
        "The gateway gateway:9121 could not use its new configuration and goes on with the one before.",
        {_count("reloads_total", ', result="failed"'): "0x20 1x40"},
        {"it could": {_count("reloads_total", ', result="ok"'): "0x20 1x40"}},
        labels={"result": "failed"},
    ),
    Story(
        "FtpsproxyReplaceFailed",
        "ticket",
        "No new process could take the place of the gateway gateway:9121, which goes on as it was.",
        {_count("replacements_total", ', result="failed"'): "0x20 1x40"},
        {"it could": {_count("replacements_total", ', result="ok"'): "0x20 1x40"}},
        labels={"result": "failed"},
    ),
    Story(
        "FtpsproxyClientsWait",
        "ticket",
        "2 clients at least have been waiting for partner for 10 minutes.",
        {_WAITING: "0x5 2x60"},
        {"they come and go": {_WAITING: "0x5 3x8 0 4x9 0 2x60"}},
        labels=_SERVER,
    ),
    Story(
        "FtpsproxyClientsTurnedAway",
        "ticket",
        "Clients of scanners are turned away: sessions is reached.",
        {_count("sessions_refused_total", ', listener="scanners", limit="sessions"'): "0+1x60"},
        {
            "two of them": {_count("sessions_refused_total", ', listener="scanners", limit="sessions"'): "0x20 2x60"},
            "strangers, who are to be turned away": {
                _count("sessions_refused_total", ', listener="scanners", limit="clients"'): "0+9x60"
            },
        },
        labels={"listener": "scanners", "limit": "sessions"},
    ),
    Story(
        "FtpsproxyStarved",
        "page",
        "The system of gateway:9121 gives the gateway no descriptors, memory or processes.",
        {_count("starved_total"): "0x20 1x40"},
        {"never": {_count("starved_total"): "0x60"}},
    ),
    Story(
        "FtpsproxyLogLinesLost",
        "ticket",
        "Lines of the log of gateway:9121 could not be written.",
        {_count("log_lines_lost_total"): "0x20 5x40"},
        {"an hour ago": {_count("log_lines_lost_total"): "0x2 5x60"}},
    ),
    Story(
        "FtpsproxyWorkersLost",
        "page",
        "A worker of gateway:9121 has ended unasked, its sessions with it; another took its place.",
        {_count("workers_lost_total"): "0x20 1x40"},
        {"the gateway was started anew": {_count("workers_lost_total"): "3x20 0x40"}},
    ),
    Story(
        "FtpsproxySessionsCrashed",
        "ticket",
        "A session of gateway:9121 has ended by a defect of the gateway; no other was touched.",
        {f"ftpsproxy_sessions_crashed_total{{{_WAY}}}": "0x20 1x40"},
        {"never": {f"ftpsproxy_sessions_crashed_total{{{_WAY}}}": "0x60"}},
    ),
]
