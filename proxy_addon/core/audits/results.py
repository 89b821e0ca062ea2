"""The result of an audit: what is shown, exported and compared, worked out from the totals."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any, Protocol

from proxy_addon.core.audits.auditing import OTHERS, UNSEEN, By
from proxy_addon.core.audits.baselines import compared
from proxy_addon.core.audits.changes import Changes, Comparison
from proxy_addon.core.audits.coverage import UNKNOWN_TYPE, Coverage, Key, Section
from proxy_addon.core.audits.losses import Loss, Losses
from proxy_addon.core.audits.rhythm import Rhythm
from proxy_addon.core.audits.sketches import Concerned, Histogram, Sample
from proxy_addon.core.audits.totals import SCALE, SUMMED, Broken, ByGroup, Sums, Totals
from proxy_addon.core.audits.verdicts import Found, Verdict, verdict_of
from proxy_addon.core.findings import Severity
from proxy_addon.core.jsonforms import iso
from proxy_addon.core.protocol import EVENTS, PARAMS, QUALITY
from proxy_addon.core.rules.planned import PLANNED

FORM = 1
"""Of the document: scripts of another version do not draw it."""
OTHERS_SHOWN = "(other groups)"
UNSEEN_SHOWN = "(start not recorded)"
UNNAMED_SHOWN = "(without a name)"
OURS = frozenset({OTHERS_SHOWN, UNSEEN_SHOWN, UNNAMED_SHOWN})
"""Names of groups that are ours."""
"""Sessions of recordings that have no name."""
_LIKE_OURS = re.compile(r'"*(?:\(.*\)|all|all sessions|)"*', re.DOTALL)
"""Names that groups have from us, such as ``(not sent)``: a device that sends one stands in quotation marks."""
EXAMPLES = 5
"""How many values of a key are shown."""
_QUANTILES = (("p5", 0.05), ("p50", 0.5), ("p95", 0.95))
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Hide(Protocol):
    """Returns what is shown of what devices sent."""

    def __call__(self, key: Key, kind: str, text: str, /) -> str:
        """Return what is shown of a value.

        Args:
            kind: Its JSON type.
            text: A string itself, anything else as JSON.
        """

    def name(self, text: str) -> str:
        """Return what is shown of the name of a key or of a type of event, perhaps cut off."""

    def group(self, by: By, text: str) -> str:
        """Return what is shown of the name of a group."""

    def is_personal(self, key: Key) -> bool:
        """Whether all numbers of a key are personal, because of its name."""


class Raw:
    """Shows everything as it was sent."""

    def __call__(self, _key: Key, _kind: str, text: str) -> str:
        """Return the text."""
        return text

    def name(self, text: str) -> str:
        """Return the text."""
        return text

    def group(self, _by: By, text: str) -> str:
        """Return the text."""
        return text

    def is_personal(self, _key: Key) -> bool:
        """Return that none is."""
        return False


RAW = Raw()


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
        ping_gaps_ms: From one ping to the next, by the state of playback.
        playhead_speed: Thousandths of a second of content per second.
        clock_skew_ms: From the device's clock to the arrival.
        latency_ms: From the arrival of a request to the end of its answer.
        answers_over_5_s: SDKs do not wait for these.
        batch_events: Events of a batch of downloaded playback.
    """

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
        share: Their share of all sessions, from 0 to 1.
        times: How many events are lost so; for losses of whole sessions, how many sessions.
        time_s: Playing time that reports lack because of it; None for losses without a time.
        time_share: Its share of all playing time: of what reports count, and of what they lack.
        look_at: Our ids of the sessions to look at.
    """

    loss: str
    sessions: int
    share: float
    times: int
    time_s: float | None
    time_share: float | None
    look_at: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Funnel:
    """What became of events.

    Attributes:
        sent: By devices.
        answered: By upstream, completely.
        accepted: With 2xx.
        counted: By reports; events whose answer was not seen count, too, as they may have arrived.
    """

    sent: int
    answered: int
    accepted: int
    counted: int


@dataclass(frozen=True, kw_only=True)
class MetricSum:
    """A metric of reports, summed.

    Attributes:
        metric: Its id in docs/metrics.md.
        total: The sum.
        sessions: How many sessions have a value.
        per_session: The mean of these; None without sessions.
    """

    metric: str
    total: float
    sessions: int
    per_session: float | None


@dataclass(frozen=True, kw_only=True)
class Group:
    """What was found out of one group of sessions.

    Attributes:
        name: What the sessions have in common; `UNSEEN_SHOWN` if their start, which would say it, was not recorded;
            `UNNAMED_SHOWN` if their recording has no name; None if they do not say it, and for all sessions together.
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
class Audit:
    """What devices have sent.

    Attributes:
        form: Of this document.
        made_at: When the audit was made, and by when sessions that are not finished have timed out.
        source: Where the sessions are: the store without its password, or files.
        filters: The filters in effect: name and value.
        by: What sessions of a group have in common; None without groups.
        plan: The name of the tracking plan that sessions were held against; None without one.
        plan_unused: The groups of the plan that hold for none of the sessions: what it wants them to have in common.
        counts: How many findings have a severity.
        all: All sessions together.
        groups: Those with the most sessions first, then by name.
        baseline: What changed from a baseline; None without one.
        notes: What was not read of the files, and what was found in several of them; empty for a store.
    """

    form: int = FORM
    made_at: str
    source: str
    filters: tuple[tuple[str, str], ...] = ()
    by: str | None
    plan: str | None = None
    plan_unused: tuple[str, ...] = ()
    counts: Mapping[str, int]
    all: Group
    groups: tuple[Group, ...]
    baseline: Comparison | None = None
    notes: tuple[str, ...] = ()

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


