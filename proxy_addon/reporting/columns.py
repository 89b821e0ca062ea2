r"""Tables that fit the terminal: columns are as wide as their contents, and some shrink on a narrow terminal.

A row is one line and does not wrap, except in a column of prose. If there is no room for it, ids are shown by their
first characters and long texts are cut at their end. If that is not enough, columns are dropped one by one. If the
width is unlimited, as in a pipe or a file, everything is shown.

>>> table = Table(Column("id", is_id=True), Column("state"), Column("media", least=6, dropped=1))
>>> table.add("266536906d00a581", "ended", "Three Seconds of Sea")
>>> print(*table.lines(None), sep="\n")
id                state  media
266536906d00a581  ended  Three Seconds of Sea
>>> print(*table.lines(30), sep="\n")
id        state  media
26653690  ended  Three Second…
>>> print(*table.lines(20), sep="\n")
id        state
26653690  ended
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len, chop_cells
from rich.text import Text

ID_LEAST = 8
"""How many characters of an id are shown at least; more if the ids of a table cannot be told apart otherwise."""
_GAP = 2
_ALIGNED = 60
"""How wide a column may get, in cells, if the width is unlimited. A longer value extends beyond its column, so that a
name of a thousand characters does not add a thousand blanks to every other row."""
_NARROWEST = 24
"""How many cells an indented continuation line keeps."""
_WORD = re.compile(r"\S+")


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table.

    Attributes:
        name: Its heading.
        is_right: Whether values are aligned to the right, as numbers are.
        is_id: Whether values may be shown by their first characters.
        is_prose: Whether values may wrap between words. Only for the last column.
        least: How many cells a value may be cut down to; None if values are never cut.
        dropped: Its turn when columns are dropped, the lowest first; None if it always stays.
    """

    name: str
    is_right: bool = False
    is_id: bool = False
    is_prose: bool = False
    least: int | None = None
    dropped: int | None = None


class Table:
    """Rows below the headings of their columns."""

    def __init__(self, *columns: Column) -> None:
        self._columns = columns
        self._rows: list[tuple[list[Text], Iterable[Text]]] = []

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, *cells: Text | str, below: Iterable[Text] = ()) -> None:
        """Add a row.

        Args:
            cells: A value for each column, without line breaks.
            below: Lines to print below the row, which wrap between words; consumed when the table is printed.
        """
        row = [cell if isinstance(cell, Text) else Text(cell) for cell in cells]
        assert len(row) == len(self._columns), "a value for each column"
        self._rows.append((row, below))

    def lines(self, width: int | None) -> Iterator[Text]:
        """Yield the lines of the table.

        Args:
            width: How many cells a line may take; None for no limit.
        """
        layout = _Layout(self._columns, [row for row, _ in self._rows], width)
        yield from layout.lines([Text(column.name, style="bold") for column in self._columns])
        for row, below in self._rows:
            yield from layout.lines(row)
            for text in below:
                yield from wrapped(Text("    ").append_text(text), width, hanging=6)


class _Layout:
    """Which columns are shown, and how wide."""

    def __init__(self, columns: Sequence[Column], rows: Sequence[Sequence[Text]], width: int | None) -> None:
        self._columns = columns
        self._width = width
        self._widths: dict[int, int] = {}
        wanted = [
            max([cell_len(column.name), *(row[place].cell_len for row in rows)]) for place, column in enumerate(columns)
        ]
        if width is None:
            self._widths = {place: min(each, _ALIGNED) for place, each in enumerate(wanted)}
            return
        least = [
            min(wanted[place], self._least(column, [row[place].plain for row in rows]))
            for place, column in enumerate(columns)
        ]
        shown = list(range(len(columns)))
        while sum(least[place] + _GAP for place in shown) - _GAP > width:
            droppable = [(turn, place) for place in shown if (turn := columns[place].dropped) is not None]
            if not droppable:
                break
            shown.remove(min(droppable)[1])
        self._widths = {place: least[place] for place in shown}
        self._share(width - sum(least[place] + _GAP for place in shown) + _GAP, wanted)

    @staticmethod
    def _least(column: Column, values: Sequence[str]) -> int:
        """Return how narrow a column may become; never narrower than its heading."""
        head = cell_len(column.name)
        if column.is_id:
            return max(head, _apart(values))
        return max(head, column.least) if column.least is not None else max([head, *map(cell_len, values)])

    def _share(self, spare: int, wanted: Sequence[int]) -> None:
        """Give spare cells to texts, the narrowest first, and the rest to ids if that shows them in full."""
        missing = {place: wanted[place] - width for place, width in self._widths.items()}
        texts = {place for place in missing if not self._columns[place].is_id}
        while spare > 0 and (hungry := [place for place in texts if missing[place] > 0]):
            place = min(hungry, key=self._widths.__getitem__)
            self._widths[place] += 1
            missing[place] -= 1
            spare -= 1
        for place in self._widths.keys() - texts:
            if missing[place] <= spare:
                self._widths[place] += missing[place]
                spare -= missing[place]

    def lines(self, cells: Sequence[Text]) -> Iterator[Text]:
        line = Text()
        last = max(self._widths)
        hanging = 0
        for place, width in self._widths.items():
            cell, column = cells[place], self._columns[place]
            if self._width is not None and not column.is_prose and cell.cell_len > width:
                cell = cell[:width] if column.is_id else cut(cell, width)
            blanks = " " * (width - cell.cell_len)
            if column.is_right:
                line.append(blanks)
            if column.is_prose:
                hanging = line.cell_len
            line.append_text(cell)
            if place != last:
                line.append(blanks if not column.is_right else "").append(" " * _GAP)
        line.rstrip()
        if hanging:
            yield from wrapped(line, self._width, hanging)
        else:
            yield line


def wrapped(text: Text, width: int | None, hanging: int) -> Iterator[Text]:
    """Yield a text in lines, broken between words, or within a word that is longer than a line.

    Args:
        width: How many cells a line may take; None for one line without a limit.
        hanging: How many blanks each line but the first begins with.
    """
    if width is None or text.cell_len <= width:
        yield text
        return
    hanging = min(hanging, max(width // 2, width - _NARROWEST))
    plain, begin, room = text.plain, 0, width
    cuts: list[int] = []
    for word in _WORD.finditer(plain):
        if cell_len(plain[begin : word.end()]) <= room:
            continue
        if plain[begin : word.start()].strip():
            begin, room = word.start(), width - hanging
            cuts.append(begin)
        if cell_len(plain[begin : word.end()]) > room:
            first, *rest = chop_cells(plain[begin : word.end()], room)
            pieces = [first, *chop_cells("".join(rest), width - hanging)]
            for piece in pieces[:-1]:
                begin += len(piece)
                cuts.append(begin)
            room = width - hanging
    for number, line in enumerate(text.divide(cuts)):
        line.rstrip()
        yield Text(" " * hanging).append_text(line) if number else line


def cut(text: Text, width: int | None) -> Text:
    """Return a text, cut at its end if it is wider than ``width`` cells."""
    if width is None or text.cell_len <= width:
        return text
    shorter = text.copy()
    shorter.truncate(width, overflow="ellipsis")
    return shorter


def _apart(ids: Sequence[str]) -> int:
    """Return how many first characters are needed to tell ids apart, at least `ID_LEAST` if they are that long."""
    different = set(ids)
    longest = max(map(len, different), default=0)
    return next(
        (length for length in range(ID_LEAST, longest) if len({id[:length] for id in different}) == len(different)),
        longest,
    )
