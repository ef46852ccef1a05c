"""The campaign's FTP client: a program of its own on plain sockets, which does one transfer and says what it saw.

    python client.py '{"host": …, "port": …, …}'      one JSON object on standard output

It can be killed or stopped at any time. It imports nothing of this project, and no more than it needs: hundreds start.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import re
import select
import socket
import sys
import time
from typing import Any

PATIENCE = 20.0
CHUNK = 65536


class Over(Exception):
    """The control connection is of no use any more."""


class Client:
    """One session by plan; `result` is what it saw."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self.plan = plan
        self.result: dict[str, Any] = {
            "login": False, "codes": [], "started": False, "received": 0, "sha256": "", "matches": True,
            "data_end": "", "sent": 0, "ended_data": False, "control_end": "", "acted": False, "trouble": "",
        }  # fmt: skip
        self.buffer = b""
        self.control: socket.socket | None = None
        self.content = b""
        if plan["size"] and plan["content"]:
            with open(plan["content"], "rb") as file:
                self.content = mmap.mmap(file.fileno(), plan["size"], access=mmap.ACCESS_READ)  # type: ignore[assignment] # as bytes

    # --- control ---------------------------------------------------------------------------------------------------

    def reply(self) -> int:
        """The next reply, final or not."""
        assert self.control is not None
        while True:
            line, found, rest = self.buffer.partition(b"\n")
            if found:
                self.buffer = rest
                if re.match(rb"\d{3} ", line):
                    code = int(line[:3])
                    self.result["codes"].append([code, time.monotonic(), line.decode("latin-1").strip()])
                    return code
                continue
            try:
                data = self.control.recv(CHUNK)
            except TimeoutError:
                self.result["control_end"] = "timeout"
                raise Over from None
            except OSError:
                self.result["control_end"] = "rst"
                raise Over from None
            if not data:
                self.result["control_end"] = "fin"
                raise Over
            self.buffer += data

    def final(self) -> int:
        """The next final reply; Pure-FTPd says 150 twice."""
        while (code := self.reply()) < 200:
            pass
        return code

    def say(self, line: str) -> None:
        assert self.control is not None
        try:
            self.control.sendall(line.encode() + b"\r\n")
        except OSError:
            self.result["control_end"] = "rst"
            raise Over from None

    def command(self, line: str) -> int:
        self.say(line)
        return self.final()

    # --- data ------------------------------------------------------------------------------------------------------

    def ends(self) -> tuple[socket.socket | None, socket.socket | None]:
        """The data connection, or the listener for it."""
        assert self.control is not None
        plan, mode = self.plan, self.plan["mode"]
        if mode in ("PASV", "EPSV"):
            if self.command(mode) >= 400:
                raise Over
            text = self.result["codes"][-1][2]
            if mode == "EPSV":
                match = re.search(r"\|\|\|(\d+)\|", text)
                assert match, text
                address = self.control.getpeername()[0], int(match[1])
            else:
                match = re.search(r"\((\d+,\d+,\d+,\d+),(\d+),(\d+)\)", text)
                assert match, text
                address = match[1].replace(",", "."), int(match[2]) * 256 + int(match[3])
            return socket.create_connection(address, timeout=PATIENCE), None
        listener = socket.create_server(("127.0.0.1", plan["listen"]))
        listener.settimeout(PATIENCE)
        host, port = plan["announce"]
        argument = f"|1|{host}|{port}|" if mode == "EPRT" else f"{host.replace('.', ',')},{port >> 8},{port & 255}"
        if self.command(f"{mode} {argument}") >= 400:
            listener.close()
            raise Over
        return None, listener

    def act(self) -> None:
        """Do the rude thing of the plan."""
        assert self.control is not None
        self.result["acted"] = True
        match self.plan["rude"]:
            case "abor":
                self.say("ABOR")
            case "quit":
                self.say("QUIT")
            case "close":
                self.control.close()
            case "half-close":
                self.control.shutdown(socket.SHUT_WR)

    def send(self, data: socket.socket) -> None:
        size, at = self.plan["size"], self.plan["rude_at"] if self.plan["rude"] else -1
        sent = 0
        view = memoryview(self.content)
        try:
            while True:
                if sent == at and not self.result["acted"]:
                    self.act()
                    if self.plan["rude"] == "abor":
                        return
                if sent == size:
                    break
                stop = min(size, sent + CHUNK, at if sent < at else size)
                sent += data.send(view[sent:stop])
                self.result["sent"] = sent
            data.shutdown(socket.SHUT_WR)
            self.result["ended_data"] = True
        except TimeoutError:
            self.result["data_end"] = "timeout"
        except OSError:
            self.result["data_end"] = "rst"
        finally:
            view.release()
        if self.plan["rude"] in ("leave", "leave-half"):
            # Cameras: the end of the data, then at once the end of everything.
            data.close()
            assert self.control is not None
            if self.plan["rude"] == "leave":
                self.control.close()
            else:
                self.control.shutdown(socket.SHUT_WR)

    def receive(self, data: socket.socket) -> None:
        at = self.plan["rude_at"] if self.plan["rude"] else -1
        received, digest, result = 0, hashlib.sha256(), self.result
        try:
            while True:
                if at >= 0 and received >= at and not result["acted"]:
                    self.act()
                    if self.plan["rude"] == "close-data":
                        result["data_end"] = "closed"
                        break
                part = data.recv(CHUNK if received >= at else min(CHUNK, at - received))
                if not part:
                    result["data_end"] = "fin"
                    break
                if self.content and self.content[received : received + len(part)] != part:
                    result["matches"] = False
                digest.update(part)
                received += len(part)
                result["received"] = received
        except TimeoutError:
            result["data_end"] = "timeout"
        except OSError:
            result["data_end"] = "rst"
        result["sha256"] = digest.hexdigest()

    # --- the whole -------------------------------------------------------------------------------------------------

    def play(self) -> None:
        plan = self.plan
        self.control = socket.create_connection((plan["host"], plan["port"]), timeout=PATIENCE)
        self.control.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.reply() != 220:
            raise Over
        if self.command(f"USER {plan['user']}") == 331 and self.command(f"PASS {plan['password']}") != 230:
            raise Over
        self.result["login"] = True
        if self.command("TYPE I") != 200:
            raise Over
        data, listener = self.ends()
        try:
            self.say(f"{plan['verb']} {plan['name']}".strip())
            if self.reply() >= 200:
                return
            self.result["started"] = True
            if listener is not None:
                # It may never call: then the reply says so.
                if listener not in select.select([listener, self.control], [], [], PATIENCE)[0]:
                    self.final()
                    return
                data, _ = listener.accept()
                data.settimeout(PATIENCE)
            assert data is not None
            if plan["verb"] == "STOR":
                self.send(data)
            else:
                self.receive(data)
            if plan["rude"] == "leave" or (plan["rude"] == "close" and self.result["acted"]):
                return
            if plan["rude"] == "abor" and self.result["acted"]:
                self.final()
                self.final()
                self.result["data_end"] = self.result["data_end"] or how_it_ended(data)
            elif plan["rude"] == "close-data" and self.result["acted"]:
                data.close()
                self.final()
            elif plan["verb"] == "STOR" and plan["rude"] not in ("leave", "leave-half"):
                self.final()
                data.close()
            else:
                data.close()
                self.final()
            self.result["verdict"] = True
            if plan["rude"] == "quit" and self.result["acted"]:
                self.final()
            else:
                self.command("QUIT")
        finally:
            for sock in (data, listener):
                if sock is not None:
                    sock.close()


def how_it_ended(data: socket.socket) -> str:
    """What became of a data connection on which we have nothing more to say."""
    try:
        while data.recv(CHUNK):
            pass
    except TimeoutError:
        return "timeout"
    except OSError:
        return "rst"
    return "fin"


def main() -> None:
    client = Client(json.loads(sys.argv[1]))
    try:
        client.play()
    except Over:
        pass
    except OSError as error:
        client.result["trouble"] = repr(error)
    print(json.dumps(client.result))


if __name__ == "__main__":
    main()
