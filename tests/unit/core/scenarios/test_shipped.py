"""Each scenario that comes with us: a made-up playback passes it, and one with a mistake fails for exactly that."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest

from proxy_addon.core.scenarios.judging import Evidence, judge
from proxy_addon.files.scenarios import scenarios
from tests.pictured import picture
from tests.played import Cue
from tests.staged import Staged, chapter, sessions_of

Playbacks = list[list[Cue]]
Change = Callable[[Playbacks], Playbacks]
SHIPPED = scenarios()


def _is(cue: Cue, type: str, said: str) -> bool:
    return cue.type == type and (not said or said in str({**cue.params, **cue.quality}))


def without(*types: str, session: int = 1, said: str = "") -> Change:
    """Leave out all events of these types."""

    def change(playbacks: Playbacks) -> Playbacks:
        playbacks[session - 1] = [
            cue for cue in playbacks[session - 1] if not any(_is(cue, type, said) for type in types)
        ]
        return playbacks

    return change


def setting(type: str, key: str, *, to: Any, session: int = 1, quality: bool = False) -> Change:
    """Change a value in all events of a type; None leaves it out."""

    def changed(cue: Cue) -> Cue:
        values = {**(cue.quality if quality else cue.params), key: to}
        kept = {name: each for name, each in values.items() if each is not None}
        return replace(cue, quality=kept) if quality else replace(cue, params=kept)

    def change(playbacks: Playbacks) -> Playbacks:
        playbacks[session - 1] = [changed(cue) if cue.type == type else cue for cue in playbacks[session - 1]]
        return playbacks

    return change


def saying(type: str, after: str, *, session: int = 1, later_s: float = 1, params: Any = None) -> Change:
    """Put an event behind the last one of a type."""

    def change(playbacks: Playbacks) -> Playbacks:
        cues = playbacks[session - 1]
        place = max(place for place, cue in enumerate(cues) if cue.type == after)
        new = replace(
            cues[place], type=type, at_s=round(cues[place].at_s + later_s, 3), params=params or {}, quality={}
        )
        playbacks[session - 1] = sorted([*cues, new], key=lambda cue: cue.at_s)
        return playbacks

    return change


def as_(old: str, new: str, *, session: int = 1) -> Change:
    """Report something else instead."""

    def change(playbacks: Playbacks) -> Playbacks:
        playbacks[session - 1] = [
            replace(cue, type=new, params={}) if cue.type == old else cue for cue in playbacks[session - 1]
        ]
        return playbacks

    return change


def instead(*playbacks: list[Cue]) -> Change:
    """Play otherwise."""
    return lambda _: [*playbacks]


def every_other_ping(playbacks: Playbacks) -> Playbacks:
    """Ping half as often."""
    pings = [cue for cue in playbacks[0] if cue.type == "ping"][::2]
    return [[cue for cue in playbacks[0] if cue not in pings]]


def frozen(since_s: float) -> Change:
    """Let the playhead stand still from a time on."""

    def change(playbacks: Playbacks) -> Playbacks:
        before = max(cue.playhead_s for cue in playbacks[0] if cue.at_s < since_s - 10)
        return [[replace(cue, playhead_s=min(cue.playhead_s, before)) for cue in playbacks[0]]]

    return change


def drifting(playbacks: Playbacks) -> Playbacks:
    """Let the playhead run on in an ad."""
    begin, end = (next(cue.at_s for cue in playbacks[0] if cue.type == type) for type in ("adStart", "adComplete"))
    return [
        [
            replace(cue, playhead_s=cue.playhead_s + 5) if cue.type == "ping" and begin < cue.at_s < end else cue
            for cue in playbacks[0]
        ]
    ]


def silent(cues: list[Cue], since_s: float) -> list[Cue]:
    """Leave out the pings from a time on."""
    return [cue for cue in cues if cue.type != "ping" or cue.at_s < since_s]


def going_back() -> list[Cue]:
    player = vod()
    for _ in range(4):
        player.play(35).seek(-35)
    return player.end()


def vod(at_s: float = 0.0, playhead_s: float = 0.0, **params: Any) -> Staged:
    return Staged(at_s, playhead_s, **params).start()


def states(mute_s: float = 20, full_s: float = 20, again: bool = False) -> list[Cue]:
    player = vod().play(30)
    for name, seconds in (("mute", mute_s), ("fullScreen", full_s), *([("mute", 15)] if again else ())):
        state = {"media.state.name": name}
        player.say("stateStart", state).wait(seconds, moves=True).say("stateEnd", state).wait(2, moves=True)
    return player.end()


def live(edge: float = 50_000, speed: float = 1, **params: Any) -> list[Cue]:
    params = {"media__contentType": "live", "media__length": 86_400, **params}
    cues = Staged(0, edge, **params).start().play(120).end()
    return [replace(cue, playhead_s=edge + (cue.playhead_s - edge) * speed) for cue in cues]


def quality(bitrate: Any = 4_500_000) -> dict[str, Any]:
    return {"media.qoe.bitrate": bitrate}


def changing(**more: Any) -> list[Cue]:
    return vod().play(30).say("bitrateChange", **{"quality": quality(), **more}).wait(30, moves=True).end()


DRM = {"media.qoe.errorID": "drm-7", "media.qoe.errorSource": "player"}


def failing(*, load_s: float = 30, **more: Any) -> list[Cue]:
    return vod().play(load_s).say("error", **{"quality": DRM, **more}).pause(2).end()


def two_chapters(*, how: str = "chapterComplete", between_s: float = 0.1) -> list[Cue]:
    player = vod().say("chapterStart", chapter(1, 0)).play(40).say(how).wait(between_s, moves=True)
    return player.say("chapterStart", chapter(2, 40)).wait(30, moves=True).say(how).end()


@dataclass(frozen=True)
class Case:
    """A scenario as it should be played, and mistakes with the sentence that they break."""

    played: Callable[[], Playbacks]
    mistakes: Sequence[tuple[str, Change]]
    downloaded: bool = False


CASES = {
    "five-minutes": Case(
        lambda: [vod().play(300).end()],
        [
            ("Playing is reported within 15 seconds", instead(Staged().start(20).play(300).end())),
            ("Five minutes of content", instead(vod().play(280).end())),
            ("Nothing else is counted", instead(vod().play(150).pause(5).play(150).end())),
            ("A ping comes about every ten", every_other_ping),
            ("The player closes", instead(vod().play(300).left())),
        ],
    ),
    "short-pause": Case(
        lambda: [vod().play(30).pause(30).play(30).end()],
        [
            ("The pause is reported", instead(vod().play(5).pause(30).play(50).end())),
            ("One pause of half a minute", instead(vod().play(30).pause(30).play(20).pause(5).play(10).end())),
            ("The pause is not counted as content", instead(vod().play(30).pause(30).play(80).end())),
            ("The player closes", without("sessionEnd")),
        ],
    ),
    "long-pause": Case(
        lambda: [
            vod().play(60).pause(1800).end(),
            vod(1980, 60, media__resume=True).play(30).end(),
        ],
        [
            ("It is the same content", setting("sessionStart", "media.id", to="other", session=2)),
            (
                "It begins when playing goes on",
                instead(
                    vod().play(60).pause(1800).end(), Staged(1980, 60, media__resume=True).start(25).play(30).end()
                ),
            ),
            ("It goes on where the pause began", instead(vod().play(60).pause(1800).end(), vod(1980).play(20).end())),
            ("The session is over when the pause is", as_("sessionEnd", "sessionComplete")),
            (
                "It is opened over half an hour",
                instead(vod().play(60).pause(300).end(), vod(480, 60, media__resume=True).play(30).end()),
            ),
            ("The player opens 2 sessions", lambda played: [*played, vod(3000).play(5).end()]),
        ],
    ),
    "seek": Case(
        lambda: [vod().play(30).seek(300).play(30).seek(-180).play(30).end()],
        [
            (
                "Playing goes on further ahead",
                instead(vod(0, 400, media__resume=True).play(30).seek(90).play(30).seek(-180).play(30).end()),
            ),
            ("After that, playing goes on further back", instead(vod().play(30).seek(300).play(60).end())),
            ("What was skipped is not counted", instead(vod().play(80).seek(300).play(80).seek(-180).play(30).end())),
            ("The playhead is that of the content", setting("sessionStart", "media.length", to=100)),
            ("The player closes", without("sessionEnd")),
        ],
    ),
    "replay": Case(
        lambda: [vod(media__length=60).play(60).end("sessionComplete"), vod(70, media__length=60).play(30).end()],
        [
            ("It is the same content, later", setting("sessionStart", "media.id", to="other", session=2)),
            (
                "It begins at the beginning",
                instead(
                    vod(media__length=60).play(60).end("sessionComplete"),
                    vod(70, 20, media__length=60).play(30).end(),
                ),
            ),
            ("It is counted as a start", setting("sessionStart", "media.resume", to=True, session=2)),
            ("Playing again is not reported", saying("play", "sessionComplete")),
        ],
    ),
    "next-content": Case(
        lambda: [vod().play(30).end(), vod(40, media__id="video-124").play(30).end()],
        [
            ("It is another content", setting("sessionStart", "media.id", to="video-123", session=2)),
            ("It is closed before", without("sessionEnd")),
            ("Nothing of the next content", saying("play", "sessionEnd", later_s=5)),
            ("It is played.", instead(vod().play(30).end(), vod(40, media__id="video-124").play(10).end())),
        ],
    ),
    "pre-roll": Case(
        lambda: [vod().ads(15).play(30).end()],
        [
            ("Breaks and ads are opened", saying("adSkip", "adComplete", later_s=0)),
            ("The content does not start before", instead(vod().play(0.2).ads(15).play(30).end())),
            ("The playhead stands still", drifting),
            ("The ad is reported in a break", instead(vod().play(5).ads(15).play(30).end())),
            ("The ad and the content are counted", instead(vod().ads(15).play(5).end())),
            ("The player closes", without("sessionEnd")),
        ],
    ),
    "mid-roll": Case(
        lambda: [vod().play(60).ads(15).play(30).end()],
        [
            ("Breaks and ads are opened", saying("adSkip", "adComplete", later_s=0)),
            ("The playhead stands still", drifting),
            ("The content goes on where it was", instead(vod().play(60).ads(15).end())),
            ("The player closes", without("sessionEnd")),
        ],
    ),
    "post-roll": Case(
        lambda: [vod(media__length=60).play(60).say("sessionComplete").ads(15).end()],
        [
            (
                "Breaks and ads are opened",
                lambda _: saying("adSkip", "adComplete", later_s=0)(
                    [vod(media__length=60).play(60).say("sessionComplete").ads(15).wait(5).end()]
                ),
            ),
            (
                "The content does not go on",
                instead(vod(media__length=60).play(60).say("sessionComplete").ads(15).play(3).end()),
            ),
        ],
    ),
    "ad-pod": Case(
        lambda: [vod().ads(15, 20).play(30).end()],
        [
            ("Breaks and ads are opened", saying("adSkip", "adComplete", later_s=0)),
            ("Two ads follow each other", instead(vod().ads(15).play(10).ads(20).play(30).end())),
            ("Each ad says its position", setting("adStart", "media.ad.length", to=0)),
            ("The positions grow", instead(vod().ads(15, 20, positions=(2, 1)).play(30).end())),
        ],
    ),
    "skip-ad": Case(
        lambda: [vod().ads(15, skips=True).play(30).end()],
        [
            ("Breaks and ads are opened", saying("adSkip", "adSkip", later_s=0)),
            ("The ad is reported as skipped", instead(vod().ads(15).play(30).end())),
            ("The ad is counted as started", instead(vod().ads(15, skips=True).play(5).end())),
        ],
    ),
    "buffering": Case(
        lambda: [vod().play(30).buffer(8).play(30).end()],
        [
            ("Waiting is reported while", instead(Staged().start().buffer(5).play(30).end())),
            ("The waiting is counted", instead(vod().play(30).buffer(0.5).pause(3).play(30).end())),
            ("The playhead does not stand still", lambda _: frozen(50)([vod().play(30).buffer(8).play(60).end()])),
        ],
    ),
    "error": Case(
        lambda: [failing()],
        [
            (
                "The error is reported after",
                instead(vod().play(1).say("error", quality=DRM).wait(30, moves=True).pause(2).end()),
            ),
            ("It says its code", setting("error", "media.qoe.errorID", to=None, quality=True)),
            ("The code is where reports", setting("error", "media.errorId", to="drm-7")),
            ("Content time ends", instead(failing(load_s=200))),
        ],
    ),
    "background": Case(
        lambda: [vod().play(30).pause(60).play(30).end()],
        [
            ("The session does not run into", instead(silent(vod().play(30).pause(60).play(30).pause(700).end(), 125))),
            ("A pause is reported when", instead(vod().play(5).pause(60).play(60).end())),
            ("The minute in the background", instead(vod().play(30).pause(60).play(90).end())),
        ],
    ),
    "lost-network": Case(
        lambda: [
            [cue for cue in vod().play(150).end() if not (cue.type == "ping" and 60 < cue.at_s < 90)],
        ],
        [
            ("The session does not run into", instead(silent(vod().play(150).pause(700).end(), 155))),
            ("It goes on being reported", instead(going_back())),
            ("At least the two minutes", every_other_ping),
            ("The time is counted", instead(vod().play(200).end())),
        ],
    ),
    "incoming-call": Case(
        lambda: [vod().play(30).pause(35).play(30).end()],
        [
            ("The session does not run into", instead(silent(vod().play(30).pause(35).play(30).pause(700).end(), 100))),
            ("The interruption is reported", instead(vod().play(60).end())),
            ("The call is not counted", instead(vod().play(30).pause(35).play(80).end())),
        ],
    ),
    "killed-app": Case(
        lambda: [vod().play(60).left(), vod(80, 60, media__resume=True).play(30).end()],
        [
            ("Its content is not reported", lambda played: [vod().play(60).end("sessionComplete"), played[1]]),
            ("It says that it resumes", setting("sessionStart", "media.resume", to=False, session=2)),
            ("It is the same content", setting("sessionStart", "media.id", to="other", session=2)),
            ("The player opens 2 sessions", lambda played: [*played, vod(300).play(5).end()]),
        ],
    ),
    "live": Case(
        lambda: [live()],
        [
            ("The start says that it is live", instead(live(media__contentType="stream"))),
            ("The playhead moves on", instead(live(speed=0.5))),
            ("The playhead is within a day", instead(live(edge=90_000))),
            (
                "Two minutes of content",
                instead(Staged(0, 50_000, media__contentType="live", media__length=86_400).start().play(75).end()),
            ),
        ],
    ),
    "chapters": Case(
        lambda: [two_chapters()],
        [
            ("A chapter is completed", instead(two_chapters(between_s=20))),
            ("Each chapter says", setting("chapterStart", "media.chapter.offset", to=-1)),
            ("Chapters do not overlap", saying("chapterSkip", "sessionEnd", later_s=-0.01)),
        ],
    ),
    "bitrate-change": Case(
        lambda: [changing()],
        [
            (
                "The change is reported while",
                instead(vod().play(2).say("bitrateChange", quality=quality()).wait(30, moves=True).end()),
            ),
            ("Quality values are where", instead(changing(params=quality()))),
            ("It says the new bitrate", setting("bitrateChange", "media.qoe.bitrate", to=0, quality=True)),
        ],
    ),
    "player-states": Case(
        lambda: [states()],
        [
            (
                "Their names are of one spelling",
                saying("stateStart", "stateEnd", params={"media.state.name": "my state"}),
            ),
            ("Mute is counted once", instead(states(again=True))),
            ("Full screen is counted once", instead(states(full_s=3))),
            ("States are started", saying("stateEnd", "stateEnd", params={"media.state.name": "mute"})),
        ],
    ),
    "abandoned-start": Case(
        lambda: [Staged().start(4).end()],
        [
            ("The content is not reported as completed", as_("sessionEnd", "sessionComplete")),
            ("Playing is not reported", instead(Staged().start(1).ads(1).end())),
        ],
    ),
    "resume": Case(
        lambda: [vod().play(60).end(), vod(100, 60, media__resume=True).play(30).end()],
        [
            ("It begins where", lambda played: [played[0], vod(100, 200, media__resume=True).play(30).end()]),
            ("It is closed, but", as_("sessionEnd", "sessionComplete")),
            (
                "It is played for a minute",
                instead(vod().play(30).end(), vod(100, 60, media__resume=True).play(30).end()),
            ),
        ],
    ),
    "downloaded": Case(
        lambda: [vod(media__downloaded=True).play(60).end("sessionComplete", "sessionEnd")],
        [
            (
                "The events are in the order",
                lambda played: [[*played[0][:4], replace(played[0][4], at_s=played[0][2].at_s), *played[0][5:]]],
            ),
            ("The player closes", lambda played: [played[0][:-2]]),
        ],
        downloaded=True,
    ),
}


def evidence(name: str, playbacks: Playbacks) -> Evidence:
    sessions = sessions_of(playbacks, downloaded=CASES[name].downloaded)
    return judge(SHIPPED[name], [picture(held) for held in sessions])


def failures(found: Evidence) -> list[str]:
    return [f"{line.session}: {line.that} {line.failures}" for line in found.lines if not line.holds]


def test_there_are_24_with_a_case_each():
    assert len(SHIPPED) == 24
    assert [*SHIPPED] == [*CASES]


@pytest.mark.parametrize("name", CASES)
def test_a_playback_as_it_should_be_passes(name):
    found = evidence(name, CASES[name].played())
    assert failures(found) == []
    assert found.is_passed


@pytest.mark.parametrize(
    ("name", "that", "change"),
    [(name, that, change) for name, case in CASES.items() for that, change in case.mistakes],
    ids=[f"{name}-{that}" for name, case in CASES.items() for that, _ in case.mistakes],
)
def test_a_mistake_fails_exactly_what_it_breaks(name, that, change):
    found = evidence(name, change(CASES[name].played()))
    failing = [line for line in found.lines if not line.holds]
    assert [line.that.startswith(that) for line in failing] == [True], failures(found)
