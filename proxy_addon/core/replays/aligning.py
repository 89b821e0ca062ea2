"""Lay two sessions side by side: match their events, and find what differs between them.

Events with the same content are matched first, then the remaining ones of the same type in the same place. A matched
event in another order counts as moved, not as removed and added. Aligning takes O(n log n) steps.
"""

from __future__ import annotations

import hashlib
import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from proxy_addon.core.events import Event, read_event
from proxy_addon.core.exchange import Exchange
from proxy_addon.core.jsontext import escaped
from proxy_addon.core.nearest import in_pairs
from proxy_addon.core.replays.runs import Difference, Sent, SessionRun, StepOutcome
from proxy_addon.core.routes import TRACKING
from proxy_addon.core.wording import ascii_safe, json_text

TOLERANCE_S = 1.0
"""Times and playheads that differ by less are the same, because two players never agree to the millisecond."""
_MEMBERS = ("params", "customMetadata", "qoeData")
_BODY = "body"
"""The place of a difference in a body that is not an event."""
_SHOWN = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One event of a session.

    Attributes:
        seq: Position of its exchange in the session, from 1.
        pointer: JSON Pointer to the event in a batch; empty for a body with one event.
        at_s: Its ``ts`` in seconds since the session's first; None if it has none.
        content: Its other members as JSON text by JSON Pointer; ``body`` stands for a body that is not an event.
    """

    seq: int
    pointer: str = ""
    event_type: str | None = None
    at_s: float | None = None
    playhead_s: float | None = None
    status: int | None = None
    content: Mapping[str, str]


class Kind(StrEnum):
    """How the two events of a pair relate."""

    SAME = "same"
    CHANGED = "changed"
    MOVED = "moved"
    ONLY_A = "only-a"
    ONLY_B = "only-b"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two matched events, or one event without a match.

    Attributes:
        is_wanted: Whether all that differs is what a replay run was told to change.
    """

    a: Entry | None
    b: Entry | None
    kind: Kind
    differences: tuple[Difference, ...] = ()
    is_wanted: bool = False


def entries(exchanges: Iterable[Exchange], *, answers: bool = True) -> list[Entry]:
    """Return the events of a session's exchanges, which come by time of arrival.

    Args:
        answers: Whether to include the status of answers; leave it out if the other session has no answers.
    """
    found: list[Entry] = []
    first_ms: int | None = None
    for seq, exchange in enumerate(exchanges, 1):
        if exchange.route.operation not in TRACKING:
            continue
        reading = exchange.request.reading
        is_batch = bool(reading.is_batch and reading.events)
        values = reading.value if is_batch else [reading.value]
        events = reading.events or (Event(),)  # a body without an event counts too
        for index, (event, value) in enumerate(zip(events, values, strict=True)):
            if first_ms is None:
                first_ms = event.ts_ms
            found.append(
                Entry(
                    seq=seq,
                    pointer=f"/{index}" if is_batch else "",
                    event_type=event.type,
                    at_s=None if event.ts_ms is None or first_ms is None else (event.ts_ms - first_ms) / 1000,
                    playhead_s=None if event.playhead_s is None else float(event.playhead_s),
                    status=exchange.response.status if answers and exchange.response is not None else None,
                    content=dict(_content(value)) if reading.problem is None else {_BODY: _written(exchange)},
                )
            )
    return found


def _written(exchange: Exchange) -> str:
    return exchange.request.body.decode("utf-8", "backslashreplace")


def _content(value: Any) -> Iterator[tuple[str, str]]:
    if not isinstance(value, dict):
        yield _BODY, _text_of(value)
        return
    for member, inside in value.items():
        if isinstance(inside, dict) and member in _MEMBERS:
            parts = {f"/{member}/{escaped(name)}": each for name, each in inside.items()}
        elif isinstance(inside, dict) and member == "playerTime":
            parts = {f"/playerTime/{escaped(name)}": each for name, each in inside.items() if not _is_read(name, each)}
        elif isinstance(inside, str) and member == "eventType":
            parts = {}
        else:
            parts = {f"/{escaped(member)}": inside}
        for where, each in parts.items():
            yield ascii_safe(where), _text_of(each)


def _is_read(name: str, value: Any) -> bool:
    """Whether a member of ``playerTime`` is compared as time or playhead."""
    event = read_event({"playerTime": {name: value}})
    return event.playhead_s is not None or event.ts_ms is not None


def _text_of(value: Any) -> str:
    try:
        return json_text(value)
    except (ValueError, RecursionError):
        return ascii_safe(str(value))


def align(a: Sequence[Entry], b: Sequence[Entry]) -> list[Pair]:
    """Return each event of both sessions once: in the order of ``a``, with those that only ``b`` has in between."""
    partner = _by_key((range(len(a)), range(len(b))), (a, b), (lambda n: _key(a[n]), lambda n: _key(b[n])))
    in_order = _longest_rise(partner)
    rest_a = [n for n in range(len(a)) if n not in partner]
    taken = set(partner.values())
    rest_b = [n for n in range(len(b)) if n not in taken]
    # The rest is matched by type and by its place among the matched events that are in order.
    anchors_a = sorted(in_order)
    anchors_b = [partner[n] for n in anchors_a]
    changed = _by_key(
        (rest_a, rest_b),
        (a, b),
        (
            lambda n: (a[n].event_type, bisect_left(anchors_a, n)),
            lambda n: (b[n].event_type, bisect_left(anchors_b, n)),
        ),
    )
    partner |= changed
    in_order |= changed.keys()
    return list(_laid_out(a, b, partner, in_order))


