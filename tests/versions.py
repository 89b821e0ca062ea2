"""Sessions of two versions of a player: what the new one does otherwise is in `CHANGES`."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from proxy_addon.core.exchange import Exchange
from proxy_addon.core.fixtures.held import HeldSession, fold
from tests.audited import GOOD, good_cues
from tests.builders import BEGIN_MS
from tests.played import Cue, pinged, recorded

FRAMES, BITRATE = "media.qoe.framesPerSecond", "media.qoe.bitrate"


@dataclass(frozen=True, kw_only=True)
class Change:
    """What a new version does otherwise in some of its sessions.

    Attributes:
        part: One of so many sessions does it.
        said: All that must be said of it.
        things: How many things to look at that is, without what follows from another one.
        cues: Changes what is played, before pings come between.
        every_s: Seconds from ping to ping.
        event: Changes each event in place.
        exchange: Changes each exchange; None drops it.
    """

    what: str
    said: frozenset[str]
    things: int = 1
    part: int = 1
    cues: Callable[[list[Cue]], list[Cue]] = list
    every_s: float = 10
    event: Callable[[dict[str, Any]], object] = lambda value: None
    exchange: Callable[[Exchange], Exchange | None] = lambda exchange: exchange


NOTHING = Change(what="nothing", said=frozenset(), things=0)


def played(number: int, change: Change = NOTHING, player: str = GOOD) -> HeldSession:
    """Return one session of a version, each a little different from the others."""
    chance = random.Random(number)
    if number % change.part:
        change = NOTHING
    pings = iter(range(100))

    def changed(value: dict[str, Any]) -> None:
        if value["eventType"] == "sessionStart":
            value["params"] |= {"media.playerName": player, "media.name": f"Film {number // 90}"}
            value["params"] |= {"media.sdkVersion": f"4.{number // 90}", "media.libraryVersion": f"3.{number // 90}"}
            # Told from session to session, and from one set of sessions to the other: none of it is a change.
            value["customMetadata"] |= {"visit": f"v{number}", "deviceId": f"box-{number // 90}"}
            value["customMetadata"]["appVersion"] = f"4.{number // 90}"
        if value["eventType"] == "ping":
            value["qoeData"] = {FRAMES: 25 + next(pings) % 3}
        change.event(value)

    cues = [cue for cue in good_cues() if cue.type != "ping"]
    held = recorded(
        pinged(change.cues(cues), interval_s=change.every_s, jitter=lambda: chance.uniform(-0.5, 0.5)),
        begin_ms=BEGIN_MS + 1_000 * number,
        session_id=f"{number:064x}",
        latency=lambda: chance.uniform(0.01, 0.05),
        changed=changed,
    )
    later = timedelta(seconds=number)
    arrived = [replace(exchange, received_at=exchange.received_at + later) for exchange in held.exchanges]
    exchanges = [kept for exchange in arrived if (kept := change.exchange(exchange)) is not None]
    (found,) = fold([exchanges[0], *sorted(exchanges[1:], key=lambda each: each.received_at)])
    return replace(found, session=replace(found.session, id=f"{number:016x}"))


def _on(type_: str, change: Callable[[dict[str, Any]], object]) -> Callable[[dict[str, Any]], object]:
    return lambda value: change(value) if value["eventType"] == type_ else None


def _said(*lines: str) -> frozenset[str]:
    return frozenset(lines)


def _rewritten(value: dict[str, Any]) -> None:
    match value["eventType"]:
        case "sessionStart":
            value["params"]["media.channel"] = "SPORTS"
        case "bitrateChange":
            value["qoeData"][BITRATE] = 3_200
        case "ping":
            value["qoeData"][FRAMES] = float(value["qoeData"][FRAMES])


CHANGES = (
    NOTHING,
    Change(
        what="a key less",
        event=_on("sessionStart", lambda value: value["params"].pop("media.channel")),
        said=_said("vanished key sessionStart params media.channel", "appeared finding param-missing"),
    ),
    Change(
        what="a key less in every other session",
        part=2,
        event=_on("sessionStart", lambda value: value["params"].pop("media.channel")),
        said=_said("less key sessionStart params media.channel", "appeared finding param-missing"),
    ),
    Change(
        what="a key more",
        event=_on("adStart", lambda value: value.update(customMetadata={"campaign": "c7"})),
        said=_said("appeared key adStart customMetadata campaign"),
    ),
    Change(
        what="a key on some of the pings of each session",
        event=_on("ping", lambda value: value["qoeData"][FRAMES] == 25 and value.pop("qoeData")),
        said=_said(f"vanished key-throughout ping qoeData {FRAMES}", f"vanished value ping qoeData {FRAMES} 25"),
    ),
    Change(
        what="a number that became text",
        event=_on("ping", lambda value: value["qoeData"].update({FRAMES: "25"})),
        said=_said(
            f"vanished type ping qoeData {FRAMES} number",
            f"appeared type ping qoeData {FRAMES} string",
            "appeared finding qoe-value-type",
        ),
    ),
    Change(
        what="a text in capitals, a number in another unit, and whole numbers with a fraction",
        things=3,
        event=_rewritten,
        said=_said(
            'vanished value sessionStart params media.channel "Sports"',
            'appeared value sessionStart params media.channel "SPORTS"',
            f"vanished value bitrateChange qoeData {BITRATE} 3200000",
            f"appeared value bitrateChange qoeData {BITRATE} 3200",
            "appeared finding integer-as-float",  # which is all: 25.0 is the same number as 25
        ),
    ),
    Change(
        what="an event less",
        cues=lambda cues: [cue for cue in cues if cue.type != "chapterComplete"],
        said=_said(
            "vanished event chapterComplete",
            "appeared finding chapter-open-at-end",
            "vanished metric chapter_completes",
        ),
    ),
    Change(
        what="an event more, and more of another",
        things=3,
        cues=lambda cues: [
            *(cue for cue in cues if cue.at_s < 90),
            Cue(at_s=90, type="bitrateChange", playhead_s=64.6, quality={BITRATE: 1_000_000}),
            Cue(at_s=91, type="bitrateChange", playhead_s=65.6, quality={BITRATE: 2_000_000}),
            Cue(at_s=92, type="stateStart", playhead_s=66.6, params={"media.state.name": "mute"}),
            *(cue for cue in cues if cue.at_s > 92),
        ],
        said=_said(
            "appeared event stateStart",
            "higher event-number bitrateChange",
            "higher metric bitrate_changes",
            f"appeared value bitrateChange qoeData {BITRATE} 1000000",
            f"appeared value bitrateChange qoeData {BITRATE} 2000000",
        ),
    ),
    Change(
        what="pings every 20 s",
        every_s=20,
        said=_said("higher rhythm ping_gaps_ms.content", "lower event-number ping", "appeared finding ping-gap"),
    ),
    Change(
        what="a clock that is late",
        event=lambda value: value["playerTime"].update(ts=value["playerTime"]["ts"] - 4_000),
        said=_said("higher rhythm clock_skew_ms"),
    ),
    Change(
        what="slower answers",
        exchange=lambda exchange: replace(exchange, duration_us=6_000_000),
        said=_said("higher rhythm latency_ms", "appeared slow-answers"),
    ),
    Change(
        what="no end",
        things=2,
        cues=lambda cues: [cue for cue in cues if cue.type not in {"sessionComplete", "sessionEnd"}],
        said=_said(
            "vanished event sessionComplete",
            "vanished event sessionEnd",
            "appeared finding session-not-closed",
            "appeared loss no-end",
            "vanished metric content_completes",
            "higher metric seconds_since_last_call_s",
        ),
    ),
    Change(
        what="a playhead at half speed",
        event=lambda value: value["playerTime"].update(playhead=value["playerTime"]["playhead"] / 2),
        said=_said(
            "lower rhythm playhead_speed",
            "lower metric unique_time_played_s",
            *(f"vanished metric progress_{percent}" for percent in (50, 75, 95)),
        ),
    ),
)
