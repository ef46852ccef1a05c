"""The log's JSON lines as a JSON Schema (2020-12), made from the vocabulary.

The file `log.schema.json` beside this one is its text, for whoever has no Python at hand; a test holds them together.
"""

import json
from pathlib import Path
from typing import Any

from ftpsproxy.observe.events import ABOUT_A_FILE, EVENTS, IN_A_CHAIN, IN_A_SESSION, IN_EVERY_LINE, Event, Of
from ftpsproxy.observe.fields import FIELDS, Field, words

_SHORT = 100

FILE = Path(__file__).with_name("log.schema.json")


def schema() -> dict[str, Any]:
    """One line is an object that one of `$defs` describes, by its `event`."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A line of ftpsproxy's log, format json",
        "description": (
            "One JSON object a line. What is not known is left out. Fields marked as deprecated have another name now, "
            "and are written beside it for one version."
        ),
        "type": "object",
        "required": list(IN_EVERY_LINE),
        "properties": {"event": {"description": FIELDS["event"].text, **words(*EVENTS)}},
        "allOf": [
            {
                "if": {"properties": {"event": {"const": name}}, "required": ["event"]},
                "then": of_event(name),
            }
            for name in EVENTS
        ],
        "$defs": definitions(),
    }


def definitions() -> dict[str, Any]:
    """What the schema refers to: the fields, and the events made of them."""
    made = {f"field.{name}": {"description": field.text, **field.shape} for name, field in FIELDS.items()}
    return made | {f"event.{name}": _event(name) for name in EVENTS}


def of_event(name: str) -> dict[str, str]:
    """The schema of one kind of event, by its name among the definitions."""
    return {"$ref": f"#/$defs/event.{name}"}


def _event(name: str) -> dict[str, Any]:
    event = EVENTS[name]
    session = IN_A_SESSION if event.of is not Of.GATEWAY else ()
    file = (*ABOUT_A_FILE, "directory_relative") if event.about_a_file else ()
    names = dict.fromkeys((*IN_EVERY_LINE, *session, *event.always, *event.maybe, *file, "suppressed", *IN_A_CHAIN))
    properties: dict[str, Any] = {one: _property(FIELDS[one], event, one) for one in names}
    properties["event"] = {"const": name}
    properties["level"] = words(*event.levels)
    for one, shape in event.old.items():
        properties[one] = {"description": "an old name", **shape, "deprecated": True}
    made: dict[str, Any] = {
        "description": event.text,
        "type": "object",
        "properties": properties,
        "required": [*IN_EVERY_LINE, *(session if event.of is Of.SESSION else ()), *event.always],
        "additionalProperties": False,
    }
    if event.about_a_file:
        made["required"] += ABOUT_A_FILE
    made["dependentRequired"] = {"chain": list(IN_A_CHAIN)}
    if event.of is Of.ANY:
        made["dependentRequired"]["session"] = list(IN_A_SESSION)
    return made


def _property(field: Field, event: Event, name: str) -> dict[str, Any]:
    if name in event.lists:
        return {"description": field.text, **event.lists[name]}
    if field.may_be_null and event.about_a_file:
        return {"description": field.text, **field.shape, "type": [field.shape["type"], "null"]}
    return {"$ref": f"#/$defs/field.{name}"}


def text() -> str:
    """What stands in the file."""
    return _laid_out(schema(), "") + "\n"


def _laid_out(value: Any, indent: str) -> str:
    """JSON for people: what is short stands in one line."""
    short = json.dumps(value)
    if len(short) <= _SHORT or not isinstance(value, dict | list):
        return short
    deeper = indent + "  "
    if isinstance(value, dict):
        parts = [f"{deeper}{json.dumps(key)}: {_laid_out(one, deeper)}" for key, one in value.items()]
    else:
        parts = [deeper + _laid_out(one, deeper) for one in value]
    ends = "{}" if isinstance(value, dict) else "[]"
    return f"{ends[0]}\n" + ",\n".join(parts) + f"\n{indent}{ends[1]}"
