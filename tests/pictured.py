"""Sessions to be drawn: Adobe's two timelines, one with every kind of trouble, a live one, a batch, and one of 5,000 events."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from proxy_addon.core.exchange import Exchange, Outcome
from proxy_addon.core.fixtures.held import HeldSession, fold
from proxy_addon.core.judging.files import judge_held
from proxy_addon.core.judging.policy import DEFAULT
from proxy_addon.core.sessions import AsOf
from proxy_addon.core.timelines.pictures import Picture, marking, picture_of
from proxy_addon.reporting.pages.rendering import page
from proxy_addon.reporting.pages.session import session_page, traffic
from tests.builders import BEGIN_MS, START_PARAMS, at, batch, body, event, event_dict, response, start
from tests.played import Cue, film, pinged, recorded

TIMELINES = Path(__file__).parent / "samples" / "timelines"
HOSTILE = '<img src=x onerror="alert(1)">\u202e\u0000</script><script>alert(2)</script>'


def picture(held: HeldSession, *, now_s: float | None = None) -> Picture:
    """Return a session ready to be drawn.

    Args:
        now_s: Seconds after the first arrival; None for a day after the last one.
    """
    judgement = judge_held(held, marking(DEFAULT))
    verdicts: dict[str, list[Any]] = {exchange.id: [] for exchange in held.exchanges}
    for finding in judgement.of_exchanges:
        verdicts[held.exchanges[(finding.seq or 1) - 1].id].append(finding)
    begin = held.session.started_at
    now = held.session.last_event_at + timedelta(days=1) if now_s is None else begin + timedelta(seconds=now_s)
    return picture_of(held.session, held.exchanges, verdicts, judgement, AsOf(now=now))


def html(held: HeldSession, *, now_s: float | None = None, links: Iterable[tuple[str, str]] = ()) -> str:
    """Return the page of a session."""
    value = session_page(picture(held, now_s=now_s), links).document()
    parts = {"value": value, "traffic": traffic(held.exchanges)}
    return "".join(page(title=value["session"]["media_name"] or "session", entry="session_page.js", parts=parts))


def timeline(number: int) -> HeldSession:
    """Return one of the timelines of Adobe's docs."""
    events = json.loads((TIMELINES / f"timeline_{number}.json").read_text(encoding="utf-8"))["events"]
    begin_ms = events[0]["playerTime"]["ts"]
    exchanges = []
    for place, each in enumerate(events):
        sent = body({key: value for key, value in each.items() if key != "t"})
        how: dict[str, Any] = {"id": f"x{place}", "body": sent, "duration_us": 30_000 + 900 * place}
        how["after_s"] = (each["playerTime"]["ts"] - begin_ms) / 1000 + 0.06
        exchanges.append(event(**how) if place else start(**how))
    return _named(fold(exchanges)[0])


def troubled() -> HeldSession:
    """Return a session with every kind of trouble.

    A gap, an ad outside of a break, a frozen playhead, a seek, refused and failed calls, one without an answer, one out of
    order, an unknown type, a wrong JSON type.
    """
    cues = [
        Cue(
            at_s=0,
            type="sessionStart",
            params={**START_PARAMS, "media.name": "Nordlicht S2 E6 · Stille", "media.length": 480},
        ),
        Cue(
            at_s=0.2,
            type="adBreakStart",
            params={"media.ad.podFriendlyName": "pre", "media.ad.podIndex": 0, "media.ad.podSecond": 0},
        ),
        Cue(at_s=0.3, type="adStart", params=_ad("Kaffee", 15)),
        Cue(at_s=0.3, type="play"),
        Cue(at_s=15, type="adComplete"),
        Cue(at_s=15.1, type="adBreakComplete"),
        Cue(at_s=15.2, type="play"),
        Cue(at_s=40, type="stateStart", playhead_s=24.8, params={"media.state.name": "fullscreen"}),
        Cue(
            at_s=44.5,
            type="chapterStart",
            playhead_s=29.3,
            params={
                "media.chapter.index": 1,
                "media.chapter.offset": "0",
                "media.chapter.length": 90,
                "media.chapter.friendlyName": "Cold open",
            },
        ),
        Cue(at_s=62, type="bufferStart", playhead_s=46.8),
        Cue(at_s=75, type="play", playhead_s=46.8),
        Cue(at_s=96, type="adStart", playhead_s=67.8, params=_ad("Verirrt", 10)),
        Cue(at_s=106, type="adComplete", playhead_s=77.8),
        *(Cue(at_s=t, type="ping", playhead_s=t - 15.2) for t in (20, 30, 50)),
        *(Cue(at_s=t, type="ping", playhead_s=t - 28.2) for t in (85, 95, 115)),
        # 77 s of silence
        *(Cue(at_s=t, type="ping", playhead_s=t - 28.2) for t in (192, 202, 212, 222, 232)),
        *(Cue(at_s=t, type="ping", playhead_s=203.8) for t in (242, 252, 262, 272, 282)),  # it stands still
        Cue(
            at_s=287,
            type="error",
            playhead_s=203.8,
            quality={"media.qoe.errorID": "drm-7", "media.qoe.errorSource": "player"},
        ),
        Cue(at_s=288, type="pauseStart", playhead_s=203.8),
        Cue(at_s=289, type="play", playhead_s=378.8),  # a seek
        *(Cue(at_s=t, type="ping", playhead_s=t + 89.8) for t in (299, 309, 319, 329, 339)),
        Cue(at_s=304, type="bitrateChange", playhead_s=393.8, quality={"media.qoe.bitrate": 5_200_000}),
        Cue(at_s=352, type="sessionPause", playhead_s=441.8),
        Cue(at_s=352, type="pauseStart", playhead_s=441.8),
        Cue(at_s=360, type="ping", playhead_s=441.8),
        Cue(at_s=370, type="ping", playhead_s=441.8),
    ]
    cues[1:] = sorted(cues[1:], key=lambda cue: cue.at_s)
    chance = random.Random(7)
    held = recorded(cues, latency=lambda: 7.3 + chance.random() / 50)
    exchanges = [replace(each, duration_us=round(20_000 + 60_000 * chance.random())) for each in held.exchanges]
    exchanges = [_arriving(each, later_s={304.0: 4.5, 309.0: 14.8}.get(_at_s(each), 0.0)) for each in exchanges]
    exchanges = [_answered(each) for each in exchanges]
    exchanges[1:] = sorted(exchanges[1:], key=lambda exchange: exchange.received_at)
    return _named(fold(exchanges)[0], retry_of="36f73e4425d35ac4")


