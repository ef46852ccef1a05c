"""No TLS, no session: what the client hears, what the log says, and that nothing of a login went upstream."""

from __future__ import annotations

import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from tests.faults.profiles import Stages
from tests.faults.stage import FILE, Stage
from tests.support.bad_server import Handshake, Quirks

SECRET = "open-sesame-4711"


def _assert_refused(stage: Stage, *reasons: str) -> str:
    """Log in without waiting for anything; return the words of the refusal."""
    with stage.client(greeting=False) as client:
        client.send(f"USER anna\r\nPASS {SECRET}\r\nLIST\r\n".encode())
        if (reply := client.reply()).good:  # where the gateway greets before it reaches the server
            reply = client.reply()
        assert reply.code in (421, 530)
        assert len(reply.raw.splitlines()) == 1
        client.rest()
    failed = stage.event("upstream.failed")
    assert failed["cause"] in reasons, failed
    assert failed["detail"]
    assert failed["level"] == "warning"
    stage.event("session.closed")
    for seen in stage.server.sessions:
        sent = seen.in_clear + b"\n".join(seen.commands)
        assert b"anna" not in sent
        assert SECRET.encode() not in sent
        assert b"USER" not in sent
    assert SECRET not in str(stage.events())
    assert not stage.events("session.login")
    return reply.text


