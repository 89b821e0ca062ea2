"""Everything that the page of a session draws, worked out in advance: the browser judges nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from proxy_addon.core.audits.metrics import Metrics
from proxy_addon.core.audits.ordering import Order
from proxy_addon.core.audits.watching import MetricsWatch
from proxy_addon.core.books import Loss
from proxy_addon.core.exchange import Exchange
from proxy_addon.core.findings import Finding, Judgement, Severity, Verdict
from proxy_addon.core.judging.policy import Policy
from proxy_addon.core.sessions import AsOf, Session
from proxy_addon.core.timelines.marks import Mark, Silence, Skew, marks_of, numbers_of, placed, silences_of, skew_of
from proxy_addon.core.timelines.spans import Place, Spans, spans_of
from proxy_addon.core.timelines.uncounted import uncounted
from proxy_addon.core.timelines.verdicts import FOLLOWING, Glance, glance

MOST_MARKED = 500
"""How many places of one finding a page marks on the timeline."""
_WORST_FIRST = (Severity.ERROR, Severity.WARNING, Severity.INFO)


def marking(policy: Policy) -> Policy:
    """Return a policy whose findings keep as many places as a page marks."""
    return replace(policy, most_places=MOST_MARKED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A finding as the page tells it.

    Attributes:
        below: Position of the finding that it follows from, among those told; None if it stands by itself.
    """

    finding: Finding
    below: int | None = None


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A session, ready to be drawn.

    Attributes:
        exchanges: All of it, in the order of arrival; ``seq`` is the position in it, from 1.
        marks: Its events, in the order of arrival.
        findings: The worst first.
        order: Its events as the back end takes them.
        uncounted: Why reports do not count an event as it was sent, as a sentence.
        gaps: What was lost of it.
    """

    session: Session
    as_of: AsOf
    exchanges: Sequence[Exchange]
    marks: Sequence[Mark]
    spans: Spans
    silences: Sequence[Silence]
    skew: Skew
    findings: Sequence[Told]
    glance: Glance
    metrics: Metrics
    order: Order
    judgement: Judgement
    is_batch: bool
    uncounted: Mapping[Place, str]
    gaps: Sequence[Loss] = ()

    @property
    def begin_ms(self) -> int:
        """Where its axis begins, in Unix milliseconds by the device's clock."""
        return self.marks[0].device_ms if self.marks else round(self.session.started_at.timestamp() * 1000)

    @cached_property
    def numbers(self) -> dict[Place, int]:
        """What events are called, by their places: the position of their exchange, or their own in downloaded playback."""
        return numbers_of(self.marks)


def picture_of(  # noqa: PLR0917  # these are what a session is
    session: Session,
    exchanges: Iterable[Exchange],
    verdicts: Mapping[str, Verdict],
    judgement: Judgement,
    as_of: AsOf,
    gaps: Sequence[Loss] = (),
) -> Picture:
    """Return a session, ready to be drawn.

    Args:
        exchanges: In the order of arrival.
        verdicts: The findings of exchanges, by exchange id.
        judgement: Of the session as a whole; what it says of exchanges is not used.
        gaps: What was lost of it, by time of arrival.
    """
    counting = MetricsWatch()
    kept = list(counting.watching(exchanges))
    sent = [mark for seq, exchange in enumerate(kept, 1) for mark in marks_of(exchange, seq)]
    marks = placed(sent, is_batch=counting.is_batch)
    metrics, order = counting.metrics(is_over=session.is_over(as_of)), counting.order()
    found = [
        replace(finding, seq=finding.seq or seq)
        for seq, exchange in enumerate(kept, 1)
        for finding in verdicts.get(exchange.id) or ()
    ]
    told = _told([*judgement.of_session, *found])
    leading = [each.finding for each in told if each.below is None]
    spans = spans_of(
        order,
        {mark.place: mark.name for mark in marks},
        {mark.place: mark.device_ms for mark in marks if mark.off_ms},
    )
    return Picture(
        session=session,
        as_of=as_of,
        exchanges=kept,
        marks=marks,
        spans=spans,
        silences=[] if counting.is_batch else list(silences_of(marks)),
        skew=skew_of(marks),
        findings=told,
        glance=glance(session, marks, leading, metrics, as_of),
        metrics=metrics,
        order=order,
        judgement=judgement,
        is_batch=counting.is_batch,
        uncounted=uncounted(marks, order, spans),
        gaps=gaps,
    )


def _told(findings: Iterable[Finding]) -> list[Told]:
    """Return findings, the worst first and then by place; a refusal by upstream stands below the finding that explains it."""
    last = 1 << 62
    in_order = sorted(
        findings,
        key=lambda each: (_WORST_FIRST.index(each.severity), each.rule in FOLLOWING, each.seq or last),
    )
    explained: dict[int, int] = {}
    told = []
    for position, finding in enumerate(in_order):
        below = explained.get(finding.seq or 0) if finding.rule in FOLLOWING else None
        if finding.rule not in FOLLOWING and finding.pointer and finding.seq is not None:
            explained.setdefault(finding.seq, position)
        told.append(Told(finding=finding, below=below))
    return told
