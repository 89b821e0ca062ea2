"""What an audit knows of a set of sessions; the whole of it can be merged with that of other sessions."""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from proxy_addon.core.audits.coverage import Coverage
from proxy_addon.core.audits.losses import Losses
from proxy_addon.core.audits.rhythm import Rhythm
from proxy_addon.core.audits.sketches import (
    Concerned,
    Drawn,
    Histogram,
    Lot,
    PerSession,
    add_counts,
    drawn_by,
    greatest,
    least,
    merge_drawn,
)
from proxy_addon.core.findings import Deviation, Judgement
from proxy_addon.core.sessions import Session, SessionState

SUMMED = (
    *("media_starts", "content_starts", "content_completes", "content_resumes", "drops_before_start"),
    *("content_time_spent_s", "media_time_spent_s", "unique_time_played_s"),
    *("progress_10", "progress_25", "progress_50", "progress_75", "progress_95"),
    *("average_minute_audience", "estimated_streams"),
    *("pause_impacted_streams", "pause_events", "pause_time_s"),
    *("ad_starts", "ad_completes", "ad_time_spent_s"),
    *("chapter_starts", "chapter_completes", "chapter_time_spent_s"),
    *("bitrate_changes", "bitrate_change_impacted_streams"),
    *("buffer_events", "buffer_time_s", "buffer_impacted_streams"),
    *("dropped_frames", "dropped_frame_impacted_streams"),
    *("error_events", "error_impacted_streams"),
    *("stall_events", "stall_time_s", "stall_impacted_streams"),
    *("seconds_since_last_call_s", "time_to_start_s", "authorized", "downloaded"),
)
"""The metrics of docs/metrics.md whose sum over sessions means something, in their order."""
MOST_UNPLANNED = 1_000
"""How many keys that are not in a plan are kept; a device that makes up keys has more."""
SCALE = 10_000
"""Sums are kept in ten-thousandths, as integers: seconds are exact to the millisecond, audiences to four places."""


@dataclass(slots=True)
class Broken:
    """The findings of one rule.

    Attributes:
        concerned: The sessions that have such findings, and how many places these have.
        exchanges: How many exchanges have one.
        severities: How many findings have a severity; upstream's answer and settings may change it.
    """

    concerned: Concerned = field(default_factory=Concerned)
    exchanges: int = 0
    severities: dict[str, int] = field(default_factory=dict)

    def merge(self, more: Broken) -> None:
        """Add the findings of other sessions."""
        self.concerned.merge(more.concerned)
        self.exchanges += more.exchanges
        add_counts(self.severities, more.severities)


@dataclass(slots=True)
class Sums:
    """Metrics of sessions, summed.

    Attributes:
        totals: The sum of each metric in units of 1 / `SCALE`.
        zeros: The sessions whose value is 0.
        per_session: How the values of each metric that are not 0 are distributed, in thousandths: seconds become milliseconds.
        left_out: How many sessions are left out, because nobody knows what reports count of them.
    """

    totals: dict[str, int] = field(default_factory=dict)
    zeros: defaultdict[str, Drawn] = field(default_factory=drawn_by)
    per_session: dict[str, PerSession] = field(default_factory=dict)
    left_out: int = 0

    def add(self, values: Mapping[str, Any], lot: Lot) -> None:
        """Add the metrics of a session."""
        for name in SUMMED:
            value = values[name]
            if value:
                self.totals[name] = self.totals.get(name, 0) + (
                    value * SCALE if value.__class__ is int else round(value * SCALE)
                )
                self.per_session.setdefault(name, PerSession()).add(round(value * 1_000), lot)
            elif value is not None:
                self.zeros[name].add(lot)

    def sessions(self, name: str) -> int:
        """Return how many sessions have a value for a metric."""
        return sum(each[name].sessions for each in (self.zeros, self.per_session) if name in each)

    def distribution(self, name: str) -> Histogram:
        """Return how all values of a metric are distributed, those that are 0 too."""
        whole = Histogram()
        if name in self.per_session:
            whole.merge(self.per_session[name].numbers)
        if name in self.zeros:
            whole.merge(Histogram(counts={0: self.zeros[name].sessions}, lowest=0, highest=0))
        return whole

    def merge(self, more: Sums) -> None:
        """Add the metrics of other sessions."""
        add_counts(self.totals, more.totals)
        merge_drawn(self.zeros, more.zeros)
        for name, values in more.per_session.items():
            self.per_session.setdefault(name, PerSession()).merge(values)
        self.left_out += more.left_out


