"""A long playback as a player reports it, and what differs naturally when it is played again."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from proxy_addon.core.exchange import Exchange
from proxy_addon.core.fixtures.held import HeldSession, fold
from tests.builders import BEGIN_MS, START_PARAMS, body, event, start


@dataclass(frozen=True, kw_only=True)
class Cue:
    """One event: when, where in the content, and what it contains."""

    at_s: float
    type: str
    playhead_s: float = 0.0
    params: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    quality: Mapping[str, Any] = field(default_factory=dict)


QUALITY = {
    "media.qoe.bitrate": 3_200_000,
    "media.qoe.droppedFrames": 2,
    "media.qoe.framesPerSecond": 25,
    "media.qoe.timeToStart": 640,
}
VISITOR = {
    "analytics.visitorId": "visitor-7",
    "analytics.aid": "2F3A-77",
    "visitor.marketingCloudUserId": "71234567890123456789012345678901234567",
    "visitor.aamLocationHint": 6,
    "visitor.customerIDs": {"crm": {"id": "customer-9", "authState": 1}},
    "appInstallationId": "6ba7b810-9dad-11d1-80b4-00c04fd430c8",
}


def _break(at_s: float, playhead_s: float, index: int, lengths: Sequence[int]) -> list[Cue]:
    cues = [
        Cue(
            at_s=at_s,
            type="adBreakStart",
            playhead_s=playhead_s,
            params={
                "media.ad.podFriendlyName": f"break {index}",
                "media.ad.podIndex": index,
                "media.ad.podSecond": playhead_s,
            },
        )
    ]
    for position, length in enumerate(lengths, 1):
        params = {
            "media.ad.id": f"ad-{index}-{position}",
            "media.ad.name": f"Spot {index}.{position}",
            "media.ad.length": length,
            "media.ad.podPosition": position,
            "media.ad.playerName": "ads",
            "media.ad.advertiser": "Sea Ltd",
        }
        cues.append(
            Cue(at_s=at_s, type="adStart", playhead_s=playhead_s, params=params, metadata={"campaign": f"c{index}"})
        )
        cues.append(Cue(at_s=at_s, type="play", playhead_s=playhead_s))
        at_s += length
        cues.append(Cue(at_s=at_s, type="adComplete", playhead_s=playhead_s))
    cues.append(Cue(at_s=at_s, type="adBreakComplete", playhead_s=playhead_s))
    cues.append(Cue(at_s=at_s, type="play", playhead_s=playhead_s))
    return cues


def _chapter(at_s: float, playhead_s: float, index: int) -> Cue:
    params = {
        "media.chapter.index": index,
        "media.chapter.offset": playhead_s,
        "media.chapter.length": 300,
        "media.chapter.friendlyName": f"Chapter {index}",
    }
    return Cue(at_s=at_s, type="chapterStart", playhead_s=playhead_s, params=params, metadata={"part": str(index)})


def film(content_type: str = "vod", *, playhead_s: float = 0.0) -> list[Cue]:
    """Return eight minutes of a film without pings: two ad breaks, two chapters, a pause, a seek, buffering, states."""
    params = {**START_PARAMS, **VISITOR, "media.contentType": content_type, "media.length": 600.5}
    state = {"media.state.name": "fullScreen"}
    cues = [
        Cue(at_s=0, type="sessionStart", params=params, metadata={"page": "film", "plan": "gold"}),
        *_break(0.4, 0, 1, [15, 20]),
        _chapter(35.4, 0, 1),
        Cue(at_s=60.0, type="bitrateChange", playhead_s=24.6, quality=QUALITY),
        Cue(at_s=72.0, type="stateStart", playhead_s=36.6, params=state),
        Cue(at_s=97.0, type="pauseStart", playhead_s=61.6),
        Cue(at_s=131.0, type="play", playhead_s=61.6),
        Cue(at_s=150.0, type="stateEnd", playhead_s=80.6, params=state),
        *_break(188.0, 118.6, 2, [30]),
        Cue(at_s=246.0, type="chapterComplete", playhead_s=146.6),
        _chapter(246.0, 146.6, 2),
        Cue(at_s=262.0, type="pauseStart", playhead_s=162.6),  # a seek
        Cue(at_s=264.0, type="play", playhead_s=400.0, quality=QUALITY),
        Cue(at_s=291.0, type="bufferStart", playhead_s=427.0),
        Cue(at_s=294.0, type="play", playhead_s=427.0, quality=QUALITY),
        Cue(
            at_s=333.0,
            type="error",
            playhead_s=466.0,
            quality={"media.qoe.errorID": "drm-7", "media.qoe.errorSource": "player"},
        ),
        Cue(at_s=467.5, type="chapterComplete", playhead_s=600.5),
        Cue(at_s=467.5, type="sessionComplete", playhead_s=600.5),
        Cue(at_s=467.6, type="sessionEnd", playhead_s=600.5),
    ]
    return [replace(cue, playhead_s=cue.playhead_s + playhead_s) for cue in cues]


def pinged(
    cues: Sequence[Cue],
    *,
    interval_s: float = 10.0,
    ad_interval_s: float | None = None,
    restarts: bool = True,
    jitter: Callable[[], float] = lambda: 0.0,
    drift: Callable[[], float] = lambda: 0.0,
) -> list[Cue]:
    """Return cues with pings in between.

    Args:
        restarts: Whether playback events restart the timer, as in SDKs; else pings come on a fixed grid.
        jitter: How late a ping is; the next one is not later for it.
        drift: How late the timer is; all that follow are later for it.
    """
    found: list[Cue] = []
    due = interval_s
    in_ad = playing = False
    last = cues[0]
    for cue in cues:
        while due < cue.at_s:
            due_at = due + drift()
            moving = playing and not in_ad
            at_s = due_at + jitter()
            playhead_s = last.playhead_s + (max(at_s - last.at_s, 0) if moving else 0)
            found.append(Cue(at_s=at_s, type="ping", playhead_s=playhead_s))
            due = due_at + (ad_interval_s if in_ad and ad_interval_s else interval_s)
        found.append(cue)
        if cue.type in ("play", "pauseStart", "bufferStart", "adStart"):
            if restarts:
                due = cue.at_s + (ad_interval_s if cue.type == "adStart" and ad_interval_s else interval_s)
            playing = cue.type in ("play", "adStart")
        if cue.type in ("adStart", "adComplete", "adSkip"):
            in_ad = cue.type == "adStart"
            if ad_interval_s:
                due = cue.at_s + (ad_interval_s if in_ad else interval_s)
        last = cue
    begin = found[0]
    return [begin, *sorted(found[1:], key=lambda cue: cue.at_s)]


def recorded(
    cues: Iterable[Cue],
    *,
    begin_ms: int = BEGIN_MS,
    session_id: str = "4a0f" * 16,
    latency: Callable[[], float] = lambda: 0.05,
    changed: Callable[[dict[str, Any]], object] = lambda value: None,
) -> HeldSession:
    """Return the session that a recorder stores for cues.

    Args:
        latency: Seconds from an event to its arrival.
        changed: Changes each decoded event in place before it is sent.
    """
    exchanges: list[Exchange] = []
    for number, cue in enumerate(cues):
        value: dict[str, Any] = {
            "eventType": cue.type,
            "playerTime": {"playhead": cue.playhead_s, "ts": begin_ms + round(cue.at_s * 1000)},
        }
        members = (("params", cue.params), ("customMetadata", cue.metadata), ("qoeData", cue.quality))
        value |= {name: dict(each) for name, each in members if each}
        changed(value)
        after_s = max(cue.at_s, 0) + latency()
        if cue.type == "sessionStart":
            exchanges.append(start(id=f"x{number}", body=body(value), after_s=after_s, session_id=session_id))
        else:
            exchanges.append(event(cue.type, id=f"x{number}", body=body(value), after_s=after_s, session_id=session_id))
    exchanges[1:] = sorted(exchanges[1:], key=lambda exchange: exchange.received_at)
    return fold(exchanges)[0]


def again(
    seed: int,
    cues: Sequence[Cue],
    *,
    cumulative: bool = False,
    replayed: Callable[[list[Cue]], list[Cue]] = list,
    rewritten: Callable[[dict[str, Any]], object] = lambda value: None,
    **how: Any,
) -> HeldSession:
    """Return a playback played another time: pings ±1 s, latencies, other IDs, other quality, whole seconds.

    Args:
        cumulative: Whether a late ping makes all later ones late.
        replayed: Changes what is played, pings included.
        rewritten: Changes each decoded event in place.
        **how: Of `pinged`.
    """
    chance = random.Random(seed)
    late: dict[str, Any] = {("drift" if cumulative else "jitter"): lambda: chance.uniform(-1, 1)}
    whole = chance.random() < 0.5
    wait_s = chance.uniform(0, 2)

    def changed(value: dict[str, Any]) -> None:
        params = value.get("params", {})
        for name in VISITOR:
            if name in params and isinstance(params[name], str):
                params[name] = f"other-{seed}"
        if "media.libraryVersion" in params:
            params |= {"media.libraryVersion": f"js-3.{seed}", "media.sdkVersion": f"2.{seed}"}
        quality = value.get("qoeData", {})
        for name in QUALITY:
            if name in quality:
                quality[name] = chance.randrange(1, 5_000_000)
        if whole:
            value["playerTime"]["playhead"] = int(value["playerTime"]["playhead"])
        rewritten(value)

    late_s: dict[float, float] = {0.0: 0.0}  # events of one call stay together
    for cue in cues:
        late_s.setdefault(cue.at_s, wait_s + chance.uniform(0, 0.3))
    together = [replace(cue, at_s=cue.at_s + late_s[cue.at_s]) for cue in cues]
    together.sort(key=lambda cue: cue.at_s if cue.type != "sessionEnd" else 1e6)
    together[-1] = replace(together[-1], at_s=max(together[-1].at_s, together[-2].at_s))
    return recorded(
        replayed(pinged(together, **late, **how)),
        begin_ms=BEGIN_MS + 1000 * chance.randrange(10**6),
        session_id=f"{chance.randrange(16**64):064x}",
        latency=lambda: chance.uniform(0.01, 0.6),
        changed=changed,
    )
