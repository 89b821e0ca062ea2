"""A scenario: what somebody does with a player, and what the player must then report.

A scenario is a plain value, as in a YAML file:

    title: A short pause
    about: What it is for.
    sources: [MC 12.1, pause-events.md]
    steps: [Start a film., Pause it for 30 seconds., Play on., Stop.]
    sessions:
      - name: The playback
        expect:
          - that: The pause is reported where it begins, and playing on half a minute later.
            sequence:
              - event: pauseStart
              - event: play
                after_s: {at_least: 20, at_most: 60}

docs/certify.md describes each member.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, override

from proxy_addon.core.audits.metrics import metrics_of
from proxy_addon.core.protocol import EVENTS
from proxy_addon.core.rules import RULES
from proxy_addon.core.scenarios.forms import Field, Form, Many, Misfit, Name, Object, Path, Shared, Table, Text
from proxy_addon.core.scenarios.wanted import BOUNDS, COUNT, WANTED, Bounds, Wanted


class End(StrEnum):
    """How a player ended a session."""

    COMPLETED = "completed"
    """With ``sessionComplete``, whatever came after it."""
    ENDED = "ended"
    """With ``sessionEnd``, without ``sessionComplete``."""
    UNCLOSED = "unclosed"
    """With neither."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Events of certain types, with certain values.

    Attributes:
        event: The types.
        params: Values of ``params``; keys that begin with ``media.qoe.`` are looked up in ``qoeData``.
        playhead_s: Where they stand in the content.
    """

    event: tuple[str, ...]
    params: Mapping[str, Wanted] = field(default_factory=dict)
    playhead_s: Bounds | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Step(Choice):
    """An event in a sequence.

    Attributes:
        after_s: How long after the step before, by ``ts``.
        moved_s: How far the playhead is beyond that of the step before.
        without: Types of events that do not come between the step before and this one.
    """

    after_s: Bounds | None = None
    moved_s: Bounds | None = None
    without: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Count(Choice):
    """How many events there are of a choice."""

    number: Bounds


@dataclass(frozen=True, slots=True, kw_only=True)
class After:
    """How a session follows the one before it.

    Attributes:
        same: Params of ``sessionStart`` that have the same value in both.
        different: Params that differ.
        gap_s: Time from the last event of the one before, by ``ts``.
        start_s: Time from the first event of the one before, by ``ts``.
    """

    same: tuple[str, ...] = ()
    different: tuple[str, ...] = ()
    gap_s: Bounds | None = None
    start_s: Bounds | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """One line of the checklist; exactly one of its kinds is given.

    Attributes:
        that: What holds, as a sentence.
        sequence: These events come one after the other, perhaps with others between them.
        count: How many events there are.
        each: All events of a type are so; the types and what holds of each.
        never: Types of events that do not come.
        end: How the session ended: one of these.
        metrics: What reports will count, by the ids of docs/metrics.md.
        rules: Ids of rules that find nothing, not even an info.
        after: How it follows the session before.
    """

    that: str
    sequence: tuple[Step, ...] = ()
    count: Count | None = None
    each: Choice | None = None
    never: tuple[str, ...] = ()
    end: tuple[End, ...] = ()
    metrics: Mapping[str, Wanted] = field(default_factory=dict)
    rules: tuple[str, ...] = ()
    after: After | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Playback:
    """One of the sessions that a scenario leads to.

    Attributes:
        name: What it is, such as ``The playback after the pause``.
        expect: What it must contain.
        allows: Rules whose findings belong to this scenario and do not fail it, however severe they are.
    """

    name: str
    expect: tuple[Expectation, ...]
    allows: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """What somebody does with a player, and what the player must then report.

    Attributes:
        id: Its name on the command line.
        title: A few words.
        about: What it is for.
        sources: What the expectations rest on.
        steps: What to do, in order.
        sessions: The sessions that it leads to, in order.
    """

    id: str
    title: str
    about: str
    sources: tuple[str, ...]
    steps: tuple[str, ...]
    sessions: tuple[Playback, ...]


def read(value: Any, id: str) -> Scenario:
    """Return the scenario that a plain value describes.

    Raises:
        Misfit: It does not have the form of a scenario.
    """
    return Scenario(id=id, **_SCENARIO.read(value, ()))


_EVENT = Shared("event", Name("event type", tuple(EVENTS)))
_EVENTS = Shared("events", Many(_EVENT, or_one=True))
_RULES = Shared("rules", Many(Name("rule", tuple(RULES)), or_one=True))
_VALUE = Shared("value", WANTED)
_SECONDS = Shared("seconds", BOUNDS)
_NOT_SINGLE = {"ads", "chapters", "player_states"}
_METRIC = Name(
    "metric",
    tuple(name for name in metrics_of(()).values if name not in _NOT_SINGLE),
    like=r"player_states\.[a-z0-9_.]+\.(?:set|count|time_s)",
)
_STATE_END = Name("end of a session", tuple(End))
_CHOICE = {
    "event": Field(_EVENTS, "The type of the event, or a list of types.", needed=True),
    "params": Field(Table(_VALUE), "Values of params, or of qoeData for keys that begin with media.qoe."),
    "playhead_s": Field(_SECONDS, "Where it stands in the content, in seconds."),
}
_STEP = Object(
    Step,
    {
        **_CHOICE,
        "after_s": Field(_SECONDS, "Seconds after the step before, by ts."),
        "moved_s": Field(_SECONDS, "How far the playhead is beyond that of the step before, in seconds."),
        "without": Field(_EVENTS, "Events that do not come between the step before and this one."),
    },
)
_AFTER = Object(
    After,
    {
        "same": Field(Many(Text()), "Params of sessionStart that have the same value as in the session before."),
        "different": Field(Many(Text()), "Params of sessionStart that have another value than in the session before."),
        "gap_s": Field(_SECONDS, "Seconds from the last event of the session before, by ts."),
        "start_s": Field(_SECONDS, "Seconds from the first event of the session before, by ts."),
    },
    any_of=("same", "different", "gap_s", "start_s"),
)


class _Following[T](Form[tuple[T, ...]]):
    """A list in whose first item nothing may refer to the one before.

    Args:
        referring: Returns the path in an item to what refers to the one before; None if nothing does.
    """

    def __init__(self, item: Form[T], what: str, referring: Callable[[T], Path | None]) -> None:
        self._items = Many(item)
        self._what = what
        self._referring = referring

    @override
    def read(self, value: Any, path: Path) -> tuple[T, ...]:
        items = self._items.read(value, path)
        found = self._referring(items[0])
        if found is not None:
            problem = f"{found[-1]} refers to the {self._what} before, and this is the first one"
            raise Misfit((*path, 0, *found), problem, of_key=True)
        return items

    @override
    def schema(self) -> dict[str, Any]:
        return self._items.schema()


def _of_step_before(step: Step) -> Path | None:
    return next(((key,) for key in ("after_s", "moved_s", "without") if getattr(step, key)), None)


def _of_session_before(playback: Playback) -> Path | None:
    return next((("expect", at, "after") for at, each in enumerate(playback.expect) if each.after is not None), None)


_KINDS = {
    "sequence": Field(
        _Following(_STEP, "step", _of_step_before), "These events come in this order, perhaps with others between them."
    ),
    "count": Field(
        Object(Count, {**_CHOICE, "number": Field(COUNT, "How many.", needed=True)}), "How many such events there are."
    ),
    "each": Field(
        Object(Choice, _CHOICE, any_of=("params", "playhead_s")), "All events of this type are so; there may be none."
    ),
    "never": Field(_EVENTS, "Events that do not come."),
    "end": Field(
        Many(_STATE_END, or_one=True),
        "How the player ended the session: completed, ended (sessionEnd alone), unclosed.",
    ),
    "metrics": Field(Table(_VALUE, keys=_METRIC), "What reports will count; see docs/metrics.md."),
    "rules": Field(_RULES, "Rules that find nothing, not even an info."),
    "after": Field(_AFTER, "How the session follows the one before it."),
}


def _expectation(**members: Any) -> Expectation:
    if "end" in members:
        members["end"] = tuple(End(each) for each in members["end"])
    return Expectation(**members)


_EXPECTATION = Object(
    _expectation,
    {"that": Field(Text(), "What holds, as a sentence: the line of the checklist.", needed=True), **_KINDS},
    one_of=tuple(_KINDS),
)
_PLAYBACK = Object(
    Playback,
    {
        "name": Field(Text(), "What this session is.", needed=True),
        "expect": Field(Many(_EXPECTATION), "What it must contain.", needed=True),
        "allows": Field(_RULES, "Rules whose findings belong to this scenario and do not fail it."),
    },
)
_SCENARIO: Object[dict[str, Any]] = Object(
    dict,
    {
        "title": Field(Text(), "The scenario in a few words.", needed=True),
        "about": Field(Text(), "What it is for.", needed=True),
        "sources": Field(Many(Text()), "What the expectations rest on.", needed=True),
        "steps": Field(Many(Text()), "What a person does, in order.", needed=True),
        "sessions": Field(
            _Following(_PLAYBACK, "session", _of_session_before),
            "The sessions that it leads to, in order.",
            needed=True,
        ),
    },
)

SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "A scenario of sessiontape: what somebody does with a player, and what it must then report",
    **_SCENARIO.schema(),
    "$defs": {each.name: each.form.schema() for each in (_EVENT, _EVENTS, _RULES, _VALUE, _SECONDS)},
}
"""For editors."""
