"""The promise: nothing of a login leaves before the server has proved who it is.

The attack: certificates that name a host where names no longer count, that no parser likes, or a key exchange that
only costs. What must be seen: no session, one plain line, no crash.
"""

from __future__ import annotations

import ssl
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from tests.faults.profiles import Stages
from tests.faults.stage import FILE, Stage
from tests.faults.test_refusals import _assert_refused
from tests.support.bad_server import Quirks


def test_a_host_named_by_the_subject_alone(stages: Stages) -> None:
    """Name constraints of an authority do not bind the subject (RFC 9525 section 2)."""
    stage = stages("named")
    pair = stage.certificates.issue("common-name-only", names=(), common_name="localhost")
    stage.play(Quirks(), certificate=pair)
    assert "subjectAltName" in _assert_refused(stage, "wrong_host")


@pytest.mark.parametrize("version", [2, 4, 5])
def test_a_certificate_of_no_known_version(stages: Stages, tmp_path: Path, version: int) -> None:
    """With a pin its key is all that counts; the log leaves out what it can't read."""
    stage = stages("pin_only")
    good = stage.certificates.server
    der = bytearray(x509.load_pem_x509_certificate(good.certificate_file.read_bytes()).public_bytes(_DER))
    der[der.index(b"\xa0\x03\x02\x01") + 4] = version - 1
    chain = tmp_path / "chain.pem"
    chain.write_text(ssl.DER_cert_to_PEM_cert(bytes(der)))
    stage.play(Quirks(), certificate=replace(good, certificate_file=chain))
    with stage.logged_in() as client:
        assert client.download()[0].data == FILE
    secured = stage.event("upstream.secured")
    assert (secured["subject"], secured.get("days_left")) == ("", None)


_DER = serialization.Encoding.DER


def test_a_group_of_the_servers_choice(stage: Stage) -> None:
    """DHE: of 10,000 bits it costs half a second of everybody's time."""
    stage.play(Quirks(tls_max=ssl.TLSVersion.TLSv1_2, ciphers="DHE-RSA-AES128-GCM-SHA256:DHE-RSA-AES256-GCM-SHA384"))
    _assert_refused(stage, "handshake_refused")