@dataclass(slots=True)
class Deviations:
    """What sessions do otherwise than a plan says.

    Attributes:
        each: The sessions that do it, and how often they do. Of the keys that are not in the plan, `MOST_UNPLANNED` are kept,
            wherever they were seen; the rest is as large as the plan at most.
    """

    each: dict[Deviation, Concerned] = field(default_factory=dict)
    _unplanned: int = 0

    def add(self, deviation: Deviation, id: str, began_us: int, times: int) -> None:
        """Count a session that does something otherwise."""
        self._of(deviation).add(id, began_us, times)
        if self._unplanned > 2 * MOST_UNPLANNED:
            self._trim()

    def merge(self, more: Deviations) -> None:
        """Add those of other sessions."""
        for deviation, concerned in more.each.items():
            self._of(deviation).merge(concerned)
        self._trim()

    @property
    def has_all(self) -> bool:
        """Whether all of them were kept."""
        return self._unplanned <= MOST_UNPLANNED

    def kept(self) -> dict[Deviation, Concerned]:
        """Return those that were kept, sorted."""
        dropped = set(self._beyond(MOST_UNPLANNED))
        return {deviation: self.each[deviation] for deviation in sorted(self.each) if deviation not in dropped}

    def _of(self, deviation: Deviation) -> Concerned:
        concerned = self.each.get(deviation)
        if concerned is None:
            concerned = self.each[deviation] = Concerned()
            self._unplanned += deviation.is_unplanned
        return concerned

    def _trim(self) -> None:
        for deviation in self._beyond(MOST_UNPLANNED + 1):  # one more, to know that there are more
            del self.each[deviation]
            self._unplanned -= 1

    def _beyond(self, most: int) -> list[Deviation]:
        if self._unplanned <= most:
            return []
        return sorted((deviation for deviation in self.each if deviation.is_unplanned), key=_hash)[most:]


def _hash(deviation: Deviation) -> tuple[int, Deviation]:
    return zlib.crc32("\0".join(deviation).encode(errors="surrogatepass")), deviation


@dataclass(slots=True)
class Totals:
    """All that an audit knows of a set of sessions.

    Attributes:
        states: How many sessions are in a state.
        findings: By rule.
        first_us: When the first session began, in microseconds since 1970; None without sessions.
        last_us: When the last session began.
        clean: How many sessions have no findings.
        plan: What sessions do otherwise than planned, and which.
        plan_groups: For how many sessions a group of the plan holds, by its place in the plan.
    """

    sessions: int = 0
    exchanges: int = 0
    events: int = 0
    states: dict[str, int] = field(default_factory=dict)
    coverage: Coverage = field(default_factory=Coverage)
    findings: dict[str, Broken] = field(default_factory=dict)
    rhythm: Rhythm = field(default_factory=Rhythm)
    losses: Losses = field(default_factory=Losses)
    metrics: Sums = field(default_factory=Sums)
    first_us: int | None = None
    last_us: int | None = None
    clean: int = 0
    plan: Deviations = field(default_factory=Deviations)
    plan_groups: dict[int, int] = field(default_factory=dict)

    def add_session(self, session: Session, state: SessionState, began_us: int, exchanges: int, events: int) -> None:
        """Count a session."""
        self.sessions += 1
        self.exchanges += exchanges
        self.events += events
        self.states[state.value] = self.states.get(state.value, 0) + 1
        self.first_us, self.last_us = least(self.first_us, began_us), greatest(self.last_us, began_us)

    def add_findings(self, id: str, began_us: int, judgement: Judgement) -> None:
        """Count the findings of a session."""
        times: dict[str, int] = {}
        places: dict[str, set[int | None]] = {}
        for finding in judgement.findings:
            rule = finding.rule
            times[rule] = times.get(rule, 0) + finding.count
            places.setdefault(rule, set()).update(place.seq for place in finding.places)
            broken = self.findings.get(rule)
            if broken is None:
                broken = self.findings[rule] = Broken()
            severity = finding.severity.value
            broken.severities[severity] = broken.severities.get(severity, 0) + 1
        for rule, number in times.items():
            broken = self.findings[rule]
            broken.concerned.add(id, began_us, number)
            broken.exchanges += len(places[rule])
        self.clean += not times
        for deviation, number in judgement.deviations.items():
            self.plan.add(deviation, id, began_us, number)
        for place in judgement.plan_groups:
            self.plan_groups[place] = self.plan_groups.get(place, 0) + 1

    def merge(self, more: Totals) -> None:
        """Add what is known of other sessions."""
        self.sessions += more.sessions
        self.exchanges += more.exchanges
        self.events += more.events
        self.clean += more.clean
        add_counts(self.states, more.states)
        self.coverage.merge(more.coverage)
        for rule, broken in more.findings.items():
            self.findings.setdefault(rule, Broken()).merge(broken)
        self.rhythm.merge(more.rhythm)
        self.losses.merge(more.losses)
        self.metrics.merge(more.metrics)
        self.plan.merge(more.plan)
        add_counts(self.plan_groups, more.plan_groups)
        self.first_us, self.last_us = least(self.first_us, more.first_us), greatest(self.last_us, more.last_us)


