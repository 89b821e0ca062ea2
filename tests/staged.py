"""Playbacks as somebody would play them for a scenario, in a few words: `Staged().start().play(30).pause(30).play(30).end()`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Self

from proxy_addon.core.fixtures.held import HeldSession, fold
from tests.builders import BEGIN_MS, START_PARAMS, batch, event_dict
from tests.played import Cue, pinged, recorded


class Staged:
    """A player on a stage: each method does something that takes some seconds, and returns the player.

    Attributes:
        cues: What it has reported, without pings.
        at_s: The time.
        playhead_s: Where the content is.
    """

    def __init__(self, at_s: float = 0.0, playhead_s: float = 0.0, **params: Any) -> None:
        self.cues: list[Cue] = []
        self.at_s = 0.0
        self.playhead_s = playhead_s
        self._begin_s = at_s
        self._params = {key.replace("__", "."): value for key, value in params.items()}
        self._ads = 0

    def say(self, type: str, params: Mapping[str, Any] | None = None, **more: Any) -> Self:
        """Report an event at once."""
        self.cues.append(Cue(at_s=self.at_s, type=type, playhead_s=self.playhead_s, params=params or {}, **more))
        return self

    def wait(self, seconds: float, *, moves: bool = False) -> Self:
        """Let time pass."""
        self.at_s = round(self.at_s + seconds, 3)
        self.playhead_s = round(self.playhead_s + seconds * moves, 3)
        return self

    def start(self, load_s: float = 0.5) -> Self:
        """Open the session."""
        return self.say("sessionStart", {**START_PARAMS, **self._params}).wait(load_s)

    def play(self, seconds: float) -> Self:
        """Play content."""
        return self.say("play").wait(seconds, moves=True)

    def pause(self, seconds: float) -> Self:
        """Stand still."""
        return self.say("pauseStart").wait(seconds)

    def buffer(self, seconds: float) -> Self:
        """Wait for data."""
        return self.say("bufferStart").wait(seconds)

    def seek(self, by_s: float) -> Self:
        """Go elsewhere in the content; what follows is `play`."""
        self.say("pauseStart").wait(0.5)
        self.playhead_s += by_s
        return self

    def ads(self, *lengths: float, skips: bool = False, positions: Sequence[int] = (1, 2, 3)) -> Self:
        """Play a break of ads."""
        self._ads += 1
        pod = {
            "media.ad.podFriendlyName": "break",
            "media.ad.podIndex": self._ads,
            "media.ad.podSecond": self.playhead_s,
        }
        self.say("adBreakStart", pod)
        for length, position in zip(lengths, positions, strict=False):
            ad = {
                "media.ad.id": f"ad-{position}",
                "media.ad.name": f"Spot {position}",
                "media.ad.length": length,
                "media.ad.podPosition": position,
                "media.ad.playerName": "ads",
            }
            self.say("adStart", ad).say("play")
            self.wait(length / 3 if skips else length).say("adSkip" if skips else "adComplete")
        return self.say("adBreakComplete")

    def end(self, *types: str) -> list[Cue]:
        """Close the session, by default with ``sessionEnd``, and return what was reported, with pings."""
        for type in types or ("sessionEnd",):
            self.say(type)
        return self.left()

    def left(self) -> list[Cue]:
        """Return what was reported, with pings, without closing the session."""
        last = Cue(at_s=self.at_s, type="", playhead_s=self.playhead_s)
        cues = [cue for cue in pinged([*self.cues, last]) if cue is not last]
        return [replace(cue, at_s=round(cue.at_s + self._begin_s, 3)) for cue in cues]


def chapter(index: int, offset: float) -> Mapping[str, Any]:
    """Return the params of a chapter."""
    return {"media.chapter.index": index, "media.chapter.offset": offset, "media.chapter.length": 60}


def sessions_of(playbacks: Sequence[Sequence[Cue]], *, downloaded: bool = False) -> list[HeldSession]:
    """Return what a recorder stores for playbacks, one session each."""
    if downloaded:
        return [
            fold(
                [
                    batch(
                        [
                            event_dict(
                                cue.type,
                                playhead=cue.playhead_s,
                                ts=BEGIN_MS + round(cue.at_s * 1000),
                                params=cue.params or None,
                            )
                            for cue in cues
                        ],
                        after_s=90_000,
                    )
                ]
            )[0]
            for cues in playbacks
        ]
    found = [recorded(cues, session_id=f"{number:064x}") for number, cues in enumerate(playbacks, 1)]
    return [replace(each, session=replace(each.session, id=f"s{number}")) for number, each in enumerate(found, 1)]
