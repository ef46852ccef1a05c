"""PLCs, scanners and cameras: known from what their makers say, or from logs and reports of servers' users.

Where neither says how a step is done it has the plainest form: PASV, `TYPE I`, CR LF, one segment a command.
"""

from __future__ import annotations

from tests.devices.script import (
    Accept,
    CloseData,
    Connect,
    Device,
    Finds,
    HangUp,
    Known,
    Listen,
    Pause,
    ReadToEnd,
    Redial,
    Send,
    Step,
    Unless,
    ask,
    expect,
    say,
)

_WHOLE = Send()


def _login(*more: bytes) -> tuple[Step, ...]:
    steps: tuple[Step, ...] = (expect(b"220"), *ask(b"USER {user}", b"331"), *ask(b"PASS {password}", b"230"))
    for line in more:
        steps += ask(line, b"2")
    return steps


def _put(command: bytes, how: Send = _WHOLE) -> tuple[Step, ...]:
    return (
        *(*ask(b"PASV", b"227"), Connect(Finds.SCANF, True), *ask(command, b"1")),
        *(how, CloseData(), expect(b"2")),
    )


def _put_active(command: bytes) -> tuple[Step, ...]:
    return (Listen(), *ask(b"PORT {address}", b"200"), *ask(command, b"1"), Accept(), Send(), CloseData(), expect(b"2"))


_QUIT = (*ask(b"QUIT", b"221"), HangUp())
_HIKVISION = "Hikvision, Thermal Network Bullet Camera User Manual, FTP Settings (directory structure)"

PLCS: tuple[Device, ...] = (
    Device(
        "siemens-cp-ftp-cmd",
        "one session for days: STORE, NOOP while idle, APPEND, an empty STORE, DELETE, QUIT, each a job of its own",
        Known.DOCUMENTATION,
        "Siemens CP 1543-1 C79000-G8976-C289 (FTP_CMD), CP 243-1 C79000-G8976-C244 (a length of 0 makes an empty file)",
        (
            *(*_login(b"TYPE I"), *_put(b"STOR {name}", Send(0, 8000)), Pause(0.03), *ask(b"NOOP", b"2")),
            *(Pause(0.03), *ask(b"NOOP", b"2"), *_put(b"APPE {name}", Send(8000, None))),
            *(*_put(b"STOR {name}.flag", Send(0, 0)), *ask(b"DELE {name}.flag", b"2"), *_QUIT),
        ),
    ),
    Device(
        "siemens-s7-1200",
        "the application example's FTP client: a session for one file",
        Known.DOCUMENTATION,
        "Siemens, FTP Data Exchange between FTP Server and SIMATIC S7-1200/S7-1500, entry 81367009; steps plain",
        (*_login(b"TYPE I"), *_put(b"STOR {name}"), *_QUIT),
    ),
    Device(
        "beckhoff-fileuploadex",
        "FB_FTP_FileUploadEx: passive, a session for each call",
        Known.DOCUMENTATION,
        "Beckhoff infosys, TF6300 and TcFTPClient, FB_FTP_FileUploadEx",
        (
            *_login(b"TYPE I"),
            *_put(b"STOR {name}"),
            *_QUIT,
            Redial(),
            *_login(b"TYPE I"),
            *_put(b"STOR {name}.2"),
            *_QUIT,
        ),
        lands=(b"{name}", b"{name}.2"),
    ),
    Device(
        "beckhoff-openex-active",
        "FB_FTP_OpenEx with eConnMode_ACTIVE: one handle, several uploads, FB_FTP_Close",
        Known.DOCUMENTATION,
        "Beckhoff infosys, TF6300, FB_FTP_OpenEx, E_FTP_ConnMode, FB_FTP_Close",
        (*_login(b"TYPE I"), *_put_active(b"STOR {name}"), *_put_active(b"STOR {name}.2"), *_QUIT),
        lands=(b"{name}", b"{name}.2"),
    ),
    Device(
        "wut-com-server",
        "APPE of what a serial port brings, piece by piece; the data connection ends when nothing came for a while",
        Known.DOCUMENTATION,
        "Wiesemann & Theis, Com-Server++ manual, Mode FTP client",
        (*_login(b"TYPE I"), *_put(b"APPE {name}", Send(chunk=40, pause=0.002)), *_QUIT),
        size=800,
    ),
)

