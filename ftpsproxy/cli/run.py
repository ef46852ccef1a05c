"""`ftpsproxy run`: serve until told to stop."""

import argparse

from ftpsproxy import errors, tls
from ftpsproxy.cli.settings import settings_of, warn
from ftpsproxy.cli.terminal import FAILED, WRONG, fail, fail_all
from ftpsproxy.config import ConfigError, Settings
from ftpsproxy.observe import log
from ftpsproxy.serve import listening, supervisor


def run(options: argparse.Namespace) -> int:
    """See above → the exit code."""
    try:
        settings = settings_of(options)
    except ConfigError as error:
        return fail_all(error.faults, WRONG)

    def load_again() -> Settings:
        again = settings_of(options)
        warn(again)
        return again

    warn(settings)
    try:
        log.Prepared(settings.log).use()
    except log.LogError as error:
        return fail(error, WRONG)
    try:
        supervisor.run(settings, load_again)
    except Exception as error:
        cause = errors.unwrapped(error)
        if isinstance(cause, tls.TlsConfigError):
            return fail(cause, WRONG)
        if isinstance(cause, listening.ListenError):
            return fail(cause, FAILED)
        raise
    return 0
