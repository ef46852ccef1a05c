"""A document as one HTML page: no script, nothing from elsewhere, light and dark, for a screen, a telephone and paper.

What anybody has said is escaped, and stands in a `bdi`: text that runs from right to left moves nothing beside it.
"""

from collections.abc import Iterator
from html import escape

from ftpsproxy.reading.report.document import Bar, Document, Figure, Section, Table, Tone

_SIGNS = {Tone.GOOD: "✓", Tone.ODD: "!", Tone.BAD: "✗"}
_HEIGHT, _WIDTH = 120, 720
_SHORT = 20  # characters that are not broken into two lines
BEGIN = '<!DOCTYPE html>\n<html lang="en">\n<!-- ftpsproxy report -->\n'
"""How each page begins."""


def page(document: Document) -> str:
    """The whole of it."""
    return "".join(_page(document))


def _page(document: Document) -> Iterator[str]:
    yield BEGIN
    yield '<head>\n<meta charset="utf-8">\n<meta name="viewport" content="width=device-width, initial-scale=1">\n'
    yield (
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        '<meta name="color-scheme" content="light dark">\n<meta name="referrer" content="no-referrer">\n'
    )
    yield f"<title>{escape(document.title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n<header>\n"
    yield f"<h1>{escape(document.title)}</h1>\n<ul>"
    yield from (f"<li>{_said(one)}</li>" for one in document.about)
    sign = f'<span aria-hidden="true">{_SIGNS[document.tone]}</span>'
    yield f'</ul>\n<p class="verdict {document.tone.value}">{sign} {_said(document.verdict)}</p>\n</header>\n<dl>\n'
    yield from map(_figure, document.figures)
    yield "</dl>\n"
    for section in document.sections:
        yield from _section(section)
    yield "</main>\n</body>\n</html>\n"


def _said(text: str) -> str:
    return f"<bdi>{escape(text)}</bdi>"


def _figure(figure: Figure) -> str:
    return f'<div class="{figure.tone.value}"><dt>{escape(figure.what)}</dt><dd>{escape(figure.number)}</dd></div>\n'


def _section(section: Section) -> Iterator[str]:
    yield f'<section class="{section.tone.value}">\n<h2>{_said(section.title)}</h2>\n'
    yield from (f"<p>{_said(text)}</p>\n" for text in section.text)
    if section.bars:
        yield from _bars(section.bars, section.each)
    if section.table is not None:
        yield from _table(section.table)
    yield "</section>\n"


def _table(table: Table) -> Iterator[str]:
    kinds = ["number" if at in table.numbers else "" for at in range(len(table.head))]
    yield "<table>\n<thead><tr>"
    for name, kind in zip(table.head, kinds, strict=True):
        yield f'<th scope="col" class="{kind}">{escape(name)}</th>'
    yield "</tr></thead>\n<tbody>\n"
    for row in table.rows:
        yield "<tr>"
        for name, kind, text in zip(table.head, kinds, row, strict=True):
            fits = kind or ("short" if len(text) <= _SHORT else "")
            yield f'<td class="{fits}" data-name="{escape(name)}">{_said(text) if text else ""}</td>'
        yield "</tr>\n"
    yield "</tbody>\n</table>\n"
    if table.note:
        yield f'<p class="note">{_said(table.note)}</p>\n'


def _bars(bars: tuple[Bar, ...], each: str) -> Iterator[str]:
    most = max(1, *(bar.whole + bar.broken for bar in bars))
    step = _WIDTH / len(bars)
    width = max(1.0, min(step - 2, 40.0))
    sentence = f"Files that became whole, each {each}, {most:,} at most; in red those that did not."
    yield f'<figure>\n<svg viewBox="0 0 {_WIDTH} {_HEIGHT + 1}" role="img" aria-label="{escape(sentence)}">\n'
    yield f'<line x1="0" y1="{_HEIGHT}" x2="{_WIDTH}" y2="{_HEIGHT}"/>\n'
    for at, bar in enumerate(bars):
        if not (bar.whole or bar.broken):
            continue
        high, x = bar.whole / most * (_HEIGHT - 10), at * step + (step - width) / 2
        bad = max(2.0, bar.broken / most * (_HEIGHT - 10)) if bar.broken else 0.0
        text = f"{bar.label}: {bar.whole:,} whole, {bar.broken:,} not"
        yield f"<g><title>{escape(text)}</title>"
        if bar.whole:
            high = max(2.0, high)
            yield f'<rect x="{x:.1f}" y="{_HEIGHT - high:.1f}" width="{width:.1f}" height="{high:.1f}"/>'
        if bad:
            top = _HEIGHT - (high if bar.whole else 0) - bad
            yield f'<rect class="bad" x="{x:.1f}" y="{max(0.0, top):.1f}" width="{width:.1f}" height="{bad:.1f}"/>'
        yield "</g>\n"
    ends = "".join(f"<span>{escape(bar.label)}</span>" for bar in dict.fromkeys((bars[0], bars[-1])))
    yield f'</svg>\n<p class="ends">{ends}</p>\n<figcaption>{escape(sentence)}</figcaption>\n</figure>\n'


