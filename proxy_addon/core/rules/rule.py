"""What a rule is: an id, a severity, a page, and a check.

A rule is one function. Its docstring is its page: the first line says what is wrong, then six paragraphs follow, each
of which begins with its name (`SECTIONS`). The decorator depends on what the rule looks at:

* `exchange_rule`: one request and its answer, except the contents of the body;
* `body_rule`: a request's body as a whole;
* `event_rule`: one event, the body of a live request or an element of a batch;
* `session_rule`: each event of a session in the order of `ts`, with the state before it;
* `arrival_rule`: each event of a session in the order of arrival;
* `gap_rule`: each event of a session in the order of the clock that measures gaps;
* `standing_rule`: a session at any moment;
* `closing_rule`: a session that is over.

A check of an exchange, body or event yields a `Problem` for each place. A check of a session returns a message or None,
because the place is the event at hand.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from functools import cached_property
from typing import Any, NamedTuple

from proxy_addon.core.findings import Severity

SECTIONS = ("What it checks", "Why it matters", "Source", "Example", "How to fix", "Known limits")
"""The sections of every page, in this order."""
_SECTION = re.compile(rf"^({'|'.join(SECTIONS)}): ")

_NOT_DESPITE_HOLES = (
    "The rule is not applied to a session of which requests or bodies are not known, because they may explain what "
    "the rule would report."
)

ERROR, WARNING, INFO = Severity.ERROR, Severity.WARNING, Severity.INFO


class Problem(NamedTuple):
    """One place where a rule does not hold."""

    message: str
    pointer: str | None = None
    suggest: Callable[[], str] | None = None
    """Returns the end of the message. It is called only for reported problems, because looking for a similar name is
    expensive."""


TOLD = 20
"""How many places of one rule in one body get a finding of their own."""

Check = Callable[[Any], Iterable[Problem]]
"""The check of a rule for an exchange, a body or an event; `core.rules.body_views` defines its arguments."""


class Withdrawn(NamedTuple):
    """Withdraws what a rule reported of some events: the event at hand shows that they were correct."""

    events: tuple[Any, ...]


SessionCheck = Callable[[Any, Any], str | Withdrawn | None]
"""The check of a rule for a session; it gets the state before an event, and the event."""
Extent = Callable[[Any, Any], bool | None]
"""Whether what a rule has found continues at an event; None if the event does not tell."""


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


class When(IntEnum):
    """Moments. A rule that can find something only then is not asked at others, which saves most of the questions.

    Of an event in the order of `ts`, see `Playback.moments`; of one in the order of arrival, `Arrivals.moments`; of a silence,
    `Silence.moments`; of an exchange, `core.judging.exchanges`. Each is a bit, so that several can be told as one number.
    """

    ENDED = 1
    """After ``sessionEnd``."""
    EARLY = 2
    """The event is older than its ``sessionStart``."""
    PLAY_DUE = 4
    """Content may have been interrupted, and no ``play`` has come since then."""
    IN_BREAK = 8
    """An ad break is open."""
    PAUSED = 16
    STANDING = 32
    """The playhead is where it was at the last event that had one."""
    COUNTED = 64
    """The event has a number of dropped frames, or a time to start."""
    FIRST = 128
    """No event has arrived yet."""
    NOT_NEWEST = 256
    """The ``ts`` is not above all others so far."""
    SILENT = 512
    """More time has passed since the last event than the limits for gaps allow."""
    UNROUTED = 1024
    """The request is none of the protocol's four."""
    NOT_ACCEPTED = 2048
    """The answer is not 2xx, or there is none."""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One rule.

    Attributes:
        scope: What it looks at.
        from_schema: Whether it relies on a schema or a JSON type, so that an upstream that accepts the request proves
            it wrong.
        weighs: Whether its findings decide which of the two orders of a session's events is used.
        on: Event types it looks at; empty for all.
        member: The only member of the event that it looks at; the rule is skipped if the event lacks it. Empty if it
            looks at more.
        after_end: Whether it also looks at events after ``sessionEnd``, which the back end drops.
        extent: For a rule whose finding has an extent: called for each event after the first place, until it returns
            False. It gets the state before the event, and the event.
        despite_holes: Whether its findings are certain even if requests or bodies of the session are not known. Other
            rules are not applied to such a session, because what is not known may explain what they would report.
        when: The only moments at which it can find something; None for all.
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
    despite_holes: bool = True
    when: When | None = None

    def is_due(self, moments: int) -> bool:
        """Whether it has to be asked at these moments."""
        return self.when is None or bool(self.when & moments)

    @cached_property
    def summary(self) -> str:
        """One line that says what is wrong."""
        return self._paragraphs[0]

    @cached_property
    def page(self) -> dict[str, str]:
        """The sections of its page, as Markdown, by name."""
        sections: dict[str, str] = {}
        name = ""
        for paragraph in self._paragraphs[1:]:
            if match := _SECTION.match(paragraph):
                name = match[1]
                sections[name] = paragraph[match.end() :]
            else:
                sections[name] = f"{sections[name]}\n\n{paragraph}"
        if not self.despite_holes:
            sections[SECTIONS[-1]] += f" {_NOT_DESPITE_HOLES}"
        return sections

    @cached_property
    def _paragraphs(self) -> list[str]:
        text = inspect.getdoc(self.check) or ""
        return [
            paragraph if paragraph.startswith("    ") else " ".join(paragraph.split())
            for paragraph in text.split("\n\n")
        ]


