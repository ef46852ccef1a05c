"""A report on the terminal. What anybody has said is text, never markup."""

from rich.console import Console
from rich.table import Table as Columns
from rich.text import Text

from ftpsproxy.observe.rows import count
from ftpsproxy.reading.report.document import Bar, Document, Section, Table, Tone

_COLOURS = {Tone.GOOD: "green", Tone.ODD: "yellow", Tone.BAD: "red"}
_SIGNS = {Tone.GOOD: "✓", Tone.ODD: "!", Tone.BAD: "✗"}
_BLOCKS = " ▁▂▃▄▅▆▇█"
_WIDTH = 160  # where there is no terminal
_MOST_ROWS = 25


def show(document: Document) -> None:
    """All of it, on standard output. Raises OSError."""
    console = Console(highlight=False, markup=False, emoji=False, soft_wrap=False, legacy_windows=False)
    if not console.is_terminal:
        console = Console(highlight=False, markup=False, emoji=False, width=_WIDTH)
    console.print(Text(document.title, "bold"))
    for about in document.about:
        console.print(Text(about, "dim"))
    console.print()
    colour = _COLOURS[document.tone]
    console.print(Text(f"{_SIGNS[document.tone]} {document.verdict}", f"bold {colour}"))
    console.print()
    figures = Text()
    for figure in document.figures:
        figures.append(figure.number, "bold" if figure.tone is Tone.GOOD else f"bold {_COLOURS[figure.tone]}")
        figures.append(f" {figure.what}   ")
    figures.rstrip()
    console.print(figures)
    for section in document.sections:
        _section(console, section)


def _section(console: Console, section: Section) -> None:
    console.print()
    console.print(Text(section.title, "bold" if section.tone is Tone.GOOD else f"bold {_COLOURS[section.tone]}"))
    for text in section.text:
        console.print(Text(f"  {text}"))
    if section.bars:
        _bars(console, section.bars, section.each)
    if section.table is not None:
        _table(console, section.table)


def _table(console: Console, table: Table) -> None:
    columns = Columns(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    columns.add_column("", width=0)
    for at, name in enumerate(table.head):
        columns.add_column(Text(name), justify="right" if at in table.numbers else "left", overflow="fold")
    for row in table.rows[:_MOST_ROWS]:
        columns.add_row("", *(Text(text) for text in row))
    console.print(columns)
    if left := len(table.rows) - _MOST_ROWS if len(table.rows) > _MOST_ROWS else 0:
        console.print(Text(f"  … {left:,} more: --html FILE has them", "dim"))
    if table.note:
        console.print(Text(f"  {table.note}", "dim"))


def _bars(console: Console, bars: tuple[Bar, ...], each: str) -> None:
    most = max(1, *(bar.whole + bar.broken for bar in bars))
    line = Text("  ")
    for bar in bars:
        high = -(-(bar.whole + bar.broken) * (len(_BLOCKS) - 1) // most)
        line.append(_BLOCKS[high], "red" if bar.broken else "blue")
    console.print(line)
    ends = bars[0].label if len(bars) == 1 else f"{bars[0].label} … {bars[-1].label}"
    broken = sum(bar.broken for bar in bars)
    text = f"  {ends}, each {each}, {count(most, 'transfer')} at most" + (
        "; red: some did not become whole" if broken else ""
    )
    console.print(Text(text, "dim"))
