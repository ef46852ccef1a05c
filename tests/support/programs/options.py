"""The command line that the servers written here have in common."""

from __future__ import annotations

import argparse
from pathlib import Path


def parser() -> argparse.ArgumentParser:
    """Where to listen, whose files to serve, and with which certificate."""
    made = argparse.ArgumentParser()
    made.add_argument("--host", required=True)
    made.add_argument("--port", type=int, default=0)
    made.add_argument("--home", type=Path, required=True)
    made.add_argument("--user", required=True)
    made.add_argument("--password", required=True)
    made.add_argument("--certificate", type=Path, help="PEM with key and certificate")
    return made