RULES: dict[str, Rule] = {}
"""All rules by id; complete, and in order, once `proxy_addon.core.rules` is imported."""


def _adder[F: Callable[..., Any]](id: str, severity: Severity, scope: Scope, **rest: Any) -> Callable[[F], F]:
    def add(check: F) -> F:
        assert id not in RULES, f"two rules are called {id}"
        RULES[id] = Rule(id=id, severity=severity, scope=scope, check=check, **rest)
        return check

    return add


def exchange_rule(id: str, severity: Severity, *, when: When | None = None) -> Callable[[Check], Check]:
    """Make a function ``(exchange) -> Iterable[Problem]`` a rule.

    Args:
        when: The only moments at which it can find something.
    """
    return _adder(id, severity, Scope.EXCHANGE, when=when)


def body_rule(id: str, severity: Severity) -> Callable[[Check], Check]:
    """Make a function ``(body: BodyView) -> Iterable[Problem]`` a rule."""
    return _adder(id, severity, Scope.BODY)


def event_rule(
    id: str, severity: Severity, *, from_schema: bool = False, member: str = "", on: str = ""
) -> Callable[[Check], Check]:
    """Make a function ``(event: EventView) -> Iterable[Problem]`` a rule.

    Args:
        from_schema: Whether it relies on a schema or a JSON type.
        member: The only member of the event that it looks at; the rule is skipped if the event lacks it.
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
    despite_holes: bool = False,
    when: When | None = None,
) -> Callable[[C], C]:
    """Make a function ``(before: Playback, event: SessionEvent) -> str | Withdrawn | None`` a rule.

    Args:
        on: Event types it looks at, separated by blanks.
        after_end: Whether it also looks at events after ``sessionEnd``. They do not change the state machine.
        extent: Returns whether what was found continues at an event.
        despite_holes: Whether what it finds is certain whatever else was sent.
        when: The only moments at which it can find something.
    """
    return _adder(
        id,
        severity,
        Scope.SESSION,
        weighs=weighs,
        on=frozenset(on.split()),
        after_end=after_end,
        extent=extent,
        despite_holes=despite_holes,
        when=when,
    )


def arrival_rule[C: Callable[[Any, Any], str | None]](
    id: str, severity: Severity, *, despite_holes: bool = False, when: When | None = None
) -> Callable[[C], C]:
    """Make a function ``(before: Arrivals, event: SessionEvent) -> str | None`` a rule.

    Args:
        despite_holes: Whether what it finds is certain whatever else was sent.
        when: The only moments at which it can find something.
    """
    return _adder(id, severity, Scope.ARRIVAL, despite_holes=despite_holes, when=when)


def gap_rule[C: Callable[[Any, Any], str | None]](id: str, severity: Severity) -> Callable[[C], C]:
    """Make a function ``(before: Silence, event: SessionEvent) -> str | None`` a rule.

    It finds a silence, and reports it at the event that ends it.
    """
    return _adder(id, severity, Scope.GAP, extent=_is_over, despite_holes=False, when=When.SILENT)


def _is_over(_before: Any, _event: Any) -> bool:
    return False


def standing_rule[C: Callable[[Any], str | None]](id: str, severity: Severity) -> Callable[[C], C]:
    """Make a function ``(now: Playback) -> str | None``, called for a session at any moment, a rule."""
    return _adder(id, severity, Scope.STANDING, despite_holes=False)


def closing_rule[C: Callable[[Any], str | None]](
    id: str, severity: Severity, *, weighs: bool = False
) -> Callable[[C], C]:
    """Make a function ``(end: Playback) -> str | None``, called for a session that is over, a rule."""
    return _adder(id, severity, Scope.CLOSING, weighs=weighs, despite_holes=False)
