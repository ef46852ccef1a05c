"""What is said on the way: one step after the other, with the time it took."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ftpsproxy import errors
from ftpsproxy.net import now

_MOST_SHOWN = 300
_SHORTEST_SECRET = 3  # shorter ones are found in every text


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that was found out. `name` is what, in one word for machines; `part` the chapter it belongs to; `ok`
    None for what is neither good nor bad; `more` are lines for people, `facts` the same for machines."""

    name: str
    part: str
    ok: bool | None
    said: str
    milliseconds: float | None = None
    more: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


class Journal:
    """All steps. What a server says in them can't steer a terminal, nor give away `secret`."""

    def __init__(self, tell: Callable[[Step], None], secret: str = "") -> None:
        self._tell = tell
        # As it was written, and as it reads in the replies of a server that repeats bytes that are no UTF-8.
        echoed = secret.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
        secrets = {secret, echoed} if len(secret) >= _SHORTEST_SECRET else set()
        self._secret = "|".join(map(re.escape, sorted(secrets, key=len, reverse=True)))
        self.steps: list[Step] = []
        self.part = ""

    def say(
        self,
        ok: bool | None,
        said: str,
        since: float | None = None,
        *,
        name: str,
        more: tuple[str, ...] = (),
        **facts: Any,
    ) -> None:
        """The next step; it began at `since`."""
        milliseconds = None if since is None else round((now() - since) * 1000, 1)
        lines = tuple(map(self.clean, more))
        step = Step(name, self.part, ok, self.clean(said), milliseconds, lines, self._cleaned(facts))
        self.steps.append(step)
        self._tell(step)

    def clean(self, text: str) -> str:
        """As it may be shown."""
        if self._secret:
            text = re.sub(self._secret, "***", text, flags=re.IGNORECASE)  # whatever case it is repeated in
        text = errors.printable(text)
        return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}…"

    def _cleaned(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.clean(value)
        if isinstance(value, Mapping):
            return {key: self._cleaned(one) for key, one in value.items()}
        return [self._cleaned(one) for one in value] if isinstance(value, list | tuple) else value
