"""Findings in the form that people read: by place, with equal ones merged and consequences below their cause."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from proxy_addon.core.findings import Finding, Place, Severity, element_of, member_of
from proxy_addon.core.rules import RULES, Scope

PLACES = 5
"""How many places of folded findings are listed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Folded:
    """Findings that say the same about several places.

    Attributes:
        finding: The first of them.
        count: Number of all their places.
        places: The first `PLACES` places, in order.
        differ: Whether the values in their messages differ.
        consequences: Findings that follow from these.
    """

    finding: Finding
    count: int
    places: tuple[Place, ...]
    differ: bool = False
    consequences: tuple[Folded, ...] = ()

    @property
    def told(self) -> Finding:
        """The first of them, as a finding of one place and with a pointer relative to its event."""
        return replace(self.finding, pointer=member_of(self.finding.pointer), count=1, others=())

    @property
    def elsewhere(self) -> str:
        """How many times it was found, and where; empty if it was found once."""
        if self.count == 1:
            return ""
        named = [str(place) for place in self.places]
        if self.count > len(named):
            named.append("…")
        return f"{self.count} times{', with other values too' if self.differ else ''}: {', '.join(named)}"


def fold(findings: Iterable[Finding]) -> list[Folded]:
    """Return findings by place, with equal ones merged and consequences below their cause.

    Two findings say the same if they differ only in their place and in the values that they quote. Findings of the same
    event with different messages are never merged: two missing params remain two findings.

    Args:
        findings: Findings of one session or file.
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
    """Return findings sorted by exchange and event; those without a place come last."""
    return sorted(findings, key=_by_place)


def causes_first(findings: Iterable[Finding]) -> list[Finding]:
    """Return findings of one exchange or session in their order, but those that may follow from others last."""
    return sorted(findings, key=lambda finding: finding.rule in _CONSEQUENCES)


def place_of(finding: Finding) -> str:
    """Return the place of a finding, such as ``#8``, or ``#8..#12`` if it has an extent; empty if it has no place."""
    if finding.seq is None:
        return ""
    until = "" if finding.until_seq in (None, finding.seq) else f"..#{finding.until_seq}"
    return f"{finding.places[0]}{until}"


def as_list(finding: Finding) -> Finding:
    """Return a finding of a file that is a list of events, with the number of the event as its place."""
    seq = finding.seq or element_of(finding.pointer)
    others = tuple(Place(each.seq or element_of(each.pointer) or 0, member_of(each.pointer)) for each in finding.others)
    return replace(finding, seq=seq, pointer=member_of(finding.pointer), others=others)


def _by_place(finding: Finding) -> tuple[bool, int, int]:
    element = element_of(finding.pointer)
    number = finding.seq or element  # in a file that is a list, the position in the list is the only place
    return number is None, number or 0, element or 0


def _grouped(found: Sequence[Finding]) -> list[list[Finding]]:
    """Return findings in groups that say the same, sorted by the first place of each group."""
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
    """Return a key that is equal for findings that say the same."""
    said = finding.message if finding.rule in _WORD_FOR_WORD else _VALUE.sub("", finding.message)
    where = member_of(finding.pointer)
    return finding.rule, finding.severity, finding.lowered_by, finding.authority, said, where, finding.seq is None


_WORD_FOR_WORD = frozenset(
    {
        "event-type-unknown",
        "placeholder-value",
        "state-name-nonstandard",
        "state-name-pattern",
        "upstream-failed",
        "upstream-refused",
    }
)
"""Rules whose messages quote what the finding is about: with another value it is another finding."""
_VALUE = re.compile(r"""'[^']*'|"[^"]*"|(?<![\w.])[-+]?[0-9][0-9.]*(?:e[-+]?[0-9]+)?""")
"""Matches the values that a message quotes."""


def _causes(found: Sequence[Finding]) -> dict[int, Finding]:
    """Return the cause of each finding that follows from another one, by the ``id()`` of the consequence."""
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
    """The cause is the first error of the same request by itself: upstream knows nothing of the session."""
    errors: dict[int, Finding] = {}
    for finding in found:
        rule = RULES.get(finding.rule)
        if finding.severity is Severity.ERROR and rule is not None and rule.scope in _OF_A_REQUEST:
            for place in finding.places:
                errors.setdefault(place.seq, finding)
    return lambda finding: None if finding.seq is None else errors.get(finding.seq)


def _wrong_unit(rule: str) -> Callable[[Sequence[Finding]], Callable[[Finding], Finding | None]]:
    """The cause is the unit of a value, which a rule reports: whatever else is said of the value follows from it."""

    def find(found: Sequence[Finding]) -> Callable[[Finding], Finding | None]:
        cause = next((finding for finding in found if finding.rule == rule), None)
        return lambda _finding: cause

    return find


_OF_A_REQUEST = (Scope.EXCHANGE, Scope.BODY, Scope.EVENT)
_CONSEQUENCES = {
    "upstream-refused": _error_in_request,
    "playhead-beyond-length": _wrong_unit("playhead-in-milliseconds"),
    "ts-clock-skew": _wrong_unit("ts-not-milliseconds"),
}
"""Rules whose findings may follow from others, and the function that finds the cause among all findings."""


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