def audit_of(
    groups: ByGroup,
    *,
    by: By | None,
    now: datetime,
    source: str,
    filters: tuple[tuple[str, str], ...] = (),
    plan: str | None = None,
    plan_groups: Sequence[str] = (),
    baseline: tuple[str, ByGroup] | None = None,
    hide: Hide = RAW,
    notes: tuple[str, ...] = (),
) -> Audit:
    """Return the result of an audit.

    Args:
        groups: By group; without groups, all sessions under None.
        plan: The name of the tracking plan that the sessions were held against.
        plan_groups: What is shown of its groups, in their order.
        baseline: The sessions to compare with: what they are called, and what is known of them by group.
        hide: Replaces personal values.
        notes: What is to be said of the files that were read.
    """
    whole = Totals()
    for totals in groups.values():
        whole.merge(totals)
    in_order = sorted(groups.items(), key=lambda item: (-item[1].sessions, item[0] is None, item[0] or ""))
    comparison = None
    changes: dict[str | None, Changes] = {}
    if baseline is not None:
        comparison = compared(
            baseline[1],
            groups,
            baseline=baseline[0],
            grouped=by is not None,
            shown=hide.name,
            named=lambda name: _name(by, name, hide),
            is_public=lambda key, kind, text: not hide.is_personal(key) and hide(key, kind, text) == text,
        )
        both = [name for name, _ in in_order if by is not None and name in baseline[1] and name != OTHERS]
        changes = dict(zip(both, comparison.groups, strict=True))
    there = whole.plan_groups if whole.sessions else range(len(plan_groups))
    unused = tuple(dict.fromkeys(told for place, told in enumerate(plan_groups) if place not in there))
    return Audit(
        made_at=iso(now),
        source=source,
        filters=filters,
        by=None if by is None else by.value,
        plan=plan,
        plan_unused=unused,
        counts=_severities(whole.findings.values()),
        all=_group(
            whole,
            hide,
            comparison=comparison,
            changes=None if comparison is None else comparison.all,
            unused=unused,
        ),
        groups=()
        if by is None
        else tuple(
            _group(totals, hide, by, name, comparison=comparison, changes=changes.get(name))
            for name, totals in in_order
        ),
        baseline=comparison,
        notes=notes,
    )


def _severities(broken: Iterable[Broken]) -> dict[str, int]:
    counts = {severity.value: 0 for severity in Severity}
    for each in broken:
        for severity, number in each.severities.items():
            counts[severity] += number
    return counts