SCANNERS: tuple[Device, ...] = (
    Device(
        "scanner-test-button",
        "the button `Test FTP`: log in, change to the folder, store a test file, delete it",
        Known.DOCUMENTATION,
        "Grundig Digta manual, p. 24 (a test file is sent and deleted)",
        (*_login(b"CWD {name}", b"TYPE I"), *_put(b"STOR test.txt", Send(0, 4)), *ask(b"DELE test.txt", b"2"), *_QUIT),
        folders=(b"{name}",),
        lands=(),
    ),
    Device(
        "scanner-two-sessions",
        "looks whether login and folder are right before it scans: a session of USER, PASS, CWD, QUIT; then another",
        Known.LOG,
        "drakkan/sftpgo#861",
        (*(*_login(b"CWD /"), *_QUIT, Redial(), *_login(b"CWD /", b"TYPE I"), *_put(b"STOR {name}"), *_QUIT),),
    ),
    Device(
        "kyocera",
        "scan to FTP: log in, change to the folder, upload, log off, again and again",
        Known.LOG,
        "ScriptedBits/FTP-testing (made for Kyocera, Ricoh, HP); steps plain",
        (
            *(*_login(b"CWD /{name}", b"TYPE I"), *_put(b"STOR doc1.pdf"), *_QUIT),
            *(Redial(), *_login(b"CWD /{name}", b"TYPE I"), *_put(b"STOR doc2.pdf"), *_QUIT),
        ),
        folders=(b"{name}",),
        lands=(b"{name}/doc1.pdf", b"{name}/doc2.pdf"),
    ),
    Device(
        "ricoh",
        "the same, active",
        Known.LOG,
        "ScriptedBits/FTP-testing (active and passive); steps plain",
        (*_login(b"CWD {name}", b"TYPE I"), *_put_active(b"STOR scan.tif"), *_QUIT),
        folders=(b"{name}",),
        lands=(b"{name}/scan.tif",),
    ),
    Device(
        "xerox",
        "a repository folder NAME.XSM is made, pages 00000001.TIF, 00000002.TIF go into it; mode active or passive",
        Known.DOCUMENTATION,
        "Xerox Document Centre 480 System Administration Guide, ch. 20; ColorQube 9301 guide (FTP mode); steps plain",
        (
            *(*_login(b"TYPE I"), *ask(b"MKD {name}.XSM", b"257"), *ask(b"CWD {name}.XSM", b"250")),
            *(*_put_active(b"STOR 00000001.TIF"), *_put_active(b"STOR 00000002.TIF"), *_QUIT),
        ),
        lands=(b"{name}.XSM/00000001.TIF", b"{name}.XSM/00000002.TIF"),
    ),
    Device(
        "hp",
        "a path on the server of up to 256 characters, and a file beside the scan that describes it",
        Known.DOCUMENTATION,
        "HP embedded web server help, Add or Edit an FTP Site; steps plain",
        (
            *(*_login(b"TYPE I"), *ask(b"CWD /{name}/" + b"d" * 180, b"250")),
            *(*_put(b"STOR [Untitled].pdf"), *_put(b"STOR [Untitled].xml"), *_QUIT),
        ),
        folders=(b"{name}", b"{name}/" + b"d" * 180),
        lands=(b"{name}/" + b"d" * 180 + b"/[Untitled].pdf", b"{name}/" + b"d" * 180 + b"/[Untitled].xml"),
    ),
)

