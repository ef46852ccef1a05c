"""A server on paper, with a tree of files, that takes every command in the most liberal way that some server does, and
keeps account of what it was made to touch. It knows nothing of rights."""

from __future__ import annotations

import fnmatch
import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from ftpsproxy.ftp.addresses import Endpoint
from ftpsproxy.ftp.events import (
    ClientListening,
    Connected,
    Event,
    RelayFinished,
    Secured,
    ServerDataReady,
    ServerSaid,
    TransferClosed,
)
from ftpsproxy.ftp.orders import (
    BeginTransfer,
    ConnectToServer,
    FinishTransfer,
    ListenForClient,
    TellClient,
    TellServer,
)
from ftpsproxy.ftp.protocol import Policy, Protocol, heard
from ftpsproxy.ftp.rights import Rights
from tests.ftp.play import CLIENT, SERVER, reply

DIRECTORIES = (
    "/",
    "/in",
    "/in/sub",
    "/in/sub/deep",
    "/out",
    "/out/more",
    "/home",
    "/etc",
    "/IN",
    "/flat",
    "/flat/more",
)
FILES = (
    "/in/a",
    "/in/sub/b",
    "/in/sub/deep/c",
    "/out/d.csv",
    "/out/e.txt",
    "/out/more/f.csv",
    "/home/g",
    "/etc/passwd",
    "/flat/more/h",
)
PATHS = ("/in/**", "/out/*.csv", "/flat/*")
LINK = "/in/link"


def allowed(path: str) -> bool:
    """What PATHS say, in other words."""
    folder, _, name = path.rpartition("/")
    return path.startswith("/in/") or (folder == "/out" and name.endswith(".csv")) or folder == "/flat"


@dataclass
class ModelServer:
    """`shown`, `read`, `made` and `changed` are the paths it was made to name, read, write and change otherwise;
    `renamed` what was, from and to."""

    windows: bool = False
    cwd: str = "/home"
    links: dict[str, str] = field(default_factory=lambda: {LINK: "/etc"})
    directories: set[str] = field(default_factory=lambda: set(DIRECTORIES))
    files: set[str] = field(default_factory=lambda: set(FILES))
    shown: set[str] = field(default_factory=set)
    read: set[str] = field(default_factory=set)
    made: set[str] = field(default_factory=set)
    changed: set[str] = field(default_factory=set)
    renamed: list[tuple[str, str]] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    _from: str = ""

    @property
    def touched(self) -> set[str]:
        """All of that."""
        return self.shown | self.read | self.made | self.changed | {path for both in self.renamed for path in both}

    def path(self, name: str) -> str:
        """Where a name leads."""
        if self.windows and name.strip():
            name = re.sub(r"^[A-Za-z]:", "", name.replace("\\", "/"))
            parts = name.split("/")
            name = "/".join(".." if re.fullmatch(r"\.\.[. ]*", part) else part.rstrip(". ") or "." for part in parts)
            name = ("/" if parts[0] == "" else "") + name.lower().lstrip("/")
        if name.startswith("~"):
            name = "/home/" + name.partition("/")[2]
        path = "/"
        for part in posixpath.join(self.cwd, name.strip()).split("/"):
            if part == "..":
                path = posixpath.dirname(path)
            elif part not in ("", "."):
                path = posixpath.join(path, part)
            path = self.links.get(path, path)
        return path

    def hear(self, line: str) -> list[str]:
        """A command → replies."""
        self.lines.append(line)
        verb, _, argument = line.partition(" ")
        match verb.upper():
            case "EPSV":
                return ["229 ok (|||2000|)"]
            case "USER":
                return ["230 in"]
            case "PWD" | "XPWD":
                return [f'257 "{self.cwd}" is the directory']
            case "CWD" | "XCWD" | "CDUP" | "XCUP":
                path = self.path(argument if verb.upper() in ("CWD", "XCWD") else "..")
                self.cwd = path if path in self.directories else self.cwd
                return ["250 ok"] if path in self.directories else ["550 no"]
            case "RETR":
                self.read.add(self.path(argument))
                return ["150 here", "226 done"]
            case "HASH" | "XCRC" | "XMD5" | "MD5":
                self.read |= {self.path(argument), self.path(argument.partition(" ")[0])}
                return ["213 x"]
            case "LIST" | "NLST" | "MLSD":
                self._list(argument)
                return ["150 here", "226 done"]
            case "MLST":
                self._list(argument)
                return ["250 ok"]
            case "STAT":
                if argument.strip():
                    self._list(argument)
                return ["213 ok"]
            case "STOR" | "APPE":
                self._write(self.path(argument))
                return ["150 here", "226 done"]
            case "STOU":
                self._write(self.path("unique"))
                return ["150 FILE: unique", "226 done"]
            case "SITE":
                return self._site(argument)
            case _:
                return self._file(verb.upper(), argument)

    def _write(self, path: str) -> None:
        self.made.add(path)
        self.files.add(path)

    def _file(self, verb: str, argument: str) -> list[str]:
        match verb:
            case "SIZE" | "MDTM" if not re.match(r"\d{8}", argument):
                self.shown.add(self.path(argument))
                return ["213 5"]
            case "MDTM" | "MFMT" | "MFCT":
                self.changed.add(self.path(argument.partition(" ")[2]))
                return ["213 ok"]
            case "MFF":
                self.changed.add(self.path(argument.partition("; ")[2]))
                return ["213 ok"]
            case "DELE" | "RMD" | "XRMD" | "XDEL":
                self.changed.add(self.path(argument))
                return ["250 ok"]
            case "MKD" | "XMKD":
                self.made.add(self.path(argument))
                self.directories.add(self.path(argument))
                return ['257 "x" made']
            case "RNFR":
                self._from = self.path(argument)
                return ["350 go on"]
            case "RNTO":
                if not self._from:
                    return ["503 RNFR first"]
                self.renamed.append((self._from, self.path(argument)))
                self._from = ""
                return ["250 ok"]
            case "COMB":
                self.changed |= {self.path(name) for name in argument.replace('"', "").split()}
                return ["250 ok"]
            case _:
                return ["200 ok"]

    def _site(self, argument: str) -> list[str]:
        word, _, rest = argument.strip().partition(" ")
        match word.upper():
            case "CHMOD" | "CHGRP" | "UTIME":
                self.changed.add(self.path(rest.partition(" ")[2]))
            case "CPFR":
                self.read.add(self.path(rest))
            case "MKDIR" | "RMDIR" | "CPTO" | "RM" | "DELE":
                self.changed.add(self.path(rest))
            case "SYMLINK":
                target, _, link = rest.partition(" ")
                self.changed.add(self.path(link))
                self.links[self.path(link)] = self.path(target)
            case "EXEC":
                self.changed.add("/etc/passwd")
        return ["200 ok"]

    def _list(self, argument: str) -> None:
        options = re.match(r"(?:-\S* ?)*", argument.strip())
        rest = argument.strip()[options.end() if options is not None else 0 :]
        deep = options is not None and "R" in options[0]
        for name in self._expanded(rest):
            path = self.path(name)
            if path in self.directories:
                self.shown |= set(self._below(path, deep=deep))
            elif path in self.files:
                self.shown.add(path)

    def _expanded(self, name: str) -> list[str]:
        """As a shell does it, braces too."""
        if braces := re.fullmatch(r"(.*)\{(.*)\}(.*)", name):
            return [found for part in braces[2].split(",") for found in self._expanded(braces[1] + part + braces[3])]
        if not re.search(r"[*?\[]", name):
            return [name]
        return [path for path in self._all_names() if self._matches(path, self.path(name))]

    def _all_names(self) -> Iterator[str]:
        for path in self.directories | self.files:
            yield path
            if path in self.directories:
                yield path.rstrip("/") + "/.."

    @staticmethod
    def _matches(path: str, pattern: str) -> bool:
        parts, wanted = path.split("/"), pattern.split("/")
        both = zip(parts, wanted, strict=False)
        hidden = any(part.startswith(".") and not want.startswith(".") for part, want in both)
        return len(parts) == len(wanted) and not hidden and all(map(fnmatch.fnmatchcase, parts, wanted))

    def _below(self, path: str, *, deep: bool) -> Iterator[str]:
        prefix = path.rstrip("/") + "/"
        for name in self.directories | self.files:
            if name.startswith(prefix) and name != path and (deep or "/" not in name.removeprefix(prefix)):
                yield name


