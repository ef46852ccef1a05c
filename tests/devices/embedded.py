"""Small systems: lwIP, Arduino, WIZnet, VxWorks, and a script around nc. Most take what one receive brings."""

from __future__ import annotations

from tests.devices.script import (
    Accept,
    AcceptFirst,
    CloseData,
    Connect,
    Device,
    Finds,
    HangUp,
    Known,
    Listen,
    Open,
    Pause,
    Reading,
    Receive,
    Send,
    Step,
    Unless,
    ask,
    expect,
    say,
)

# Arduino's print sends at once, and println sends the line end in a segment of its own.
_FINE = (b"1", b"2", b"3")


def _println(*parts: bytes, wants: tuple[bytes, ...] = _FINE) -> tuple[Step, ...]:
    return (say(*parts, b"\r\n"), expect(*wants))


_W5100_LOGIN = (
    expect(*_FINE),
    *(*_println(b"USER {user}"), *_println(b"PASS {password}"), *_println(b"SYST")),
    *(*_println(b"PASV"), Connect(Finds.STRTOK)),
)
_VXWORKS_LOGIN = (
    *(expect(), *ask(b"USER {user}", b"3"), *ask(b"PASS {password}", b"2"), *ask(b"TYPE I", b"2")),
    *ask(b"CWD /", b"2"),
)
_VXWORKS_END = (CloseData(), expect(b"2"), *ask(b"QUIT", b"2"), HangUp())
_VXWORKS = "Wind River, ftpLib.c 02q of 2002 (ftpXfer, ftpReplyGetEnhanced, ftpPasvReplyParse)"
_ESP32_INIT = (*_println(b"Type I"), *_println(b"PASV"), Connect(Finds.STRTOK))

