"""The result of a replay: one step for each recorded exchange, and totals that always add up.

``recorded = sent + skipped`` and ``sent = same + different + failed`` hold for every session and run, even after an
interruption, because totals are counted from the steps and never stored.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

INTERRUPTED = "interrupted"
"""The reason of steps that were cut short or not sent because of an interruption."""
BROKEN_OFF = "the run was aborted"
UNREACHED = "no connection to the target"
NOT_BEGUN = "not begun"
"""The reason of sessions that a run has not begun."""
NOT_ENDED = "it began but has not ended: the run is still going on, or was killed"
KILLED = "the run was killed around the time this was due: it is not known whether it reached the target"
AFTER_KILLED = "the run was killed before this was sent, and a session cannot be continued in the middle"
_FORMERLY = (
    "it has begun and not ended: the run is going on, or was killed",
    "the run was killed about when this was due: whether it reached the target is not known",
    "the run was killed before this was sent, and a session cannot be entered twice",
)
"""The same reasons in the words of earlier versions, as stores have them."""
CUT = frozenset({INTERRUPTED, NOT_BEGUN, NOT_ENDED, KILLED, AFTER_KILLED, *_FORMERLY})
"""Reasons that mean that something was not sent because the run ended before or has not come to it; reasons that begin
with one of `CUT_BEGINNINGS` mean the same."""
CUT_BEGINNINGS = (BROKEN_OFF, "the run broke off", UNREACHED)


def is_cut(reason: str | None) -> bool:
    """Whether a reason means that the run ended before or has not come to it."""
    return reason is not None and (reason in CUT or reason.startswith(CUT_BEGINNINGS))


class StepOutcome(StrEnum):
    """The outcome of a step; also the verdict on a session or a run, which is the worst outcome of its steps."""

    SAME = "same"
    """Sent, and answered as recorded."""
    DIFFERENT = "different"
    """Sent, and answered differently."""
    FAILED = "failed"
    """Sent, or tried to send, without getting an answer."""
    SKIPPED = "skipped"
    """Not sent."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One place in which two compared things differ; None if one side has nothing there.

    In a replay, ``a`` is from the recorded answer or request and ``b`` from the new one. Between two sessions, ``a`` is
    from the first and ``b`` from the second.
    """

    where: str
    a: str | int | None
    b: str | int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """What was sent in place of a recorded request.

    Attributes:
        body_sha256: Hash of the body as sent, with shifted times, in hexadecimal digits.
        places: How many places each change changed, by its number in the run; changes without effect are left out.
        differences: What the changes did; ``a`` is the recorded value. Shifted times and the new ID are not included.
    """

    body_sha256: str
    places: Mapping[int, int] = field(default_factory=dict)
    differences: tuple[Difference, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Step:
    """The result of replaying one recorded exchange.

    Attributes:
        seq: Its position in the recorded session, from 1.
        sent: What was sent; None if it was skipped, or in runs of versions that did not store it.
        reason: Why it was skipped or failed, or a remark; None for nothing.
        sent_at: When sending began; None if it was skipped.
        drift_ms: How much later than due it was sent.
        latency_ms: Time from the beginning of sending to the last byte of the answer.
    """

    seq: int
    event_type: str | None
    outcome: StepOutcome
    reason: str | None = None
    recorded_status: int | None = None
    status: int | None = None
    sent_at: datetime | None = None
    drift_ms: float | None = None
    latency_ms: float | None = None
    differences: tuple[Difference, ...] = ()
    sent: Sent | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRun:
    """The result of replaying one session.

    Attributes:
        source: Our id of the recorded session.
        session_id: Its recorded back-end ID.
        new_session_id: The ID that the target gave; None if it gave none.
        reason: Why the session, or the rest of it, was not sent; None if all of it was.
    """

    source: str
    session_id: str | None
    new_session_id: str | None
    steps: tuple[Step, ...]
    reason: str | None = None

    @property
    def verdict(self) -> StepOutcome:
        """The worst outcome of its steps; skipped at best if nothing was sent or the run ended too early."""
        return _whole(count(self.steps).verdict, is_cut=is_cut(self.reason))


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Numbers of steps."""

    recorded: int
    sent: int
    same: int
    different: int
    failed: int
    skipped: int

    @property
    def verdict(self) -> StepOutcome:
        """The worst outcome: failed, then different, then same; skipped if nothing was sent."""
        if self.failed:
            return StepOutcome.FAILED
        if self.different:
            return StepOutcome.DIFFERENT
        return StepOutcome.SAME if self.same else StepOutcome.SKIPPED


