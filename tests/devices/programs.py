"""Programs and libraries whose source is public: Windows, Delphi, Java, BSD."""

from __future__ import annotations

from tests.devices.script import (
    Accept,
    AcceptAndExpect,
    CloseData,
    Connect,
    Device,
    Drain,
    Finds,
    HangUp,
    Known,
    Listen,
    Pause,
    Reading,
    Receive,
    ReceiveSome,
    Send,
    Step,
    Synch,
    ask,
    expect,
    say,
)

_BUSYBOX_LOGIN = (
    *(expect(b"220"), *ask(b"USER {user}", b"331", b"230"), *ask(b"PASS {password}", b"230"), *ask(b"TYPE I")),
)
_BUSYBOX_PUT = (
    *(*ask(b"STOR {name}", b"125", b"150"), Send(chunk=4096), CloseData(), expect(b"226"), *ask(b"QUIT"), HangUp()),
)
_BSD_LOGIN = (*ask(b"USER {user}", b"3"), *ask(b"PASS {password}", b"2"))
_BSD_PUT: tuple[Step, ...] = (
    *(Listen(), *ask(b"PORT {address}", b"2")),
    *(*ask(b"STOR {name}", b"1"), Accept(), Send(chunk=8192), CloseData(), expect()),
)
_BSD_LIST: tuple[Step, ...] = (
    *(*ask(b"TYPE A", b"2"), Listen(), *ask(b"PORT {address}", b"2")),
    *(*ask(b"NLST", b"1"), Accept(), Receive(listing=True), CloseData(), expect()),
)
_DOT_NET_LOGIN = (
    expect(b"220"),
    *(*ask(b"USER {user}", b"1", b"2", b"3"), *ask(b"PASS {password}", b"230", b"332")),
    *(*ask(b"OPTS utf8 on"), *ask(b"PWD", b"1", b"2", b"3"), *ask(b"TYPE I", b"1", b"2", b"3")),
)
_DOT_NET_END = (Send(chunk=4096), CloseData(), expect(b"1", b"2", b"3"), *ask(b"QUIT"), HangUp())
_DOT_NET = "dotnet/runtime, System.Net.Requests: FtpControlStream.cs, CommandStream.cs"
_INDY_LOGIN = (
    expect(b"220"),
    *ask(b"HOST 127.0.0.1"),
    *(*ask(b"USER {user}", b"230", b"232", b"331"), *ask(b"PASS {password}", b"230", b"332")),
    *(*ask(b"FEAT"), *ask(b"OPTS UTF8 ON"), *ask(b"SYST"), *ask(b"TYPE A", b"200"), *ask(b"TYPE I", b"200")),
)
_INDY_END = (CloseData(), expect(b"226", b"225", b"250"), *ask(b"QUIT"), HangUp())
_INDY = "IndySockets/Indy, Lib/Protocols/IdFTP.pas"
_COMMONS_LOGIN = (expect(b"2"), *ask(b"USER {user}", b"3"), *ask(b"PASS {password}", b"2"))

