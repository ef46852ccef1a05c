"""Write what is made from the log's vocabulary: `python -m tests.write_vocabulary`, once that has changed."""

from __future__ import annotations

from pathlib import Path

from ftpsproxy.observe import dictionary, schema

README = Path(__file__).parents[1] / "README.md"


def with_events(text: str) -> str:
    """The README with the table of events as it is to be."""
    before, _, rest = text.partition(dictionary.BEGIN)
    _, _, after = rest.partition(dictionary.END)
    return f"{before}{dictionary.BEGIN}{dictionary.events()}{dictionary.END}{after}"


if __name__ == "__main__":
    schema.FILE.write_text(schema.text())
    dictionary.FILE.write_text(dictionary.text())
    README.write_text(with_events(README.read_text()))