def _ad(name: str, length: int) -> Mapping[str, Any]:
    return {
        "media.ad.id": name.lower(),
        "media.ad.name": name,
        "media.ad.length": length,
        "media.ad.podPosition": 1,
        "media.ad.playerName": "ads",
    }


def _at_s(exchange: Exchange) -> float:
    return (int(exchange.request.reading.events[0].ts_ms or 0) - BEGIN_MS) / 1000


def _arriving(exchange: Exchange, *, later_s: float) -> Exchange:
    return replace(exchange, received_at=exchange.received_at + timedelta(seconds=later_s))


def _answered(exchange: Exchange) -> Exchange:
    match _at_s(exchange), exchange.request.reading.events[0].type:
        case (44.5, _) | (352, "sessionPause"):
            problem = body({"errors": [{"code": 1001, "message": "media.chapter.offset should be an integer"}]})
            return replace(exchange, response=response(400, body=problem))
        case 262, _:
            return replace(exchange, response=response(500), duration_us=5_000_000)
        case 319, _:
            return replace(exchange, response=None, duration_us=None, outcome=Outcome.UPSTREAM_TIMEOUT)
    return exchange


def film_with_ads() -> HeldSession:
    """Return eight minutes of a film in which nothing is wrong."""
    return _named(recorded(pinged(film(), ad_interval_s=1)))


def live() -> HeldSession:
    """Return a live session that goes on: a break, buffering, a pause after which the player catches up."""
    edge = 83_000.0
    cues = [
        Cue(
            at_s=0,
            type="sessionStart",
            params={
                **START_PARAMS,
                "media.name": "Nordlicht News, live",
                "media.contentType": "live",
                "media.length": 86_400,
            },
        ),
        Cue(at_s=0.2, type="play", playhead_s=edge),
        *(Cue(at_s=t, type="ping", playhead_s=edge + t) for t in range(10, 200, 10)),
        Cue(at_s=205, type="bufferStart", playhead_s=edge + 205),
        Cue(at_s=212, type="play", playhead_s=edge + 205),
        *(Cue(at_s=t, type="ping", playhead_s=edge + t - 7) for t in range(222, 290, 10)),
        Cue(at_s=292, type="pauseStart", playhead_s=edge + 285),
        *(Cue(at_s=t, type="ping", playhead_s=edge + 285) for t in (302, 312)),
        Cue(at_s=316, type="play", playhead_s=edge + 315),
        Cue(at_s=316, type="stateStart", playhead_s=edge + 315, params={"media.state.name": "pictureInPicture"}),
        *(Cue(at_s=t, type="ping", playhead_s=edge + t - 1) for t in range(326, 390, 10)),
    ]
    return _named(recorded(cues))


def downloaded() -> HeldSession:
    """Return a batch with a finding in one of its events."""
    sent = []
    for cue in pinged(film()):
        params = {**cue.params, "media.downloaded": True} if cue.type == "sessionStart" else dict(cue.params)
        if params.get("media.ad.name") == "Spot 1.2":
            params["media.ad.length"] = "20"
        sent.append(
            event_dict(cue.type, playhead=cue.playhead_s, ts=BEGIN_MS + round(cue.at_s * 1000), params=params or None)
        )
    return _named(fold([batch(sent)])[0])


