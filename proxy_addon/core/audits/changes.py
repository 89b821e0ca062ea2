"""What is said of a comparison with a baseline: one thing before and after, and how it changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

FISHER = "fisher"
MANN_WHITNEY = "mann-whitney"


class What(StrEnum):
    """What was compared; the value is its name in JSON."""

    EVENT = "event"
    """Events of a type."""
    NUMBER = "event-number"
    """How many events of a type a session has, among those that have any."""
    KEY = "key"
    """A key on events of a type."""
    THROUGHOUT = "key-throughout"
    """A key on all events of a type, among sessions that have it on one of them."""
    TYPE = "type"
    """A JSON type of the values of a key, among sessions that have the key; integers are numbers."""
    VALUE = "value"
    """A value of a key with few of them, among sessions that have the key."""
    FINDING = "finding"
    """Findings of a rule."""
    PLAN = "plan"
    """A deviation from the tracking plan."""
    LOSS = "loss"
    """A way in which something gets lost."""
    SLOW = "slow-answers"
    """Answers that took longer than 5 s."""
    RHYTHM = "rhythm"
    """What was measured: the median of each session."""
    METRIC = "metric"
    """A metric of reports, among sessions that have a value; if it is 0 or 1 in all of them, among how many it is 1."""


class Turn(StrEnum):
    """How something changed."""

    APPEARED = "appeared"
    """No session before, and some now."""
    VANISHED = "vanished"
    MORE = "more"
    """A larger share of sessions."""
    LESS = "less"
    HIGHER = "higher"
    """Higher values."""
    LOWER = "lower"


@dataclass(frozen=True, kw_only=True)
class Side:
    """What one set of sessions has.

    Attributes:
        sessions: How many sessions have it.
        of: Of how many; of what `What` says among which sessions.
        share: ``sessions`` of ``of``, from 0 to 1.
        mean: Of the values, one per session; None like all that follow if only sessions were counted.
        p5: The value below which 5 % are; this one, p50 and p95 are exact to 1/32.
    """

    sessions: int
    of: int
    share: float
    mean: float | None = None
    p5: float | None = None
    p50: float | None = None
    p95: float | None = None


@dataclass(frozen=True, kw_only=True)
class Compared:
    """One thing before and after.

    Attributes:
        what: What was compared; see `What`.
        event: The type of the events; empty if it is not about events.
        section: ``params``, ``qoeData`` or ``customMetadata``; empty if it is not about a key.
        name: The key, rule, loss, metric or what was measured; empty for events.
        detail: The JSON type; the value, a string in quotes; or what the plan says.
        severity: Of a finding, the highest one; None otherwise.
        before: In the baseline.
        after: In the sessions of the audit.
        test: How the two were told from chance: ``fisher`` (exact test of two shares of sessions) or ``mann-whitney``
            (U test of values, one per session).
        p: How likely they are to differ so much by chance alone.
        look_at: Our ids of sessions in which one sees it, of the audit or of the baseline: see `is_of_baseline`. Empty if it
            is too little to matter.
        change: How it changed; None if it is too little, too uncertain, or none at all.
        beneath: Of a change, others that are about the same, or follow from it; see `causes`.
    """

    what: str
    event: str = ""
    section: str = ""
    name: str = ""
    detail: str = ""
    severity: str | None = None
    before: Side
    after: Side
    test: str
    p: float
    look_at: tuple[str, ...] = ()
    change: str | None = None
    beneath: tuple[Compared, ...] = ()

    @property
    def is_of_baseline(self) -> bool:
        """Whether the sessions to look at are of the baseline, because one does not see it in those of the audit."""
        fallen, risen = self.after.share < self.before.share, self.after.share > self.before.share
        return self.test == FISHER and (risen if self.what == What.THROUGHOUT else fallen)

    def same(self) -> tuple[str | None, ...]:
        """Return what the same change has in common in a group and in all together, where a key that vanished is rarer."""
        ways: dict[str | None, str] = {Turn.APPEARED: Turn.MORE, Turn.VANISHED: Turn.LESS}
        return ways.get(self.change, self.change), self.what, self.event, self.section, self.name, self.detail


@dataclass(frozen=True, kw_only=True)
class Changes:
    """What changed in one group, or in all sessions together.

    Attributes:
        name: The name of the group, which both sides have; None if sessions do not say it, and for all of them.
        before: How many sessions of the baseline are compared: those that are known as a whole.
        after: How many sessions of the audit are.
        left_out_before: How many sessions of the baseline are left out, because requests or bodies of them are not known.
        left_out_after: How many sessions of the audit are.
        changes: What changed, each with what is about the same, or follows from it, beneath: errors, warnings, then in the
            order of `What`, and notes last.
        compared: How many comparisons were made.
        undecided: How many of them differ by enough to matter, and have not enough sessions to say that it is not chance.
        may_be_chance: The largest of these differences, `MOST_DOUBTFUL` at most.
        is_enough: Whether there are enough sessions to say that something changed which all sessions before have, and none
            after.
        enough: How many sessions on both sides are enough for that.
        many_values: The keys whose values are not compared, because a side has more than 64: section and name. Values of keys
            that name a viewer, a content or an ad are never compared.
        findings: Each rule that a side breaks, changed or not.
        losses: Each loss that a side has, and slow answers.
        rhythm: What both sides have of the rhythm.
        metrics: What both sides have of the metrics.
    """

    name: str | None
    before: int
    after: int
    left_out_before: int = 0
    left_out_after: int = 0
    changes: tuple[Compared, ...]
    compared: int
    undecided: int
    may_be_chance: tuple[Compared, ...]
    is_enough: bool
    enough: int
    many_values: tuple[str, ...] = ()
    findings: tuple[Compared, ...]
    losses: tuple[Compared, ...]
    rhythm: tuple[Compared, ...]
    metrics: tuple[Compared, ...]

    @property
    def is_undecided(self) -> bool:
        """Whether there are too few sessions to call anything a change, and something differs, or may in those left out."""
        differs = self.undecided > 0 and min(self.before, self.after) > 0
        return not self.is_enough and (differs or self.left_out_before + self.left_out_after > 0)

    def every(self) -> Iterator[Compared]:
        """Yield all changes, those beneath others right after these."""
        for each in self.changes:
            yield each
            yield from each.beneath

    def worse(self) -> Iterator[Compared]:
        """Yield the rules that no session of the baseline breaks, or that significantly more sessions break now."""
        for each in self.findings:
            if (each.after.sessions and not each.before.sessions) or each.change == Turn.MORE:
                yield each


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """An audit beside its baseline.

    Attributes:
        baseline: Which sessions the baseline is, as it was asked for.
        all: All sessions together.
        groups: Groups that both sides have, in the order of the audit.
        only_before: Names of groups that only the baseline has; None for sessions that do not say theirs.
        only_after: Names of groups that only the audit has.
    """

    baseline: str
    all: Changes
    groups: tuple[Changes, ...] = ()
    only_before: tuple[str | None, ...] = ()
    only_after: tuple[str | None, ...] = ()

    def named(self) -> list[tuple[Changes, Compared]]:
        """Return all changes, each with where it is: in all sessions together, or in a group if not there, too."""
        return self._once(lambda of: of.changes, lambda of: of.every())

    def doubtful(self) -> list[tuple[Changes, Compared]]:
        """Return the differences that may be chance, in the same way."""
        return self._once(lambda of: of.may_be_chance, lambda of: of.may_be_chance)

    def _once(
        self, listed: Callable[[Changes], tuple[Compared, ...]], told: Callable[[Changes], Iterable[Compared]]
    ) -> list[tuple[Changes, Compared]]:
        known = {each.same() for each in told(self.all)}
        return [
            *((self.all, each) for each in listed(self.all)),
            *((of, each) for of in self.groups for each in listed(of) if each.same() not in known),
        ]