class Device:
    """A device at the rules, with that server behind them; `heard` is what it was told."""

    def __init__(self, rights: Rights, server: ModelServer) -> None:
        self.server = server
        self.heard: list[str] = []
        self.protocol = Protocol(Policy(client=CLIENT, rights=rights))
        for event in (
            Connected(SERVER),
            ServerSaid(reply("220 hello")),
            ServerSaid(reply("234 go")),
            Secured(),
            ServerSaid(reply("200 ok")),
            ServerSaid(reply("200 ok")),
        ):
            self.protocol.handle(event)
        assert self.say("USER a") == ["230 in"]
        server.lines.clear()

    def say(self, line: str) -> list[str]:
        """A command → what the device hears."""
        before = len(self.heard)
        event = heard(line.encode("utf-8"))
        if event is not None:
            self._feed(event)
        assert self.protocol.idle, f"it waits for something behind {line}"
        return self.heard[before:]

    def _feed(self, event: Event) -> None:
        events = [event]
        while events:
            for order in self.protocol.handle(events.pop(0)):
                match order:
                    case TellServer(data):
                        line = data.decode("utf-8", "surrogateescape").removesuffix("\r\n")
                        events += [ServerSaid(reply(said)) for said in self.server.hear(line)]
                    case TellClient(told):
                        self.heard.append(told.lines[-1].decode("latin-1"))
                    case ConnectToServer():
                        events.append(ServerDataReady())
                    case ListenForClient():
                        events.append(ClientListening(Endpoint("10.0.0.1", 3000)))
                    case BeginTransfer(transfer):
                        events.append(RelayFinished(transfer.number, True))
                    case FinishTransfer(number, True):
                        events.append(TransferClosed(number))
