"""Records what real servers say to a good session: `python -m tests.mutants.record` (as root, after tests/peers.sh).

Writes `recorded.json`: server → verb → its replies, in order. Nothing else of them is used, so that a recording is
needed anew only for other servers or other verbs.
"""

from __future__ import annotations

import json
import re
import socket
import ssl
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from tests.support import servers
from tests.support.certificates import Certificates
from tests.support.servers import Server

RECORDED = Path(__file__).parent / "recorded.json"
_SERVERS: dict[str, Callable[[Certificates], AbstractContextManager[Server]]] = {
    "vsftpd": servers.vsftpd,
    "proftpd": servers.proftpd,
    "pureftpd": servers.pureftpd,
    "pyftpdlib": servers.pyftpdlib,
}
_LINES = """SYST FEAT OPTS_UTF8_ON PWD TYPE_I MODE_S STRU_F NOOP HELP STAT ALLO_10 MKD_made CWD_made CDUP
RNFR_made RNTO_other RMD_other SIZE_file MDTM_file SIZE_nothing STOR_up STOU APPE_up DELE_up
REST_100 RETR_file LIST NLST MLSD RETR_nothing SITE_HELP ACCT_x XPWD MLST_file HOST_x ABOR XFOO QUIT"""
_DATA = {"STOR", "STOU", "APPE", "RETR", "LIST", "NLST", "MLSD"}


class _Talk:
    """One session with a real server, its TLS session offered to the data connections."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._context.check_hostname = False
        self._context.verify_mode = ssl.CERT_NONE
        self._sock = socket.create_connection((server.host, server.port), 20)
        self._file = self._sock.makefile("rb")
        self.heard: dict[str, list[str]] = {"": [self._reply()]}
        self.say("AUTH TLS")
        self._file.close()
        self._sock = self._tls = self._context.wrap_socket(self._sock)
        self._file = self._sock.makefile("rb")

    def _reply(self) -> str:
        lines = [self._file.readline()]
        while not re.match(re.escape(lines[0][:3]) + rb"[ \r]", lines[-1]):
            lines.append(self._file.readline())
        return b"".join(lines).decode("latin-1")

    def say(self, line: str) -> str:
        """One line and its reply."""
        self._sock.sendall(line.encode() + b"\r\n")
        reply = self._reply()
        verb = line.partition(" ")[0]
        self.heard.setdefault(verb if reply[0] < "4" else f"{verb} no", [reply])
        return reply

    def transfer(self, line: str) -> None:
        """A line with a data connection."""
        reply = self.say("EPSV")
        port = re.search(r"\|\|\|(\d+)\|", reply)
        assert port, reply
        data = socket.create_connection((self._server.host, int(port[1])), 20)
        first = self.say(line)
        verb = line.partition(" ")[0]
        if first[0] == "1":
            with self._context.wrap_socket(data, session=self._tls.session) as sealed:
                if verb in ("STOR", "STOU", "APPE"):
                    sealed.sendall(b"x" * 100)
                else:
                    while sealed.recv(65536):
                        pass
                sealed.unwrap().close()
            self.heard[verb].append(self._reply())
        data.close()

    def close(self) -> None:
        self._file.close()
        self._sock.close()


def _record(server: Server) -> dict[str, list[str]]:
    server.put("file", b"0123456789" * 100)
    talk = _Talk(server)
    for line in (f"USER {servers.USER}", f"PASS {servers.PASSWORD}", "PBSZ 0", "PROT P", "PASV"):
        talk.say(line)
    for word in _LINES.split():
        line = word.replace("_", " ")
        (talk.transfer if line.partition(" ")[0] in _DATA else talk.say)(line)
    talk.close()
    return talk.heard


def main() -> None:
    """Record all servers."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        certificates = Certificates(Path(folder))
        for name, start in _SERVERS.items():
            with start(certificates) as server:
                found[name] = _record(server)
    rows = {
        name: ",\n".join(f"{json.dumps(verb)}: {json.dumps(words)}" for verb, words in heard.items())
        for name, heard in found.items()
    }
    text = ",\n\n".join(f"{json.dumps(name)}: {{\n{row}\n}}" for name, row in rows.items())
    RECORDED.write_text("{\n" + text + "\n}\n")


if __name__ == "__main__":
    main()