def _group(
    totals: Totals,
    hide: Hide,
    by: By | None = None,
    name: str | None = None,
    *,
    comparison: Comparison | None,
    changes: Changes | None,
    unused: Sequence[str] = (),
) -> Group:
    coverage, findings, losses = totals.coverage, _findings(totals), tuple(_losses(totals))
    return Group(
        name=_name(by, name, hide),
        sessions=totals.sessions,
        exchanges=totals.exchanges,
        events=totals.events,
        states=dict(sorted(totals.states.items())),
        clean=totals.clean,
        first=_time(totals.first_us),
        last=_time(totals.last_us),
        event_types={type_: coverage.events[type_] for type_ in (*EVENTS, UNKNOWN_TYPE) if type_ in coverage.events},
        unknown_types=tuple(
            Value(type=kind, text=hide.name(text), count=count)
            for kind, text, count in coverage.unknown.common(EXAMPLES)
        ),
        keys=tuple(_key(key, sample, coverage, hide) for key, sample in coverage.kept().items()),
        keys_are_complete=coverage.has_all,
        absent=tuple(_absent(coverage)),
        findings=findings,
        rhythm=_rhythm(totals.rhythm),
        losses=losses,
        funnel=_funnel(totals.losses),
        metrics=tuple(_metrics(totals.metrics)),
        plan=_plan(totals, hide),
        plan_is_complete=totals.plan.has_all,
        verdict=verdict_of(
            totals.sessions,
            [Found(broken.rule, broken.sessions, broken.severity) for broken in findings],
            [Found(loss.loss, loss.sessions) for loss in losses],
            comparison=comparison,
            changes=changes,
            unused=unused,
        ),
    )


def _plan(totals: Totals, hide: Hide) -> tuple[PlanBroken, ...]:
    found = [
        PlanBroken(
            rule=deviation.rule,
            event=deviation.event,
            section=deviation.section,
            key=hide.name(deviation.key),
            expected=deviation.expected,
            sessions=concerned.sessions,
            share=_share(concerned.sessions, totals.sessions),
            times=concerned.times,
            first=_time(concerned.first_us),
            last=_time(concerned.last_us),
            look_at=tuple(concerned.named),
        )
        for deviation, concerned in totals.plan.kept().items()
    ]
    order = list(PLANNED)
    return tuple(sorted(found, key=lambda each: (order.index(each.rule), -each.sessions)))


def _name(by: By | None, name: str | None, hide: Hide) -> str | None:
    if by is None:
        return None
    if name is None:
        return UNNAMED_SHOWN if by is By.RECORDING else None
    if name == UNSEEN:
        return UNSEEN_SHOWN
    if name == OTHERS:
        return OTHERS_SHOWN
    shown = hide.group(by, name)
    return f'"{shown}"' if _LIKE_OURS.fullmatch(shown) else shown


def _time(us: int | None) -> str | None:
    return None if us is None else iso(_EPOCH + timedelta(microseconds=us))


def _share(part: int, whole: int) -> float:
    return round(part / whole, 6) if whole else 0.0


def _key(key: Key, sample: Sample, coverage: Coverage, hide: Hide) -> KeySeen:
    sent, of = sample.number, coverage.events[key.event]
    bounds = sample.lowest, sample.highest
    if hide.is_personal(key) or not all(_is_shown(key, bound, hide) for bound in bounds):
        bounds = None, None
    return KeySeen(
        event=key.event,
        section=key.section.value,
        key=hide.name(key.name),
        sent=sent,
        of=of,
        share=_share(sent, of),
        types=dict(sorted(sample.kinds.items())),
        distinct=sample.distinct,
        distinct_is_exact=sample.has_all,
        examples=tuple(
            Value(type=kind, text=hide(key, kind, text), count=count) for kind, text, count in sample.common(EXAMPLES)
        ),
        lowest=bounds[0],
        highest=bounds[1],
        is_known=_is_known(key),
    )


def _is_shown(key: Key, bound: float | None, hide: Hide) -> bool:
    text = json.dumps(bound)
    return bound is None or hide(key, "number", text) == text


