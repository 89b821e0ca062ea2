"""What went before an event in the order of times: the state machine that every Adobe SDK follows.

`Playback` is changed by `advance` and copied by `copy.copy`: whatever it holds is immutable. Source: Media Collection
API, session rules, method.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from proxy_addon.core.rules.clocks import passed_s
from proxy_addon.core.rules.limits import Limits
from proxy_addon.core.rules.session_view import SessionEvent

LIVE_TYPES = frozenset({"live", "linear", "radio"})
"""Values of ``media.contentType``, in lower case, whose playhead is a clock."""
_NAMES_FOLLOWED = 10
"""How many names of player states are followed in a session, for each one that counts."""
PLAYBACK_EVENTS = frozenset({"play", "pauseStart", "bufferStart"})
_SAYS_PLAY = frozenset({"play", "adStart"})
"""What makes the back end count time as played."""
_ASKS_FOR_PLAY = frozenset({"adBreakComplete", "pauseStart", "bufferStart"})
"""What only a ``play`` ends."""
_PODS_FOLLOWED = 1_000
"""How many ad breaks are told apart by their index in a session."""


class Life(StrEnum):
    """Where a session is between its start and its end."""

    START = "start"
    OPEN = "open"
    COMPLETED = "completed"
    ENDED = "ended"


class Mode(StrEnum):
    """What the player does."""

    STARTING = "starting"
    PLAYING = "playing"
    PAUSED = "paused"
    BUFFERING = "buffering"


@dataclass(slots=True, kw_only=True)
class Median:
    """Whether a median lies above a limit, told without keeping the values: how many lie on each side, and the nearest.

    Never changed: `plus` returns a new one.
    """

    below: int = 0
    above: int = 0
    highest_below: float = float("-inf")
    lowest_above: float = float("inf")

    def plus(self, value: float, limit: float) -> Median:
        """Return it with one more value."""
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
        """How many values there are."""
        return self.below + self.above

    def lies_above(self, limit: float) -> bool:
        """Whether the median lies above the limit."""
        if self.below == self.above:
            return self.count > 0 and (self.highest_below + self.lowest_above) / 2 > limit
        return self.above > self.below


@dataclass(frozen=True, slots=True, kw_only=True)
class Stand:
    """Pings of uninterrupted content that found the playhead at one place.

    Attributes:
        since_ms: ``ts`` of the first.
        until_ms: That of the last.
        pings: How many there are.
    """

    playhead_s: float
    since_ms: int
    until_ms: int
    pings: int = 1

    @property
    def lasted_s(self) -> float:
        """Time between the first and the last."""
        return (self.until_ms - self.since_ms) / 1000

    def is_suspicious(self, limits: Limits) -> bool:
        """Whether content that plays would have moved on by now."""
        return self.pings >= limits.frozen_pings and self.lasted_s >= limits.frozen_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Content that moves on about as fast as time, seen from an event on.

    Attributes:
        playhead_s, since_ms: Of that event.
        moved_s: How far the playhead has moved.
        passed_s: Time that has passed by ``ts``.
        moves: How many events showed it further on.
    """

    playhead_s: float
    since_ms: int
    moved_s: float = 0.0
    passed_s: float = 0.0
    moves: int = 0

    @classmethod
    def begun_at(cls, event: SessionEvent) -> Run | None:
        """Return the run that may begin at an event; None for one without a playhead or a time."""
        if event.playhead_s is None or event.ts_ms is None:
            return None
        return cls(playhead_s=event.playhead_s, since_ms=event.ts_ms)

    def plus(self, event: SessionEvent) -> Run:
        """Return the run with one more event; another one, begun there, if content did something else before it."""
        if event.playhead_s is None or event.ts_ms is None:
            return self
        moved_s = event.playhead_s - self.playhead_s
        passed_s = (event.ts_ms - self.since_ms) / 1000
        # A second of slack, as many players report whole seconds.
        if not passed_s / _FASTEST - 1 <= moved_s <= passed_s * _FASTEST + 1:
            return Run(playhead_s=event.playhead_s, since_ms=event.ts_ms)
        moves = self.moves + (moved_s > self.moved_s)
        return replace(self, moved_s=moved_s, passed_s=passed_s, moves=moves)

    @property
    def is_long(self) -> bool:
        """Whether nothing but content that plays looks like this."""
        return self.moved_s >= RUN_S and self.passed_s / _FASTEST <= self.moved_s <= self.passed_s * _FASTEST


