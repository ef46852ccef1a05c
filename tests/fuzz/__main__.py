"""`python -m tests.fuzz TARGET [libFuzzer options]`, such as `-max_total_time=3600` for a long run.

The seeds stand in `corpus/TARGET`; what is found on the way is kept only where a folder is named after the target. An
input that breaks a rule is written to the working directory.
"""

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["ftpsproxy.ftp"]):
    from tests.fuzz.targets import TARGETS


def main() -> None:
    """Run one target until libFuzzer ends it, with exit code 77 for a finding."""
    if len(sys.argv) < 2 or sys.argv[1] not in TARGETS:
        sys.exit("usage: python -m tests.fuzz " + "|".join(TARGETS) + " [FOLDER] [libFuzzer options]")
    name = sys.argv[1]
    seeds = Path(__file__).parent / "corpus" / name
    with tempfile.TemporaryDirectory() as passing:  # libFuzzer writes into the first folder it is given
        own = [word for word in sys.argv[2:] if not word.startswith("-")]
        atheris.Setup([sys.argv[0], *sys.argv[2:], *([] if own else [passing]), str(seeds)], TARGETS[name])
        atheris.Fuzz()


if __name__ == "__main__":
    main()
