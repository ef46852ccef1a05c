"""The promise: what befell other clients, servers and proxies does not befall this gateway.

The attacks are those of their CVEs (the table is in tests/README.md). What must be seen: what is data stays data, what
is a line stays one line, nothing is kept that has no bound, and nobody else feels it.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from tests.bench.process import pss_kib
from tests.faults.profiles import Stages
from tests.faults.stage import FILE, Stage
from tests.faults.test_refusals import _assert_refused
from tests.support.bad_client import BadClient, Downloaded, set_to_reset
from tests.support.bad_server import BadServer, Quirks
from tests.support.certificates import Certificates
from tests.support.gateway import start_gateway


def test_a_greeting_that_says_logged_in_saves_no_tls(stage: Stage) -> None:
    """CVE-2021-22946: curl took 230 before TLS for a login, and went on in clear though TLS was required."""
    stage.play(Quirks(greeting=b"230 you are logged in\r\n"))
    with stage.logged_in() as client:
        assert client.download()[0].data == FILE
    assert stage.server.last.in_clear == b"AUTH TLS\r\n"
    assert stage.server.last.verbs()[:4] == ["PBSZ", "PROT", "USER", "PASS"]


@pytest.mark.parametrize(
    "listing",
    [
        b"-rw-r--r-- 1 a a 5 Jan  1",
        b"-rw-r--r--",
        b"\n\n \n\t\n",
        b"+i8388621.48594,m825718503,r,s280,\t",
        b"01-01-20  10:00AM   <DIR>          ",
        b"\0" * 5000,
        b"../../etc/passwd\r\n/etc/passwd\r\n",
        b"d" * 100_000,
        b"-rw-r--r-- 1 a a 99999999999999999999999999 Jan  1 2020 x\r\n",
    ],
    ids=["no-name", "mode-alone", "blank", "eplf", "dos", "nul", "paths", "one-line", "huge-size"],
)
@pytest.mark.parametrize("verb", ["LIST", "NLST", "MLSD"])
def test_a_listing_is_bytes(stage: Stage, verb: str, listing: bytes) -> None:
    """CVE-2019-12528, CVE-2026-47729 (Squid), CVE-2018-10916 (lftp): who reads listings can be made to read too far,
    or to believe their names. Here nobody reads them."""
    stage.play(Quirks(extra_data_verbs={verb: listing}))
    with stage.logged_in() as client:
        downloaded, replies = client.download("", verb=verb)
        assert (downloaded, replies[-1].code) == (Downloaded(listing, "fin"), 226)


def test_a_listing_is_not_kept(stage: Stage) -> None:
    """CVE-2026-41324: basic-ftp gathered a listing without end in memory."""
    listing = b"-rw-r--r-- 1 a a 1 Jan  1 2020 x\r\n" * 1_000_000
    stage.play(Quirks(extra_data_verbs={"LIST": listing}))
    with stage.logged_in() as client:
        assert client.download("", verb="NLST")[1][-1].code == 226
        before = pss_kib(stage.gateway.pid)
        data = client.passive()
        assert client.command("LIST").code == 150
        assert len(data.read(len(listing) // 2)) == len(listing) // 2
        assert pss_kib(stage.gateway.pid) - before < 8 << 10
        assert data.read_to_end() == Downloaded(listing[len(listing) // 2 :], "fin")
        assert client.reply().code == 226


@pytest.mark.parametrize(
    "line",
    [
        b"STAT {{{{{{{{{{a,b},c},d},e},f},g},h},i},j},k}",
        b"LIST */../*/../*/../*/../*/../*/../*",
        b"CWD ~{",
        b"DELE " + b"*" * 30,
        b'CWD "\\"\\\\"\\',
        b'CWD "',
        b"CWD \\",
        b"SITE CPFR /proc/self/environ",
        b"SITE CPTO /var/www/x",
        b"SITE EXEC %p%n%s",
        b"SITE %s%s%s%n {0} {user} $(id) `id`",
    ],
    ids=repr,
)
def test_a_pattern_is_the_servers_to_expand(stage: Stage, line: bytes) -> None:
    """CVE-2011-0762 (vsftpd), CVE-2011-0418 (Pure-FTPd), CVE-2001-0550 (wu-ftpd): globs; CVE-2023-51713 (ProFTPD):
    quotes; CVE-2015-3306 (ProFTPD): SITE CPFR. Arguments mean nothing here."""
    verb = line.split()[0].decode()
    stage.play(Quirks(replies={verb: b"550 none of this\r\n"}))
    with stage.logged_in() as client:
        client.send(line + b"\r\n")
        assert client.reply().raw == b"550 none of this\r\n"
        assert client.command("PWD").code == 257
    sent = stage.server.last.commands
    assert sent[sent.index(b"PWD") - 1] == line


@pytest.mark.parametrize("size", [511, 512, 1023, 1024, 4095, 4096, 8190, 8200, 16384, 65536, 300_000])
def test_a_long_line_is_never_two(stage: Stage, size: int) -> None:
    """CVE-2008-4242 (ProFTPD), CVE-2008-4247 (BSD's ftpd), CVE-2008-7016 (tnftpd): what did not fit into the buffer was
    the next command."""
    with stage.logged_in() as client:
        line = b"SIZE " + b"/" * (size - 5) + b"DELE file"
        client.send(line + b"\r\n")
        assert client.reply().code == (500 if len(line) > 8192 else 550)
        assert client.command("PWD").code == 257
    sent = stage.server.last.commands
    assert "DELE" not in stage.server.last.verbs()
    assert (line in sent) == (len(line) <= 8192)


@pytest.mark.parametrize(
    "reply",
    [
        b'257 "\r\n',
        b"257\r\n",
        b'257 "/a""b\r\n',
        b'257 "/a\\"\r\n',
        b'257 "' + b"/" * 60_000 + b'"\r\n',
        b'257-"/a"\r\n257-"\r\n257 "\r\n',
    ],
    ids=["one-quote", "bare", "doubled-quote", "backslash", "long", "many-lines"],
)
@pytest.mark.parametrize("verb", ["PWD", "XPWD", "MKD x"])
def test_a_path_in_a_reply_is_text(stages: Stages, verb: str, reply: bytes) -> None:
    """CVE-2017-1000254: curl read past the end of a path whose quote was never closed."""
    stage = stages("default")
    stage.play(Quirks(replies={verb.split()[0]: reply}))
    with stage.logged_in() as client:
        assert client.command(verb).raw == reply
        assert client.command("NOOP").code == 200


@pytest.mark.parametrize("verb", ["QUIT", "MDTM", "PASV", "EPSV", "SIZE"])
def test_a_long_reply_overflows_nothing(stages: Stages, verb: str) -> None:
    """CVE-2018-1000300 (curl, at the end of a session), CVE-2000-0973 (curl), CVE-2001-0936 (frox, MDTM), CVE-2008-2541
    (CA's gateway, PASV): buffers for what a server may say."""
    stage = stages("pasv") if verb == "PASV" else stages("epsv") if verb == "EPSV" else stages("default")
    stage.play(Quirks(replies={verb: b"250 " + b"x" * 2_000_000 + b"\r\n"}))
    with stage.logged_in() as client:
        client.send(verb.encode() + b" x\r\n" if verb in ("MDTM", "SIZE") else verb.encode() + b"\r\n")
        assert len(client.rest()[0]) < 1_100_000
    assert stage.event("session.closed")["cause"]


def test_format_characters_in_the_log_are_characters(stage: Stage) -> None:
    """CVE-2004-0448: jftpgw gave what a client had said to syslog as a format."""
    name = "%n%n%s%x{0}{password}$(id)`id`\\n"
    stage.play(Quirks(), {name.encode(): FILE[:10]})
    with stage.client() as client:
        assert client.command(f"USER {name}").code == 331
        assert client.command("PASS x").code == 230
        assert client.download(name)[0].data == FILE[:10]
    assert stage.event("transfer.finished")["path"] == name
    assert stage.event("session.login")["user"] == name


def test_who_comes_and_is_gone_ends_nothing(stage: Stage) -> None:
    """CVE-2010-3494, CVE-2009-5010, CVE-2009-5011: pyftpdlib ended when a client reset its connection before it was
    accepted, or looked at."""
    with stage.logged_in() as client:
        passive = client.passive_address()
        for port in (stage.port, passive[1]):
            for _ in range(100):
                with contextlib.suppress(ConnectionResetError):  # it may be quicker
                    sock = socket.create_connection(("127.0.0.1", port), 20, ("127.0.0.2", 0))
                    set_to_reset(sock)
                    sock.close()
        assert client.command("NOOP").code == 200
    with stage.logged_in() as client:
        assert client.download()[0].data == FILE


def test_a_name_with_nul_in_it_is_another_name(stages: Stages) -> None:
    """CVE-2009-3639: to ProFTPD's mod_tls the name in a certificate ended at a NUL."""
    stage = stages("named")
    pair = stage.certificates.issue("nul-in-its-name", names=("localhost\0.example.com",))
    stage.play(Quirks(), certificate=pair)
    _assert_refused(stage, "wrong_host", "bad_certificate")


@pytest.fixture
def port_with_an_empty_crl(fault_certificates: Certificates) -> Iterator[int]:
    """Where a gateway listens whose authority has revoked nothing."""
    authority = fault_certificates.authority
    revoked_one = x509.load_pem_x509_crl(fault_certificates.crl_file.read_bytes())
    empty = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(authority.certificate.subject)
        .last_update(revoked_one.last_update_utc)
        .next_update(revoked_one.next_update_utc)  # type: ignore[arg-type] # it has one
        .sign(authority.key, hashes.SHA256())
    )
    path = fault_certificates.folder / "empty.crl"
    path.write_bytes(empty.public_bytes(serialization.Encoding.PEM))
    pair = fault_certificates.server
    with BadServer(pair.certificate_file, pair.key_file) as server:
        server.play(Quirks(), {b"file": FILE})
        url = f"ftpes://127.0.0.1:{server.port}"
        with start_gateway(url, fault_certificates.ca_file, upstream={"crl_file": path}) as gateway:
            yield gateway.endpoint.port


def test_a_list_that_revokes_nobody(port_with_an_empty_crl: int) -> None:
    """CVE-2019-19269: ProFTPD crashed over an empty CRL."""
    with BadClient(port_with_an_empty_crl) as client:
        client.login()
        assert client.download()[0].data == FILE
