"""Findings as people read them: by place, those of one cause told once, and what follows from a cause below it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from proxy_addon.core.findings import Finding, Place, Severity, element_of, member_of

PLACES = 5
"""Places of folded findings that are named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Folded:
    """Findings that say the same of several places.

    Attributes:
        finding: The first of them.
        count: How many places they stand for.
        places: The first `PLACES` of them, in order.
        differ: Whether they do not all say the same values as the first.
        consequences: What is found because of these.
    """

    finding: Finding
    count: int
    places: tuple[Place, ...]
    differ: bool = False
    consequences: tuple[Folded, ...] = ()

    @property
    def told(self) -> Finding:
        """What they have in common: the first of them as a finding of one place, its pointer from the event on."""
        return replace(self.finding, pointer=member_of(self.finding.pointer), count=1, others=())

    @property
    def elsewhere(self) -> str:
        """How often it was found and where, if that is not one place; else empty."""
        if self.count == 1:
            return ""
        named = [str(place) for place in self.places]
        if self.count > len(named):
            named.append("…")
        return f"{self.count} times{', with other values too' if self.differ else ''}: {', '.join(named)}"


def fold(findings: Iterable[Finding]) -> list[Folded]:
    """Return findings by place; those that say the same of several places as one, consequences under their cause.

    Two say the same where they agree in everything but the place and the values that they quote. Of one event each says
    something of its own: that two params are missing is never told as one.

    Args:
        findings: Of one session or file.
    """
    found = in_order(findings)
    causes = _causes(found)
    of_cause: dict[int, list[Finding]] = {}
    for finding in found:
        if (cause := causes.get(id(finding))) is not None:
            of_cause.setdefault(id(cause), []).append(finding)
    return [
        _folded(group, [each for cause in group for each in of_cause.get(id(cause), ())])
        for group in _grouped([finding for finding in found if id(finding) not in causes])
    ]


def in_order(findings: Iterable[Finding]) -> list[Finding]:
    """Return findings by place: exchange by exchange, event by event, and last those of no place."""
    return sorted(findings, key=_by_place)


def place_of(finding: Finding) -> str:
    """Return how the place of a finding is written, ``#8..#12`` where it has an end; empty where it has none."""
    if finding.seq is None:
        return ""
    until = "" if finding.until_seq in (None, finding.seq) else f"..#{finding.until_seq}"
    return f"{finding.places[0]}{until}"


def as_list(finding: Finding) -> Finding:
    """Return a finding in a file that is a list of events: there the number of the event is its place."""
    seq = finding.seq or element_of(finding.pointer)
    others = tuple(Place(each.seq, member_of(each.pointer)) for each in finding.others)
    return replace(finding, seq=seq, pointer=member_of(finding.pointer), others=others)


def _by_place(finding: Finding) -> tuple[bool, int, int]:
    element = element_of(finding.pointer)
    number = finding.seq or element  # bodies in a file that is a list have no place but their own in it
    return number is None, number or 0, element or 0


def _grouped(found: Sequence[Finding]) -> list[list[Finding]]:
    """Return findings in groups that say the same, by their first places."""
    alike: dict[tuple[object, ...], list[Finding]] = {}
    for finding in found:
        alike.setdefault(_kind(finding), []).append(finding)
    groups: list[list[Finding]] = []
    for group in alike.values():
        if len({_by_place(finding) for finding in group}) == len(group):
            groups.append(group)
            continue
        same: dict[str, list[Finding]] = {}
        for finding in group:
            same.setdefault(finding.message, []).append(finding)
        groups += same.values()
    order = {id(finding): number for number, finding in enumerate(found)}
    return sorted(groups, key=lambda group: order[id(group[0])])


def _kind(finding: Finding) -> tuple[object, ...]:
    """Return what findings have in common that say the same."""
    said = _VALUE.sub("", finding.message)
    where = member_of(finding.pointer)
    return finding.rule, finding.severity, finding.lowered_by, finding.authority, said, where, finding.seq is None


_VALUE = re.compile(r"""'[^']*'|"[^"]*"|(?<![\w.])[-+]?[0-9][0-9.]*(?:e[-+]?[0-9]+)?""")
"""A value that a message quotes."""


def _causes(found: Sequence[Finding]) -> dict[int, Finding]:
    """Return the cause of each finding that is the consequence of another, by its identity."""
    causes: dict[int, Finding] = {}
    for rule, find in _CONSEQUENCES.items():
        following = [finding for finding in found if finding.rule == rule]
        if following:
            cause_of = find(found)
            for finding in following:
                if (cause := cause_of(finding)) is not None:
                    causes[id(finding)] = cause
    return causes


def _error_in_request(found: Sequence[Finding]) -> Callable[[Finding], Finding | None]:
    """Upstream refuses what has an error: the first one of the same exchange."""
    errors: dict[int, Finding] = {}
    for finding in found:
        if finding.severity is Severity.ERROR:
            for place in finding.places:
                errors.setdefault(place.seq, finding)
    return lambda finding: None if finding.seq is None else errors.get(finding.seq)


def _milliseconds(found: Sequence[Finding]) -> Callable[[Finding], Finding | None]:
    """A playhead in milliseconds soon lies beyond the end."""
    cause = next((finding for finding in found if finding.rule == "playhead-in-milliseconds"), None)
    return lambda _finding: cause


_CONSEQUENCES = {"upstream-refused": _error_in_request, "playhead-beyond-length": _milliseconds}
"""Rules whose findings may follow from others: what finds the cause of one among all findings."""


def _folded(group: Sequence[Finding], following: Sequence[Finding] = ()) -> Folded:
    first = group[0]
    places = sorted({place for finding in group for place in finding.places}, key=_order)
    return Folded(
        finding=first,
        count=sum(finding.count for finding in group),
        places=tuple(places[:PLACES]),
        differ=any(finding.message != first.message for finding in group),
        consequences=tuple(_folded(each) for each in _grouped(following)),
    )


def _order(place: Place) -> tuple[int, int, str]:
    return place.seq, element_of(place.pointer) or 0, place.pointer or ""
