"""The result of an audit: what is shown, exported and compared. Its values are what docs/audits.md documents as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from typing import Any

from proxy_addon.core.audits.changes import Comparison
from proxy_addon.core.audits.verdicts import Verdict
from proxy_addon.core.findings import Severity

FORM = 1
"""Of the document: scripts of another version do not draw it."""
OTHERS_SHOWN = "(other groups)"
UNSEEN_SHOWN = "(start not recorded)"
UNNAMED_SHOWN = "(without a name)"
"""Sessions of recordings that have no name."""
OURS = frozenset({OTHERS_SHOWN, UNSEEN_SHOWN, UNNAMED_SHOWN})
"""Names of groups that are ours."""


@dataclass(frozen=True, kw_only=True)
class Value:
    """A value that was sent.

    Attributes:
        type: Its JSON type.
        text: A string itself, anything else as JSON; the first 120 characters.
        count: How often it was sent.
    """

    type: str
    text: str
    count: int


@dataclass(frozen=True, kw_only=True)
class KeySeen:
    """A key on the events of one type.

    Attributes:
        event: The type of the events; ``(unknown)`` for all types that the protocol does not know.
        section: ``params``, ``qoeData`` or ``customMetadata``.
        key: Its name.
        sent: How many of the events have it.
        of: How many events there are.
        share: ``sent`` of ``of``, from 0 to 1.
        types: How many of the values have a JSON type.
        distinct: How many distinct values there are; an estimate if ``distinct_is_exact`` is false.
        examples: The most frequent values; of those that were kept if not all were.
        lowest: The lowest number among the values; None without numbers, and if they are personal.
        highest: The highest number.
        is_known: Whether the protocol knows the key on these events; custom metadata is free.
    """

    event: str
    section: str
    key: str
    sent: int
    of: int
    share: float
    types: Mapping[str, int]
    distinct: int
    distinct_is_exact: bool
    examples: tuple[Value, ...]
    lowest: float | None
    highest: float | None
    is_known: bool


@dataclass(frozen=True, kw_only=True)
class KeyAbsent:
    """A key that the protocol knows on events that were sent, and that none of them has.

    Attributes:
        is_required: Whether the protocol requires it.
    """

    event: str
    section: str
    key: str
    is_required: bool


@dataclass(frozen=True, kw_only=True)
class RuleBroken:
    """The findings of one rule.

    Attributes:
        severity: The highest severity among its findings.
        severities: How many findings have a severity.
        sessions: How many sessions have such findings.
        share: Their share of all sessions, from 0 to 1.
        exchanges: How many exchanges have one; the first 20 places of a finding are known.
        places: How many places these findings have.
        first: When the first of these sessions began.
        last: When the last of them began.
        look_at: Our ids of the sessions to look at: those with the most places, the newest first among equals.
    """

    rule: str
    severity: str
    severities: Mapping[str, int]
    sessions: int
    share: float
    exchanges: int
    places: int
    first: str | None
    last: str | None
    look_at: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class PlanBroken:
    """One thing that sessions do otherwise than the tracking plan says.

    Attributes:
        rule: ``plan-missing``, ``plan-unexpected``, ``plan-type``, ``plan-value``, ``plan-rate`` or ``plan-occurs``.
        event: The type of the events; ``all`` for types that the protocol does not know.
        section: ``params``, ``qoeData`` or ``customMetadata``; empty if it is not about a key.
        key: The key; for a rate, the state of playback; empty if it is about whole events.
        expected: What the plan says.
        sessions: How many sessions do it.
        share: Their share of all sessions, from 0 to 1.
        times: How often they do.
        first: When the first of these sessions began.
        last: When the last of them began.
        look_at: Our ids of the sessions to look at.
    """

    rule: str
    event: str
    section: str
    key: str
    expected: str
    sessions: int
    share: float
    times: int
    first: str | None
    last: str | None
    look_at: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Distribution:
    """How numbers are distributed.

    Attributes:
        number: How many there are.
        mean: None without numbers, like all that follow.
        p5: The number below which 5 % of them are; this one, p50 and p95 are exact to 1/32.
        buckets: For charts: the number of a bucket that is nearest to 0, and how many numbers are in it.
    """

    number: int
    mean: float | None
    lowest: int | None
    p5: int | None
    p50: int | None
    p95: int | None
    highest: int | None
    buckets: tuple[tuple[int, int], ...]


@dataclass(frozen=True, kw_only=True)
class RhythmSeen:
    """The rhythm of a group; see `proxy_addon.core.audits.rhythm.Rhythm` for how it is measured.

    Attributes:
        left_out: How many sessions the first two are without, because requests or bodies of them are not known.
        ping_gaps_ms: From one ping to the next, by the state of playback.
        playhead_speed: Thousandths of a second of content per second.
        clock_skew_ms: From the device's clock to the arrival.
        latency_ms: From the arrival of a request to the end of its answer.
        answers_over_5_s: SDKs do not wait for these.
        batch_events: Events of a batch of downloaded playback.
    """

    left_out: int = 0
    ping_gaps_ms: Mapping[str, Distribution]
    playhead_speed: Distribution
    clock_skew_ms: Distribution
    latency_ms: Distribution
    answers_over_5_s: int
    batch_events: Distribution


@dataclass(frozen=True, kw_only=True)
class LossSeen:
    """One way in which something gets lost.

    Attributes:
        loss: Its name; see `proxy_addon.core.audits.losses.Loss`.
        sessions: How many sessions it concerns.
        left_out: How many sessions are left out, because what is not known of them may be why it seems to concern them.
        share: Of all others, the share that it concerns, from 0 to 1.
        times: How many events are lost so; for losses of whole sessions, how many sessions.
        time_s: Content time that reports lack because of it; None for losses without a time.
        time_share: Its share of all content time: of what reports count, and of what they lack.
        look_at: Our ids of the sessions to look at.
    """

    loss: str
    sessions: int
    left_out: int = 0
    share: float
    times: int
    time_s: float | None
    time_share: float | None
    look_at: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Funnel:
    """What became of events.

    Attributes:
        sent: By devices: ``answered`` + ``may_have_arrived`` + ``not_arrived``.
        answered: By upstream, completely.
        accepted: With 2xx.
        may_have_arrived: Without a complete answer; upstream may have taken them.
        not_arrived: The same, but upstream did not get them, or its answer began with another status.
        dropped: Of those that were accepted or may have arrived, how many reports do not count, because they came too late, or
            say nothing.
        counted: By reports: ``accepted`` + ``may_have_arrived`` - ``dropped``.
    """

    sent: int
    answered: int
    accepted: int
    may_have_arrived: int
    not_arrived: int
    dropped: int
    counted: int


@dataclass(frozen=True, kw_only=True)
class MetricSum:
    """A metric of reports, summed.

    Attributes:
        metric: Its id in docs/metrics.md.
        total: The sum.
        sessions: How many sessions have a value.
        left_out: How many sessions are left out, because nobody knows what reports count of them.
        per_session: The mean of these; None without sessions.
    """

    metric: str
    total: float
    sessions: int
    left_out: int = 0
    per_session: float | None


@dataclass(frozen=True, kw_only=True)
class Group:
    """What was found out of one group of sessions.

    Attributes:
        name: What the sessions have in common; `UNSEEN_SHOWN` if their start, which would say it, was not recorded;
            `UNNAMED_SHOWN` if their recording has no name; None if they do not say it, and for all sessions together.
        with_holes: Of how many sessions requests or bodies are not known.
        states: How many sessions are in a state.
        clean: How many sessions have no findings.
        first: When the first session began.
        last: When the last one began.
        event_types: How many events there are of a type.
        unknown_types: Types that the protocol does not know.
        keys: Which keys are sent.
        keys_are_complete: Whether all keys were kept; devices that make up names send more than are kept.
        absent: Which keys the protocol knows, and nobody sends.
        findings: By rule, the worst first: by severity, then by the number of sessions.
        losses: What gets lost, in a fixed order.
        plan: What is otherwise than planned: by rule, then those that concern the most sessions first.
        plan_is_complete: Whether all unexpected keys were kept; devices that make up keys send more than are kept.
        verdict: What it comes to; that of all sessions also says what changed in single groups.
    """

    name: str | None
    sessions: int
    exchanges: int
    events: int
    with_holes: int
    states: Mapping[str, int]
    clean: int
    first: str | None
    last: str | None
    event_types: Mapping[str, int]
    unknown_types: tuple[Value, ...]
    keys: tuple[KeySeen, ...]
    keys_are_complete: bool
    absent: tuple[KeyAbsent, ...]
    findings: tuple[RuleBroken, ...]
    rhythm: RhythmSeen
    losses: tuple[LossSeen, ...]
    funnel: Funnel
    metrics: tuple[MetricSum, ...]
    verdict: Verdict
    plan: tuple[PlanBroken, ...] = ()
    plan_is_complete: bool = True


@dataclass(frozen=True, kw_only=True)
class FileNote:
    """What is to be said of some of the files or sessions that were read.

    Attributes:
        text: What, and of how many.
        files: All of these.
        sessions: A few words for each session that it is said of, if it is not said of files.
    """

    text: str
    files: tuple[str, ...] = ()
    sessions: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Audit:
    """What devices have sent.

    Attributes:
        form: Of this document.
        made_at: When the audit was made, and by when sessions that are not finished have timed out.
        source: Where the sessions are: the store without its password, or files.
        filters: The filters in effect: name and value.
        by: What sessions of a group have in common; None without groups.
        by_param: The param of the start that says it; None if it is not a param.
        plan: The name of the tracking plan that sessions were held against; None without one.
        plan_unused: The groups of the plan that hold for none of the sessions: what it wants them to have in common.
        counts: How many findings have a severity.
        all: All sessions together.
        groups: Those with the most sessions first, then by name.
        baseline: What changed from a baseline; None without one.
        notes: What was not read of the files, what they lack, and what was found in several of them, or in the baseline, too.
    """

    form: int = FORM
    made_at: str
    source: str
    filters: tuple[tuple[str, str], ...] = ()
    by: str | None
    by_param: str | None = None
    plan: str | None = None
    plan_unused: tuple[str, ...] = ()
    counts: Mapping[str, int]
    all: Group
    groups: tuple[Group, ...]
    baseline: Comparison | None = None
    notes: tuple[FileNote, ...] = ()

    def document(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {field.name: as_json(getattr(self, field.name)) for field in fields(self)}

    def worst(self) -> Severity | None:
        """Return the highest severity of all findings; None without findings."""
        return next((severity for severity in Severity if self.counts.get(severity.value)), None)


def as_json(value: Any) -> Any:
    """Return a value of dataclasses, tuples and mappings as JSON has it."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: as_json(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {key: as_json(member) for key, member in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(item) for item in value]
    return value.value if isinstance(value, Enum) else value
