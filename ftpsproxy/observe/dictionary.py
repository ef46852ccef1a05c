"""The log's dictionary, for people: every event and every field, made from the vocabulary as its schema is.

It stands in the `README.md` beside this file, and the table of events in the project's own; a test holds them together.
"""

from pathlib import Path

from ftpsproxy.observe.events import ABOUT_A_FILE, EVENTS, IN_A_CHAIN, IN_A_SESSION, IN_EVERY_LINE, Event, Of
from ftpsproxy.observe.fields import FIELDS, Field, Shape

FILE = Path(__file__).with_name("README.md")
BEGIN = "<!-- events: made by ftpsproxy logs --dictionary -->\n"
END = "<!-- end of events -->\n"
"""Between these stands the table of events, wherever it stands."""

_KINDS = {"string": "text", "integer": "integer", "number": "number", "boolean": "true or false", "object": "object"}
_WHOSE = {
    Of.GATEWAY: "",
    Of.SESSION: "those of a session",
    Of.ANY: "those of a session, where there is one",
}


def text() -> str:
    """The whole page."""
    return "".join(
        (
            "# The log's dictionary\n\n"
            "Made from the vocabulary (`events.py`, `fields.py`) by `ftpsproxy logs --dictionary`, as\n"
            "`log.schema.json` is by `ftpsproxy logs --schema`. How the log is used stands in\n"
            "[the README](../../README.md#the-log).\n\n"
            f"- Every line has {_listed(IN_EVERY_LINE)}, and `suppressed` where lines like it were left out.\n"
            f"- A line of a session has {_listed(IN_A_SESSION)}.\n"
            f"- One about a file has these, {_listed(ABOUT_A_FILE)}, and perhaps `directory_relative`.\n"
            f"- One of a log that is chained ends with {_listed(IN_A_CHAIN)}.\n\n"
            "## Events\n\n",
            BEGIN,
            events(),
            END,
            "\n## Fields\n\nWhat is not known is left out, or null where that is said.\n\n",
            fields(),
            "\n## Old names\n\nWritten beside the new ones, for this version only.\n\n",
            old_names(),
        )
    )


def events() -> str:
    """A table of all of them: what each says, and its fields."""
    rows = ["| event | level | says | fields |\n|---|---|---|---|\n"]
    for name, event in EVENTS.items():
        level = " or ".join(event.levels)
        rows.append(f"| `{name}` | {level} | {_cell(event.text)} | {_fields_of(event)} |\n")
    return "".join(rows)


def fields() -> str:
    """A table of all of them: what each means, and its shape."""
    rows = ["| field | means | is |\n|---|---|---|\n"]
    for name, field in FIELDS.items():
        rows.append(f"| `{name}` | {_cell(field.text)} | {_cell(_kind(field))} |\n")
    return "".join(rows)


def old_names() -> str:
    """A table of the events that have some."""
    rows = ["| event | old names |\n|---|---|\n"]
    rows += [f"| `{name}` | {_listed(tuple(event.old))} |\n" for name, event in EVENTS.items() if event.old]
    return "".join(rows)


def _fields_of(event: Event) -> str:
    parts = []
    if event.always:
        parts.append(", ".join(_field(event, name) for name in event.always))
    if event.maybe:
        parts.append("perhaps " + ", ".join(_field(event, name) for name in event.maybe))
    whose = "those about a file" if event.about_a_file else _WHOSE[event.of]
    return "; ".join((*parts, whose)) if whose else "; ".join(parts)


def _field(event: Event, name: str) -> str:
    if name not in event.lists:
        return f"`{name}`"
    return f"`{name}` ({_listed(tuple(event.lists[name]['enum']))})"


def _kind(field: Field) -> str:
    kind = _shape(field.shape)
    return f"{kind}, or null" if field.may_be_null else kind


def _shape(shape: Shape) -> str:
    if "enum" in shape:
        return _listed(tuple(shape["enum"]))
    if "const" in shape:
        return "true"
    if shape["type"] == "array":
        inner = shape["items"]
        if "properties" in inner:
            return f"list of objects: {_listed(tuple(inner['properties']))}"
        return f"list of {_shape(inner)}s"
    if shape.get("format") == "date-time":
        return "date and time, RFC 3339"
    kind = _KINDS[shape["type"]]
    if "pattern" in shape:
        return f"{kind} like {_code(shape['pattern'])}"
    bounds = " to ".join(str(shape[end]) for end in ("minimum", "maximum") if end in shape)
    if not bounds:
        return kind
    return f"{kind}, {bounds}" if "maximum" in shape else f"{kind}, {bounds} or more"


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(map(_code, names))


def _code(text: str) -> str:
    return f"`{text}`"


def _cell(text: str) -> str:
    """In a table."""
    return text.replace("|", "\\|")
