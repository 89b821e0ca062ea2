"""Two sessions compared as tracking: as text for people, as JSON, as a JUnit suite, and as GitHub annotations.

The text shows, for each difference, the events around it side by side and the lines that differ, as in ``git diff``: ``-``
is what was expected, ``+`` what there is. Its lines fit into `WIDTH` cells, unless sentences are to stay whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from rich.cells import cell_len
from rich.text import Text

from proxy_addon.core.expectations.comparison import Comparison, Difference, Kind, Row
from proxy_addon.core.expectations.tracked import Tracked
from proxy_addon.core.wording import counted, visible
from proxy_addon.reporting.columns import cut, wrapped
from proxy_addon.reporting.github import annotation
from proxy_addon.reporting.junit import SUITE_END, Problem, case, suite_begin

WIDTH = 80
_MOST = 10
"""How many differences the text shows."""
_AROUND = 2
"""How many events are shown before and after a difference."""
_MOST_ROWS = 6
"""How many events of one difference are shown."""
_SIDE = (WIDTH - 6) // 2


def text(comparison: Comparison, *, expected: str = "expected", actual: str = "actual", is_wrapped: bool = True) -> str:
    """Return the result as lines for people.

    Args:
        expected: Name of the expectation.
        actual: Name of the session that was compared with it.
        is_wrapped: Whether sentences are broken into lines; otherwise each is a line, for those who search for it.
    """
    return "\n".join(_lines(comparison, visible(expected), visible(actual), WIDTH if is_wrapped else None))


def _lines(comparison: Comparison, expected: str, actual: str, width: int | None) -> Iterator[str]:
    rows = comparison.rows
    compared = counted(sum(row.expected is not None for row in rows), "expected event")
    if comparison.is_same:
        yield from _wrapped(f"same tracking: {actual} reports what {expected} expects ({compared})", width)
    else:
        differences = counted(len(comparison.differences), "difference")
        yield from _wrapped(f"not the same tracking: {differences} between {expected} and {actual} ({compared})", width)
    for number, difference in enumerate(comparison.differences[:_MOST], 1):
        yield ""
        yield from _wrapped(f"{number}. {difference.message}", width, hanging=3)
        yield from _excerpt(rows, difference)
    if len(comparison.differences) > _MOST:
        yield ""
        yield f"and {len(comparison.differences) - _MOST} more"
    for remark in comparison.remarks:
        yield ""
        yield from _wrapped(f"note: {visible(remark)}", width, hanging=2)


def _excerpt(rows: Sequence[Row], difference: Difference) -> Iterator[str]:
    last = difference.row + difference.rows - 1
    shown = [
        *_folded(rows, _reach(rows, difference.row, -1)),
        *[
            ([rows[n]], difference.row <= n <= last)
            for n in range(difference.row, min(last + 1, difference.row + _MOST_ROWS))
        ],
    ]
    more = last + 1 - difference.row - _MOST_ROWS
    yield f"      {'expected':<{_SIDE}}actual"
    for group, is_it in shown:
        yield _row(group, is_it=is_it)
        if is_it and difference.kind is Kind.VALUE:
            yield from _values(difference)
    if more > 0:
        yield f"      … and {more} more"
    for group, _ in _folded(rows, _reach(rows, last, 1)):
        yield _row(group, is_it=False)


def _reach(rows: Sequence[Row], begin: int, step: int) -> list[int]:
    """Return the places of the rows to show on one side, in order; pings in a row count as one."""
    found: list[int] = []
    runs = 0
    place = begin + step
    while 0 <= place < len(rows):
        if not (found and rows[place].is_ping and rows[found[-1]].is_ping):
            runs += 1
        if runs > _AROUND:
            break
        found.append(place)
        place += step
    return sorted(found)


def _folded(rows: Sequence[Row], places: Sequence[int]) -> list[tuple[list[Row], bool]]:
    groups: list[list[Row]] = []
    for place in places:
        if groups and rows[place].is_ping and groups[-1][-1].is_ping:
            groups[-1].append(rows[place])
        else:
            groups.append([rows[place]])
    return [(group, False) for group in groups]


def _row(group: Sequence[Row], *, is_it: bool) -> str:
    left = _cell([row.expected for row in group if row.expected is not None])
    right = _cell([row.actual for row in group if row.actual is not None])
    return f"{'  >' if is_it else '   '}   {left}{' ' * (_SIDE - cell_len(left))}{right}".rstrip()


def _cell(events: Sequence[Tracked]) -> str:
    if not events:
        return "-"
    first = events[0]
    numbers = first.number if len(events) == 1 else f"{first.number}-{events[-1].seq}"
    name = visible(first.type or "(no event type)")
    times = f"{first.at_s:.1f} s" if abs(first.at_s) < 1e7 else f"{first.at_s:.2g} s"
    many = f" x{len(events)}" if len(events) > 1 else ""
    room = _SIDE - len(numbers) - len(times) - len(many) - 4
    return f"{numbers} {_cut(name, room)}{many}  {times}"


def _values(difference: Difference) -> Iterator[str]:
    for mark, value in (("-", difference.expected), ("+", difference.actual)):
        if value is not None:
            yield _cut(f"      {mark} {visible(difference.place)}: {visible(value)}", WIDTH)


def _cut(line: str, room: int) -> str:
    return cut(Text(line), room).plain


def _wrapped(line: str, width: int | None, hanging: int = 0) -> Iterator[str]:
    return (each.plain for each in wrapped(Text(line), width, hanging))


def document(comparison: Comparison, *, expected: str, actual: str) -> dict[str, Any]:
    """Return the result as JSON."""
    rows = comparison.rows
    return {
        "same": comparison.is_same,
        "expected": {"name": expected, "session_id": comparison.expected.session.session_id},
        "actual": {"name": actual, "session_id": comparison.actual.session.session_id},
        "differences": [_difference(each, rows) for each in comparison.differences],
        "remarks": list(comparison.remarks),
        "counts": {
            "expected": sum(row.expected is not None for row in rows),
            "actual": sum(row.actual is not None for row in rows),
            "differences": len(comparison.differences),
        },
    }


def _difference(each: Difference, rows: Sequence[Row]) -> dict[str, Any]:
    row = rows[each.row]
    return {
        "kind": each.kind.value,
        "event_type": each.event_type,
        "place": each.place,
        "message": each.message,
        "expected": each.expected,
        "actual": each.actual,
        "expected_seq": None if row.expected is None else row.expected.seq,
        "actual_seq": None if row.actual is None else row.actual.seq,
        "events": each.rows,
    }


def suite(comparison: Comparison, *, expected: str, actual: str) -> str:
    """Return the result as JUnit XML: one test case, with a failure for each difference."""
    return "".join(
        [
            suite_begin("sessiontape expectations", tests=1, failures=int(not comparison.is_same)),
            test_case(comparison, expected=expected, actual=actual),
            SUITE_END,
        ]
    )


def test_case(comparison: Comparison, *, expected: str, actual: str) -> str:
    """Return the result as a test case for a JUnit suite."""
    problems = [
        Problem(
            element="failure",
            kind=each.kind.value,
            message=each.message,
            text="\n".join(_excerpt(comparison.rows, each)),
        )
        for each in comparison.differences
    ]
    name = f"{visible(actual)} tracks as {visible(expected)}"
    return case("sessiontape", name, problems, out="\n".join(comparison.remarks))


def annotation_lines(comparison: Comparison, *, expected: str, actual: str) -> str:
    """Return the result as GitHub annotations at the expectation's file, a line for each difference."""
    lines = (
        annotation("error", f"{each.message} ({actual})", title=f"tracking changed: {each.kind.value}", file=expected)
        for each in comparison.differences
    )
    return "".join(lines)
