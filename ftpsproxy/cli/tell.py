"""`ftpsproxy reload PID`, `ftpsproxy replace PID`: have a running gateway do what a signal does, and say what came of
it; for systemd's ExecReload=, scripts and people."""

import argparse

from ftpsproxy.cli.terminal import FAILED, WRONG, fail, say
from ftpsproxy.serve import outcomes

# Longer than workers have for new settings, and TLS for its roots, but less than systemd's TimeoutStartSec= (90 s);
# longer than a new process has to start.
_SECONDS = {outcomes.RELOAD: 75.0, outcomes.REPLACE: 120.0}
_DONE = {outcomes.RELOAD: "reloaded", outcomes.REPLACE: "replaced"}


def tell(options: argparse.Namespace) -> int:
    """See above → the exit code."""
    word: str = options.word
    if not options.pid.isdecimal() or not 0 < int(options.pid) < 2**31:
        return fail(
            f"{options.pid}: no process id; gateway.ready has it, or systemctl show -P MainPID ftpsproxy", WRONG
        )
    try:
        why = outcomes.ask(word, int(options.pid), _SECONDS[word])
    except outcomes.NoOutcome as error:
        return fail(error, FAILED)
    if why is not None:
        return fail(f"not {_DONE[word]}: {why}", FAILED)
    say(_DONE[word])
    return 0
