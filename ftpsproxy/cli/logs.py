"""`ftpsproxy logs`: what the log can say; with --schema, as a JSON Schema."""

import argparse

from ftpsproxy.cli.terminal import WRONG, fail, say
from ftpsproxy.observe import schema


def logs(options: argparse.Namespace) -> int:
    """See above → the exit code."""
    if options.schema:
        say(schema.text().rstrip("\n"))
        return 0
    return fail("say what of the log: --schema", WRONG)
