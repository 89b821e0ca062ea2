"""What a rule is: an id, a severity, a page, and a check.

A rule is one function. Its docstring is its page: the first line says what is wrong, then come six paragraphs, each
begun by its name (`SECTIONS`). What it looks at says which decorator it has:

* `exchange_rule`: one request and its answer, apart from what is in the body;
* `body_rule`: a request's body as a whole;
* `event_rule`: one event, the body of a live request or an element of a batch;
* `session_rule`: each event of a session in the order of their times, with what went before;
* `arrival_rule`: each event of a session in the order of their arrival;
* `gap_rule`: each event of a session in the order in which silence is measured;
* `standing_rule`: a session as far as it has got, and `closing_rule` one that is over.

A check yields a `Problem` for each place; those over sessions return a message or nothing, for the event is the place.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any, NamedTuple

from proxy_addon.core.findings import Severity

SECTIONS = ("What it checks", "Why it matters", "Source", "Example", "How to fix", "Known limits")
"""What every page has, in this order."""
_SECTION = re.compile(rf"^({'|'.join(SECTIONS)}): ")

ERROR, WARNING, INFO = Severity.ERROR, Severity.WARNING, Severity.INFO


class Problem(NamedTuple):
    """One place where a rule does not hold."""

    message: str
    pointer: str | None = None
    suggest: Callable[[], str] | None = None
    """What the message ends with where it is told: to look for what was meant costs more than all the rest."""


TOLD = 20
"""Places of one rule in one body that are told one by one."""

Check = Callable[[Any], Iterable[Problem]]
"""The check of a rule over an exchange, a body or an event: `core.rules.body_views` has what it gets."""


class Withdrawn(NamedTuple):
    """Takes back what a rule has told of the last places: the event at hand shows that they were right."""

    places: int


SessionCheck = Callable[[Any, Any], str | Withdrawn | None]
"""The check of a rule over a session: gets what went before, and the event."""
Extent = Callable[[Any, Any], bool | None]
"""Whether what a rule has found goes on at an event; None where the event says nothing of it."""


class Scope(StrEnum):
    """What a rule looks at."""

    EXCHANGE = "exchange"
    BODY = "body"
    EVENT = "event"
    SESSION = "session"
    ARRIVAL = "arrival"
    GAP = "gap"
    STANDING = "standing"
    CLOSING = "closing"


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One rule.

    Attributes:
        scope: What it looks at.
        from_schema: Whether its evidence is a schema or a type, so that an upstream which accepts what it objects to
            proves it wrong.
        weighs: Whether it decides which of the two orders of a session's events is kept.
        on: Event types it looks at; empty for all.
        member: Member of an event without which there is nothing to look at; empty where it looks at more.
        after_end: Whether it looks at what follows ``sessionEnd``, and is dropped.
        extent: Of a rule whose finding has an extent: asked of each event behind the place that was told first, until
            it says no. Gets what went before, and the event.
    """

    id: str
    severity: Severity
    scope: Scope
    check: Callable[..., Any]
    from_schema: bool = False
    weighs: bool = False
    on: frozenset[str] = frozenset()
    member: str = ""
    after_end: bool = False
    extent: Extent | None = None

    @cached_property
    def summary(self) -> str:
        """What is wrong where it fires, a line."""
        return self._paragraphs[0]

    @cached_property
    def page(self) -> dict[str, str]:
        """The sections of its page by their names, as Markdown."""
        sections: dict[str, str] = {}
        name = ""
        for paragraph in self._paragraphs[1:]:
            if match := _SECTION.match(paragraph):
                name = match[1]
                sections[name] = paragraph[match.end() :]
            else:
                sections[name] = f"{sections[name]}\n\n{paragraph}"
        return sections

    @cached_property
    def _paragraphs(self) -> list[str]:
        text = inspect.getdoc(self.check) or ""
        return [
            paragraph if paragraph.startswith("    ") else " ".join(paragraph.split())
            for paragraph in text.split("\n\n")
        ]


RULES: dict[str, Rule] = {}
"""All rules by id, once the modules of this package are loaded; `proxy_addon.core.rules` has them in order."""


def _adder[F: Callable[..., Any]](id: str, severity: Severity, scope: Scope, **rest: Any) -> Callable[[F], F]:
    def add(check: F) -> F:
        assert id not in RULES, f"two rules are called {id}"
        RULES[id] = Rule(id=id, severity=severity, scope=scope, check=check, **rest)
        return check

    return add


def exchange_rule(id: str, severity: Severity) -> Callable[[Check], Check]:
    """Make a function ``(exchange) -> Iterable[Problem]`` a rule."""
    return _adder(id, severity, Scope.EXCHANGE)


def body_rule(id: str, severity: Severity) -> Callable[[Check], Check]:
    """Make a function ``(body: BodyView) -> Iterable[Problem]`` a rule."""
    return _adder(id, severity, Scope.BODY)


def event_rule(
    id: str, severity: Severity, *, from_schema: bool = False, member: str = "", on: str = ""
) -> Callable[[Check], Check]:
    """Make a function ``(event: EventView) -> Iterable[Problem]`` a rule.

    Args:
        from_schema: Whether its evidence is a schema or a type.
        member: The member of the event without which there is nothing to look at.
        on: Event types it looks at, separated by blanks; empty for all.
    """
    return _adder(id, severity, Scope.EVENT, from_schema=from_schema, member=member, on=frozenset(on.split()))


def session_rule[C: SessionCheck](
    id: str,
    severity: Severity,
    *,
    on: str = "",
    weighs: bool = False,
    after_end: bool = False,
    extent: Extent | None = None,
) -> Callable[[C], C]:
    """Make a function ``(before: Playback, event: SessionEvent) -> str | Withdrawn | None`` a rule.

    Args:
        on: Event types it looks at, separated by blanks.
        after_end: Whether it looks at what follows ``sessionEnd``. Nothing else does: the state machine stands still.
        extent: Whether what was found goes on at an event.
    """
    types = frozenset(on.split())
    return _adder(id, severity, Scope.SESSION, weighs=weighs, on=types, after_end=after_end, extent=extent)


def arrival_rule[C: Callable[[Any, Any], str | None]](id: str, severity: Severity) -> Callable[[C], C]:
    """Make a function ``(before: Arrivals, event: SessionEvent) -> str | None`` a rule."""
    return _adder(id, severity, Scope.ARRIVAL)


def gap_rule[C: Callable[[Any, Any], str | None]](id: str, severity: Severity) -> Callable[[C], C]:
    """Make a function ``(before: Silence, event: SessionEvent) -> str | None`` a rule.

    What it finds is a silence, told at the event that ends it.
    """
    return _adder(id, severity, Scope.GAP, extent=_is_over)


def _is_over(_before: Any, _event: Any) -> bool:
    return False


def standing_rule[C: Callable[[Any], str | None]](id: str, severity: Severity) -> Callable[[C], C]:
    """Make a function ``(now: Playback) -> str | None``, asked of a session as far as it has got, a rule."""
    return _adder(id, severity, Scope.STANDING)


def closing_rule[C: Callable[[Any], str | None]](
    id: str, severity: Severity, *, weighs: bool = False
) -> Callable[[C], C]:
    """Make a function ``(end: Playback) -> str | None``, asked of a session that is over, a rule."""
    return _adder(id, severity, Scope.CLOSING, weighs=weighs)
