"""The outputs of the log, and what is wrong with each, or with two of them together."""

import os

from ftpsproxy.config.sources import OUTPUT, Leaf, Table, Written, parsed
from ftpsproxy.config.values import LogOutput

_SOCKETS = ("syslog", "journald")
# What is of no use anywhere else.
_ONLY_FOR = {
    "address": _SOCKETS,
    "app_name": _SOCKETS,
    "facility": ("syslog",),
    "max_bytes": ("syslog",),
}


def outputs_of(written: Written) -> tuple[LogOutput, ...]:
    """Those that can be had; `written.faults` says what is amiss."""
    found: dict[tuple[object, ...], str] = {}
    outputs = []
    for name, table in written.named[OUTPUT].items():
        output = _output(written, name, table)
        if output is None:
            continue
        place = _place(output)
        if (other := found.get(place)) is not None:
            leaf = table.get("address") or table.get("to")
            at = leaf.place if leaf is not None else f"{written.origin}{OUTPUT}.{name}"
            written.fault(at, f"output '{other}' goes to the same place; give each a place of its own")
        found[place] = name
        outputs.append(output)
    return tuple(outputs)


def _place(output: LogOutput) -> tuple[object, ...]:
    if output.to in _SOCKETS:
        return output.to, output.place
    return (os.path.realpath(output.to) if "/" in output.to else output.to,)


def _output(written: Written, name: str, table: Table) -> LogOutput | None:
    before = len(written.faults)
    own = dict(table)
    _inherit(table, written.plain["log"], to=_text(own.get("to")), format=_text(own.get("format")))
    values = parsed(written, OUTPUT, table)
    to, format = values.get("to", "stdout" if "to" not in table else ""), values.get("format", "auto")
    for key, places in _ONLY_FOR.items():
        if to and key in own and to not in places:
            whose = " and ".join(places)
            written.fault(own[key].place, f"is for {whose} only, and this output is to {to}; leave it out")
    if to == "journald" and "format" in own:
        written.fault(own["format"].place, "journald has fields of its own, and no formats; leave it out")
    if to == "journald" and isinstance(values.get("address"), tuple):
        written.fault(own["address"].place, "journald has a unix socket; write its path")
    if format == "xferlog" and "level" in own:
        written.fault(own["level"].place, "xferlog has a line for each transfer, and no levels; leave it out")
    if "chain_key_file" in own and not values.get("chain") and "chain" not in own:
        written.fault(own["chain_key_file"].place, "a key without a chain; set chain = true too")
    if values.get("chain") and (to == "journald" or format not in ("json", "auto")):
        what = "journald" if to == "journald" else f"'{format}'"
        at = own.get("chain") or own.get("format") or own.get("to") or table["chain"]
        written.fault(at.place, f"only JSON lines are chained, and this output has {what}; write chain = false here")
    return None if len(written.faults) > before else LogOutput(name, **values)


def _inherit(table: Table, log: Table, *, to: str, format: str) -> None:
    """What the output does not say itself is as the log says, wherever that was written."""
    inherited = ["chain", "chain_key_file"]
    if to != "journald":
        inherited.append("format")
    if format != "xferlog":
        inherited.append("level")
    for key in inherited:
        if key in log and key not in table:
            table[key] = log[key]


def _text(leaf: Leaf | None) -> str:
    return leaf.value if leaf is not None and isinstance(leaf.value, str) else ""
