"""Work out the result of an audit from the totals of its groups."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta

from proxy_addon.core.audits.auditing import OF_START, By
from proxy_addon.core.audits.baselines import compared
from proxy_addon.core.audits.changes import Changes, Comparison
from proxy_addon.core.audits.coverage import UNKNOWN_TYPE, Coverage, Key, Section
from proxy_addon.core.audits.hiding import RAW, Hide
from proxy_addon.core.audits.losses import Loss, Losses
from proxy_addon.core.audits.results import (
    OTHERS_SHOWN,
    UNNAMED_SHOWN,
    UNSEEN_SHOWN,
    Audit,
    Distribution,
    FileNote,
    Funnel,
    Group,
    KeyAbsent,
    KeySeen,
    LossSeen,
    MetricSum,
    PlanBroken,
    RhythmSeen,
    RuleBroken,
    Value,
)
from proxy_addon.core.audits.rhythm import Rhythm
from proxy_addon.core.audits.sketches import Concerned, Histogram, Sample
from proxy_addon.core.audits.totals import (
    SCALE,
    SUMMED,
    Apart,
    Broken,
    ByGroup,
    GroupName,
    GroupTotals,
    Sums,
    Totals,
    all_of,
    in_order,
)
from proxy_addon.core.audits.verdicts import Found, verdict_of
from proxy_addon.core.findings import Severity
from proxy_addon.core.jsonforms import iso
from proxy_addon.core.protocol import EVENTS, PARAMS, QUALITY
from proxy_addon.core.rules.planned import PLANNED

EXAMPLES = 5
"""How many values of a key are shown."""
_LIKE_OURS = re.compile(r'"*(?:\(.*\)|all|all sessions|)"*', re.DOTALL)
"""Names that groups have from us, such as ``(not sent)``: a device that sends one stands in quotation marks."""
_QUANTILES = 0.05, 0.5, 0.95
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


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
    notes: tuple[FileNote, ...] = (),
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
    together, names = all_of(groups), [] if by is None else in_order(groups)
    everything = together.all()
    comparison = None
    changes: dict[GroupName, Changes] = {}
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
        both = [name for name in names if name in baseline[1] and name is not Apart.OTHERS]
        changes = dict(zip(both, comparison.groups, strict=True))
    there = everything.plan_groups if everything.sessions else range(len(plan_groups))
    unused = tuple(dict.fromkeys(told for place, told in enumerate(plan_groups) if place not in there))
    return Audit(
        made_at=iso(now),
        source=source,
        filters=filters,
        by=None if by is None else by.value,
        by_param=None if by is None else OF_START.get(by),
        plan=plan,
        plan_unused=unused,
        counts=_severities(everything.findings.values()),
        all=_group(
            together,
            hide,
            comparison=comparison,
            changes=None if comparison is None else comparison.all,
            unused=unused,
        ),
        groups=tuple(
            _group(groups[name], hide, by, name, comparison=comparison, changes=changes.get(name)) for name in names
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
    of_group: GroupTotals,
    hide: Hide,
    by: By | None = None,
    name: GroupName = None,
    *,
    comparison: Comparison | None,
    changes: Changes | None,
    unused: Sequence[str] = (),
) -> Group:
    totals, holed = of_group.all(), of_group.holed.sessions
    coverage, findings, losses = totals.coverage, _findings(totals), tuple(_losses(totals, holed))
    return Group(
        name=_name(by, name, hide),
        sessions=totals.sessions,
        exchanges=totals.exchanges,
        events=totals.events,
        with_holes=holed,
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
        rhythm=_rhythm(totals.rhythm, holed),
        losses=losses,
        funnel=_funnel(totals.losses),
        metrics=tuple(_metrics(totals.metrics)),
        plan=_plan(totals, hide),
        plan_is_complete=totals.plan.has_all,
        verdict=verdict_of(
            totals.sessions,
            [Found(broken.rule, broken.sessions, broken.severity) for broken in findings],
            [Found(loss.loss, loss.sessions, time_share=loss.time_share or 0) for loss in losses],
            comparison=comparison,
            changes=changes,
            unused=unused,
            with_holes=holed,
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


def _name(by: By | None, name: GroupName, hide: Hide) -> str | None:
    if by is None:
        return None
    match name:
        case None:
            return UNNAMED_SHOWN if by is By.RECORDING else None
        case Apart.UNSEEN:
            return UNSEEN_SHOWN
        case Apart.OTHERS:
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
    p5, p50, p95 = map(histogram.quantile, _QUANTILES)
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


def _rhythm(rhythm: Rhythm, left_out: int) -> RhythmSeen:
    return RhythmSeen(
        left_out=left_out,
        ping_gaps_ms={state: _distribution(gaps) for state, gaps in sorted(rhythm.gaps.items())},
        playhead_speed=_distribution(rhythm.speed),
        clock_skew_ms=_distribution(rhythm.skew),
        latency_ms=_distribution(rhythm.latency),
        answers_over_5_s=rhythm.slow,
        batch_events=_distribution(rhythm.batches),
    )


def _losses(totals: Totals, holed: int) -> Iterator[LossSeen]:
    losses = totals.losses
    counted_ms = totals.metrics.totals.get("content_time_spent_s", 0) * 1_000 // SCALE
    content_ms = counted_ms + sum(losses.time_ms.values())
    for loss in Loss:
        concerned = losses.sessions.get(loss, Concerned())
        lost_ms = losses.time_ms.get(loss)
        left_out = 0 if loss.despite_holes else holed
        yield LossSeen(
            loss=loss.value,
            sessions=concerned.sessions,
            left_out=left_out,
            share=_share(concerned.sessions, totals.sessions - left_out),
            times=concerned.times,
            time_s=None if lost_ms is None else lost_ms / 1_000,
            time_share=None if lost_ms is None else _share(lost_ms, content_ms),
            look_at=tuple(concerned.named),
        )


def _funnel(losses: Losses) -> Funnel:
    sent = losses.sent
    return Funnel(
        sent=sent.number,
        answered=sent.answered,
        accepted=sent.accepted,
        may_have_arrived=sent.may_have_arrived,
        not_arrived=sent.number - sent.answered - sent.may_have_arrived,
        dropped=sent.accepted + sent.may_have_arrived - sent.counted,
        counted=sent.counted,
    )


def _metrics(sums: Sums) -> Iterator[MetricSum]:
    for name in SUMMED:
        total, sessions = sums.totals.get(name, 0), sums.sessions(name)
        per_session = round(total / SCALE / sessions, 4) if sessions else None
        yield MetricSum(
            metric=name, total=_number(total), sessions=sessions, left_out=sums.left_out, per_session=per_session
        )


def _number(total: int) -> float:
    return total // SCALE if total % SCALE == 0 else total / SCALE