RUN_S = 10
"""How far a playhead runs on before it is said that content plays. Source: session rules, `content-never-played`."""
_FASTEST = 2
"""Content plays at half to double speed, or it is moved."""


@dataclass(slots=True, kw_only=True)
class Playback:
    """What went before an event, in the order of times.

    Attributes:
        by_arrival: Whether time is that of arrival, as when recorded live, and not the events' own.
        is_batch: Downloaded playback: clocks, pings and gaps say nothing.
        start_missing: The start was not recorded, so that length and live are not known.
        retry_of: How another attempt to open the same playback is called; None where this is the first.
        opened_beside: How another session is called that the device opened for the same content, where this one got no
            further event; None where there is none.
        first: The first event; None before it.
        first_ms, last_ms: The first ``ts`` and the one that came last.
        start: The ``sessionStart``; None before it.
        has_played: Whether there was a ``play`` or an ``adStart``.
        content_has_played: Whether there was a ``play`` outside of an ad break.
        silent_since: The event since which no ``play`` has said that content plays; None where one has.
        run: How content has moved on since then, or since it last did something else; None where it cannot.
        run_told: Whether that was told.
        pods: The playhead of the first ad break of each ``media.ad.podIndex``.
        moved_in_ad_ms: ``ts`` of the events that moved the playhead in an open ad break last,
        moved_in_ad: and how many they are.
        break_known: Whether it is known if an ad break is open; where the start was not recorded, only after a bookend.
        in_unseen_break: An ad break seems to be open that began before the recording.
        chapter_known: Whether it is known if a chapter is open, likewise.
        still_since_s: Since when the playhead stands where it is, by `clock_s`.
        last_ping: The ping before, if nothing came between that breaks uninterrupted playback.
        stood: The stand that the last ping belongs to; None where content did not play.
        ping_intervals, ad_ping_intervals: Of pings of uninterrupted content, and ads.
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
    content_has_played: bool = False
    silent_since: SessionEvent | None = None
    run: Run | None = None
    run_told: bool = False
    break_start: SessionEvent | None = None
    break_known: bool = True
    in_unseen_break: bool = False
    ads_in_break: int = 0
    pods: Mapping[int, float] = field(default_factory=dict)
    moved_in_ad_ms: int | None = None
    moved_in_ad: int = 0
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
        """Whether the playhead is a clock, or may be: without a start nobody knows."""
        if self.start is None or self.start.start is None:
            return True
        return (self.start.start.content_type or "").lower() in LIVE_TYPES

    @property
    def length_s(self) -> float | None:
        """Length of the content; None where it is not known."""
        return self.start.start.length_s if self.start is not None and self.start.start is not None else None

    @property
    def is_content_playing(self) -> bool:
        """Whether main content plays. After ``sessionComplete`` there is none left."""
        return self.mode is Mode.PLAYING and not self.is_in_break and self.life is Life.OPEN

    @property
    def is_in_break(self) -> bool:
        """Whether an ad break is open, or seems to be."""
        return self.break_start is not None or self.in_unseen_break

    def clock_s(self, event: SessionEvent) -> float | None:
        """Return the time by which gaps are measured: of arrival when recorded live, else the event's own."""
        if self.by_arrival and not self.is_batch:
            return event.arrived_s
        return None if event.ts_ms is None else event.ts_ms / 1000

    def same_name(self, name: str) -> str:
        """Return a player state's name as it is compared: the two spellings of full screen mean the same."""
        return name.lower() if name.lower() == "fullscreen" else name

    def advance(self, event: SessionEvent) -> None:
        """Take an event into account; after ``sessionEnd`` nothing changes."""
        if self.first is None:
            self.first = event
        if self.life is not Life.ENDED:
            if event.ts_ms is not None:
                self.first_ms = event.ts_ms if self.first_ms is None else self.first_ms
                self.last_ms = event.ts_ms
            self._see_playhead(event)
            self._see_ping(event)
            self._see_run(event)
            self._see_ad(event)
            self._move(event)
            self._see_quality(event)

    def _move(self, event: SessionEvent) -> None:
        """Change state. ``error``, ``bitrateChange`` and ``ping`` change none."""
        if self.life is Life.START:
            self.life = Life.OPEN
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
                    self.mode = Mode.PLAYING  # the back end takes it so
            case "adComplete" | "adSkip":
                self.ad = None
                self.in_unseen_break = not self.break_known
            case "chapterStart":
                self.chapter, self.chapter_known = event, True
            case "chapterComplete" | "chapterSkip":
                self.chapter, self.chapter_known = None, True
            case "stateStart" | "stateEnd" | "statesUpdate":
                self._change_states(event)

    def run_with(self, event: SessionEvent) -> Run | None:
        """Return how content has moved on without a ``play``, an event included; None where it does not or may."""
        if self.silent_since is None or self.is_in_break or self.life is not Life.OPEN:
            return None
        if self.run is None:
            return Run.begun_at(event)
        return self.run.plus(event)

    def shows_silent_run(self, event: SessionEvent) -> bool:
        """Whether an event shows, and none before it did, that content plays though no ``play`` has said so."""
        if self.run_told or event.type in _SAYS_PLAY:
            return False
        run = self.run_with(event)
        return run is not None and run.is_long and run.moves >= (2 if self.has_begun_to_play else 1)

    @property
    def has_begun_to_play(self) -> bool:
        """Whether content or an ad has played in this session, or may have before it was recorded."""
        return self.has_played or self.start is None

    def _see_run(self, event: SessionEvent) -> None:
        self.run_told = self.run_told or self.shows_silent_run(event)
        self.run = self.run_with(event)
        if event.type in _SAYS_PLAY:
            self.has_played, self.silent_since, self.run, self.run_told = True, None, None, False
        elif event.type in _ASKS_FOR_PLAY or (event.type == "sessionStart" and self.start is None):
            self.silent_since, self.run, self.run_told = event, Run.begun_at(event), False

    def moved_playhead_in_ad(self, event: SessionEvent) -> bool:
        """Whether an event is elsewhere in the content than the open ad break began."""
        began = self.break_start
        if began is None or self.is_live or began.playhead_s is None or event.playhead_s is None:
            return False
        return abs(event.playhead_s - began.playhead_s) > self.limits.playhead_slack_s

    def _see_ad(self, event: SessionEvent) -> None:
        if event.ts_ms != self.moved_in_ad_ms:
            self.moved_in_ad_ms, self.moved_in_ad = event.ts_ms, 0
        if event.type in ("adBreakStart", "adBreakComplete"):
            self.moved_in_ad = 0
        else:
            self.moved_in_ad += self.moved_playhead_in_ad(event)
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
        """Whether it is known if a state is active: not where it may be older than the recording, nor of very many."""
        return name in self.state_names or (not self.start_missing and len(self.state_names) < self._most_names)

    @property
    def _most_names(self) -> int:
        # So that a player which makes up a name for each event does not cost more with each.
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
        """Whether the playhead has not moved for so long that the back end has closed the session."""
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
        """Return the distance of two pings with nothing between them that interrupts; None where there is none."""
        if before is None:
            return None
        earlier, later = self.clock_s(before), self.clock_s(event)
        return None if earlier is None or later is None else passed_s(earlier, later)

    def moved_too_fast(self, before: SessionEvent | None, event: SessionEvent) -> bool:
        """Whether the playhead of uninterrupted content moved about a thousand times as fast as time."""
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
        """Return the stand that a ping begins or goes on with; None where content does not play."""
        if not self.is_content_playing or ping.playhead_s is None or ping.ts_ms is None:
            return None
        if self.stood is not None and self.stood.playhead_s == ping.playhead_s:
            return replace(self.stood, until_ms=ping.ts_ms, pings=self.stood.pings + 1)
        return Stand(playhead_s=ping.playhead_s, since_ms=ping.ts_ms, until_ms=ping.ts_ms)


_INTERRUPTIONS = frozenset(
    {*PLAYBACK_EVENTS, "adBreakStart", "adBreakComplete", "adStart", "adComplete", "adSkip", "sessionComplete"}
)
"""What restarts an SDK's ping timer, or changes what is played."""