EMBEDDED: tuple[Device, ...] = (
    Device(
        "lwip-lwftp",
        "lines end with LF alone; STOR is said while the data connection is still being made; exact codes; one "
        "callback is one reply",
        Known.SOURCE,
        "gezedo/lwftp, lwftp.c",
        (
            *(expect(b"220"), *ask(b"USER {user}", b"331", end=b"\n"), *ask(b"PASS {password}", b"230", end=b"\n")),
            *(*ask(b"TYPE I", b"200", end=b"\n"), *ask(b"PASV", b"227", end=b"\n")),
            *(Connect(Finds.SCANF_CLOSED, True), *ask(b"STOR {name}", b"150", end=b"\n")),
            *(Send(chunk=536), CloseData(), expect(b"226"), *ask(b"QUIT", b"221", end=b"\n"), HangUp()),
        ),
        reading=Reading.ONE_RECEIVE,
        keeps=1460,
        cannot=frozenset({"other-codes", "pyftpdlib"}),
    ),
    Device(
        "arduino-w5100",
        "127 bytes of each reply kept, judged by the first digit; line ends in segments of their own; data by 64 bytes",
        Known.SOURCE,
        "SurferTim's sketch at playground.arduino.cc/Code/FTP, as in imclab/seatrash arduino/ftp_pde",
        (
            *(*_W5100_LOGIN, *_println(b"STOR ", b"{name}"), Send(chunk=64), CloseData(), expect(*_FINE)),
            *(*_println(b"QUIT"), HangUp()),
        ),
        reading=Reading.ONE_RECEIVE,
        keeps=127,
        size=5_003,
        cannot=frozenset({"pyftpdlib"}),
    ),
    Device(
        "arduino-w5100-retr",
        "the same sketch without FTPWRITE: RETR; takes 2 KB that are not read, and would hang for ever if one receive "
        "brought both 150 and 226",
        Known.SOURCE,
        "as arduino-w5100",
        (
            *(*_W5100_LOGIN, *_println(b"RETR ", b"{name}"), Receive(), CloseData(), expect(*_FINE)),
            *(*_println(b"QUIT"), HangUp()),
        ),
        reading=Reading.ONE_RECEIVE,
        keeps=127,
        window=2048,
        fetches=b"{name}",
        lands=(),
        cannot=frozenset({"pyftpdlib"}),
    ),
    Device(
        "esp32-ftpclient",
        "`Type I`; verb, argument and line end in three segments; one receive a reply; closes behind QUIT unheard",
        Known.SOURCE,
        "ldab/ESP32_FTPClient, src/ESP32_FTPClient.cpp; its issue 49",
        (
            *(expect(*_FINE), *_println(b"USER ", b"{user}"), *_println(b"PASS ", b"{password}"), *_println(b"SYST")),
            *(*_println(b"CWD ", b"/"), *_ESP32_INIT, *_println(b"STOR ", b"{name}")),
            *(Send(chunk=1500), CloseData(), expect(*_FINE)),
            *(*_ESP32_INIT, *_println(b"APPE ", b"{name}.log"), Send(chunk=1500), CloseData(), expect(*_FINE)),
            *(say(b"QUIT", b"\r\n"), HangUp()),
        ),
        reading=Reading.ONE_RECEIVE,
        keeps=128,
        lands=(b"{name}", b"{name}.log"),
    ),
    Device(
        "esp32-cam-mjpeg2sd",
        "`Type I`; compares three characters; CWD, else MKD, SITE CHMOD, CWD; closes behind QUIT unheard",
        Known.SOURCE,
        "s60sc/ESP32-CAM_MJPEG2SD, ftp.cpp; its issues 127 and 167",
        (
            *(expect(b"220"), *_println(b"USER ", b"{user}", wants=(b"331",))),
            *(*_println(b"PASS ", b"{password}", wants=(b"230",)), *_println(b"CWD ", b"/", wants=(b"250",))),
            *(*_println(b"Type I", wants=(b"200",)), *_println(b"CWD ", b"{name}", wants=())),
            Unless(
                b"250",
                (
                    *_println(b"MKD ", b"{name}", wants=(b"257",)),
                    *_println(b"SITE CHMOD 755 ", b"{name}", wants=(b"200",)),
                    *_println(b"CWD ", b"{name}", wants=(b"250",)),
                ),
            ),
            *(*_println(b"PASV", wants=(b"227",)), Connect(Finds.SCANF_CLOSED)),
            *(*_println(b"STOR ", b"clip.avi", wants=(b"150", b"125")), Send(chunk=8192), CloseData()),
            *(expect(), *_println(b"SITE CHMOD 644 ", b"clip.avi", wants=())),  # another word than 226 is only noted
            *(say(b"QUIT", b"\r\n"), HangUp()),
        ),
        reading=Reading.ONE_RECEIVE,
        keeps=258,
        lands=(b"{name}/clip.avi",),
    ),
    Device(
        "wiznet-iolibrary",
        "a table of codes: what is no 220, 331, 230, 200, 227, 150 or 226 leads nowhere; TYPE A; never says QUIT",
        Known.SOURCE,
        "Wiznet/ioLibrary_Driver, Internet/FTPClient/ftpc.c (proc_ftpc, pportc)",
        (
            *(expect(b"220"), *ask(b"USER {user}", b"331"), *ask(b"PASS {password}", b"230")),
            *(*ask(b"TYPE A", b"200"), *ask(b"PASV", b"227"), Connect(Finds.STRTOK, True)),
            *(*ask(b"STOR {name}", b"150"), Send(chunk=512), CloseData(), expect(b"226"), HangUp()),
        ),
        reading=Reading.ONE_RECEIVE,
        keeps=512,
        quits=False,
        cannot=frozenset({"other-codes", "pyftpdlib"}),
    ),
    Device(
        "wiznet-iolibrary-active",
        "PORT names a port at which it listens only once it has heard the 200",
        Known.SOURCE,
        "as wiznet-iolibrary (ftpc_run, ACTIVE_MODE)",
        (
            *(expect(b"220"), *ask(b"USER {user}", b"331"), *ask(b"PASS {password}", b"230")),
            *(*ask(b"TYPE A", b"200"), Listen(later=True), *ask(b"PORT {address}", b"200"), Pause(0.02), Open()),
            *(*ask(b"STOR {name}", b"150"), Accept(), Send(chunk=512), CloseData(), expect(b"226"), HangUp()),
        ),
        reading=Reading.ONE_RECEIVE,
        keeps=512,
        quits=False,
        cannot=frozenset({"other-codes", "pyftpdlib"}),
    ),
    Device(
        "vxworks-ftplib",
        "PASV, port from behind ( of the reply's last line; CWD even to /; first digits",
        Known.SOURCE,
        _VXWORKS,
        (
            *(*_VXWORKS_LOGIN, *ask(b"PASV", b"227"), Connect(Finds.SCANF)),
            *(*ask(b"STOR {name}", b"1"), Send(chunk=512), *_VXWORKS_END),
        ),
    ),
    Device(
        "vxworks-ftplib-active",
        "PORT; behind the 150 it takes any word on control before the data connection for the transfer's end",
        Known.SOURCE,
        _VXWORKS,
        (
            *(*_VXWORKS_LOGIN, Listen(), *ask(b"PORT {address}", b"1", b"2")),
            *(*ask(b"STOR {name}", b"1"), AcceptFirst(), Send(chunk=512), *_VXWORKS_END),
        ),
    ),
    Device(
        "vxworks-boot",
        "a boot loader fetches its image the same way, and hears the 226 only when it has closed",
        Known.SOURCE,
        _VXWORKS,
        (
            *(*_VXWORKS_LOGIN, Listen(), *ask(b"PORT {address}", b"1", b"2")),
            *(*ask(b"RETR {name}", b"1"), AcceptFirst(), Receive(), *_VXWORKS_END),
        ),
        fetches=b"{name}",
        lands=(),
        size=300_007,
    ),
)
