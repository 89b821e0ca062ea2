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
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, override

from proxy_addon.core.wording import visible


class Severity(StrEnum):
    """How bad a finding is. A request is invalid if, and only if, it has at least one error."""

    ERROR = "error"
    """Refused by the server, or accepted and certain to ruin the data."""
    WARNING = "warning"
    """Probably wrong, or refused by some version of the schema."""
    INFO = "info"
    """Worth knowing; includes everything that Adobe's own SDKs do."""

    @property
    def weight(self) -> int:
        """How much one finding weighs when two results are compared."""
        return _WEIGHTS[self]


_WEIGHTS = {Severity.ERROR: 100, Severity.WARNING: 10, Severity.INFO: 1}

ACCEPTED = "accepted-by-upstream"
"""The reason a finding was lowered: upstream accepted a request that our own tables would refuse."""
CHECKER_FAILED = "checker-failed"
"""Rule of a finding that reports a fault of ours: a check itself failed. The protocol has no such rule."""
BUILT_IN = "built-in"
"""Authority of findings that rely on the built-in tables."""


MOST_PLACES = 20
"""How many places of one finding are kept, unless a policy says otherwise; its count includes the others."""


class Place(NamedTuple):
    """A place where a rule does not hold.

    Attributes:
        seq: Position of the exchange in its session, from 1.
        pointer: JSON Pointer into the request's body; None if it does not concern a place in the body.
    """

    seq: int
    pointer: str | None = None

    @override
    def __str__(self) -> str:
        """Return the place in the notation for people: ``#8``, or ``#8/3`` for the third event of a batch."""
        element = element_of(self.pointer)
        return f"#{self.seq}" if element is None else f"#{self.seq}/{element}"


_ELEMENT = re.compile(r"(?:/events)?/([0-9]{1,9})(?=/|\Z)")
"""How a pointer to an event in a list begins; in a file the list may be the member ``events``."""


def element_of(pointer: str | None) -> int | None:
    """Return the number, from 1, of the event that a pointer leads to in a list; None if there is no list."""
    match = _ELEMENT.match(pointer or "")
    return int(match[1]) + 1 if match else None


def member_of(pointer: str | None) -> str | None:
    """Return a pointer relative to its event, without the position of the event in a list."""
    return None if pointer is None else _ELEMENT.sub("", pointer, count=1) if _ELEMENT.match(pointer) else pointer


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One place where a rule does not hold, or several places of one rule that are reported together.

    Attributes:
        rule: Id of the rule.
        severity: Severity of this finding: that of the rule, unless settings or upstream's answer changed it.
        message: One line with the value seen and the one expected.
        pointer: JSON Pointer into the request's body; None if it does not concern a place in the body.
        seq: Position of the exchange in its session, from 1; None if the finding does not concern a single exchange.
        count: Number of places.
        others: The places after the first one, in order; only the first ones are kept.
        until_seq: Where the finding ends if it has an extent, such as a frozen playhead or a gap; None if it has none.
        lowered_by: What lowered the severity to info; None if nothing did.
        authority: What the finding relies on: ``built-in``, or the schema of an upstream by version.
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
        """The places that are kept, in order; empty if the finding does not concern a single exchange."""
        return () if self.seq is None else (Place(self.seq, self.pointer), *self.others)


_PLACES_IN_A_LINE = 4


def finding_parts(finding: Finding, place: str = "") -> list[tuple[str, str]]:
    """Return a finding as pieces of one line, each with its kind: ``severity``, ``rule``, ``text`` or ``aside``.

    Args:
        place: The place to print after the rule's name; empty to print none.
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
    """Return a finding as one line of text, in which nothing acts that the device sent."""
    return visible("".join(text for _, text in finding_parts(finding, place)))


type Verdict = Sequence[Finding] | None
"""The findings of one exchange: None if it was not judged, empty if nothing was found."""


def worst(findings: Iterable[Finding]) -> Severity | None:
    """Return the highest severity among findings; None if there are no findings."""
    return max((finding.severity for finding in findings), key=lambda severity: severity.weight, default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Holes:
    """What is not known of a session, because it was lost, or the file that it comes from does not have it.

    If all numbers but that of its requests are 0, the file may lack requests: it is cut off, or it is without those that were
    not answered.

    Attributes:
        bodies: How many of its requests lack their body.
        requests: How many requests with events it has.
        rules: Ids of the rules that were not applied, because what is not known may explain what they would report.
        truncated: How many of its requests have a body of which only the beginning is stored.
        lost: How many exchanges its recorders saw and could not store.
    """

    bodies: int
    requests: int
    rules: tuple[str, ...]
    truncated: int = 0
    lost: int = 0


UNPLANNED = "not in the plan"


class Deviation(NamedTuple):
    """What sessions do otherwise than a tracking plan says.

    Attributes:
        rule: Id of the rule, such as ``plan-missing``.
        event: The type of the events.
        section: ``params``, ``qoeData`` or ``customMetadata``; empty if it is not about a key.
        key: The key; for a rate, the state of playback; empty if it is about whole events.
        expected: What the plan says.
    """

    rule: str
    event: str
    section: str
    key: str
    expected: str

    @property
    def is_unplanned(self) -> bool:
        """Whether it is about a key that the plan does not name; of these, devices may make up any number."""
        return self.expected == UNPLANNED


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """All findings of a session.

    Attributes:
        of_exchanges: Findings of single exchanges, with their ``seq``, in the order of arrival.
        of_session: Findings of the session as a whole.
        holes: What could not be judged; None if everything was.
        deviations: How often it does something otherwise than planned; also told by findings. Empty without a plan.
        plan_groups: The places of the groups of the plan that hold for it.
    """

    of_exchanges: tuple[Finding, ...] = ()
    of_session: tuple[Finding, ...] = ()
    holes: Holes | None = None
    deviations: Mapping[Deviation, int] = field(default_factory=dict)
    plan_groups: tuple[int, ...] = ()

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All of them."""
        return self.of_exchanges + self.of_session
