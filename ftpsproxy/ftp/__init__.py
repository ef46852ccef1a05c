"""The rules of FTP as pure functions and values: bytes in, values out; no socket, clock, log or trio in here."""
