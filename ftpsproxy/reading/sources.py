"""Where lines come from: files, packed or not, standard input, and a file that grows and is rotated meanwhile.

Everything comes in batches of lines without their ends. An empty batch says that there is nothing more for now.
"""

import contextlib
import gzip
import importlib
import os
import sys
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from io import BufferedReader
from pathlib import Path
from typing import IO, Any

from ftpsproxy import errors

Lines = Iterator[list[bytes]]

_BLOCK = 256 * 1024
_MOST_LINE = 1024 * 1024
_TOO_LONG = b"{"  # stands for a line that is longer: damaged
_AGAIN_SECONDS = 0.2


class SourceError(Exception):
    """It can't be read, or not to its end; the text says what and why."""


def batches(blocks: Iterable[bytes]) -> Lines:
    """The lines in these blocks; the last may lack its end."""
    rest, skipping = b"", False
    for block in blocks:
        if not block:
            yield []
            continue
        found = (rest + block).split(b"\n")
        rest = found.pop()
        if skipping and found:
            found[0], skipping = _TOO_LONG, False
        if skipping or len(rest) > _MOST_LINE:
            rest, skipping = b"", True
        if found:
            yield found
    if rest or skipping:
        yield [_TOO_LONG if skipping else rest]


def of_stream(stream: IO[bytes]) -> Iterator[bytes]:
    """What comes, as it comes."""
    read = getattr(stream, "read1", stream.read)
    while block := read(_BLOCK):
        yield block


def of_input(stream: IO[bytes]) -> Iterator[bytes]:
    """The same of standard input. Raises SourceError."""
    try:
        yield from of_stream(stream)
    except OSError as error:
        raise SourceError(f"standard input: {errors.words(error)}") from None


def of_file(path: Path) -> Iterator[bytes]:
    """All of it, unpacked if it is packed by gzip or Zstandard, by whatever name. Raises SourceError."""
    try:
        with path.open("rb") as plain, _unpacked(plain, path) as stream:
            yield from of_stream(stream)
    except Exception as error:
        if not isinstance(error, OSError | EOFError | zlib.error) and type(error).__name__ != "ZstdError":
            raise  # of a module that may not be there
        why = errors.words(error) if isinstance(error, OSError) and error.errno else f"damaged: {error}".lower()
        raise SourceError(f"{path}: {why}") from None


def is_packed(path: Path) -> bool:
    """Whether it is one that can't grow. Of a pipe nothing is taken. Raises SourceError."""
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            return False
        with path.open("rb") as plain:
            return plain.peek(4).startswith((_GZIP, _ZSTANDARD))
    except OSError as error:
        raise SourceError(f"{path}: {errors.words(error)}") from None


_GZIP, _ZSTANDARD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"


def _unpacked(plain: BufferedReader, path: Path) -> Any:
    begin = plain.peek(4)
    if begin.startswith(_GZIP):
        return gzip.GzipFile(fileobj=plain)
    if begin.startswith(_ZSTANDARD):
        try:
            return _zstandard().ZstdFile(plain)
        except ImportError:
            raise SourceError(f"{path}: to unpack it: pip install 'ftpsproxy[logs]', or zstdcat it to -") from None
    return plain


def _zstandard() -> Any:
    """The module, part of Python from 3.14 on. Raises ImportError."""
    return importlib.import_module("backports.zstd" if sys.version_info < (3, 14) else "compression.zstd")


def rotated(path: Path) -> list[Path]:
    """The file, and those that it was before: FILE.1, FILE.2.gz, FILE-20260131."""
    try:
        beside = sorted(path.parent.iterdir())
    except OSError:
        beside = []
    return [one for one in beside if one.name.startswith((f"{path.name}.", f"{path.name}-")) and one.is_file()] + [path]


def chosen(names: list[str], with_rotated: bool, moment: Callable[[Lines], str]) -> list[Path]:
    """Files to read, by their names; what was written first, by the `moment` of its first line, before the others;
    none: standard input. Raises SourceError."""
    named = [Path(one) for one in names]
    if not named or named == [Path("-")]:
        return []
    if Path("-") in named:
        raise SourceError("- is standard input, and stands alone")
    if with_rotated:
        named = [part for one in named for part in rotated(one)]
    named = list(dict.fromkeys(named))
    for one in named:
        is_packed(one)  # it can be read
    if len(named) > 1 and all(one.is_file() for one in named):  # a pipe can be read once
        first = {one: _first(moment, one) for one in named}
        named.sort(key=lambda one: first[one])
    return named


def _first(moment: Callable[[Lines], str], path: Path) -> str:
    with contextlib.suppress(SourceError):
        return moment(batches(of_file(path)))
    return ""


def of_growing(path: Path, pause: Callable[[float], object] = time.sleep) -> Iterator[bytes]:
    """All of it, and what is written from now on; an empty block each time that there is nothing. When it has been
    moved, the rest of it, then the new one that has its name; when it was emptied, from its beginning. Without end.
    Raises SourceError if it is not there at first."""
    try:
        file: IO[bytes] = path.open("rb", buffering=0)
    except OSError as error:
        raise SourceError(f"{path}: {errors.words(error)}") from None
    try:
        while True:
            while block := file.read(_BLOCK):
                yield block
            if _emptied(file):
                file.seek(0)
                yield b"\n"
            elif (new := _replaced(path, file)) is not None:
                while block := file.read(_BLOCK):  # written between the last look and the move
                    yield block
                file.close()
                file = new
                yield b"\n"  # the old one may have ended in the middle of a line
            else:
                yield b""
                pause(_AGAIN_SECONDS)
    except OSError as error:
        raise SourceError(f"{path}: {errors.words(error)}") from None
    finally:
        file.close()


def _emptied(file: IO[bytes]) -> bool:
    return os.fstat(file.fileno()).st_size < file.tell()


def _replaced(path: Path, file: IO[bytes]) -> IO[bytes] | None:
    """Another file of that name, once there is one."""
    try:
        if os.path.samestat(os.stat(path), os.fstat(file.fileno())):
            return None
        return path.open("rb", buffering=0)
    except OSError:
        return None
