"""What the events of a session do, in the order in which the back end takes them, and what the time between them counts as.

The time between two neighbouring events counts for the state after the first of them. It is measured by ``ts`` and never
by the playhead. Sources: Adobe's docs, `content-time-spent.md`, `ad-time-spent.md`, `pause-events.md`,
`buffer-events.md` and their sisters; where they are silent, docs/metrics.md says what was chosen.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum, StrEnum, auto
from functools import cache
from typing import NamedTuple

from proxy_addon.core.audits.arrivals import Arrival, Start
from proxy_addon.core.audits.ordering import Taken

MOST_STATES = 10
"""How many player states a session may have; further ones are ignored."""


class State(StrEnum):
    """What passing time counts as."""

    STARTING = "starting"
    CONTENT = "content"
    """The main content is playing, perhaps without moving."""
    AD = "ad"
    PAUSED = "paused"
    BUFFERING = "buffering"
    OVER = "over"
    """The player continues after ``sessionComplete``."""


class _Mode(Enum):
    STARTING = auto()
    PLAYING = auto()
    PAUSED = auto()
    BUFFERING = auto()


class Playing(NamedTuple):
    """What playback does after an event, as far as it decides whose the time is that passes."""

    mode: _Mode = _Mode.STARTING
    in_break: bool = False
    in_ad: bool = False
    is_over: bool = False

    @property
    def state(self) -> State:
        """Whose the time is."""
        if self.mode is not _Mode.PLAYING:
            return _STATES[self.mode]
        if self.in_ad:
            return State.AD
        return State.OVER if self.is_over else State.CONTENT

    def after(self, type: str | None) -> Playing:
        """Return what playback does after one more event."""
        return _turned(self, type) if type in TURNS else self


_BEFORE_ALL = Playing()

TURNS = frozenset(
    {
        "play",
        "pauseStart",
        "bufferStart",
        "adBreakStart",
        "adStart",
        "adComplete",
        "adSkip",
        "adBreakComplete",
        "sessionComplete",
    }
)
"""Types of the events after which playback may do something else."""


@cache  # there are few of both
def _turned(now: Playing, type: str) -> Playing:
    match type:
        case "play":
            return now._replace(mode=_Mode.PLAYING, is_over=now.is_over and now.in_ad)
        case "pauseStart":
            return now._replace(mode=_Mode.PAUSED)
        case "bufferStart":
            return now._replace(mode=_Mode.BUFFERING)
        case "adBreakStart":
            return now._replace(in_break=True, in_ad=False)
        case "adStart" if now.in_break:
            return now._replace(in_ad=True, mode=_Mode.PLAYING if now.mode is _Mode.STARTING else now.mode)
        case "adComplete" | "adSkip":
            return now._replace(in_ad=False)
        case "adBreakComplete":
            return now._replace(in_break=False, in_ad=False)
        case "sessionComplete":
            return now._replace(is_over=True)
    return now


@dataclass(slots=True)
class Break:
    """An ad break, and whether its end was reported."""

    has_ended: bool = False


@dataclass(slots=True, kw_only=True)
class Ad:
    """An ad that was started in a break."""

    id: str | int | None
    within: Break
    is_completed: bool = False
    time_ms: int = 0
    is_paused: bool = False
    """Whether playback was paused when it started, so that no time counts for it."""


@dataclass(slots=True, kw_only=True)
class Chapter:
    """A chapter that was started."""

    index: str | int | None
    is_completed: bool = False


@dataclass(slots=True, kw_only=True)
class PlayerState:
    """A state of the player, such as ``mute``.

    Attributes:
        periods: How often it started while it was not active.
        starts: How often it started.
    """

    is_active: bool = False
    periods: int = 0
    starts: int = 0
    time_ms: int = 0


@dataclass(slots=True, kw_only=True)
class Stretch:
    """The time between two neighbouring events.

    Attributes:
        state: What it counts as.
        chapter: The chapter that is open; None if there is none.
        bitrate: None before the first one.
    """

    ms: int
    state: State
    chapter: Chapter | None
    bitrate: float | None

    @property
    def is_content(self) -> bool:
        """Whether the main content is playing, perhaps without moving."""
        return self.state is State.CONTENT


@dataclass(slots=True)
class Walk:
    """What the events of a session have done so far. `take` changes it.

    Attributes:
        stretches: The stretch before each event; the first is empty.
        content_start: Place of the first ``play`` without an open ad; None before it.
        ad_break: The open ad break; None if there is none. Likewise the next two.
    """

    start: Start | None = None
    stretches: list[Stretch] = field(default_factory=list)
    content_start: int | None = None
    is_completed: bool = False
    has_ended: bool = False
    ads: list[Ad] = field(default_factory=list)
    chapters: list[Chapter] = field(default_factory=list)
    states: dict[str, PlayerState] = field(default_factory=dict)
    pauses: int = 0
    pause_starts: int = 0
    pause_ms: int = 0
    until_play_ms: int = 0
    """Time from each ``pauseStart`` to the next ``play``."""
    buffers: int = 0
    buffer_starts: int = 0
    buffer_ms: int = 0
    starting_ms: int = 0
    after_content_ms: int = 0
    bitrate: float | None = None
    bitrate_changes: int = 0
    dropped_frames: int | None = None
    time_to_start_ms: int | None = None
    errors: int = 0
    player_errors: dict[str, None] = field(default_factory=dict)
    external_errors: dict[str, None] = field(default_factory=dict)
    _playing: Playing = _BEFORE_ALL
    _waits_for_play: bool = False
    ad_break: Break | None = None
    ad: Ad | None = None
    chapter: Chapter | None = None

    @property
    def state(self) -> State:
        """What the time that passes now counts as."""
        return self._playing.state

    def take(self, taken: Taken) -> None:
        """Count the time up to an event, and let the event take effect."""
        self._pass(taken.passed_ms)
        event = taken.event
        self._take_quality(event)
        self._take_states(event)
        self._take_event(event)
        self._playing = self._playing.after(event.type)

    def _pass(self, ms: int) -> None:
        state = self.state
        match state:
            case State.AD if self.ad is not None:
                self.ad.time_ms += ms
            case State.OVER:
                self.after_content_ms += ms
            case State.PAUSED:
                self.pause_ms += ms
            case State.BUFFERING:
                self.buffer_ms += ms
            case State.STARTING:
                self.starting_ms += ms
        if self._waits_for_play:
            self.until_play_ms += ms
        for each in self.states.values():
            if each.is_active:
                each.time_ms += ms
        self.stretches.append(Stretch(ms=ms, state=state, chapter=self.chapter, bitrate=self.bitrate))

    def _take_event(self, event: Arrival) -> None:
        match event.type:
            case "sessionStart":
                self.start = event.start
            case "play":
                self._play()
            case "pauseStart":
                self.pause_starts += 1
                self.pauses += self._playing.mode is not _Mode.PAUSED
                self._waits_for_play = True
            case "bufferStart":
                self.buffer_starts += 1
                self.buffers += self._playing.mode is not _Mode.BUFFERING
            case "adBreakStart":
                self.ad, self.ad_break = None, Break()
            case "adStart" if self.ad_break is not None:
                self.ad = Ad(id=event.name, within=self.ad_break, is_paused=self._playing.mode is _Mode.PAUSED)
                self.ads.append(self.ad)
            case "adComplete" | "adSkip" if self.ad is not None:
                self.ad.is_completed = event.type == "adComplete"
                self.ad = None
            case "adBreakComplete" if self.ad_break is not None:
                self.ad_break.has_ended = True
                self.ad = self.ad_break = None
            case "chapterStart":
                self.chapter = Chapter(index=event.name)
                self.chapters.append(self.chapter)
            case "chapterComplete" | "chapterSkip" if self.chapter is not None:
                self.chapter.is_completed = event.type == "chapterComplete"
                self.chapter = None
            case "bitrateChange":
                self.bitrate_changes += 1
            case "error":
                self.errors += 1
                if event.error_id is not None:
                    (self.external_errors if event.error_is_external else self.player_errors)[event.error_id] = None
            case "sessionComplete":
                self.is_completed = True
            case "sessionEnd":
                self.has_ended = True

    def _play(self) -> None:
        self._waits_for_play = False
        if self.ad is None and self.content_start is None:
            self.content_start = len(self.stretches) - 1

    def _take_quality(self, event: Arrival) -> None:
        if event.bitrate is not None:
            self.bitrate = event.bitrate
        if event.dropped_frames is not None:
            self.dropped_frames = event.dropped_frames
        if event.time_to_start_ms is not None:
            self.time_to_start_ms = event.time_to_start_ms

    def _take_states(self, event: Arrival) -> None:
        for name in event.ended_states:
            state = self.states.get(name.lower())
            if state is not None:
                state.is_active = False
        for name in event.started_states:
            key = name.lower()
            if key not in self.states and len(self.states) >= MOST_STATES:
                continue
            state = self.states.setdefault(key, PlayerState())
            state.starts += 1
            state.periods += not state.is_active
            state.is_active = True


_STATES = {_Mode.STARTING: State.STARTING, _Mode.PAUSED: State.PAUSED, _Mode.BUFFERING: State.BUFFERING}


def walked(taken: Iterable[Taken]) -> Walk:
    """Return what the events of a session have done."""
    walk = Walk()
    for event in taken:
        walk.take(event)
    return walk