CAMERAS: tuple[Device, ...] = (
    Device(
        "hikvision",
        "folders of two levels, made when they are not there",
        Known.DOCUMENTATION,
        _HIKVISION + "; steps plain",
        (
            *(
                *_login(b"TYPE I"),
                *ask(b"CWD /{name}"),
                Unless(b"250", (*ask(b"MKD /{name}"), *ask(b"CWD /{name}", b"2"))),
            ),
            *(*ask(b"CWD 01"), Unless(b"250", (*ask(b"MKD 01"), *ask(b"CWD 01", b"2")))),
            *(*_put(b"STOR 192.168.1.64_01_20201130.jpg"), *_QUIT),
        ),
        lands=(b"{name}/01/192.168.1.64_01_20201130.jpg",),
    ),
    Device(
        "axis",
        "an event's pictures in one session, each with a name and a data connection of its own",
        Known.DOCUMENTATION,
        "Detexi NVR, FTP Pushed Video (Axis, JVC, Sony cameras); steps plain",
        (
            *(*_login(b"TYPE I"), *_put(b"STOR {name}-0.jpg"), *_put(b"STOR {name}-1.jpg")),
            *(*_put(b"STOR {name}-2.jpg"), *_QUIT),
        ),
        lands=(b"{name}-0.jpg", b"{name}-1.jpg", b"{name}-2.jpg"),
    ),
    Device(
        "camera-that-renames",
        "uploads NAME_tmp.jpg, deletes NAME.jpg, which may not be there, and renames",
        Known.DOCUMENTATION,
        "Intellinet network camera manual, FTP Rename option",
        (
            *(*_login(b"TYPE I"), *_put(b"STOR {name}_tmp.jpg"), *ask(b"DELE {name}.jpg")),
            *(*ask(b"RNFR {name}_tmp.jpg", b"350"), *ask(b"RNTO {name}.jpg", b"250"), *_QUIT),
        ),
        lands=(b"{name}.jpg",),
    ),
    Device(
        "dahua",
        "CWD and PWD over and over, lower-case `size` of a file that is not there, folders, then the upload",
        Known.LOG,
        "alienatedsec/yi-hack-v5#337 up to `size /…/DVRWorkDirectory`; from there plain",
        (
            *_login(b"CWD /", b"PWD", b"CWD /{name}", b"TYPE I", b"PWD", b"CWD /", b"CWD /", b"PWD"),
            *(*ask(b"size /{name}/DVRWorkDirectory"), *ask(b"MKD /{name}/2025-05-22"), *ask(b"MKD /{name}/2025-05-22")),
            *(*ask(b"CWD /{name}/2025-05-22", b"250"), *_put(b"STOR 10.00.00[M][0@0][0].dav"), *_QUIT),
        ),
        folders=(b"{name}",),
        lands=(b"{name}/2025-05-22/10.00.00[M][0@0][0].dav",),
    ),
    Device(
        "reolink-test",
        "CWD //FOLDER, then CWD FOLDER, then MKD; the test picture goes there",
        Known.LOG,
        "svrooij/ipcam2mqtt#14; the upload plain",
        (
            *(*_login(), *ask(b"CWD //{name}")),
            Unless(b"250", (*ask(b"CWD {name}"), *ask(b"MKD {name}", b"257"), *ask(b"CWD {name}", b"250"))),
            *(*ask(b"TYPE I", b"2"), *_put(b"STOR test.jpg"), *_QUIT),
        ),
        lands=(b"{name}/test.jpg",),
    ),
    Device(
        "camera-xmkd",
        "CWD to a folder in a folder; if refused XMKD one, XMKD the other, CWD again",
        Known.LOG,
        "biddster/node-red-contrib-ftp-server#4; the upload plain",
        (
            *(*_login(), *ask(b"CWD /{name}/images/")),
            Unless(
                b"250",
                (*ask(b"XMKD /{name}"), *ask(b"XMKD /{name}/images"), *ask(b"CWD /{name}/images/", b"250")),
            ),
            *(*ask(b"TYPE I", b"2"), *_put(b"STOR snap.jpg"), *_QUIT),
        ),
        lands=(b"{name}/images/snap.jpg",),
    ),
    Device(
        "camera-that-leaves",
        "closes control behind the data's end: no 226 heard, no QUIT said",
        Known.LOG,
        "3proxy#638 and reports of the like; steps plain",
        (
            *(*_login(b"TYPE I"), *ask(b"PASV", b"227"), Connect(Finds.SCANF, True)),
            *(*ask(b"STOR {name}", b"1"), Send(), CloseData(), HangUp()),
        ),
        quits=False,
        cannot=frozenset({"pyftpdlib"}),
    ),
    Device(
        "yi-hack-mkd",
        "a shell script pipes USER, PASS, mkd and quit into nc in one piece and looks for the folder's name",
        Known.SOURCE,
        "roleoroleo/yi-hack-Allwinner-v2 ftppush.sh, as in its issues 101 and 668",
        (
            say(b"USER {user}\r\nPASS {password}\r\nmkd {name}\r\nquit\r\n\n"),
            *(ReadToEnd((b"220 ", b"331", b"230", b"\n257 ", b"\n221")), HangUp()),
        ),
        lands=(),
    ),
)