PROGRAMS: tuple[Device, ...] = (
    Device(
        "windows-ftp-exe",
        "OPTS UTF8 ON before USER; PORT only; judges by the first digit; NLST for `ls`",
        Known.LOG,
        "xreef/SimpleFTPServer#48; the rest as its ancestor, BSD's ftp.c 5.28, in reactos/reactos",
        (
            *(expect(b"2"), *ask(b"OPTS UTF8 ON"), *_BSD_LOGIN, *ask(b"TYPE I", b"2")),
            *(*_BSD_PUT, *_BSD_LIST, *ask(b"QUIT"), HangUp()),
        ),
    ),
    Device(
        "bsd-ftp",
        "PORT only; judges by the first digit; aborts a download by Telnet Synch, reads two replies and goes on",
        Known.SOURCE,
        "BSD's ftp.c 5.28 of 1989, in reactos/reactos base/applications/network/ftp/ftp.c",
        (
            *(expect(b"2"), *_BSD_LOGIN, *ask(b"TYPE I", b"2"), *_BSD_PUT, *_BSD_LIST, *ask(b"TYPE I", b"2")),
            *(Listen(), *ask(b"PORT {address}", b"2"), *ask(b"RETR {name}-big", b"1"), Accept(), ReceiveSome(1000)),
            *(Synch(b"ABOR\r\n"), Drain(), expect(), expect(b"2"), CloseData()),
            *(*_BSD_PUT, *ask(b"QUIT"), HangUp()),
        ),
        fetches=b"{name}-big",
        size=6_000_011,
        aborts=1,
    ),
    Device(
        "bsd-ftp-passive",
        "its `passive` command: PASV, the address from the first digit behind column 4, the host it names, too",
        Known.SOURCE,
        "as bsd-ftp (passivemode)",
        (
            *(expect(b"2"), *_BSD_LOGIN, *ask(b"TYPE I", b"2"), *ask(b"PASV", b"2")),
            *(Connect(Finds.FIRST_DIGIT, True), *ask(b"STOR {name}", b"1"), Send(chunk=8192), CloseData(), expect()),
            *(*ask(b"QUIT"), HangUp()),
        ),
    ),
    Device(
        "dotnet-ftpwebrequest",
        "PASV, connects before STOR; the last two numbers of the 227 are the port, its address is not read",
        Known.SOURCE,
        _DOT_NET,
        (
            *(*_DOT_NET_LOGIN, *ask(b"PASV", b"2"), Connect(Finds.LAST_TWO)),
            *(*ask(b"STOR {name}", b"150", b"125"), *_DOT_NET_END),
        ),
    ),
    Device(
        "dotnet-ftpwebrequest-active",
        "UsePassive = false: PORT, accepts behind the 150",
        Known.SOURCE,
        _DOT_NET,
        (
            *(*_DOT_NET_LOGIN, Listen(), *ask(b"PORT {address}", b"1", b"2", b"3")),
            *(*ask(b"STOR {name}", b"150", b"125"), Accept(), *_DOT_NET_END),
        ),
    ),
    Device(
        "dotnet-ftpwebrequest-download",
        "the same for RETR; reads to the end before it hears the 226",
        Known.SOURCE,
        _DOT_NET,
        (
            *(*_DOT_NET_LOGIN, *ask(b"PASV", b"2"), Connect(Finds.LAST_TWO)),
            *(*ask(b"RETR {name}", b"150", b"125"), Receive(), CloseData(), expect(b"1", b"2", b"3")),
            *(*ask(b"QUIT"), HangUp()),
        ),
        fetches=b"{name}",
        lands=(),
    ),
    Device(
        "indy-passive",
        "HOST first, FEAT, OPTS UTF8 ON; STOR is said before the data connection is opened; 227 by its brackets",
        Known.SOURCE,
        _INDY,
        (
            *(*_INDY_LOGIN, *ask(b"PASV", b"227"), say(b"STOR {name}\r\n"), Connect(Finds.BRACKETS, True)),
            *(expect(b"110", b"125", b"150"), Send(chunk=32768), *_INDY_END),
        ),
    ),
    Device(
        "indy-active",
        "Passive = False, its default: PORT must be answered 200; takes data connection and 150 in any order",
        Known.SOURCE,
        _INDY,
        (
            *(*_INDY_LOGIN, Listen(), *ask(b"PORT {address}", b"200"), say(b"STOR {name}\r\n")),
            *(AcceptAndExpect((b"125", b"150")), Send(chunk=32768), *_INDY_END),
        ),
    ),
    Device(
        "commons-net-2.2",
        "Java of 2010: PORT unless told otherwise, TYPE never said (so the file goes as ASCII), accepts behind the 150",
        Known.SOURCE,
        "apache/commons-net NET_2_2, FTP.java, FTPClient.java",
        (
            *(*_COMMONS_LOGIN, Listen(), *ask(b"PORT {address}", b"2"), *ask(b"STOR {name}", b"1"), Accept()),
            *(Send(chunk=1024), CloseData(), expect(b"2"), *ask(b"QUIT"), HangUp()),
        ),
        reading=Reading.ANY_CODE,
        cannot=frozenset({"pyftpdlib"}),
    ),
    Device(
        "commons-net-3.0.1-keepalive",
        "setControlKeepAliveTimeout: NOOP in mid-upload, whose answer it reads before it sends on",
        Known.SOURCE,
        "apache/commons-net NET_3_0_1, FTPClient.java, class CSL",
        (
            *(*_COMMONS_LOGIN, *ask(b"TYPE I", b"2"), *ask(b"PASV", b"227"), Connect(Finds.SIX_NUMBERS, True)),
            *(*ask(b"STOR {name}", b"1"), Send(0, 9000, chunk=1024), *ask(b"NOOP", b"200")),
            *(Send(9000, None, chunk=1024), CloseData(), expect(b"2"), *ask(b"QUIT"), HangUp()),
        ),
        reading=Reading.ANY_CODE,
    ),
    Device(
        "busybox-ftpput",
        "EPSV; port from the reply's end; 150 or 125, then 226 and no other",
        Known.SOURCE,
        "busybox networking/ftpgetput.c, libbb parse_pasv_epsv",
        (*_BUSYBOX_LOGIN, *ask(b"EPSV", b"229"), Connect(Finds.FROM_BEHIND), *_BUSYBOX_PUT),
        reading=Reading.LINE,
        keeps=1000,
        cannot=frozenset({"other-codes"}),
    ),
    Device(
        "busybox-ftpput-ipv4",
        "the same built without IPv6: PASV",
        Known.SOURCE,
        "as busybox-ftpput",
        (*_BUSYBOX_LOGIN, *ask(b"PASV", b"227"), Connect(Finds.FROM_BEHIND), *_BUSYBOX_PUT),
        reading=Reading.LINE,
        keeps=1000,
        cannot=frozenset({"other-codes"}),
    ),
    Device(
        "zos-batch",
        "SITE FIXrecfm … sent unasked before a PUT, its refusal ignored; PORT; a job's steps a moment apart",
        Known.DOCUMENTATION,
        "z/OS Communications Server IP User's Guide, 'Automatically generated SITE subcommand'; the rest plain",
        (
            *(expect(b"2"), *ask(b"USER {user}", b"3"), *ask(b"PASS {password}", b"2"), *ask(b"TYPE I", b"2")),
            *(Pause(0.02), *ask(b"SITE FIXrecfm 80 LRECL=80 RECFM=FB BLKSIZE=320")),
            *(Listen(), *ask(b"PORT {address}", b"2"), *ask(b"STOR {name}", b"1"), Accept()),
            *(Send(chunk=320), CloseData(), expect(b"2"), *ask(b"QUIT"), HangUp()),
        ),
    ),
)