@pytest.mark.parametrize(
    ("pair", "reason", "word"),
    [
        ("unknown_authority", "unknown_ca", "certificate"),
        ("self_signed", "self_signed", "self-signed"),
        ("expired", "expired", "expired on 20"),
        ("not_yet_valid", "not_yet_valid", "valid from"),
        ("wrong_host", "wrong_host", "is for elsewhere.example, 192.0.2.1, not for 127.0.0.1"),
    ],
)
@pytest.mark.parametrize("tls_max", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def test_certificates(stage: Stage, pair: str, reason: str, word: str, tls_max: ssl.TLSVersion) -> None:
    stage.play(Quirks(tls_max=tls_max), certificate=getattr(stage.certificates, pair))
    pair_shown = getattr(stage.certificates, pair)
    said = _assert_refused(stage, reason)
    assert word in said.lower()
    assert pair_shown.spki_pin in said
    shown = stage.event("upstream.failed")
    parsed = x509.load_pem_x509_certificate(pair_shown.certificate_file.read_bytes())
    assert shown["pin"] == pair_shown.spki_pin
    assert shown["certificate_sha256"] == parsed.fingerprint(hashes.SHA256()).hex()
    assert shown["serial"] == f"{parsed.serial_number:x}"
    assert (shown["subject"], shown["issuer"]) == (parsed.subject.rfc4514_string(), parsed.issuer.rfc4514_string())
    assert shown["not_after"] == parsed.not_valid_after_utc.isoformat()


def test_a_wrong_pin(stages: Stages) -> None:
    _assert_refused(stages("pinned_wrong"), "wrong_pin")


def test_a_right_pin_in_addition_to_the_chain(stages: Stages) -> None:
    stage = stages("pinned")
    with stage.logged_in() as client:
        assert client.download()[0].data == FILE


def test_a_right_pin_does_not_replace_the_chain(stages: Stages) -> None:
    stage = stages("pinned")
    stage.play(Quirks(), certificate=stage.certificates.self_signed)  # the same key, so the pin holds
    assert 'verify = "pin" would go by the pin alone' in _assert_refused(stage, "self_signed")


@pytest.mark.parametrize("pair", ["self_signed", "expired", "wrong_host", "unknown_authority"])
def test_a_pin_instead_of_the_chain(stages: Stages, pair: str) -> None:
    """verify = "pin": the key is all that counts."""
    stage = stages("pin_only")
    stage.play(Quirks(), certificate=getattr(stage.certificates, pair))
    with stage.logged_in() as client:
        assert client.download()[0].data == FILE


def test_a_pin_instead_of_the_chain_is_checked(stages: Stages) -> None:
    _assert_refused(stages("pin_only_wrong"), "wrong_pin")


def test_a_revoked_certificate(stages: Stages) -> None:
    stage = stages("crl")
    stage.play(Quirks(), certificate=stage.certificates.revoked)
    _assert_refused(stage, "revoked")


def test_a_certificate_that_is_not_revoked(stages: Stages) -> None:
    stage = stages("crl")
    with stage.logged_in() as client:
        assert client.download()[0].data == FILE


@pytest.mark.parametrize("tls_max", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def test_a_missing_client_certificate(stage: Stage, tls_max: ssl.TLSVersion) -> None:
    """With TLS 1.3 the refusal comes only after the client's side of the handshake is through.

    A TLS 1.2 server has no alert of its own for it and says "handshake failure".
    """
    stage.play(Quirks(client_ca=stage.certificates.ca_file, tls_max=tls_max))
    if tls_max is ssl.TLSVersion.TLSv1_3:
        _assert_refused(stage, "client_certificate_required")
    else:
        _assert_refused(stage, "client_certificate_required", "handshake_refused")


def test_a_client_certificate(stages: Stages) -> None:
    """U33: shown on the control and the data connections; 232 after USER is a login."""
    stage = stages("client_certificate")
    stage.play(Quirks(client_ca=stage.certificates.ca_file, replies={"USER": b"232 known by certificate\r\n"}))
    with stage.client() as client:
        assert client.command("USER anna").code == 230
        assert client.download()[0].data == FILE
    assert stage.server.last.client_certificate
    assert "PASS" not in stage.server.last.verbs()
    assert stage.event("session.login")["ok"] is True


def test_the_certificates_days_are_counted(stage: Stage) -> None:
    soon = stage.certificates.issue("soon", not_after_days=5.5)
    stage.play(Quirks(), certificate=soon)
    stage.logged_in().close()
    assert stage.event("upstream.secured")["days_left"] == 5
    assert stage.event("upstream.certificate_expiring")["days_left"] == 5


def test_a_certificate_with_days_to_come_is_no_warning(stage: Stage) -> None:
    stage.logged_in().close()
    assert 18 <= stage.event("upstream.secured")["days_left"] <= 20
    stage.event("session.closed")
    assert not stage.events("upstream.certificate_expiring")


@pytest.mark.parametrize(
    ("handshake", "reasons"),
    [
        (Handshake.OLD_TLS, ("protocol_version",)),
        (Handshake.GARBAGE, ("handshake_garbage",)),
        (Handshake.PLAIN, ("handshake_garbage",)),
        (Handshake.FIN, ("closed",)),
        (Handshake.RESET, ("closed",)),
        (Handshake.ALERT, ("handshake_refused",)),
    ],
    ids=lambda value: value.value if isinstance(value, Handshake) else "",
)
def test_handshakes(stage: Stage, handshake: Handshake, reasons: tuple[str, ...]) -> None:
    """U31: a middlebox that closes after 234; U32: a server of the TLS 1.1 age; and noise."""
    stage.play(Quirks(handshake=handshake))
    text = _assert_refused(stage, *reasons)
    if reasons == ("closed",):
        assert "firewall that inspects FTP" in text


def test_tls_below_the_upstreams_minimum(stages: Stages) -> None:
    """tls_min = "1.3" against a server that knows 1.2."""
    stage = stages("tls_1_3_only")
    stage.play(Quirks(tls_max=ssl.TLSVersion.TLSv1_2))
    _assert_refused(stage, "protocol_version")


@pytest.mark.parametrize(
    "reply",
    [
        b"431 need some unavailable resource\r\n",
        b"500 what?\r\n",
        b"502 not implemented\r\n",
        b"503 not now\r\n",
        b"504 not that\r\n",
        b"530 log in first\r\n",
        b"533 policy\r\n",
        b"534 policy\r\n",
        b"500-no\r\n USER would be nice\r\n500 no\r\n",
    ],
    ids=lambda reply: reply[:4].decode().strip(" "),
)
def test_auth_refused(stage: Stage, reply: bytes) -> None:
    """U22: no AUTH, or not now, or a "success" that is none: never on in clear."""
    stage.play(Quirks(auth={"TLS": reply}))
    _assert_refused(stage, "auth_refused")
    assert stage.server.sessions[0].plaintext.startswith(b"AUTH TLS\r\n")


@pytest.mark.parametrize("code", [200, 230, 234, 334])
def test_a_yes_to_auth_that_means_no(stage: Stage, code: int) -> None:
    """U22: whether the server means it, the handshake proves; nothing but AUTH and a ClientHello goes out in clear."""
    stage.play(Quirks(auth={"TLS": b"%d sure, whatever\r\n" % code}, auth_lies=True))
    _assert_refused(stage, "handshake_garbage")
    plaintext = stage.server.sessions[0].plaintext
    assert plaintext.startswith(b"AUTH TLS\r\n\x16\x03")
    assert b"USER" not in plaintext


def test_auth_ssl_is_tried_only_when_allowed(stage: Stage) -> None:
    """U22: the server knows AUTH SSL only, and the settings do not."""
    stage.play(Quirks(auth={"SSL": b"234 go\r\n"}))
    _assert_refused(stage, "auth_refused")
    assert b"SSL" not in stage.server.sessions[0].plaintext


@pytest.mark.parametrize(
    "auth", [{"SSL": b"234 go\r\n"}, {"SSL": b"334 go\r\n"}, {"TLS": b"334 go\r\n"}, {"TLS": b"200 go\r\n"}]
)
def test_auth_variants(stages: Stages, auth: dict[str, bytes]) -> None:
    """U22: AUTH SSL when it is allowed, and 334 for 234; VxWorks says 200."""
    stage = stages("auth_ssl")
    stage.play(Quirks(auth=auth))
    with stage.logged_in() as client:
        assert client.download()[0].data == FILE
    assert stage.server.last.secured
    assert stage.server.last.in_clear == (b"AUTH TLS\r\nAUTH SSL\r\n" if "SSL" in auth else b"AUTH TLS\r\n")


@pytest.mark.parametrize(
    "injected", [b"230 logged in\r\n", b"\n", b"2", b"220 x\r\n" * 1000], ids=["reply", "lf", "byte", "many"]
)
def test_bytes_after_234(stage: Stage, injected: bytes) -> None:
    """CVE-2021-22947: what a man in the middle puts behind 234 is never taken for a reply under TLS."""
    stage.play(Quirks(after_auth=injected))
    _assert_refused(stage, "bytes_after_auth")


def test_auth_is_the_first_and_only_command_in_clear(stage: Stage) -> None:
    """U5: not even FEAT is asked before; a second AUTH or a CCC never happens."""
    with stage.logged_in() as client:
        for command in ("AUTH TLS", "AUTH SSL", "PBSZ 0", "PROT C", "PROT P", "CCC"):
            assert client.command(command).code in (502, 503), command
        client.download()
    seen = stage.server.last
    assert seen.in_clear == b"AUTH TLS\r\n"
    assert seen.verbs()[:2] == ["PBSZ", "PROT"]
    assert not {"AUTH", "CCC"} & set(seen.verbs())
    assert b"PROT C" not in seen.commands


@pytest.mark.parametrize("greeting", [b"421 too many connections\r\n", b"500 no\r\n", b"530-full\r\n530 house\r\n"])
def test_a_greeting_that_is_a_refusal(stage: Stage, greeting: bytes) -> None:
    """U28: the gateway is one address to the server, and the reason it gives is passed on."""
    stage.play(Quirks(greeting=greeting))
    text = _assert_refused(stage, "greeting_refused")
    assert greeting.split()[-1].decode() in text
    assert stage.server.sessions[0].plaintext == b""


def test_a_greeting_after_a_while(stage: Stage) -> None:
    stage.play(Quirks(greeting=b"120 wait\r\n220-now\r\n 220 not yet\r\n220 ready\r\n"))
    stage.logged_in().close()


@pytest.mark.parametrize("implicit", [False, True], ids=["explicit", "implicit"])
def test_nobody_listens(stages: Stages, implicit: bool) -> None:
    stage = stages("nobody_implicit" if implicit else "nobody")
    _assert_refused(stage, "connect_failed")


def test_prot_refused(stage: Stage) -> None:
    """Before the login and after it: the data would go in clear."""
    stage.play(Quirks(replies={"PROT": b"536 not supported\r\n"}))
    with stage.client() as client:
        assert client.command("USER anna").code == 331
        assert client.command("PASS x").code == 421
        client.rest()
    assert stage.event("upstream.failed")["cause"] == "prot_refused"


def test_prot_after_the_login(stage: Stage) -> None:
    """U18: servers that want a login first, and PBSZ before PROT, get both."""
    stage.play(Quirks(prot_after_login=True))
    with stage.logged_in() as client:
        assert client.download()[0].data == FILE
    assert stage.server.last.data[0].secured


@pytest.mark.parametrize("refuses", [False, True], ids=["takes-prot", "refuses-prot"])
def test_implicit_tls(stages: Stages, refuses: bool) -> None:
    """U19: MS-FTPS wants no PBSZ and PROT after implicit TLS; data is protected all the same."""
    stage = stages("implicit")
    refusal = b"503 bad sequence\r\n"
    stage.play(
        Quirks(implicit=True, prot_assumed=refuses, replies={"PBSZ": refusal, "PROT": refusal} if refuses else {})
    )
    with stage.logged_in() as client:
        assert client.download()[0].data == FILE
        assert client.upload(FILE, "up")[-1].code == 226
    seen = stage.server.last
    assert seen.in_clear == b""
    assert all(data.secured for data in seen.data)


def test_a_plaintext_server_on_an_implicit_port(stages: Stages) -> None:
    stage = stages("implicit")
    stage.play(Quirks(implicit=True, handshake=Handshake.PLAIN))
    _assert_refused(stage, "plaintext_on_implicit_port")


def test_a_greeting_in_clear_before_implicit_tls(stages: Stages) -> None:
    """U20: z/OS with SECUREIMPLICITZOS says 220 in clear first. Refused unless it is said to be so."""
    stage = stages("implicit")
    stage.play(Quirks(implicit=True, greeting_in_clear=True))
    assert 'implicit_greeting = "clear"' in _assert_refused(stage, "plaintext_on_implicit_port")


def test_a_greeting_in_clear_where_it_is_expected(stages: Stages) -> None:
    """U20: one reply is read in clear, nothing of it used, and nothing sent before the handshake."""
    stage = stages("implicit_clear")
    stage.play(Quirks(implicit=True, greeting_in_clear=True, greeting=b"220-spoof\r\n220 me\r\n"))
    with stage.logged_in() as client:
        assert client.greeting.raw == b"220 FTP service ready.\r\n"
        assert client.command("PWD").code == 257
        assert client.download()[0].data == FILE
        assert client.upload(FILE, "up")[-1].code == 226
    seen = stage.server.last
    assert seen.in_clear == b""
    assert seen.verbs()[:4] == ["PBSZ", "PROT", "USER", "PASS"]
    assert all(data.secured for data in seen.data)


@pytest.mark.parametrize(
    "more",
    [b"2", b"220 again\r\n", b"331 password\r\n230 in\r\n", b"\r\n", b"\x16\x03\x03"],
    ids=["a-byte", "another", "replies", "empty-line", "tls"],
)
def test_bytes_behind_a_greeting_in_clear(stages: Stages, more: bytes) -> None:
    """U20: replies slipped in before TLS would answer commands said behind it."""
    stage = stages("implicit_clear")
    stage.play(Quirks(implicit=True, greeting_in_clear=True, after_greeting=more))
    _assert_refused(stage, "bytes_after_greeting")


@pytest.mark.parametrize(
    ("greeting", "reason"),
    [
        (b"421 too many\r\n", "greeting_refused"),
        (b"530 no\r\n", "greeting_refused"),
        (b"120 in a minute\r\n", "greeting_refused"),
        (b"HTTP/1.1 400 Bad Request\r\n", "protocol_error"),
        (b"220-" + b"x" * 2_000_000, "protocol_error"),
        (b"", "implicit_tls"),
    ],
    ids=["421", "530", "120", "http", "endless", "silence"],
)
def test_no_greeting_in_clear_no_session(stages: Stages, greeting: bytes, reason: str) -> None:
    """U20: and a server that is silent until TLS, as others are, is said to be."""
    stage = stages("implicit_clear")
    stage.play(Quirks(implicit=True, greeting_in_clear=True, greeting=greeting))
    text = _assert_refused(stage, reason)
    if not greeting:
        assert "implicit_greeting" in text


def test_a_greeting_in_clear_and_another_behind_tls(stages: Stages) -> None:
    """U20: the first one was slipped in; from here on every reply would answer the command before."""
    stage = stages("implicit_clear")
    stage.play(Quirks(implicit=True, greeting_in_clear=True, greets_again=True))
    _assert_refused(stage, "greeted_twice")


@pytest.mark.parametrize("handshake", [Handshake.GARBAGE, Handshake.HANG, Handshake.FIN, Handshake.OLD_TLS])
def test_a_handshake_spoilt_behind_a_greeting_in_clear(stages: Stages, handshake: Handshake) -> None:
    stage = stages("implicit_clear")
    stage.play(Quirks(implicit=True, greeting_in_clear=True, handshake=handshake))
    _assert_refused(stage, "handshake_garbage", "handshake_timeout", "closed", "protocol_version")


def test_garbage_on_an_implicit_port(stages: Stages) -> None:
    stage = stages("implicit")
    stage.play(Quirks(implicit=True, handshake=Handshake.GARBAGE))
    _assert_refused(stage, "handshake_garbage", "plaintext_on_implicit_port")


def test_the_server_is_asked_for_by_name(stages: Stages) -> None:
    """U24: SNI on control and data connections, ALPN ftp."""
    stage = stages("named")
    stage.play(Quirks(strict_sni="localhost"))
    with stage.logged_in() as client:
        assert client.download()[0].data == FILE
    seen = stage.server.last
    assert (seen.server_name, seen.alpn) == ("localhost", "ftp")
    assert seen.data[0].server_name in ("localhost", None)  # None: a resumed TLS 1.3 session may name it in the ticket


def test_a_server_that_wants_another_name(stages: Stages) -> None:
    """U24."""
    stage = stages("named")
    stage.play(Quirks(strict_sni="another.example"))
    with stage.client() as client:
        assert client.refusal().code == 530
    assert stage.event("upstream.failed")["detail"]


def test_one_refused_session_is_no_other_sessions_trouble(stage: Stage) -> None:
    with stage.logged_in() as client:
        stage.server.quirks = Quirks(handshake=Handshake.GARBAGE)
        with stage.client() as unlucky:
            assert unlucky.refusal().code == 530
        stage.server.quirks = Quirks()
        assert client.download()[0].data == FILE


def test_a_closed_port_says_connect_failed_not_a_traceback(stages: Stages) -> None:
    stage = stages("nobody")
    with stage.client() as client:
        assert client.refusal().code == 530
