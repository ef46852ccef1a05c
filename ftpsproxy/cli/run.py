"""`ftpsproxy run`: serve until told to stop."""

import argparse
import os
from collections.abc import Sequence

from ftpsproxy import errors, tls
from ftpsproxy.cli.settings import settings_of, warn
from ftpsproxy.cli.terminal import FAILED, WRONG, fail, fail_all
from ftpsproxy.config import ConfigError, Settings
from ftpsproxy.observe import log
from ftpsproxy.serve import activation, handover, supervisor


def run(options: argparse.Namespace) -> int:
    """See above → the exit code."""
    try:
        before = handover.predecessor(os.environ)
    except (handover.HandoverError, activation.ListenError) as error:
        return fail(error, FAILED)
    faults, code = _run(options, before)
    if faults and before is not None:
        before.failed("; ".join(faults))  # it goes on, and says why
    return fail_all(faults, code)


def _run(options: argparse.Namespace, before: handover.Predecessor | None) -> tuple[Sequence[str], int]:
    """What is wrong, and the exit code."""
    try:
        settings = settings_of(options)
    except ConfigError as error:
        return error.faults, WRONG

    def load_again() -> Settings:
        again = settings_of(options)
        warn(again)
        return again

    warn(settings)
    try:
        log.Prepared(settings.log).use()
    except log.LogError as error:
        return [str(error)], WRONG
    try:
        supervisor.run(settings, load_again, before)
    except Exception as error:
        cause = errors.unwrapped(error)
        if isinstance(cause, (tls.TlsConfigError, activation.WrongSocketsError)):
            return [str(cause)], WRONG
        if isinstance(cause, (activation.ListenError, handover.HandoverError)):
            return [str(cause)], FAILED
        raise
    return [], 0
