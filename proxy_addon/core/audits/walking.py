"""What the events of a session do, in the order in which the back end takes them, and whose the time between them is.

Each stretch between two neighbouring events belongs to the state after the first of them. Time is measured by ``ts``
and never by the playhead. Sources: Adobe's docs, `content-time-spent.md`, `ad-time-spent.md`, `pause-events.md`,
`buffer-events.md` and their sisters; where they are silent, docs/metrics.md says what was chosen.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum, auto

from proxy_addon.core.audits.arrivals import Arrival, Start
from proxy_addon.core.audits.ordering import Taken

MOST_STATES = 10
"""How many player states a session may have; further ones are ignored."""


class _Mode(Enum):
    STARTING = auto()
    PLAYING = auto()
    PAUSED = auto()
    BUFFERING = auto()


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
        is_content: Whether the main content is playing, perhaps without moving.
        chapter: The chapter that is open.
        bitrate: None before the first one.
    """

    ms: int
    is_content: bool
    chapter: Chapter | None
    bitrate: float | None


@dataclass(slots=True)
class Walk:
    """What the events of a session have done so far. `take` changes it.

    Attributes:
        stretches: The stretch before each event; the first is empty.
        content_start: Place of the first ``play`` without an open ad; None before it.
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
    """Time in which a player plays on after ``sessionComplete``."""
    bitrate: float | None = None
    bitrate_changes: int = 0
    dropped_frames: int | None = None
    time_to_start_ms: int | None = None
    errors: int = 0
    player_errors: dict[str, None] = field(default_factory=dict)
    external_errors: dict[str, None] = field(default_factory=dict)
    _mode: _Mode = _Mode.STARTING
    _is_over: bool = False
    _waits_for_play: bool = False
    _break: Break | None = None
    _ad: Ad | None = None
    _chapter: Chapter | None = None

    def take(self, taken: Taken) -> None:
        """Count the time up to an event, and let the event take effect."""
        self._pass(taken.passed_ms)
        event = taken.event
        self._take_quality(event)
        self._take_states(event)
        self._take_event(event)

    def _pass(self, ms: int) -> None:
        mode, ad = self._mode, self._ad
        is_content = False
        if mode is _Mode.PLAYING:
            is_content = ad is None and not self._is_over
            if ad is not None:
                ad.time_ms += ms
            elif self._is_over:
                self.after_content_ms += ms
        elif mode is _Mode.PAUSED:
            self.pause_ms += ms
        elif mode is _Mode.BUFFERING:
            self.buffer_ms += ms
        else:
            self.starting_ms += ms
        if self._waits_for_play:
            self.until_play_ms += ms
        for state in self.states.values():
            if state.is_active:
                state.time_ms += ms
        self.stretches.append(Stretch(ms=ms, is_content=is_content, chapter=self._chapter, bitrate=self.bitrate))

    def _take_event(self, event: Arrival) -> None:
        match event.type:
            case "sessionStart":
                self.start = event.start
            case "play":
                self._play()
            case "pauseStart":
                self.pause_starts += 1
                self.pauses += self._mode is not _Mode.PAUSED
                self._mode, self._waits_for_play = _Mode.PAUSED, True
            case "bufferStart":
                self.buffer_starts += 1
                self.buffers += self._mode is not _Mode.BUFFERING
                self._mode = _Mode.BUFFERING
            case "adBreakStart":
                self._ad, self._break = None, Break()
            case "adStart" if self._break is not None:
                self._ad = Ad(id=event.name, within=self._break, is_paused=self._mode is _Mode.PAUSED)
                self.ads.append(self._ad)
                if self._mode is _Mode.STARTING:
                    self._mode = _Mode.PLAYING
            case "adComplete" | "adSkip" if self._ad is not None:
                self._ad.is_completed = event.type == "adComplete"
                self._ad = None
            case "adBreakComplete" if self._break is not None:
                self._break.has_ended = True
                self._ad = self._break = None
            case "chapterStart":
                self._chapter = Chapter(index=event.name)
                self.chapters.append(self._chapter)
            case "chapterComplete" | "chapterSkip" if self._chapter is not None:
                self._chapter.is_completed = event.type == "chapterComplete"
                self._chapter = None
            case "bitrateChange":
                self.bitrate_changes += 1
            case "error":
                self.errors += 1
                if event.error_id is not None:
                    (self.external_errors if event.error_is_external else self.player_errors)[event.error_id] = None
            case "sessionComplete":
                self.is_completed = self._is_over = True
            case "sessionEnd":
                self.has_ended = True

    def _play(self) -> None:
        self._mode, self._waits_for_play = _Mode.PLAYING, False
        if self._ad is None:
            self._is_over = False
            if self.content_start is None:
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


def walked(taken: Iterable[Taken]) -> Walk:
    """Return what the events of a session have done."""
    walk = Walk()
    for event in taken:
        walk.take(event)
    return walk