@dataclass(slots=True)
class GroupTotals:
    """All that an audit knows of a group of sessions.

    Attributes:
        whole: Of sessions that are known as a whole. Only these can be compared: what others lack would look like a change.
        holed: Of those of which requests or bodies are not known: what is certain despite that.
    """

    whole: Totals = field(default_factory=Totals)
    holed: Totals = field(default_factory=Totals)

    @property
    def sessions(self) -> int:
        """How many sessions there are."""
        return self.whole.sessions + self.holed.sessions

    def all(self) -> Totals:
        """Return what is known of all of them together."""
        if not self.holed.sessions:
            return self.whole
        both = Totals()
        both.merge(self.whole)
        both.merge(self.holed)
        return both

    def merge(self, more: GroupTotals) -> None:
        """Add what is known of other sessions."""
        self.whole.merge(more.whole)
        self.holed.merge(more.holed)


class Apart(Enum):
    """Groups whose sessions have no name in common; no name that a device sends is equal to one of these."""

    OTHERS = 0
    """Those with the fewest sessions, if there are too many to tell apart."""
    UNSEEN = 1
    """Sessions whose start was not recorded, so that nobody knows what they have in common."""


type GroupName = str | Apart | None
"""What the sessions of a group have in common; None if they do not say it."""
type ByGroup = dict[GroupName, GroupTotals]
"""What is known of each group of sessions, by its name; without groups, of all of them under None."""


def by_size(sizes: Mapping[GroupName, int]) -> list[GroupName]:
    """Return the names of groups in the order in which they are shown: by the number of sessions, then by name, None last."""
    return sorted(sizes, key=lambda name: (-sizes[name], *_place(name)))


def _place(name: GroupName) -> tuple[int, str]:
    match name:
        case Apart():
            return name.value, ""
        case str():
            return len(Apart), name
    return len(Apart) + 1, ""


def in_order(groups: ByGroup) -> list[GroupName]:
    """Return the names of groups in the same order."""
    return by_size({name: totals.sessions for name, totals in groups.items()})


def all_of(groups: ByGroup) -> GroupTotals:
    """Return what is known of all groups together."""
    together = GroupTotals()
    for totals in groups.values():
        together.merge(totals)
    return together


def merged(parts: Iterable[ByGroup]) -> ByGroup:
    """Return the parts of an audit as one."""
    whole: ByGroup = {}
    for part in parts:
        for name, totals in part.items():
            whole.setdefault(name, GroupTotals()).merge(totals)
    return whole