def replayed(entries: Iterable[Entry], run: SessionRun) -> Iterator[Pair]:
    """Yield a session's events, each beside what a replay run sent for it."""
    steps = {step.seq: step for step in run.steps}
    for entry in entries:
        step = steps.get(entry.seq)
        if step is None or step.outcome is StepOutcome.SKIPPED:
            skipped = Difference(where="skipped", a=None, b=run.reason if step is None else step.reason)
            yield Pair(a=entry, b=None, kind=Kind.ONLY_A, differences=(skipped,))
            continue
        wanted = [] if step.sent is None else list(_sent(entry, step.sent))
        differences = [*wanted, *(replace(each, a=_said(each.a), b=_said(each.b)) for each in step.differences)]
        if step.outcome is StepOutcome.FAILED:
            differences.append(Difference(where="answer", a=_said(step.recorded_status), b=step.reason))
        kind = Kind.CHANGED if differences else Kind.SAME
        yield Pair(
            a=entry,
            b=replace(entry, status=step.status),
            kind=kind,
            differences=tuple(differences),
            is_wanted=bool(wanted) and len(wanted) == len(differences),
        )


def _sent(entry: Entry, sent: Sent) -> Iterator[Difference]:
    """Yield the changes of an event; changes to none of a batch's events count for its first."""
    is_first = entry.pointer in ("", "/0")
    for each in sent.differences:
        if entry.pointer and each.where.startswith(f"{entry.pointer}/"):
            yield replace(each, where=each.where.removeprefix(entry.pointer))
        elif is_first and not (entry.pointer and _IN_BATCH.match(each.where)):
            yield each


_IN_BATCH = re.compile(r"/[0-9]+/")


def _said(value: str | int | None) -> str | None:
    return None if value is None else str(value)


def _key(entry: Entry) -> Hashable:
    digest = hashlib.sha256(repr(sorted(entry.content.items())).encode("utf-8", "surrogatepass")).digest()
    place = None if entry.playhead_s is None or abs(entry.playhead_s) > 1e15 else round(entry.playhead_s)
    return entry.event_type, place, digest


def _by_key(
    places: tuple[Iterable[int], Iterable[int]],
    sides: tuple[Sequence[Entry], Sequence[Entry]],
    keys: tuple[Callable[[int], Hashable], Callable[[int], Hashable]],
) -> dict[int, int]:
    """Pair entries with the same key, in order; if one side has more of them, those at the most similar times."""
    ours, theirs = (_grouped(*each) for each in zip(places, keys, strict=True))
    found: dict[int, int] = {}
    for key, ones in ours.items():
        others = theirs.get(key, [])
        times = [[entries[n].at_s for n in group] for entries, group in zip(sides, (ones, others), strict=True)]
        known_s = [[at_s for at_s in each if at_s is not None] for each in times]
        is_timed = known_s == times
        pairs = in_pairs(*known_s) if is_timed else [(n, n) for n in range(min(len(ones), len(others)))]
        found |= {ones[one]: others[other] for one, other in pairs}
    return found


def _grouped(places: Iterable[int], key: Callable[[int], Hashable]) -> Mapping[Hashable, list[int]]:
    groups: dict[Hashable, list[int]] = defaultdict(list)
    for place in places:
        groups[key(place)].append(place)
    return groups


def _longest_rise(partner: Mapping[int, int]) -> set[int]:
    """Return the largest set of places whose partners are in ascending order too."""
    tails: list[int] = []  # by length of a rising sequence: the place that ends one with the smallest partner
    lows: list[int] = []
    before: dict[int, int | None] = {}
    for place in sorted(partner):
        length = bisect_left(lows, partner[place])
        before[place] = tails[length - 1] if length else None
        if length == len(tails):
            tails.append(place)
            lows.append(partner[place])
        else:
            tails[length], lows[length] = place, partner[place]
    found = set()
    at = tails[-1] if tails else None
    while at is not None:
        found.add(at)
        at = before[at]
    return found


def _laid_out(a: Sequence[Entry], b: Sequence[Entry], partner: Mapping[int, int], in_order: set[int]) -> Iterator[Pair]:
    taken = set(partner.values())
    shown = 0
    for place, entry in enumerate(a):
        other = partner.get(place)
        if other is None:
            yield Pair(a=entry, b=None, kind=Kind.ONLY_A)
            continue
        if place in in_order:
            for n in range(shown, other):
                if n not in taken:
                    yield Pair(a=None, b=b[n], kind=Kind.ONLY_B)
            shown = max(shown, other)
        differences = tuple(_differences(entry, b[other]))
        kind = Kind.MOVED if place not in in_order else Kind.CHANGED if differences else Kind.SAME
        yield Pair(a=entry, b=b[other], kind=kind, differences=differences)
    for n in range(shown, len(b)):
        if n not in taken:
            yield Pair(a=None, b=b[n], kind=Kind.ONLY_B)


def _differences(a: Entry, b: Entry) -> Iterator[Difference]:
    if a.status != b.status:
        yield Difference(where="status", a=_text(a.status), b=_text(b.status))
    for where, one, other in (("ts", a.at_s, b.at_s), ("playhead", a.playhead_s, b.playhead_s)):
        if (one is None) != (other is None) or (one is not None and other is not None and _differ(one, other)):
            yield Difference(where=where, a=_text(one), b=_text(other))
    for where in [*a.content, *(where for where in b.content if where not in a.content)]:
        if a.content.get(where) != b.content.get(where):
            yield Difference(where=where, a=_cut(a.content.get(where)), b=_cut(b.content.get(where)))


def _differ(one: float, other: float) -> bool:
    return abs(one - other) >= TOLERANCE_S


def _text(value: float | None) -> str | None:
    return None if value is None else f"{value:.15g}"


def _cut(text: str | None) -> str | None:
    return text if text is None or len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
