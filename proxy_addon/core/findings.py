"""A finding: one place where a rule does not hold, as data.

For people a place is written in one way: ``#8`` is the eighth exchange of a session, ``#8/3`` the third event of the
batch in it. Both numbers count from 1; those in a JSON Pointer count from 0.

>>> str(Place(seq=8, pointer="/params/media.id")), str(Place(seq=8, pointer="/2/params"))
('#8', '#8/3')
>>> element_of("/2/params/media.id"), member_of("/2/params/media.id")
(3, '/params/media.id')
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, override


class Severity(StrEnum):
    """How bad a finding is. A request is invalid exactly if it has at least one error."""

    ERROR = "error"
    """Refused by the server, or accepted and certain to ruin the data."""
    WARNING = "warning"
    """Probably wrong, or refused by some version of the schema."""
    INFO = "info"
    """Worth knowing; includes everything that Adobe's own SDKs do."""

    @property
    def weight(self) -> int:
        """What one finding counts where two results are compared."""
        return _WEIGHTS[self]


_WEIGHTS = {Severity.ERROR: 100, Severity.WARNING: 10, Severity.INFO: 1}

ACCEPTED = "accepted-by-upstream"
"""What lowered a finding: upstream took the request that our own tables would refuse."""
CHECKER_FAILED = "checker-failed"
"""Rule of a finding that tells of a fault of ours: a check itself failed. The protocol has no rule of this name."""
BUILT_IN = "built-in"
"""Authority of findings that follow from the tables in this product."""


MOST_PLACES = 20
"""Places of one finding that are kept; its count says how many there are."""


class Place(NamedTuple):
    """Where a rule does not hold.

    Attributes:
        seq: Place of the exchange in its session, from 1.
        pointer: JSON Pointer into the request's body; None where it is about no place in it.
    """

    seq: int
    pointer: str | None = None

    @override
    def __str__(self) -> str:
        """Return how it is written for people."""
        element = element_of(self.pointer)
        return f"#{self.seq}" if element is None else f"#{self.seq}/{element}"


_ELEMENT = re.compile(r"(?:/events)?/([0-9]{1,9})(?=/|\Z)")
"""How a pointer into an event of a list begins; in a file the list may stand under ``events``."""


def element_of(pointer: str | None) -> int | None:
    """Return the number, from 1, of the event in a list that a pointer points into; None where there is no list."""
    match = _ELEMENT.match(pointer or "")
    return int(match[1]) + 1 if match else None


def member_of(pointer: str | None) -> str | None:
    """Return a pointer from the event on, without the place of the event in a list."""
    return None if pointer is None else _ELEMENT.sub("", pointer, count=1) if _ELEMENT.match(pointer) else pointer


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One place where a rule does not hold, or several of one rule that are told once.

    Attributes:
        rule: Id of the rule.
        severity: Of this finding: the rule's own, unless settings or upstream's answer changed it.
        message: One line: the value seen and the one expected.
        pointer: JSON Pointer into the request's body; None where it is about no place in it.
        seq: Place of the exchange in its session, from 1; None where the finding is about no single exchange.
        count: How many places it stands for.
        others: The places behind the first one, in order; the first `MOST_PLACES` are kept, that one included.
        until_seq: Where what has an extent ends, such as a frozen playhead or a gap; None where it has none.
        lowered_by: What took the severity down to info; None where nothing did.
        authority: What says so: ``built-in``, or the schema of an upstream by version.
    """

    rule: str
    severity: Severity
    message: str
    pointer: str | None = None
    seq: int | None = None
    count: int = 1
    others: tuple[Place, ...] = ()
    until_seq: int | None = None
    lowered_by: str | None = None
    authority: str = BUILT_IN

    @property
    def places(self) -> tuple[Place, ...]:
        """Where it does not hold, in order, the first `MOST_PLACES`; empty where it is about no single exchange."""
        return () if self.seq is None else (Place(self.seq, self.pointer), *self.others)


_PLACES_IN_A_LINE = 4


def finding_parts(finding: Finding, place: str = "") -> list[tuple[str, str]]:
    """Return a finding as pieces of one line, each with what it is: ``severity``, ``rule``, ``text`` or ``aside``.

    Args:
        place: Where it stands, as told behind the rule's name; empty for nothing.
    """
    parts = [("severity", finding.severity.value), ("text", " "), ("rule", finding.rule)]
    if place:
        parts.append(("text", f" {place}"))
    parts += [("text", ": "), ("text", finding.message)]
    if finding.pointer:
        parts += [("aside", " at "), ("text", finding.pointer)]
    if finding.count > 1:
        parts.append(("aside", f" ({_elsewhere(finding)})"))
    if finding.lowered_by:
        parts.append(("aside", f" ({finding.lowered_by})"))
    if finding.authority != BUILT_IN:
        parts.append(("aside", f" [{finding.authority}]"))
    return parts


def _elsewhere(finding: Finding) -> str:
    told = finding.others[:_PLACES_IN_A_LINE]
    rest = finding.count - 1 - len(told)
    if not told:
        return f"and {rest} more"
    places = ", ".join(map(str, told))
    return f"also at {places}" + (f" and {rest} more" if rest else "")


def finding_line(finding: Finding, place: str = "") -> str:
    """Return a finding as one line of text, if what a device sent has no line ends in it."""
    return "".join(text for _, text in finding_parts(finding, place))


type Verdict = Sequence[Finding] | None
"""What is to be said of an exchange by itself: None where nobody has judged it yet, empty where nothing was found."""


def worst(findings: Iterable[Finding]) -> Severity | None:
    """Return the highest severity among findings; None where there are none."""
    return max((finding.severity for finding in findings), key=lambda severity: severity.weight, default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What is to be said of a session.

    Attributes:
        of_exchanges: Findings of single exchanges, with their ``seq``, by arrival.
        of_session: Findings of the session as a whole.
    """

    of_exchanges: tuple[Finding, ...] = ()
    of_session: tuple[Finding, ...] = ()

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All of them."""
        return self.of_exchanges + self.of_session
