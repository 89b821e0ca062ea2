"""What became of a replay: one step per recorded exchange, with a ledger that balances.

``recorded = sent + skipped`` and ``sent = same + different + failed``, in every step, session and run, also after an
interruption: they are counted from the steps and nowhere kept beside them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
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
CUT = frozenset({INTERRUPTED, NOT_BEGUN, NOT_ENDED, KILLED, AFTER_KILLED})
"""Reasons that say that a run ended, or has not come so far, before all was sent; so do those that begin with one of
`CUT_BEGINNINGS`."""
CUT_BEGINNINGS = (BROKEN_OFF, UNREACHED)


def is_cut(reason: str | None) -> bool:
    """Whether a reason says that the run did not come so far."""
    return reason is not None and (reason in CUT or reason.startswith(CUT_BEGINNINGS))


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

    Of a replay, ``a`` is what was recorded, an answer or a request, and ``b`` the new one; of two sessions, they are the
    first and the second.
    """

    where: str
    a: str | int | None
    b: str | int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """What was sent in place of a recorded request.

    Attributes:
        body_sha256: Of the body that went out, its times included, as hexadecimal digits.
        places: In how many places each change found something, by the change's number in the run; only those that did.
        differences: What the changes came to, ``a`` being what was recorded; times and IDs are not among them.
    """

    body_sha256: str
    places: Mapping[int, int] = field(default_factory=dict)
    differences: tuple[Difference, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Step:
    """What became of one recorded exchange.

    Attributes:
        seq: Its place in the recorded session.
        sent: What was sent for it; None for skipped ones, and in runs of versions that did not keep it.
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
    sent: Sent | None = None


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
        """The worst of its steps; skipped when nothing of it was sent, or the run ended before all of it was."""
        return _whole(count(self.steps).verdict, is_cut=is_cut(self.reason))


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
        exit_code: Of the command that carried it out; None while it runs, when it was killed, or where it was not kept.
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


PROFILE = 0
"""The number of the safe profile among the changes of a run; those that were asked for one by one count from 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunChange:
    """One change of requests that a run made.

    Attributes:
        number: Its place in the run; `PROFILE` for the safe profile.
        option: How it was asked for: ``--set``, ``--changes FILE``, ``--safe``.
        change: As from `changing.checked`; empty for the safe profile.
        places: In how many places of what was sent it found something; None where that was not kept.
    """

    number: int
    option: str
    change: Mapping[str, Any]
    places: int | None = 0


def run_changes(changes: Iterable[Mapping[str, Any]], *, is_safe: bool = False) -> Iterator[RunChange]:
    """Yield the changes of a run, with nothing found yet.

    Args:
        changes: As in `RunOptions.changes`.
        is_safe: Whether the safe profile goes before them.
    """
    if is_safe:
        yield RunChange(number=PROFILE, option="--safe", change={})
    for number, change in enumerate(changes, PROFILE + 1):
        made = {name: value for name, value in change.items() if name != "option"}
        yield RunChange(number=number, option=change.get("option", f"--{change['do']}"), change=made)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsent:
    """The steps of a session that were kept from being sent as the run ended before them.

    Attributes:
        source: Our id of the session.
        first: Place of the first of them in the session.
        last: Place of the last.
    """

    source: str
    first: int
    last: int
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """A run with what its sessions came to.

    Attributes:
        sessions: How many it is about.
        cut: How many of them are not sent in whole, as the run ended before that or is going on.
        changes: What was changed in requests, in the order in which it was.
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
        """The worst of its steps; a run that left something unsent as it ended is ``skipped`` at best."""
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
    """Return the median, the 95th percentile (nearest rank) and the highest of the values that are there."""
    values = sorted(value for value in values_ms if value is not None)
    if not values:
        return Percentiles()

    def rank(share: float) -> float:
        return values[max(0, math.ceil(share * len(values)) - 1)]

    return Percentiles(p50=rank(0.50), p95=rank(0.95), max=values[-1])
