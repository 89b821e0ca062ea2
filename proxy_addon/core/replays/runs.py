"""What became of a replay: one step per recorded exchange, with a ledger that balances.

``recorded = sent + skipped`` and ``sent = same + different + failed``, in every step, session and run, also after an
interruption: they are counted from the steps and nowhere kept beside them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

INTERRUPTED = "interrupted"
"""The reason of steps that an interruption cut short or kept from being sent."""
BROKEN_OFF = "the run broke off"
UNREACHED = "no connection to the target"
NOT_BEGUN = "not begun"
"""The reason of sessions that a run has not come to."""
NOT_ENDED = "it has begun and not ended: the run is going on, or was killed"
KILLED = "the run was killed about when this was due: whether it reached the target is not known"
AFTER_KILLED = "the run was killed before this was sent, and a session cannot be entered twice"


class StepOutcome(StrEnum):
    """One step's result; also the verdict on a session and on a run, which is the worst of their steps."""

    SAME = "same"
    """Sent, and answered as recorded."""
    DIFFERENT = "different"
    """Sent, and answered otherwise."""
    FAILED = "failed"
    """Sent, or tried to, and got no answer."""
    SKIPPED = "skipped"
    """Not sent."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One place in which two things that were laid side by side differ; None where a side has nothing there.

    Of a replay, ``a`` is the recorded answer and ``b`` the new one; of two sessions, they are the first and the second.
    """

    where: str
    a: str | int | None
    b: str | int | None


@dataclass(frozen=True, kw_only=True)
class Step:
    """What became of one recorded exchange.

    Attributes:
        seq: Its place in the recorded session.
        reason: Why it was skipped or failed, or what is noteworthy; None where there is nothing to say.
        sent_at: When sending began; None for skipped ones.
        drift_ms: Sending minus due time.
        latency_ms: From the beginning of sending to the last byte of the answer.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRun:
    """What became of one session.

    Attributes:
        source: Our id of the recorded session.
        session_id: Its back-end ID.
        new_session_id: The one the target gave; None where it gave none.
    """

    source: str
    session_id: str | None
    new_session_id: str | None
    steps: tuple[Step, ...]
    reason: str | None = None

    @property
    def verdict(self) -> StepOutcome:
        """The worst of its steps; skipped when nothing of it was sent."""
        return count(self.steps).verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Counted steps."""

    recorded: int
    sent: int
    same: int
    different: int
    failed: int
    skipped: int

    @property
    def verdict(self) -> StepOutcome:
        """The worst outcome: failed, then different, then same; skipped when nothing was sent."""
        if self.failed:
            return StepOutcome.FAILED
        if self.different:
            return StepOutcome.DIFFERENT
        return StepOutcome.SAME if self.same else StepOutcome.SKIPPED


@dataclass(frozen=True, slots=True, kw_only=True)
class Percentiles:
    """Of some measured milliseconds; None where nothing was measured."""

    p50: float | None = None
    p95: float | None = None
    max: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayRun:
    """One replay of one or more sessions, without them.

    Attributes:
        speed: A number, or ``max``.
        timestamps: ``now``, ``keep`` or ``shift:SECONDS``.
        finished_at: None while it runs, or when it was killed.
    """

    id: str
    target: str
    started_at: datetime
    finished_at: datetime | None
    speed: str
    timestamps: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """What belongs to a run and is kept with it, so that `replay --resume` goes on as it began.

    Attributes:
        spread_equal_ts: Whether events of one time are moved apart.
        ignore: What may differ between answers, as rules of `comparing.Noise`.
        safe: Whether the safe profile is on; None for what the target needs.
        changes: Of requests, as from `changing.checked`.
        key: What pseudonyms are made with, as hexadecimal digits; empty where an older version began the run.
    """

    spread_equal_ts: bool = False
    ignore: tuple[str, ...] = ()
    safe: bool | None = None
    changes: tuple[Mapping[str, Any], ...] = ()
    key: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """A run with what its sessions came to."""

    run: ReplayRun
    totals: Totals
    drift_ms: Percentiles
    latency_ms: Percentiles
    sessions: int = 0


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
    """Return the median, the 95th percentile (nearest rank) and the highest of the values that are there."""
    values = sorted(value for value in values_ms if value is not None)
    if not values:
        return Percentiles()

    def rank(share: float) -> float:
        return values[max(0, math.ceil(share * len(values)) - 1)]

    return Percentiles(p50=rank(0.50), p95=rank(0.95), max=values[-1])