@dataclass(frozen=True, slots=True, kw_only=True)
class Percentiles:
    """Percentiles of measured milliseconds; None if nothing was measured."""

    p50: float | None = None
    p95: float | None = None
    max: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayRun:
    """One replay of one or more sessions, without their results.

    Attributes:
        speed: A number, or ``max``.
        timestamps: ``now``, ``keep`` or ``shift:SECONDS``.
        finished_at: None while it runs, or if it was killed.
        exit_code: The command's exit code; None while it runs, if it was killed, or if it was not stored.
    """

    id: str
    target: str
    started_at: datetime
    finished_at: datetime | None
    speed: str
    timestamps: str
    exit_code: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """Options that are stored with a run, so that `replay --resume` continues it in the same way.

    Attributes:
        spread_equal_ts: Whether events with the same ``ts`` are moved apart.
        ignore: What may differ between answers, as rules of `comparing.Noise`.
        safe: Whether the safe profile is on; None to let the target decide.
        changes: Changes of requests, as `changing.checked` returns them.
        key: Key of pseudonyms in hexadecimal digits; empty if an older version began the run.
        members: Names of members that the settings file calls personal.
        headers: Names of headers that it calls personal.
    """

    spread_equal_ts: bool = False
    ignore: tuple[str, ...] = ()
    safe: bool | None = None
    changes: tuple[Mapping[str, Any], ...] = ()
    key: str = ""
    members: tuple[str, ...] = ()
    headers: tuple[str, ...] = ()


PROFILE = 0
"""The number of the safe profile among the changes of a run; changes that the user asked for count from 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunChange:
    """One change that a run makes to requests.

    Attributes:
        number: Its number in the run; `PROFILE` for the safe profile.
        option: The option that asked for it: ``--set``, ``--changes FILE``, ``--safe``.
        change: The change as `changing.checked` returns it; empty for the safe profile.
        places: How many places of sent requests it changed; None if that was not stored.
    """

    number: int
    option: str
    change: Mapping[str, Any]
    places: int | None = 0


def run_changes(changes: Iterable[Mapping[str, Any]], *, is_safe: bool = False) -> Iterator[RunChange]:
    """Yield the changes of a run that has not sent anything yet.

    Args:
        changes: As in `RunOptions.changes`.
        is_safe: Whether the safe profile comes first.
    """
    if is_safe:
        yield RunChange(number=PROFILE, option="--safe", change={})
    for number, change in enumerate(changes, PROFILE + 1):
        made = {name: value for name, value in change.items() if name != "option"}
        yield RunChange(number=number, option=change.get("option", f"--{change['do']}"), change=made)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsent:
    """Steps of a session that were not sent.

    Attributes:
        source: Our id of the session.
        first: ``seq`` of the first of these steps; 0 if there are none, because the session was deleted.
        last: ``seq`` of the last.
        number: How many there are.
        reason: Why they were not sent; None for reasons that come from the end of the run.
    """

    source: str
    first: int
    last: int
    number: int
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """A run with its totals.

    Attributes:
        sessions: How many sessions it has.
        cut: How many of them were not sent completely because the run ended before or is still running.
        changes: The changes of requests, in the order in which they are applied.
    """

    run: ReplayRun
    totals: Totals
    drift_ms: Percentiles
    latency_ms: Percentiles
    sessions: int = 0
    cut: int = 0
    changes: tuple[RunChange, ...] = ()

    @property
    def verdict(self) -> StepOutcome:
        """The worst outcome of its steps; ``skipped`` at best if the run ended with something left to send."""
        return _whole(self.totals.verdict, is_cut=self.cut > 0)


def _whole(verdict: StepOutcome, *, is_cut: bool) -> StepOutcome:
    return StepOutcome.SKIPPED if is_cut and verdict is StepOutcome.SAME else verdict


def count(steps: Iterable[Step]) -> Totals:
    """Count steps by outcome."""
    outcomes = [step.outcome for step in steps]
    skipped = outcomes.count(StepOutcome.SKIPPED)
    return Totals(
        recorded=len(outcomes),
        sent=len(outcomes) - skipped,
        same=outcomes.count(StepOutcome.SAME),
        different=outcomes.count(StepOutcome.DIFFERENT),
        failed=outcomes.count(StepOutcome.FAILED),
        skipped=skipped,
    )


def percentiles(values_ms: Iterable[float | None]) -> Percentiles:
    """Return the median, the 95th percentile (nearest rank) and the maximum of the values other than None."""
    values = sorted(value for value in values_ms if value is not None)
    if not values:
        return Percentiles()

    def rank(share: float) -> float:
        return values[max(0, math.ceil(share * len(values)) - 1)]

    return Percentiles(p50=rank(0.50), p95=rank(0.95), max=values[-1])
