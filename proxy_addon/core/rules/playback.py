"""The state before an event, in the order of ``ts``: the state machine that every Adobe SDK follows.

`advance` changes a `Playback`, and `copy.copy` copies it: everything that it holds is immutable. Source: Media
Collection API, session rules, method.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from proxy_addon.core.rules.clocks import passed_s
from proxy_addon.core.rules.limits import Limits
from proxy_addon.core.rules.rule import When
from proxy_addon.core.rules.session_view import SessionEvent

LIVE_TYPES = frozenset({"live", "linear", "radio"})
"""Values of ``media.contentType``, in lower case, for content whose playhead is a time of day."""
_NAMES_FOLLOWED = 10
"""How many names of player states are tracked per session, as a multiple of the limit on names."""
PLAYBACK_EVENTS = frozenset({"play", "pauseStart", "bufferStart"})
_SAYS_PLAY = frozenset({"play", "adStart"})
"""Event types that make the back end count time as played."""
_ASKS_FOR_PLAY = frozenset({"adBreakComplete", "pauseStart", "bufferStart"})
"""Event types after which only a ``play`` makes the back end count time again."""
_DECIDES_PLAY = frozenset({*_SAYS_PLAY, *_ASKS_FOR_PLAY, "sessionStart"})
_EVENTS_OF_A_CALL = 50
"""How many events with one ``ts`` one call of an SDK may have caused."""
_PODS_FOLLOWED = 1_000
"""How many indexes of ad breaks are tracked per session."""


class Life(StrEnum):
    """Which part of its life a session is in."""

    START = "start"
    OPEN = "open"
    COMPLETED = "completed"
    ENDED = "ended"


class Mode(StrEnum):
    """What the player is doing."""

    STARTING = "starting"
    PLAYING = "playing"
    PAUSED = "paused"
    BUFFERING = "buffering"


@dataclass(slots=True, kw_only=True)
class Median:
    """Tells whether a median is above a limit, without keeping the values.

    It counts the values on each side of the limit and keeps the nearest ones. Immutable: `plus` returns a new one.
    """

    below: int = 0
    above: int = 0
    highest_below: float = float("-inf")
    lowest_above: float = float("inf")

    def plus(self, value: float, limit: float) -> Median:
        """Return the median of one more value."""
        if value <= limit:
            return Median(
                below=self.below + 1,
                above=self.above,
                highest_below=max(self.highest_below, value),
                lowest_above=self.lowest_above,
            )
        return Median(
            below=self.below,
            above=self.above + 1,
            highest_below=self.highest_below,
            lowest_above=min(self.lowest_above, value),
        )

    @property
    def count(self) -> int:
        """The number of values."""
        return self.below + self.above

    def lies_above(self, limit: float) -> bool:
        """Whether the median is above the limit."""
        if self.below == self.above:
            return self.count > 0 and (self.highest_below + self.lowest_above) / 2 > limit
        return self.above > self.below


@dataclass(slots=True, kw_only=True)  # like `Median`, of which each ping makes a new one
class Stand:
    """A standstill: consecutive pings of uninterrupted content with the same playhead.

    Attributes:
        since_ms: ``ts`` of the first ping.
        until_ms: ``ts`` of the last ping.
        pings: Number of pings.
    """

    playhead_s: float
    since_ms: int
    until_ms: int
    pings: int = 1

    @property
    def lasted_s(self) -> float:
        """Time between the first and the last ping, in seconds."""
        return (self.until_ms - self.since_ms) / 1000

    def is_suspicious(self, limits: Limits) -> bool:
        """Whether the playhead of playing content should have advanced by now."""
        return self.pings >= limits.frozen_pings and self.lasted_s >= limits.frozen_s


@dataclass(slots=True, kw_only=True)  # like `Median`, of which each ping makes a new one
class Run:
    """A stretch in which the playhead advances about as fast as time.

    Attributes:
        playhead_s, since_ms: Playhead and ``ts`` of the event at which it begins.
        moved_s: How far the playhead has advanced since then.
        passed_s: How much time has passed since then by ``ts``.
        moves: How many events showed that the playhead had advanced.
    """

    playhead_s: float
    since_ms: int
    moved_s: float = 0.0
    passed_s: float = 0.0
    moves: int = 0

    @classmethod
    def begun_at(cls, event: SessionEvent) -> Run | None:
        """Return the run that begins at an event; None if the event has no playhead or no ``ts``."""
        if event.playhead_s is None or event.ts_ms is None:
            return None
        return cls(playhead_s=event.playhead_s, since_ms=event.ts_ms)

    def plus(self, event: SessionEvent) -> Run:
        """Return the run with one more event, or a new run that begins there if the playhead jumped or stood still."""
        if event.playhead_s is None or event.ts_ms is None:
            return self
        moved_s = event.playhead_s - self.playhead_s
        passed_s = (event.ts_ms - self.since_ms) / 1000
        # Allow one second of slack, because many players report whole seconds.
        if not passed_s / _FASTEST - 1 <= moved_s <= passed_s * _FASTEST + 1:
            return Run(playhead_s=event.playhead_s, since_ms=event.ts_ms)
        moves = self.moves + (moved_s > self.moved_s)
        return Run(playhead_s=self.playhead_s, since_ms=self.since_ms, moved_s=moved_s, passed_s=passed_s, moves=moves)

    @property
    def is_long(self) -> bool:
        """Whether only playing content can explain the run."""
        return self.moved_s >= RUN_S and self.passed_s / _FASTEST <= self.moved_s <= self.passed_s * _FASTEST


RUN_S = 10
"""How far a playhead must advance to show that content plays. Source: session rules, `content-never-played`."""
_FASTEST = 2
"""Content plays at half to double speed; otherwise the playhead was moved."""


@dataclass(slots=True, kw_only=True)
class Playback:
    """The state before an event, in the order of ``ts``.

    Attributes:
        by_arrival: Whether gaps are measured by arrival, as in a live recording, instead of ``ts``.
        is_batch: Whether it is downloaded playback, which is exempt from rules about clocks, pings and gaps.
        start_missing: Whether the start was not recorded; then length and content type are not known.
        retry_of: Our id of the first attempt to open the same playback; None if this is the first one.
        opened_beside: Our id of another session that the same device opened for the same content at about the same
            time; None if there is none, or if this session got further events.
        first: The first event; None before the first event.
        first_ms, last_ms: The first and the latest ``ts``.
        start: The ``sessionStart``; None before it.
        has_played: Whether there was a ``play`` or an ``adStart``.
        before_start_s: How far the oldest event of each rule that reports such events lies before ``sessionStart``.
        content_has_played: Whether there was a ``play`` outside of an ad break.
        silent_since: The event after which a ``play`` is due before content counts as playing; None if none is due.
        run: The run since that event, or since the playhead last jumped or stood still; None if content cannot play.
        run_told: Whether the run was reported.
        pods: The playhead of the first ad break of each ``media.ad.podIndex``.
        moved_in_ad: The latest events of one ``ts`` that moved the playhead in the open ad break.
        break_known: Whether it is known if an ad break is open; without a recorded start, only after the first
            ``adBreakStart`` or ``adBreakComplete``.
        in_unseen_break: Whether an ad break seems to be open that began before the recording.
        chapter_known: Whether it is known if a chapter is open; without a recorded start, only after the first event of
            a chapter.
        still_since_s: When the playhead reached its present position, by `clock_s`.
        last_ping: The previous ping, if nothing has interrupted playback since then.
        stood: The standstill that the last ping belongs to; None if content was not playing.
        ping_intervals, ad_ping_intervals: Intervals between pings of uninterrupted content, and of ads.
        fast_moves: How often, between pings, the playhead moved about a thousand times as fast as time.
    """

    limits: Limits
    is_batch: bool = False
    start_missing: bool = False
    retry_of: str | None = None
    opened_beside: str | None = None
    by_arrival: bool = True

    first: SessionEvent | None = None
    first_ms: int | None = None
    last_ms: int | None = None
    start: SessionEvent | None = None
    life: Life = Life.START
    mode: Mode = Mode.STARTING
    plays: int = 0
    first_play: SessionEvent | None = None
    has_played: bool = False
    before_start_s: Mapping[bool, float] = field(default_factory=dict)
    content_has_played: bool = False
    silent_since: SessionEvent | None = None
    run: Run | None = None
    run_told: bool = False
    break_start: SessionEvent | None = None
    break_known: bool = True
    in_unseen_break: bool = False
    ads_in_break: int = 0
    pods: Mapping[int, float] = field(default_factory=dict)
    moved_in_ad: tuple[SessionEvent, ...] = ()
    pod_position: int | None = None
    ad: SessionEvent | None = None
    chapter: SessionEvent | None = None
    chapter_known: bool = True
    active_states: frozenset[str] = frozenset()
    state_names: frozenset[str] = frozenset()
    state_spellings: frozenset[str] = frozenset()
    dropped_frames: int | None = None
    time_to_start_ms: int | None = None
    last_playhead_s: float | None = None
    still_since_s: float | None = None
    still_told: bool = False
    last_ping: SessionEvent | None = None
    stood: Stand | None = None
    ping_intervals: Median = field(default_factory=Median)
    ad_ping_intervals: Median = field(default_factory=Median)
    fast_moves: int = 0

    def __post_init__(self) -> None:
        self.break_known = self.chapter_known = not self.start_missing

    @property
    def is_live(self) -> bool:
        """Whether the content is live, or may be because the start was not recorded."""
        if self.start is None or self.start.start is None:
            return True
        return (self.start.start.content_type or "").lower() in LIVE_TYPES

    @property
    def length_s(self) -> float | None:
        """Length of the content in seconds; None if it is not known."""
        return self.start.start.length_s if self.start is not None and self.start.start is not None else None

    @property
    def is_content_playing(self) -> bool:
        """Whether main content plays; never after ``sessionComplete``."""
        return self.mode is Mode.PLAYING and not self.is_in_break and self.life is Life.OPEN

    @property
    def is_in_break(self) -> bool:
        """Whether an ad break is open, or seems to be."""
        return self.break_start is not None or self.in_unseen_break

    def clock_s(self, event: SessionEvent) -> float | None:
        """Return the time that gaps are measured by: the arrival if recorded live, else ``ts``, in seconds."""
        if self.by_arrival and not self.is_batch:
            return event.arrived_s
        return None if event.ts_ms is None else event.ts_ms / 1000

    def same_name(self, name: str) -> str:
        """Return the name of a player state for comparison: the two spellings of full screen become the same."""
        return name.lower() if name.lower() == "fullscreen" else name

    def advance(self, event: SessionEvent) -> None:
        """Update the state with an event; events after ``sessionEnd`` change nothing."""
        if self.first is None:
            self.first = event
        if self.life is not Life.ENDED:
            if event.ts_ms is not None:
                self.first_ms = event.ts_ms if self.first_ms is None else self.first_ms
                self.last_ms = event.ts_ms
            self._see_playhead(event)
            self._see_ping(event)
            self._see_before_start(event)
            if self.silent_since is not None or event.type in _DECIDES_PLAY:
                self._see_run(event)
            if self.break_start is not None or event.type == "adBreakStart":
                self._see_ad(event)
            self._move(event)
            self._see_quality(event)

    def moments(self, event: SessionEvent) -> int:
        """Return the sum of the moments (`When`) that an event comes at."""
        moments = 0
        if self.life is Life.ENDED:
            moments |= When.ENDED
        if self.silent_since is not None:
            moments |= When.PLAY_DUE
        if self.break_start is not None:
            moments |= When.IN_BREAK
        if self.mode is Mode.PAUSED:
            moments |= When.PAUSED
        if event.playhead_s is not None and event.playhead_s == self.last_playhead_s:
            moments |= When.STANDING
        if event.dropped_frames is not None or event.time_to_start_ms is not None:
            moments |= When.COUNTED
        if self.seconds_before_start(event) is not None:
            moments |= When.EARLY
        return moments

    def _move(self, event: SessionEvent) -> None:
        """Move the state machine. ``error``, ``bitrateChange`` and ``ping`` do not change it."""
        if self.life is Life.START:
            self.life = Life.OPEN
        if event.type == "ping":
            return
        match event.type:
            case "sessionStart":
                self.start = self.start or event
            case "sessionComplete":
                self.life = Life.COMPLETED
            case "sessionEnd":
                self.life = Life.ENDED
            case "play":
                self.mode = Mode.PLAYING
                self.plays += 1
                self.content_has_played = self.content_has_played or not self.is_in_break
                self.first_play = self.first_play or event
            case "pauseStart":
                self.mode = Mode.PAUSED
            case "bufferStart":
                self.mode = Mode.BUFFERING
            case "adBreakStart":
                self.break_start, self.ad, self.ads_in_break, self.pod_position = event, None, 0, None
                self.break_known, self.in_unseen_break = True, False
            case "adBreakComplete":
                self.break_start = self.ad = None
                self.break_known, self.in_unseen_break = True, False
            case "adStart":
                if self.break_start is not None:
                    self.ad = event
                    self.ads_in_break += 1
                    self.pod_position = event.pod_position
                self.in_unseen_break = not self.break_known
                if self.mode is Mode.STARTING:
                    self.mode = Mode.PLAYING  # as the back end does
            case "adComplete" | "adSkip":
                self.ad = None
                self.in_unseen_break = not self.break_known
            case "chapterStart":
                self.chapter, self.chapter_known = event, True
            case "chapterComplete" | "chapterSkip":
                self.chapter, self.chapter_known = None, True
            case "stateStart" | "stateEnd" | "statesUpdate":
                self._change_states(event)

    def seconds_before_start(self, event: SessionEvent) -> float | None:
        """Return how much older than ``sessionStart`` an event is; None if it is not, or if that is not known."""
        start = self.start
        if start is None or start.ts_ms is None or event.ts_ms is None or event.type == "sessionStart":
            return None
        return (start.ts_ms - event.ts_ms) / 1000 if event.ts_ms < start.ts_ms else None

    def is_long_before_start(self, before_s: float) -> bool:
        """Whether the back end no longer sorts an event that is so much older than ``sessionStart``."""
        return before_s > self.limits.reorder_window_s

    def _see_before_start(self, event: SessionEvent) -> None:
        before_s = self.seconds_before_start(event)
        if before_s is not None:
            is_long = self.is_long_before_start(before_s)
            if before_s > self.before_start_s.get(is_long, 0):
                self.before_start_s = {**self.before_start_s, is_long: before_s}

    def run_with(self, event: SessionEvent) -> Run | None:
        """Return the run without a ``play``, including an event; None if no ``play`` is due or content cannot play."""
        if self.silent_since is None or self.is_in_break or self.life is not Life.OPEN:
            return None
        if self.run is None:
            return Run.begun_at(event)
        return self.run.plus(event)

    def shows_silent_run(self, event: SessionEvent) -> bool:
        """Whether an event is the first to show that content plays without a ``play``."""
        if self.run_told or event.type in _SAYS_PLAY:
            return False
        if self.has_begun_to_play and self.is_live and self.silent_since is not None:
            if self.silent_since.type != "adBreakComplete":
                return False  # the clock of live content runs on in a pause and while buffering
        run = self.run_with(event)
        return run is not None and run.is_long and run.moves >= (2 if self.has_begun_to_play else 1)

    @property
    def has_begun_to_play(self) -> bool:
        """Whether content or an ad has played in this session, or may have played before the recording began."""
        return self.has_played or self.start is None

    def _see_run(self, event: SessionEvent) -> None:
        self.run_told = self.run_told or self.shows_silent_run(event)
        self.run = self.run_with(event)
        if event.type in _SAYS_PLAY:
            self.has_played, self.silent_since, self.run, self.run_told = True, None, None, False
        elif event.type in _ASKS_FOR_PLAY or (event.type == "sessionStart" and self.start is None):
            self.silent_since, self.run, self.run_told = event, Run.begun_at(event), False

    def moved_playhead_in_ad(self, event: SessionEvent) -> bool:
        """Whether the playhead of an event differs from that of the open ad break's start."""
        began = self.break_start
        if began is None or self.is_live or began.playhead_s is None or event.playhead_s is None:
            return False
        return abs(event.playhead_s - began.playhead_s) > self.limits.playhead_slack_s

    def _see_ad(self, event: SessionEvent) -> None:
        if event.type in ("adBreakStart", "adBreakComplete"):
            self.moved_in_ad = ()
        elif event.ts_ms is not None and self.moved_playhead_in_ad(event):
            if not self.moved_in_ad or self.moved_in_ad[0].ts_ms != event.ts_ms:
                self.moved_in_ad = (event,)
            elif len(self.moved_in_ad) < _EVENTS_OF_A_CALL:
                self.moved_in_ad += (event,)
        if event.type == "adBreakStart" and event.pod_index is not None and event.playhead_s is not None:
            if event.pod_index not in self.pods and len(self.pods) < _PODS_FOLLOWED:
                self.pods = {**self.pods, event.pod_index: event.playhead_s}

    def _change_states(self, event: SessionEvent) -> None:
        ended = {self.same_name(name) for name in event.ended_states}
        started = {self.same_name(name) for name in event.started_states}
        spellings = (*event.ended_states, *event.started_states)
        self.state_names = self._more(self.state_names, map(self.same_name, spellings))
        self.state_spellings = self._more(self.state_spellings, spellings)
        self.active_states = (self.active_states - ended) | (started & self.state_names)

    def follows_state(self, name: str) -> bool:
        """Whether it is known if a state is active: not if it may be older than the recording, or one too many."""
        return name in self.state_names or (not self.start_missing and len(self.state_names) < self._most_names)

    @property
    def _most_names(self) -> int:
        # A bound on memory, for players that invent a new name for each event.
        return _NAMES_FOLLOWED * self.limits.states

    def _more(self, names: frozenset[str], others: Iterable[str]) -> frozenset[str]:
        new = [name for name in dict.fromkeys(others) if name not in names]
        room = self._most_names - len(names)
        return names.union(new[:room]) if new and room > 0 else names

    def _see_quality(self, event: SessionEvent) -> None:
        if event.dropped_frames is not None:
            self.dropped_frames = event.dropped_frames
        if event.time_to_start_ms is not None and event.time_to_start_ms > 0 and self.time_to_start_ms is None:
            self.time_to_start_ms = event.time_to_start_ms

    def _see_playhead(self, event: SessionEvent) -> None:
        if event.playhead_s is None:
            return
        if event.playhead_s != self.last_playhead_s:
            self.still_since_s = self.clock_s(event)
            self.still_told = False
        elif self.has_stood_too_long(event):
            self.still_told = True
        self.last_playhead_s = event.playhead_s

    def has_stood_too_long(self, event: SessionEvent) -> bool:
        """Whether the playhead has not moved for so long that the back end has closed the session by now."""
        now = self.clock_s(event)
        return (
            event.playhead_s is not None
            and event.playhead_s == self.last_playhead_s
            and now is not None
            and self.still_since_s is not None
            and passed_s(self.still_since_s, now) >= self.limits.playhead_timeout_s
        )

    def _see_ping(self, event: SessionEvent) -> None:
        if event.type in _INTERRUPTIONS:
            self.last_ping = None
            self.stood = None
        if event.type != "ping":
            return
        before, self.last_ping = self.last_ping, event
        interval_s = self.ping_interval_s(before, event)
        if interval_s is not None and not self.is_batch:
            if self.is_content_playing:
                self.ping_intervals = self.ping_intervals.plus(interval_s, self.limits.ping_median_s)
            elif self.ad is not None and self.limits.ad_ping_median_s is not None:
                self.ad_ping_intervals = self.ad_ping_intervals.plus(interval_s, self.limits.ad_ping_median_s)
        self.fast_moves += self.moved_too_fast(before, event)
        self.stood = self.stand_with(event)

    def ping_interval_s(self, before: SessionEvent | None, event: SessionEvent) -> float | None:
        """Return the seconds between two pings without an interruption in between; None if they cannot be measured."""
        if before is None:
            return None
        earlier, later = self.clock_s(before), self.clock_s(event)
        return None if earlier is None or later is None else passed_s(earlier, later)

    def moved_too_fast(self, before: SessionEvent | None, event: SessionEvent) -> bool:
        """Whether the playhead of uninterrupted content moved 500 to 1500 times as fast as ``ts``."""
        if before is None or not self.is_content_playing:
            return False
        if None in (before.playhead_s, event.playhead_s, before.ts_ms, event.ts_ms):
            return False
        assert before.playhead_s is not None
        assert event.playhead_s is not None
        assert before.ts_ms is not None
        assert event.ts_ms is not None
        passed_s = (event.ts_ms - before.ts_ms) / 1000
        return passed_s > 0 and 500 <= (event.playhead_s - before.playhead_s) / passed_s <= 1500

    def stand_with(self, ping: SessionEvent) -> Stand | None:
        """Return the standstill that a ping begins or continues; None if content does not play."""
        if not self.is_content_playing or ping.playhead_s is None or ping.ts_ms is None:
            return None
        if self.stood is not None and self.stood.playhead_s == ping.playhead_s:
            stood = self.stood
            return Stand(
                playhead_s=stood.playhead_s, since_ms=stood.since_ms, until_ms=ping.ts_ms, pings=stood.pings + 1
            )
        return Stand(playhead_s=ping.playhead_s, since_ms=ping.ts_ms, until_ms=ping.ts_ms)


_INTERRUPTIONS = frozenset(
    {*PLAYBACK_EVENTS, "adBreakStart", "adBreakComplete", "adStart", "adComplete", "adSkip", "sessionComplete"}
)
"""Event types that restart an SDK's ping timer, or change what is playing."""