def marathon(events: int = 5000) -> HeldSession:
    """Return a session of about so many events: episodes with chapters, breaks of nine ads, pauses and buffering."""
    cues = [
        Cue(
            at_s=0,
            type="sessionStart",
            params={**START_PARAMS, "media.name": "Nordlicht marathon, season 1", "media.length": 30_000},
        )
    ]
    at_s, playhead_s, number = 0.0, 0.0, 0
    while len(cues) < events:
        number += 1
        chapter = {
            "media.chapter.index": number,
            "media.chapter.offset": round(playhead_s),
            "media.chapter.length": 900,
            "media.chapter.friendlyName": f"Episode {number}",
        }
        cues += [
            Cue(at_s=at_s, type="chapterStart", playhead_s=playhead_s, params=chapter),
            Cue(at_s=at_s, type="play", playhead_s=playhead_s),
        ]
        for _ in range(90):
            at_s, playhead_s = at_s + 10, playhead_s + 10
            cues.append(Cue(at_s=at_s, type="ping", playhead_s=playhead_s))
        cues += [
            Cue(at_s=at_s + 4, type="bufferStart", playhead_s=playhead_s + 4),
            Cue(at_s=at_s + 9, type="play", playhead_s=playhead_s + 4),
        ]
        at_s, playhead_s = at_s + 12, playhead_s + 7
        cues.append(
            Cue(
                at_s=at_s,
                type="adBreakStart",
                playhead_s=playhead_s,
                params={
                    "media.ad.podFriendlyName": f"break {number}",
                    "media.ad.podIndex": number,
                    "media.ad.podSecond": round(playhead_s),
                },
            )
        )
        for ad in range(9):
            cues += [
                Cue(
                    at_s=at_s,
                    type="adStart",
                    playhead_s=playhead_s,
                    params={**_ad(f"Spot {number}.{ad}", 20), "media.ad.podPosition": ad + 1},
                ),
                Cue(at_s=at_s, type="play", playhead_s=playhead_s),
            ]
            cues += [Cue(at_s=at_s + second, type="ping", playhead_s=playhead_s) for second in range(1, 20)]
            at_s += 20
            cues.append(Cue(at_s=at_s, type="adComplete", playhead_s=playhead_s))
        cues += [
            Cue(at_s=at_s, type="adBreakComplete", playhead_s=playhead_s),
            Cue(at_s=at_s, type="chapterComplete", playhead_s=playhead_s),
        ]
        if number % 2:
            cues += [Cue(at_s=at_s, type="pauseStart", playhead_s=playhead_s)]
            at_s += 60
    chance = random.Random(5)
    held = recorded(cues)
    return _named(
        replace(
            held,
            exchanges=tuple(
                replace(each, duration_us=round(9_000 + 80_000 * chance.random() ** 4)) for each in held.exchanges
            ),
        )
    )


def hostile() -> HeldSession:
    """Return a session in which all that a device can choose tries to be markup, to turn text round, or is very long."""
    long = "x" * 10_000
    params = {
        **START_PARAMS,
        "media.name": HOSTILE + long,
        "media.id": HOSTILE,
        "media.playerName": HOSTILE,
        "media.channel": long,
        "media.length": 1e300,
    }
    cues = [
        Cue(
            at_s=0,
            type="sessionStart",
            params=params,
            metadata={HOSTILE: HOSTILE, "rtl": "العربية عنوان الفصل", "long": long},
        ),
        Cue(at_s=0.1, type="play"),
        Cue(at_s=1, type=HOSTILE, params={HOSTILE: {HOSTILE: [HOSTILE]}}),
        Cue(
            at_s=2,
            type="chapterStart",
            playhead_s=1,
            params={
                "media.chapter.index": 1,
                "media.chapter.offset": 0,
                "media.chapter.length": 9,
                "media.chapter.friendlyName": "الفصل الأول " + long,
            },
        ),
        Cue(at_s=3, type="stateStart", playhead_s=2, params={"media.state.name": HOSTILE}),
        Cue(at_s=3, type="stateStart", playhead_s=2, params={"media.state.name": "__proto__"}),
        Cue(at_s=4, type="__proto__", playhead_s=3),
        Cue(at_s=5, type="constructor", playhead_s=1e308),
        Cue(
            at_s=6,
            type="adBreakStart",
            playhead_s=5,
            params={"media.ad.podFriendlyName": HOSTILE, "media.ad.podIndex": 0, "media.ad.podSecond": 0},
        ),
        Cue(at_s=6, type="adStart", playhead_s=5, params=_ad(HOSTILE, 5)),
        Cue(at_s=9, type="sessionEnd", playhead_s=8),
    ]
    held = recorded(cues)
    deep = b'{"eventType":"ping","playerTime":{"playhead":1,"ts":%d},"params":' % (BEGIN_MS + 7000)
    deep += b'{"a":[' * 400 + b"]}" * 400 + b"}"
    bodies = [b"\xff\xfe\x00binary", b'{"eventType": <b>', deep, b"[]", b""]
    more = [
        event(id=f"h{place}", after_s=7 + place / 10, body=each, session_id=held.session.session_id or "")
        for place, each in enumerate(bodies)
    ]
    exchanges = sorted((*held.exchanges, *more), key=lambda exchange: exchange.received_at)
    return _named(fold(exchanges)[0])


def _named(held: HeldSession, **members: Any) -> HeldSession:
    return replace(held, session=replace(held.session, recording="living room", started_at=at(0), **members))