def _is_known(key: Key) -> bool:
    match key.section:
        case Section.PARAMS:
            return key.name in PARAMS and key.event in PARAMS[key.name].events
        case Section.QUALITY:
            return key.name in QUALITY
        case Section.METADATA:
            return True


def _absent(coverage: Coverage) -> Iterator[KeyAbsent]:
    for event in EVENTS:
        if event in coverage.events:
            for name, known in PARAMS.items():
                if event in known.events and not known.legacy and Key(event, Section.PARAMS, name) not in coverage.keys:
                    yield KeyAbsent(
                        event=event, section=Section.PARAMS.value, key=name, is_required=event in known.required
                    )
    sent = {key.name for key in coverage.keys if key.section is Section.QUALITY}
    for name, known in QUALITY.items():
        if coverage.events and name not in sent and not known.legacy:
            yield KeyAbsent(event="", section=Section.QUALITY.value, key=name, is_required=False)


def _findings(totals: Totals) -> tuple[RuleBroken, ...]:
    found = []
    for rule, broken in totals.findings.items():
        concerned = broken.concerned
        severity = next(severity for severity in Severity if broken.severities.get(severity.value))
        found.append(
            RuleBroken(
                rule=rule,
                severity=severity.value,
                severities={each.value: broken.severities.get(each.value, 0) for each in Severity},
                sessions=concerned.sessions,
                share=_share(concerned.sessions, totals.sessions),
                exchanges=broken.exchanges,
                places=concerned.times,
                first=_time(concerned.first_us),
                last=_time(concerned.last_us),
                look_at=tuple(concerned.named),
            )
        )
    return tuple(sorted(found, key=lambda each: (-Severity(each.severity).weight, -each.sessions, each.rule)))


def _distribution(histogram: Histogram) -> Distribution:
    mean = histogram.mean
    p5, p50, p95 = (histogram.quantile(share) for _, share in _QUANTILES)
    return Distribution(
        number=histogram.number,
        mean=None if mean is None else round(mean, 3),
        lowest=histogram.lowest,
        p5=p5,
        p50=p50,
        p95=p95,
        highest=histogram.highest,
        buckets=tuple(sorted(histogram.counts.items())),
    )


def _rhythm(rhythm: Rhythm) -> RhythmSeen:
    return RhythmSeen(
        ping_gaps_ms={state: _distribution(gaps) for state, gaps in sorted(rhythm.gaps.items())},
        playhead_speed=_distribution(rhythm.speed),
        clock_skew_ms=_distribution(rhythm.skew),
        latency_ms=_distribution(rhythm.latency),
        answers_over_5_s=rhythm.slow,
        batch_events=_distribution(rhythm.batches),
    )


def _losses(totals: Totals) -> Iterator[LossSeen]:
    losses = totals.losses
    counted_ms = totals.metrics.totals.get("media_time_spent_s", 0) * 1_000 // SCALE
    playing_ms = counted_ms + sum(losses.time_ms.values())
    for loss in Loss:
        concerned = losses.sessions.get(loss, Concerned())
        lost_ms = losses.time_ms.get(loss)
        yield LossSeen(
            loss=loss.value,
            sessions=concerned.sessions,
            share=_share(concerned.sessions, totals.sessions),
            times=concerned.times,
            time_s=None if lost_ms is None else lost_ms / 1_000,
            time_share=None if lost_ms is None else _share(lost_ms, playing_ms),
            look_at=tuple(concerned.named),
        )


def _funnel(losses: Losses) -> Funnel:
    sent = losses.sent
    return Funnel(sent=sent.number, answered=sent.answered, accepted=sent.accepted, counted=sent.counted)


def _metrics(sums: Sums) -> Iterator[MetricSum]:
    for name in SUMMED:
        total, sessions = sums.totals.get(name, 0), sums.sessions.get(name, 0)
        per_session = round(total / SCALE / sessions, 4) if sessions else None
        yield MetricSum(metric=name, total=_number(total), sessions=sessions, per_session=per_session)


def _number(total: int) -> float:
    return total // SCALE if total % SCALE == 0 else total / SCALE
