"""The metrics that reports will show for a session, as far as its events tell.

Adobe publishes definitions, not an algorithm, so every value is an estimate. Where the sources allow two readings, one
is chosen, and the value under the other one is given beside it if it differs. docs/metrics.md has each metric, how sure
it is, and each reading.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from typing import Any

from proxy_addon.core.audits.arrivals import Arrival, Start
from proxy_addon.core.audits.ordering import Lost, Order, ordered
from proxy_addon.core.audits.viewing import DAY_S, Interval, viewed
from proxy_addon.core.audits.walking import Ad, Walk, walked
from proxy_addon.core.sessions import IDLE_TIMEOUT

MARKERS = (10, 25, 50, 75, 95)
"""The percentages of the length whose passing is reported."""
_STREAM_MS = 1_800_000
_SEGMENT_MIN = 5

Values = dict[str, Any]


class ClosedBy(StrEnum):
    """What closed a session."""

    SESSION_END = "session_end"
    TIMEOUT_PLAYHEAD = "timeout_playhead"
    TIMEOUT_IDLE = "timeout_idle"
    SESSION_COMPLETE = "session_complete"
    BATCH_END = "batch_end"


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """What reports will count for a session.

    Attributes:
        values: By the ids of docs/metrics.md: counts and flags (0 or 1) are integers, times are seconds that are exact
            to the millisecond, and what is not reported is None.
        other_readings: By the name of another reading of the sources: the values that differ under it.
        ties_by_rank: The values that differ if events with equal ``ts`` are taken in the order that SDKs intend, instead of
            the order of arrival. The back end promises neither.
        closed_by: None while the session is open: then all values but media starts and ad starts are values so far.
        is_partial: Whether its start is not known, so that what depends on it is None.
        is_empty: Whether the back end took no event, so that reports count nothing.
        refused: How many events the back end refused, so that they do not count.
        unknown: How many requests do not count because the file that they come from lacks their body.
        viewed: The parts of the content that were viewed, which unique time and progress markers are counted from.
        late: Events that were taken although a newer event was taken before them.
        dropped: Events that the back end did not take, each with the reason.
    """

    values: Values
    other_readings: Mapping[str, Values]
    ties_by_rank: Values
    closed_by: ClosedBy | None
    is_partial: bool
    is_empty: bool
    refused: int = 0
    unknown: int = 0
    viewed: tuple[Interval, ...] = ()
    late: tuple[Arrival, ...] = ()
    dropped: tuple[tuple[Arrival, Lost], ...] = ()


def metrics_of(
    arrivals: Sequence[Arrival], *, is_batch: bool = False, is_over: bool = True, opened: bool = True
) -> Metrics:
    """Return the metrics of the events of one session. Never fails, whatever the events are.

    Args:
        arrivals: The events that the back end got, in the order of arrival.
        is_batch: Whether they are downloaded playback.
        is_over: Whether no event will follow.
        opened: False if the back end refused the start of the session, so that reports count nothing.
    """
    order = ordered(arrivals, is_batch=is_batch)
    count = Count(order, is_batch=is_batch, is_over=is_over, opened=opened)
    values = count.values()
    by_rank = ordered(arrivals, is_batch=is_batch, by_rank=True)
    ties: Values = {}
    if by_rank.taken != order.taken:
        ties = _differing(values, Count(by_rank, is_batch=is_batch, is_over=is_over, opened=opened).values())
    return Metrics(
        values=values,
        other_readings={
            name: differing for name, other in count.readings() if (differing := _differing(values, other))
        },
        ties_by_rank=ties,
        closed_by=count.closed_by,
        is_partial=not count.has_start and opened,
        is_empty=not order.taken,
        viewed=count.viewed,
        late=tuple(order.late),
        dropped=order.dropped,
    )


def _differing(values: Values, other: Values) -> Values:
    return {name: value for name, value in other.items() if values[name] != value}


def _closed_by(order: Order, walk: Walk, *, is_batch: bool, is_over: bool) -> ClosedBy | None:
    if order.lost(Lost.TIMEOUT_PLAYHEAD):
        return ClosedBy.TIMEOUT_PLAYHEAD
    if walk.has_ended:
        return ClosedBy.SESSION_END
    if order.lost(Lost.TIMEOUT_IDLE):
        return ClosedBy.TIMEOUT_IDLE
    if walk.is_completed:
        return ClosedBy.SESSION_COMPLETE
    if is_batch and order.taken:
        return ClosedBy.BATCH_END
    return ClosedBy.TIMEOUT_IDLE if is_over and order.taken else None


class Count:
    """What the events of one session count under the chosen readings; `metrics_of` tells of the other ones, too.

    Attributes:
        walk: What the events did.
        closed_by: What closed the session; None while it is open.
    """

    def __init__(self, order: Order, *, is_batch: bool, is_over: bool, opened: bool) -> None:
        """Count the events of a session; the arguments are those of `metrics_of`."""
        walk = walked(order.taken)
        start = walk.start or Start()
        self._order = order
        self.walk = walk
        self._seen = viewed(order.taken, walk.stretches, length_s=start.length_s, is_live=start.is_live)
        self.closed_by = _closed_by(order, walk, is_batch=is_batch, is_over=is_over)
        self.has_start = walk.start is not None
        self._is_batch = is_batch
        self._start = walk.start
        self._unknown = None if opened else 0  # what is told of a session without a start
        self._length_s = None if walk.start is None else walk.start.length_s
        self._content_ms = self._stalled_ms = self._weight_ms = 0
        self._weighed = Fraction(0)
        self._chapter_ms = {id(chapter): 0 for chapter in walk.chapters}
        self._chapter_stalled_ms = 0
        self._add_stretches()
        self._ad_ms = sum(ad.time_ms for ad in walk.ads)

    @property
    def viewed(self) -> tuple[Interval, ...]:
        """The parts of the content that were viewed."""
        return self._seen.intervals

    def _add_stretches(self) -> None:
        weights: dict[float, int] = {}
        for place, stretch in enumerate(self.walk.stretches):
            if not stretch.is_content:
                continue
            if place in self._seen.stalled:
                self._stalled_ms += stretch.ms
                self._chapter_stalled_ms += stretch.ms if stretch.chapter is not None else 0
                continue
            self._content_ms += stretch.ms
            if stretch.chapter is not None:
                self._chapter_ms[id(stretch.chapter)] += stretch.ms
            if stretch.bitrate is not None:
                weights[stretch.bitrate] = weights.get(stretch.bitrate, 0) + stretch.ms
        self._weight_ms = sum(weights.values())
        # Fractions are exact but slow, and bitrates are nearly always whole.
        whole = sum(int(bitrate) * ms for bitrate, ms in weights.items() if bitrate.is_integer())
        others = (Fraction(bitrate) * ms for bitrate, ms in weights.items() if not bitrate.is_integer())
        self._weighed = whole + sum(others, Fraction(0))

    def values(self) -> Values:
        """Return all values under the chosen readings."""
        return {**self._of_content(), **self._of_ads(self.walk.ads), **self._of_chapters(), **self._of_quality()}

    def _of_content(self) -> Values:
        walk, start = self.walk, self._start
        starts = int(walk.content_start is not None)
        return {
            "media_starts": self._unknown if start is None else int(not start.resumes),
            "content_starts": starts,
            "content_completes": int(walk.is_completed),
            "content_resumes": self._unknown if start is None else int(start.resumes),
            "content_segment_views": starts,
            "content_segment": None if walk.content_start is None else self._segment(walk.content_start, _SEGMENT_MIN),
            "drops_before_start": 1 - starts if self._order.taken else 0,
            **self._of_time(self._content_ms),
            "unique_time_played_s": _whole(round(self._seen.seconds, 3)),
            **{
                f"progress_{percent}": None if mark is None else int(starts and self._seen.holds(mark))
                for percent, mark in self._marks()
            },
            "pause_impacted_streams": int(walk.pauses > 0),
            "pause_events": walk.pauses,
            "pause_time_s": _seconds(walk.pause_ms),
            "seconds_since_last_call_s": self._since_last_call(),
            "authorized": self._unknown if start is None else int(start.is_authorized),
            "downloaded": int(self._is_batch or (start is not None and start.is_downloaded)),
        }

    def _of_time(self, content_ms: int) -> Values:
        """Return what depends on the time spent with content."""
        media_ms = content_ms + self._ad_ms
        return {
            "content_time_spent_s": _seconds(content_ms),
            "media_time_spent_s": _seconds(media_ms),
            "average_minute_audience": self._audience(content_ms),
            "estimated_streams": media_ms // _STREAM_MS + 1 if self._order.taken else 0,
        }

    def _audience(self, content_ms: int) -> float | None:
        if self._length_s is None:
            return None
        ten_thousandths = Fraction(content_ms, 1000) / Fraction(repr(self._length_s)) * 10_000
        audience = _half_up(ten_thousandths)
        return _whole(audience / 10_000) if audience < 10**15 else None

    def _marks(self) -> Iterator[tuple[int, float | None]]:
        for percent in MARKERS:
            yield percent, None if self._length_s is None else self._length_s * percent / 100

    def _segment(self, begin: int, step_min: int) -> str | None:
        """Return the part of the content between the smallest and the largest playhead from an event on, in minutes."""
        playheads = self._playheads(begin)
        if not playheads:
            return None
        if self._start is not None and self._start.is_live:
            playheads = [(playhead - playheads[0]) % DAY_S for playhead in playheads]
        step_s = step_min * 60
        low = math.floor(min(playheads) / step_s)
        high = max(math.ceil(max(playheads) / step_s), low + 1)
        return f"[{low * step_min}-{high * step_min}]"

    def _playheads(self, begin: int) -> list[float]:
        events = (each.event for each in self._order.taken[begin:] if not each.is_late)
        return [event.playhead_s for event in events if event.playhead_s is not None]

    def _since_last_call(self) -> float | None:
        match self.closed_by:
            case None:
                return None
            case ClosedBy.TIMEOUT_IDLE:
                return round(IDLE_TIMEOUT.total_seconds())
            case ClosedBy.TIMEOUT_PLAYHEAD:
                return _seconds(round((self._order.silence_us or 0) / 1000))
        return 0

    def _of_ads(self, ads: Sequence[Ad]) -> Values:
        return {
            **self._of_ad_counts(ads),
            "ads": [{"id": ad.id, "completed": ad.is_completed, "time_spent_s": _seconds(ad.time_ms)} for ad in ads],
        }

    def _of_ad_counts(self, ads: Sequence[Ad]) -> Values:
        return {
            "ad_starts": len(ads),
            "ad_count": len(ads),
            "ad_completes": sum(ad.is_completed for ad in ads),
            "ad_time_spent_s": _seconds(sum(ad.time_ms for ad in ads)),
        }

    def _of_chapters(self) -> Values:
        chapters = self.walk.chapters
        return {
            "chapter_starts": len(chapters),
            "chapter_count": len(chapters),
            "chapter_completes": sum(chapter.is_completed for chapter in chapters),
            "chapter_time_spent_s": _seconds(sum(self._chapter_ms.values())),
            "chapters": [
                {
                    "index": chapter.index,
                    "completed": chapter.is_completed,
                    "time_spent_s": _seconds(self._chapter_ms[id(chapter)]),
                }
                for chapter in chapters
            ],
        }

    def _of_quality(self) -> Values:
        walk, seen = self.walk, self._seen
        average = _half_up(self._weighed / self._weight_ms) if self._weight_ms else None
        bucket = None if average is None else average // 100 * 100
        stalled_ms, frames = self._stalled_ms, walk.dropped_frames
        return {
            "average_bitrate": average,
            "average_bitrate_bucket": None if bucket is None else f"{bucket}-{bucket + 99}",
            "bitrate_changes": walk.bitrate_changes,
            "bitrate_change_impacted_streams": int(walk.bitrate_changes > 0),
            "buffer_events": walk.buffers,
            "buffer_time_s": _seconds(walk.buffer_ms),
            "buffer_impacted_streams": int(walk.buffers > 0),
            "dropped_frames": frames,
            "dropped_frame_impacted_streams": int(frames is not None and frames > 0),
            "error_events": walk.errors,
            "error_impacted_streams": int(walk.errors > 0),
            "player_sdk_error_ids": list(walk.player_errors),
            "external_error_ids": list(walk.external_errors),
            "stall_events": seen.stalls,
            "stall_time_s": _seconds(stalled_ms),
            "stall_impacted_streams": int(seen.stalls > 0),
            "time_to_start_s": None if walk.time_to_start_ms is None else _seconds(walk.time_to_start_ms),
            "player_states": self._of_states({name: state.periods for name, state in walk.states.items()}),
        }

    def _of_states(self, counts: Mapping[str, int]) -> Values:
        return {
            name: {"set": 1, "count": counts[name], "time_s": _seconds(state.time_ms)}
            for name, state in self.walk.states.items()
        }

    def readings(self) -> Iterator[tuple[str, Values]]:
        """Yield each other reading of the sources with the values that it concerns, whether they differ or not."""
        walk, start, played_ms = self.walk, self._start, self._content_ms + self._stalled_ms
        if start is not None:
            yield "resume-is-start", {"media_starts": 1}
        if walk.content_start is not None:
            yield "progress-by-position", self._by_position(walk.content_start)
            yield "segment-by-minute", {"content_segment": self._segment(walk.content_start, 1)}
        elif played_ms > 0:
            yield "content-start-by-state", self._started_by_state()
        yield (
            "stall-is-play",
            {
                **self._of_time(played_ms),
                "chapter_time_spent_s": _seconds(sum(self._chapter_ms.values()) + self._chapter_stalled_ms),
            },
        )
        yield "ad-break-needs-end", self._without_open_breaks()
        yield (
            "every-event",
            {
                "pause_events": walk.pause_starts,
                "buffer_events": walk.buffer_starts,
                "player_states": self._of_states({name: state.starts for name, state in walk.states.items()}),
            },
        )
        yield "pause-until-play", {"pause_time_s": _seconds(walk.until_play_ms)}
        if self.closed_by is ClosedBy.SESSION_COMPLETE:
            yield "complete-stays-open", {"seconds_since_last_call_s": round(IDLE_TIMEOUT.total_seconds())}

    def _by_position(self, begin: int) -> Values:
        furthest = max(self._playheads(begin), default=-math.inf)
        return {f"progress_{percent}": int(furthest >= mark) for percent, mark in self._marks() if mark is not None}

    def _started_by_state(self) -> Values:
        first = 1 if self._start is not None else 0  # a start may have any playhead: it goes out before content loads
        marks = ((percent, mark) for percent, mark in self._marks() if mark is not None)
        return {
            "content_starts": 1,
            "content_segment_views": 1,
            "drops_before_start": 0,
            "content_segment": self._segment(first, _SEGMENT_MIN),
            **{f"progress_{percent}": int(self._seen.holds(mark)) for percent, mark in marks},
        }

    def _without_open_breaks(self) -> Values:
        ended = [ad for ad in self.walk.ads if ad.within.has_ended]
        open_ms = sum(ad.time_ms for ad in self.walk.ads if not ad.within.has_ended)
        content_ms = self._content_ms + open_ms
        return {
            **self._of_ad_counts(ended),
            "content_time_spent_s": _seconds(content_ms),
            "average_minute_audience": self._audience(content_ms),
        }


def _half_up(value: Fraction) -> int:
    return math.floor(value + Fraction(1, 2))


def _seconds(ms: int) -> float:
    return _whole(ms / 1000)


def _whole(number: float) -> float:
    """Return a whole number as an integer, which is shorter as JSON."""
    return int(number) if number == int(number) else number
