"""The gateway as a process, where it is not its signals: tests/test_reload.py and tests/e2e have those."""

import subprocess
import sys

from tests.support.servers import ROOT

_ENDED = """
import gc
from ftpsproxy.serve import process, supervisor
process.settle()
before = gc.get_stats()[2]["collections"]
sessions = []
for number in range(200_000):
    session = []
    session.append(session)
    if number % 20 == 0:
        sessions.append(session)  # lives long enough to be taken for one that stays
print(gc.get_stats()[2]["collections"] - before)
"""


def test_what_ended_is_not_kept_for_what_start_up_made() -> None:
    done = subprocess.run([sys.executable, "-c", _ENDED], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.stderr, int(done.stdout) > 0) == ("", True)
