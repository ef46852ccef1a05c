"""Settings on their way from the parent of several workers to these: a file in memory, handed over as a descriptor."""

import dataclasses
import os
import pickle

from ftpsproxy.config import Settings


def written(settings: Settings) -> int:
    """A file in memory that holds them, for the way to the workers; its descriptor. Raises OSError."""
    fields = {field.name: getattr(settings, field.name) for field in dataclasses.fields(settings)}
    file = os.memfd_create("settings")
    with open(file, "wb", closefd=False) as stream:
        stream.write(pickle.dumps(fields | {"upstreams": dict(settings.upstreams)}))
    return file


def read(file: int) -> Settings:
    """What is in such a file; all workers share the place where it is read, so none moves it."""
    return Settings(**pickle.loads(os.pread(file, os.fstat(file).st_size, 0)))  # noqa: S301 - from our parent
