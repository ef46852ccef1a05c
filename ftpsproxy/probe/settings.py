"""What of all that was seen has to be configured: the table `[upstream.NAME]`, each line with its reason."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ftpsproxy import errors
from ftpsproxy.config import Upstream, host_name
from ftpsproxy.probe.identity import covers
from ftpsproxy.tls import Certificate, Refused

_WIDTH = 120
_LONGEST_NAME = 63
_MOST_NAMES = 8


@dataclass(frozen=True, slots=True)
class Line:
    """One setting. `offered`: only offered, and commented out; it is for the operator to say so."""

    key: str
    value: object
    reason: str
    offered: bool = False


def table(way: Upstream, lines: Sequence[Line], notes: Iterable[str] = ()) -> str:
    """The TOML. `notes` stand above what is offered."""
    set_here = [(f"{one.key} = {_value(one.value)}", _comment(one.reason)) for one in lines if not one.offered]
    offered_here = [f"#{one.key} = {_value(one.value)}" for one in lines if one.offered]
    widest = max((len(text) for text, reason in set_here if len(text) + len(reason) < _WIDTH - 4), default=0)
    found = [f"[upstream.{_quoted(way.name)}]"]
    for text, reason in set_here:
        line = f"{text:<{widest}}  # {reason}"
        found += [line] if len(line) <= _WIDTH else [f"# {reason}", text]
    return "\n".join([*found, *(f"# {_comment(note)}" for note in notes), *offered_here]) + "\n"


def _comment(text: str) -> str:
    """One line, whatever a server has put into it."""
    return errors.printable(text)


def _value(value: object) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(_value, value))}]"
    return json.dumps(value if isinstance(value, bool) else str(value), ensure_ascii=False)


def _quoted(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else json.dumps(name)


def name_for(host: str) -> str:
    """A name for the table: the host's, in the letters that a name may have."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", host).strip("-_")[:_LONGEST_NAME] or "server"


def lines_of(way: Upstream, reasons: Mapping[str, str]) -> list[Line]:
    """What differs from the defaults; `reasons` are those that were found out on the way, by key."""
    kind = "implicit TLS" if way.implicit else f"explicit TLS: it takes AUTH {way.auth[0]}"
    plain = Upstream(way.name, way.host)
    found = [Line("url", way.url, kind)]
    for key, otherwise in (
        ("implicit_greeting", "it greets in clear and begins TLS behind that; z/OS does so: ask the partner"),
        ("server_name", "the name its certificate is to prove, as you said"),
        ("ca_file", "the authority that its certificate is from"),
        ("cert_file", "our own certificate, which the server asks for"),
        ("key_file", "its key"),
        ("verify", "the chain does not hold here: its public key alone counts, by your word"),
        ("pins", "the key it has shown, which you have compared with the partner"),
        ("auth", "it takes no AUTH TLS"),
        ("alpn", "it refuses a handshake that says by ALPN that this is FTP"),
        ("tls_max", "data connections work with this version only"),
        ("data_mode", "other data connections do not come about"),
        ("close_notify", "its files end without close_notify, and it does not tell their SIZE"),
    ):
        value = getattr(way, key)
        if value != getattr(plain, key):
            found.append(Line(key, value, reasons.get(key, otherwise)))
    return found


def offered(way: Upstream, refused: Refused, own: Certificate) -> tuple[list[Line], list[str]]:
    """What would cure a certificate that nothing vouches for, for the operator to say, and the words above it."""
    names = _names(own)
    if refused.reason == "wrong_host" and names:
        return [Line("server_name", names[0], "", offered=True)], [
            f"The certificate is for {', '.join(names)}, not for {way.server_name}. If that is the right server,",
            f'as the partner knows, remove the "#", or try it: --server-name {names[0]}',
        ]
    if refused.reason == "expired":
        notes = ["The certificate has expired, and the partner has to renew it. Until then its key alone may count:"]
    elif refused.reason == "wrong_pin":
        notes = [
            "This is NOT what you said is to be trusted: somebody stands between, or the partner has a new key. So"
        ]
    else:
        notes = ["Nothing here vouches for this certificate. If the partner has an authority of its own, ask for that"]
        notes += ["authority's certificate (PEM), and try it: --ca-file FILE. Or go by the key alone:"]
        if names and not covers(own, way.server_name):
            notes[:0] = [
                f"The certificate is for {', '.join(names)}, not for {way.server_name}. If the partner knows that",
                f"name, --server-name {names[0]} is needed, too, where its authority is to count.",
            ]
    notes += [
        'compare all of this pin with the partner, by telephone say; only then remove both "#", or try it:',
        f"--trust {own.pin}",
    ]
    return [Line("verify", "pin", "", offered=True), Line("pins", (own.pin,), "", offered=True)], notes


def _names(own: Certificate) -> list[str]:
    """The host names it is for, not too many."""
    return [name for name in own.names if _is_host(name)][:_MOST_NAMES]


def _is_host(name: str) -> bool:
    try:
        return host_name(name) == name
    except ValueError:
        return False
