"""The statement, as a document: what the log proves of the files, and every exception."""

from ftpsproxy.observe.rows import count, prose, size
from ftpsproxy.reading.report.chapters import Read, about, certificates, gaps, reason
from ftpsproxy.reading.report.document import Document, Figure, Section, Table, Tone
from ftpsproxy.reading.report.gathering import Gathered
from ftpsproxy.reading.report.proof import Proof, Witness


def statement(gathered: Gathered, read: Read, proof: Proof, witness: Witness) -> Document:
    """What the log proves of the files, and every exception."""
    open_points = [*gaps(gathered, read), *proof.end()]
    exceptions = sum(one.count for _, one in proof.exceptions.items())
    exceptions += proof.exceptions.others.count if proof.exceptions.others is not None else 0
    files = count(proof.files, "file")
    if proof.files == 0:
        verdict = "This log proves no transfer of a file"
    else:
        verdict = f"{files}, all over verified TLS, to these servers, with these certificates"
    if witness.unproved:
        open_points.append(f"lines that nothing proves, each the first here of its chain: {witness.unproved:,}")
    chained_badly = witness.bad
    if exceptions:
        verdict += (
            f"; {count(exceptions, 'transfer')} beside them that {'is' if exceptions == 1 else 'are'} an exception"
        )
    if open_points or chained_badly:
        verdict += "; and the log itself has gaps, see below"
    tone = Tone.BAD if exceptions or chained_badly else Tone.ODD if open_points or not proof.files else Tone.GOOD
    sections = [
        _servers(proof),
        *_exceptions(proof),
        _chain(witness),
        Section(
            "What the log lacks",
            tuple(open_points) or ("Nothing that it can know of: the lines of each session add up.",),
            tone=Tone.ODD if open_points else Tone.GOOD,
        ),
        certificates(gathered, read.now),
        Section("How this was counted", _RULES),
    ]
    figures = (
        Figure(f"{proof.files:,}", "files proved"),
        Figure(f"{proof.listings:,}", "listings proved"),
        Figure(f"{exceptions:,}", "exceptions", Tone.BAD if exceptions else Tone.GOOD),
        Figure(f"{gathered.all.refused:,}", "refused, not begun"),
    )
    return Document(
        "Statement on file transfers",
        about(gathered, read),
        f"{verdict}.",
        tone,
        figures,
        tuple(section for section in sections if section is not None),
    )


_RULES = (
    "Counted is a transfer whose line says that it became whole, by TLS 1.2 or 1.3, at which server, with which "
    "certificate, verified by what, and whose session has a line before it that says the same of its connection. A "
    "download also needs the proof of its end: close_notify, the server's SIZE, or an end within the data.",
    "Everything else is an exception. A transfer that was refused never began: nothing of it was sent.",
    "Verified by chain: an issuer that is trusted vouches for the certificate, and it is the server's. By pin: its "
    "key, or it itself, is the one that was configured.",
)


def _servers(proof: Proof) -> Section:
    found = sorted(proof.proved.items(), key=lambda item: (-item[1].files, item[0]))
    rows = []
    for (server, address, digest, by), sums in found:
        rows.append(
            (server, address, by, f"{sums.files:,}", f"{sums.listings:,}", size(sums.up), size(sums.down), digest)
        )
    others = proof.proved.others
    note = f"And {count(others.files, 'file')} to further servers." if others is not None else ""
    text = []
    for (remark,), number in proof.remarks.items():
        text.append(f"{number.count:,} of them: {_REMARKS.get(remark, remark)}.")
    head = ("server", "address", "verified by", "files", "listings", "up", "down", "certificate, SHA-256")
    table = Table(head, tuple(rows), frozenset({3, 4, 5, 6}), note) if rows else None
    return Section("To these servers, with these certificates", tuple(text) or (("None.",) if not rows else ()), table)


_REMARKS = {
    "client_gone_before_226": "complete at the server, and the client had left before it could hear so",
    "ended_in_band": "the end stood in the data (MODE B or C)",
    "proved_by_size": "no close_notify, and the server's SIZE proved that all of it had come",
}


def _exceptions(proof: Proof) -> list[Section]:
    found = sorted(proof.exceptions.items(), key=lambda item: -item[1].count)
    sections = [reason(f"{count(one.count, 'exception')}: {prose(why)}", (), one, Tone.BAD) for (why,), one in found]
    return sections or [Section("Exceptions", ("None: each transfer that is in this log is proved as above.",))]


def _chain(witness: Witness) -> Section:
    title = "Whether the log is as it was written"
    if not witness.chains and witness.keyed:
        return Section(
            title, ("It is not chained, though there is a key for its chain: nothing proves it.",), tone=Tone.BAD
        )
    if not witness.chains:
        text = (
            "It is not chained (log.chain). Whether lines were changed or taken away afterwards can't be told from it, "
            "and all that stands here is as true as whoever kept it.",
        )
        return Section(title, text, tone=Tone.ODD)
    chains = f"{count(witness.lines, 'line')} of {count(witness.chains, 'chain')}"
    if not witness.count:
        how = "with a key" if witness.keyed else "without a key: whoever could write all of it could make it anew"
        return Section(title, (f"It is chained and whole: {chains}, {how}.",))
    left = witness.count - len(witness.findings)
    rows = tuple((finding,) for finding in witness.findings)
    table = Table(("finding",), rows, note=f"And {left:,} more." if left else "")
    return Section(
        title, (f"It is chained, and not whole: {count(witness.count, 'finding')} in {chains}.",), table, tone=Tone.BAD
    )