_STYLE = """
:root{--back:#f4f5f7;--card:#fff;--ink:#1b1f24;--soft:#5c6570;--line:#dfe3e8;--good:#17693a;--goodback:#e3f4e9;
--odd:#805600;--oddback:#fdf2d8;--bad:#b3202c;--badback:#fce6e7;--bar:#3a6ea5}
@media (prefers-color-scheme:dark){:root{--back:#14171a;--card:#1d2125;--ink:#e6e8ea;--soft:#9aa4ae;--line:#343a41;
--good:#7fd6a0;--goodback:#173524;--odd:#f0c761;--oddback:#3b2f12;--bad:#ff9a9f;--badback:#451c20;--bar:#7fb0e6}}
*{box-sizing:border-box}
body{margin:0;background:var(--back);color:var(--ink);
font:15px/1.45 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{max-width:1120px;margin:0 auto;padding:28px 20px 48px}
h1{font-size:1.7rem;margin:0 0 4px;letter-spacing:-.01em}
h2{font-size:1.05rem;margin:0 0 8px}
header ul{list-style:none;margin:0 0 16px;padding:0;color:var(--soft);font-size:.9rem}
header li{display:inline}
header li+li::before{content:" · "}
.verdict{font-size:1.15rem;font-weight:600;padding:14px 18px;border-radius:10px;margin:0 0 16px}
.verdict.good{background:var(--goodback);color:var(--good)}
.verdict.odd{background:var(--oddback);color:var(--odd)}
.verdict.bad{background:var(--badback);color:var(--bad)}
dl{display:grid;grid-template-columns:repeat(auto-fit,minmax(120px,1fr));gap:10px;margin:0 0 16px}
dl div{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:10px 14px;display:flex;
flex-direction:column-reverse}
dt{color:var(--soft);font-size:.82rem}
dd{margin:0;font-size:1.35rem;font-weight:600;font-variant-numeric:tabular-nums}
dl .bad dd{color:var(--bad)}
dl .odd dd{color:var(--odd)}
section{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:16px 18px;margin:0 0 14px}
section.odd{border-left:4px solid var(--odd)}
section.bad{border-left:4px solid var(--bad)}
p{margin:0 0 8px}
.note,figcaption{color:var(--soft);font-size:.85rem;margin:8px 0 0}
figure{margin:0}
svg{width:100%;height:auto;display:block}
svg rect{fill:var(--bar)}
svg rect.bad{fill:var(--bad)}
svg line{stroke:var(--line)}
.ends{display:flex;justify-content:space-between;margin:4px 0 0;color:var(--soft);font-size:.85rem}
.short{white-space:nowrap}
table{border-collapse:collapse;width:100%;font-size:.88rem}
th{text-align:left;color:var(--soft);font-weight:500;border-bottom:1px solid var(--line);padding:4px 14px 4px 0;
white-space:nowrap}
td{padding:5px 14px 5px 0;border-bottom:1px solid var(--line);vertical-align:top;overflow-wrap:anywhere;min-width:4.5em}
tr:last-child td{border-bottom:0}
.number{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
@media (max-width:640px){main{padding:16px 10px 32px}dl{grid-template-columns:repeat(2,1fr)}
section{padding:14px 12px}
thead{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}
table,tbody,tr,td{display:block;width:100%}
tr{border-bottom:1px solid var(--line);padding:8px 0}
tr:last-child{border-bottom:0}
td,td.number{border:0;padding:1px 0;text-align:left;white-space:normal;min-width:0;display:flex;gap:10px}
td::before{content:attr(data-name);color:var(--soft);flex:0 0 7.5em}
td:empty{display:none}.short{white-space:normal}}
@media print{:root{--back:#fff;--card:#fff;--ink:#000;--soft:#444;--line:#bbb;--good:#17693a;--goodback:#e3f4e9;
--odd:#805600;--oddback:#fdf2d8;--bad:#b3202c;--badback:#fce6e7;--bar:#3a6ea5}
body{font-size:10pt}main{max-width:none;padding:0}section{break-inside:auto}tr,dl div,figure{break-inside:avoid}
h2{break-after:avoid}.verdict,svg{print-color-adjust:exact;-webkit-print-color-adjust:exact}}
"""
