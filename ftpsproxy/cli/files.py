"""Files that a command writes."""

import os
from pathlib import Path


def write_new(path: Path, content: bytes, mode: int) -> None:
    """A new file; never one that is there. Raises OSError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
