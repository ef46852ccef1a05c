"""The flags that stand for settings, and those of `probe`."""

FLAGS = {
    "listen": ("ADDR:PORT", "where clients connect (default: 127.0.0.1:2121)"),
    "upstream": ("URL", "ftpes://HOST[:21] for AUTH TLS or ftps://HOST[:990] for implicit TLS"),
    "ca_file": ("PEM", "the roots to trust (default: the system's)"),
    "log_format": (
        "FORMAT",
        "json, logfmt, console or ecs (default: console on a terminal, else json); of outputs that say no other",
    ),
    "log_level": ("LEVEL", "debug, info or warning (default: info); of outputs that say no other"),
    "workers": ("N", "processes that share the ports, or auto for one a core (default: 1)"),
}
"""The short forms of settings, as `config.load` takes them."""

PROBE_FLAGS = {
    "--user": ("NAME", "log in and try data connections; nothing of it is sent before the server is verified"),
    "--password-file": ("FILE", "the password is its first line (default: a prompt, or standard input)"),
    "--upload": ("PATH", "with --user: send a file there, fetch it, compare, delete it; PATH/ makes a new name"),
    "--ca-file": ("PEM", "the roots to trust, beside the system's"),
    "--trust": ("SHA256", "trust the certificate, or its key, with this pin or fingerprint"),
    "--server-name": ("NAME", "the name that the certificate is to prove (default: the host)"),
    "--cert-file": ("PEM", "our own certificate, for a server that asks for one (see ftpsproxy csr)"),
    "--key-file": ("PEM", "its key, if that is not in the same file"),
    "--write": ("FILE", "write the settings that work to this file, which must not be there yet"),
}
"""By flag: what it takes, and what it is for."""

LOGS_VIEWS = {
    "transfers": "what became of each file (the default)",
    "sessions": "who was there, and what came of it",
    "failures": "what was refused or has failed, each with the reason in plain words and what to do",
    "events": "all of it, as the console shows it",
    "raw": "the lines as they are",
}
"""By the name of a view, which is its flag: what it shows."""

LOGS_CHOICES = {
    "client": ("NET", "from this address or network; several with commas"),
    "user": ("GLOB", "who has logged in so"),
    "upstream": ("NAME", "to this upstream"),
    "path": ("GLOB", "of files whose path, as it is named or whole, is like this"),
    "verb": ("VERB", "by this command: STOR, RETR, LIST, DELE"),
    "outcome": ("OUTCOME", "complete, torn, aborted or refused"),
    "since": ("TIME", "2h ago (30m, 7d), or 2026-01-31, 2026-01-31T14:00, in UTC"),
    "until": ("TIME", "the same; a day is meant to its end"),
    "session": ("ID", "of this session, or those whose id begins so"),
}
"""What is to be shown of a log, by flag."""

LOGS_VERIFYING = {
    "verify": "say what of a chained log (log.chain) is missing, changed or out of order; exit code 0: it is whole",
    "chain-key": "with --verify: the key of the chain (log.chain_key_file)",
    "open": "with --verify: chains may have begun before these files, and go on behind them",
}
"""What proves a log, by flag."""

REPORT_FLAGS = {
    "since": LOGS_CHOICES["since"],
    "until": LOGS_CHOICES["until"],
    "rotated": ("", "also what FILE was before: FILE.1, FILE.2.gz, FILE-20260131"),
    "html": ("FILE", "as a page: one file without parts from elsewhere, light and dark, for paper, too"),
    "statement": ("", "for the auditor: what the log proves of the files, and every exception"),
    "chain-key": ("FILE", "with --statement: the key of the chain (log.chain_key_file)"),
    "open": ("", "with --statement: chains may have begun before these files, and go on behind them"),
}
"""What a report is of, and how it is given, by flag: what that takes (nothing if it is empty), and what it is for."""
