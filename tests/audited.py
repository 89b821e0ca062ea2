"""Sessions of five made-up players, four of which have defects: what an audit has to find is in `DEFECTS`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from proxy_addon.core.audits.auditing import Auditor, By, Grouping
from proxy_addon.core.audits.concluding import audit_of
from proxy_addon.core.audits.results import Audit, Group
from proxy_addon.core.audits.totals import ByGroup
from proxy_addon.core.exchange import Exchange, Outcome
from proxy_addon.core.fixtures.held import HeldSession, fold
from proxy_addon.core.judging.policy import DEFAULT
from proxy_addon.core.judging.sessions import as_of
from tests.builders import BEGIN_MS, START_PARAMS, at, response
from tests.played import Cue, pinged, recorded

GOOD = "Good Player"
PLAYERS = (GOOD, "Web Player", "TV Player", "Phone Player", "Box Player")
SESSIONS = 10
"""How many sessions each player has."""
_HOUR_MS, _SKEWED_MS = 3_600_000, 5_000
_FAST = 2_000

Event = dict[str, Any]
Fact = tuple[str, ...]
"""Something that an audit says of a group and not of the good one, such as ``("finding", "param-missing")``."""


def good_cues() -> list[Cue]:
    """Return what a good player does in 130 seconds: a pre-roll, a chapter, a change of the bitrate, a pause."""
    params = {**START_PARAMS, "media.length": 104, "media.channel": "Sports"}
    pod = {"media.ad.podFriendlyName": "pre", "media.ad.podIndex": 1, "media.ad.podSecond": 0}
    ad = {"media.ad.id": "spot", "media.ad.length": 15, "media.ad.podPosition": 1, "media.ad.playerName": "ads"}
    chapter = {"media.chapter.index": 1, "media.chapter.offset": 0, "media.chapter.length": 104}
    quality = {"media.qoe.bitrate": 3_200_000}
    return pinged(
        [
            Cue(at_s=0, type="sessionStart", params=params, metadata={"plan": "gold"}),
            Cue(at_s=0.1, type="adBreakStart", params=pod),
            Cue(at_s=0.2, type="adStart", params=ad),
            Cue(at_s=0.3, type="play"),
            Cue(at_s=15.2, type="adComplete"),
            Cue(at_s=15.3, type="adBreakComplete"),
            Cue(at_s=15.4, type="play"),
            Cue(at_s=15.5, type="chapterStart", playhead_s=0.1, params=chapter),
            Cue(at_s=40.0, type="bitrateChange", playhead_s=24.6, quality=quality),
            Cue(at_s=60.0, type="pauseStart", playhead_s=44.6),
            Cue(at_s=70.0, type="play", playhead_s=44.6),
            Cue(at_s=128.9, type="chapterComplete", playhead_s=103.5),
            Cue(at_s=129.0, type="sessionComplete", playhead_s=103.6),
            Cue(at_s=129.1, type="sessionEnd", playhead_s=103.6),
        ]
    )


@dataclass(frozen=True, kw_only=True)
class Defect:
    """What a player does wrong in some of its sessions.

    Attributes:
        sessions: The numbers of these sessions.
        facts: All that an audit says because of it, as `facts` tells it, and the number in each of its sessions.
        cues: Changes what is played.
        event: Changes each event in place.
        exchange: Changes each exchange; None drops it.
    """

    player: str
    what: str
    sessions: tuple[int, ...]
    facts: Mapping[str, int]
    cues: Callable[[list[Cue]], list[Cue]] = list
    event: Callable[[Event], object] = lambda value: None
    exchange: Callable[[Exchange], Exchange | None] = lambda exchange: exchange


def _without(type_: str, nth: int = 0) -> Callable[[list[Cue]], list[Cue]]:
    def change(cues: list[Cue]) -> list[Cue]:
        place = [number for number, cue in enumerate(cues) if cue.type == type_][nth]
        return cues[:place] + cues[place + 1 :]

    return change


def _on(type_: str, change: Callable[[Event], object]) -> Callable[[Event], object]:
    return lambda value: change(value) if value["eventType"] == type_ else None


def _answer(type_: str, change: Callable[[Exchange], Exchange | None]) -> Callable[[Exchange], Exchange | None]:
    quoted = f'"{type_}"'.encode()
    return lambda exchange: change(exchange) if quoted in exchange.request.body else exchange


def _refused(exchange: Exchange) -> Exchange:
    return replace(exchange, response=response(400))


def _unanswered(exchange: Exchange) -> Exchange:
    return replace(exchange, response=None, duration_us=None, outcome=Outcome.UPSTREAM_TIMEOUT)


def _set(section: str, **members: Any) -> Callable[[Event], object]:
    def change(value: Event) -> None:
        value.setdefault(section, {}).update({name.replace("__", "."): member for name, member in members.items()})

    return change


def _drop(section: str, name: str) -> Callable[[Event], object]:
    return lambda value: value[section].pop(name)


def _late(cues: list[Cue]) -> list[Cue]:
    """Let the pings from 75 to 125 s come every 20 s."""
    return [cue for cue in cues if cue.type != "ping" or cue.at_s < 75 or round(cue.at_s) % 20 == 0]


def _silent(cues: list[Cue]) -> list[Cue]:
    return [cue for cue in cues if cue.type != "ping" or cue.at_s < 75]


def _cut(before: str) -> Callable[[list[Cue]], list[Cue]]:
    return lambda cues: cues[: next(number for number, cue in enumerate(cues) if cue.type == before)]


def _then(type_: str, at_s: float, playhead_s: float = 103.6) -> Callable[[list[Cue]], list[Cue]]:
    return lambda cues: [*cues, Cue(at_s=at_s, type=type_, playhead_s=playhead_s)]


_WEB, _TV, _PHONE, _BOX = PLAYERS[1:]
DEFECTS = (
    Defect(
        player=_WEB,
        what="no channel",
        sessions=(0, 1, 2),
        facts={"finding param-missing": 1, "lacking sessionStart params media.channel": 1},
        event=_on("sessionStart", _drop("params", "media.channel")),
    ),
    Defect(
        player=_WEB,
        what="length as text",
        sessions=(3,),
        facts={"finding param-type": 1, "type sessionStart params media.length string": 1},
        event=_on("sessionStart", _set("params", media__length="104")),
    ),
    Defect(
        player=_WEB,
        what="a param of its own",
        sessions=(4, 5),
        facts={"finding param-unknown": 1, "unexpected sessionStart params media.flavour": 1},
        event=_on("sessionStart", _set("params", media__flavour="vanilla")),
    ),
    Defect(
        player=_WEB,
        what="metadata on pings",
        sessions=(6,),
        facts={"finding custom-metadata-not-on-event": 1, "unexpected ping customMetadata plan": 10},
        event=_on("ping", _set("customMetadata", plan="gold")),
    ),
    Defect(
        player=_WEB,
        what="quality among params",
        sessions=(7,),
        facts={"finding qoe-in-params": 1, "unexpected bitrateChange params media.qoe.bitrate": 1},
        event=_on("bitrateChange", _set("params", media__qoe__bitrate=1)),
    ),
    Defect(
        player=_TV,
        what="pings every 20 s",
        sessions=(0, 1),
        facts={"finding ping-gap": 1, "longer gaps content": 2},
        cues=_late,
    ),
    Defect(player=_TV, what="no pings to the end", sessions=(2,), facts={"finding ping-gap": 1}, cues=_silent),
    Defect(
        player=_TV,
        what="no play behind the pre-roll",
        sessions=(3,),
        facts={"finding play-missing": 1},
        cues=_without("play", 1),
    ),
    Defect(
        player=_TV,
        what="never plays",
        sessions=(4,),
        facts={"finding play-missing": 1, "finding ping-gap": 1, "loss never-played": 1, "longer gaps content": 1},
        cues=lambda cues: [cue for cue in cues if cue.type not in {"play", "pauseStart"}],
    ),
    Defect(
        player=_TV,
        what="ad outside a break",
        sessions=(5,),
        facts={"finding ad-outside-break": 1, "loss stalled": 1, "longer gaps content": 1},
        cues=lambda cues: _without("adBreakComplete")(_without("adBreakStart")(cues)),
    ),
    Defect(
        player=_TV,
        what="ad never completed",
        sessions=(6,),
        facts={"finding ad-not-closed": 1},
        cues=_without("adComplete"),
    ),
    Defect(
        player=_TV,
        what="break never completed",
        sessions=(7,),
        facts={
            "finding ad-break-not-closed": 1,
            "finding playback-event-in-ad-break": 1,
            "finding playhead-moved-in-ad": 1,
            "finding ad-break-open-at-end": 1,
        },
        cues=_without("adBreakComplete"),
    ),
    Defect(
        player=_PHONE,
        what="no end",
        sessions=(0, 1, 2),
        facts={"finding session-not-closed": 1, "loss no-end": 1},
        cues=_cut("chapterComplete"),
    ),
    Defect(
        player=_PHONE,
        what="an event behind the end",
        sessions=(3,),
        facts={"finding event-after-session-end": 1, "loss after-end": 1},
        cues=_then("ping", 131),
    ),
    Defect(
        player=_PHONE,
        what="nothing but a start",
        sessions=(4,),
        facts={"finding session-not-closed": 1, "loss unused": 1, "loss no-end": 1},
        cues=lambda cues: cues[:1],
    ),
    Defect(
        player=_PHONE,
        what="frozen playhead",
        sessions=(5,),
        facts={"finding playhead-frozen": 1, "loss stalled": 1},
        event=lambda value: value["playerTime"].update(playhead=0),
    ),
    Defect(
        player=_PHONE,
        what="playhead in milliseconds",
        sessions=(6,),
        facts={"finding playhead-beyond-length": 1, "finding playhead-in-milliseconds": 1, "fast playhead": 9},
        event=lambda value: value["playerTime"].update(playhead=value["playerTime"]["playhead"] * 1000),
    ),
    Defect(
        player=_PHONE,
        what="clock an hour behind",
        sessions=(7,),
        facts={"finding ts-clock-skew": 1, "clock skew": 24},
        event=lambda value: value["playerTime"].update(ts=value["playerTime"]["ts"] - _HOUR_MS),
    ),
    Defect(
        player=_BOX,
        what="a refused event",
        sessions=(0, 1),
        facts={"finding upstream-refused": 1, "loss refused": 1, "longer gaps content": 1},
        exchange=_answer("pauseStart", _refused),
    ),
    Defect(
        player=_BOX,
        what="no answer",
        sessions=(2,),
        facts={"finding upstream-failed": 1, "loss unanswered": 1},
        exchange=_answer("bitrateChange", _unanswered),
    ),
    Defect(
        player=_BOX,
        what="a start that is refused",
        sessions=(3,),
        facts={"finding upstream-refused": 1, "loss refused": 1, "loss not-opened": 1},
        cues=lambda cues: cues[:1],
        exchange=_refused,
    ),
    Defect(
        player=_BOX,
        what="goes on after 404",
        sessions=(4,),
        facts={"finding upstream-session-lost": 1, "loss refused": 1, "loss after-gone": 1},
        exchange=lambda exchange: (
            replace(exchange, response=response(404)) if exchange.received_at > at(100) else exchange
        ),
    ),
    Defect(
        player=_BOX,
        what="slow answers",
        sessions=(5,),
        facts={"slow answers": 10},
        exchange=_answer("ping", lambda exchange: replace(exchange, duration_us=6_000_000)),
    ),
    Defect(
        player=_BOX,
        what="10 minutes of silence",
        sessions=(6,),
        facts={"finding session-timeout-idle": 1, "loss timed-out": 1},
        cues=lambda cues: [cue if cue.at_s < 100 else replace(cue, at_s=cue.at_s + 700) for cue in cues],
    ),
    Defect(
        player=_BOX,
        what="an unknown event",
        sessions=(7,),
        facts={"finding event-type-unknown": 1, "type unknown pause": 1, "longer gaps content": 1},
        cues=lambda cues: [replace(cue, type="pause") if cue.type == "pauseStart" else cue for cue in cues],
    ),
    Defect(
        player=_WEB,
        what="a placeholder",
        sessions=(8,),
        facts={"finding placeholder-value": 1},
        event=_on("sessionStart", _set("params", media__id="undefined")),
    ),
    Defect(
        player=_WEB,
        what="a body that is no JSON",
        sessions=(9,),
        facts={"finding body-not-json": 1},
        exchange=_answer(
            "bitrateChange",
            lambda exchange: replace(exchange, request=replace(exchange.request, body=exchange.request.body[:-1])),
        ),
    ),
    Defect(
        player=_TV,
        what="chapter never completed",
        sessions=(8,),
        facts={"finding chapter-open-at-end": 1},
        cues=_without("chapterComplete"),
    ),
    Defect(
        player=_TV,
        what="bitrate not told",
        sessions=(9,),
        facts={"finding bitrate-change-without-qoe": 1, "lacking bitrateChange qoeData media.qoe.bitrate": 1},
        event=_on("bitrateChange", lambda value: value.pop("qoeData")),
    ),
    Defect(
        player=_PHONE,
        what="ts in seconds",
        sessions=(8,),
        facts={
            "finding ts-not-milliseconds": 1,
            "finding events-long-before-start": 1,
            "longer gaps content": 1,
            "clock skew": 1,
        },
        event=_on("bitrateChange", lambda value: value["playerTime"].update(ts=value["playerTime"]["ts"] // 1000)),
    ),
    Defect(
        player=_PHONE,
        what="quality as text",
        sessions=(9,),
        facts={"finding qoe-value-type": 1, "type bitrateChange qoeData media.qoe.bitrate string": 1},
        event=_on("bitrateChange", _set("qoeData", media__qoe__bitrate="3200")),
    ),
    Defect(
        player=_BOX,
        what="a pause without a playhead",
        sessions=(8,),
        facts={"finding playhead-missing": 1},
        event=_on("pauseStart", lambda value: value["playerTime"].pop("playhead")),
    ),
    Defect(
        player=_BOX,
        what="an event that comes late",
        sessions=(9,),
        facts={"finding ts-backwards": 1, "longer gaps paused": 4, "clock skew": 1},
        exchange=_answer(
            "pauseStart", lambda exchange: replace(exchange, received_at=exchange.received_at + timedelta(seconds=20))
        ),
    ),
)


def played(player: str, number: int) -> HeldSession:
    """Return a session of a player, with its defect if it has one."""
    defects = [defect for defect in DEFECTS if defect.player == player and number in defect.sessions]
    cues = good_cues()
    for defect in defects:
        cues = defect.cues(cues)

    def changed(value: Event) -> None:
        if value["eventType"] == "sessionStart":
            value["params"]["media.playerName"] = player
        for defect in defects:
            defect.event(value)

    place = PLAYERS.index(player) * SESSIONS + number
    held = recorded(cues, begin_ms=BEGIN_MS, session_id=f"{place:064x}", changed=changed)
    exchanges: list[Exchange] = []
    for exchange in held.exchanges:
        found: Exchange | None = exchange
        for defect in defects:
            found = None if found is None else defect.exchange(found)
        if found is not None:
            exchanges.append(found)
    exchanges[1:] = sorted(exchanges[1:], key=lambda exchange: exchange.received_at)
    (again,) = fold(exchanges)
    return replace(again, session=replace(again.session, id=f"{place:016x}"))


def sessions(players: Iterable[str] = PLAYERS) -> Iterator[HeldSession]:
    """Yield all sessions of players."""
    for player in players:
        for number in range(SESSIONS):
            yield played(player, number)


def audited(
    held: Iterable[HeldSession],
    by: By | None = By.PLAYER,
    *,
    baseline: tuple[str, Iterable[HeldSession]] | None = None,
) -> Audit:
    """Return the audit of sessions, perhaps beside a baseline that is called so."""

    def added(sessions: Iterable[HeldSession]) -> ByGroup:
        auditor = Auditor(Grouping(by=by), as_of(at(10**6), DEFAULT))
        for each in sessions:
            auditor.add_held(each, DEFAULT)
        return auditor.groups

    before = None if baseline is None else (baseline[0], added(baseline[1]))
    return audit_of(added(held), by=by, now=at(0), source="files", baseline=before)


def with_groups(audit: Audit, number: int) -> Audit:
    """Return an audit with so many groups, each with what one of its own has, under the names of browsers."""
    groups = [
        replace(audit.groups[place % len(audit.groups)], name=f"Mozilla/5.0 (X11; Linux x86_64) Player/{place}")
        for place in range(number)
    ]
    return replace(audit, by=By.USER_AGENT.value, groups=tuple(groups))


def facts(group: Group, good: Group) -> dict[str, int]:
    """Return all that an audit says of a group and not of the good one, each with a number.

    Of findings and losses it is the number of sessions; of keys, the number of events that have what the good ones do not
    have, or lack what all good ones have; of slow answers, their number; of gaps between pings, how many are longer than the
    longest of the good ones.
    """
    found: dict[str, int] = {}
    for rule in group.findings:
        found[f"finding {rule.rule}"] = rule.sessions
    for loss in group.losses:
        if loss.sessions:
            found[f"loss {loss.loss}"] = loss.sessions
    known = {(key.event, key.section, key.key): key for key in good.keys}
    sent = {(key.event, key.section, key.key): key for key in group.keys}
    for place, key in sent.items():
        if place not in known:
            found[f"unexpected {' '.join(place)}"] = key.sent
            continue
        for type_, number in key.types.items():
            if type_ not in known[place].types:
                found[f"type {' '.join(place)} {type_}"] = number
    for place, key in known.items():
        if key.share == 1 and key.event in group.event_types:
            lacking = group.event_types[key.event] - (sent[place].sent if place in sent else 0)
            if lacking:
                found[f"lacking {' '.join(place)}"] = lacking
    for value in group.unknown_types:
        found[f"type unknown {value.text}"] = value.count
    if group.rhythm.answers_over_5_s:
        found["slow answers"] = group.rhythm.answers_over_5_s
    for state, gaps in group.rhythm.ping_gaps_ms.items():
        longest = good.rhythm.ping_gaps_ms[state].highest if state in good.rhythm.ping_gaps_ms else 0
        longer = sum(number for bucket, number in gaps.buckets if bucket > (longest or 0))
        if longer:
            found[f"longer gaps {state}"] = longer
    skew, speed = group.rhythm.clock_skew_ms, group.rhythm.playhead_speed
    found["clock skew"] = sum(number for skew_ms, number in skew.buckets if abs(skew_ms) > _SKEWED_MS)
    found["fast playhead"] = sum(number for thousandths, number in speed.buckets if thousandths > _FAST)
    return {fact: number for fact, number in found.items() if number}
