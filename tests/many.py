"""Very many sessions as players report them, to measure with and to compare ways of reading them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from itertools import batched, count, islice
from typing import Any, NamedTuple

from proxy_addon.core.exchange import Exchange, Headers, Response
from storage import saving
from storage.engine import Store
from tests.builders import BEGIN
from tests.played import Cue, again, film

_PLAYERS = ("Web Player", "TV Player", "Phone Player", "Box Player", "Console Player")
_KINDS = 40
"""How many different playbacks there are; those of one kind differ in their IDs and times."""
_APART_S = 3
"""How many seconds after a session the next one begins, so that some 150 are open side by side."""
_AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) {} Safari/537.36"
_IN_A_BATCH = 1_000
_TS = re.compile(rb'"ts":([0-9]+)')


class _Part(NamedTuple):
    """An exchange without what differs between sessions: its body before and behind the time."""

    exchange: Exchange
    after: timedelta
    before: bytes
    ts_ms: int
    behind: bytes


def sessions() -> Iterator[list[Exchange]]:
    """Yield sessions without end, each as its exchanges: eight minutes with ads, pings, pauses and a seek, some with defects."""
    kinds = [_kind(number) for number in range(_KINDS)]
    for number in count():
        yield list(_session(kinds[number % _KINDS], number))


def _kind(number: int) -> list[_Part]:
    player = _PLAYERS[number % len(_PLAYERS)]

    def rewritten(value: dict[str, Any]) -> None:
        params = value.get("params", {})
        if value["eventType"] == "sessionStart":
            params |= {
                "media.playerName": player,
                "media.sdkVersion": f"{player.split()[0].lower()}-4.{number % 3}",
                "media.id": f"film-{number}",
                "media.name": f"Film {number}",
                "media.contentType": ("vod", "live", "linear")[number % 3],
            }
            if number % 8 == 5:
                del params["media.channel"]
        if number % 8 == 3 and value["eventType"] == "adStart":
            del params["media.ad.podPosition"]

    def replayed(cues: list[Cue]) -> list[Cue]:
        return cues[:-1] if number % 10 == 7 else cues  # a session without an end

    played = again(number, film(), rewritten=rewritten, replayed=replayed).exchanges
    return [_part(exchange, played[0], _AGENT.format(player.partition(" ")[0])) for exchange in played]


def _part(exchange: Exchange, first: Exchange, agent: str) -> _Part:
    headers: Headers = (("Content-Type", "application/json"), ("User-Agent", agent), ("Origin", "https://tv.example"))
    body = exchange.request.body
    time = _TS.search(body)
    assert time is not None
    begin_ms = int(_TS.search(first.request.body)[1])  # type: ignore[index]  # as above
    return _Part(
        replace(exchange, request=replace(exchange.request, headers=headers), duration_us=20_000),
        exchange.received_at - first.received_at,
        body[: time.start(1)],
        int(time[1]) - begin_ms,
        body[time.end(1) :],
    )


def _session(kind: list[_Part], number: int) -> Iterator[Exchange]:
    begin = BEGIN + timedelta(seconds=number * _APART_S)
    begin_ms = round(begin.timestamp() * 1_000)
    session_id = f"{number:064x}"
    path = f"/api/v1/sessions/{session_id}/events"
    for place, part in enumerate(kind):
        exchange = part.exchange
        body = b"%s%d%s" % (part.before, begin_ms + part.ts_ms, part.behind)
        is_start = place == 0
        yield replace(
            exchange,
            id=f"{number:026x}{place:06x}",
            received_at=begin + part.after,
            duration_us=5_000 + (number * 7_919 + place * 104_729) % 90_000,
            request=replace(exchange.request, body=body, path=exchange.request.path if is_start else path),
            response=Response(status=201, reason="Created", headers=(("Location", f"/api/v1/sessions/{session_id}"),))
            if is_start
            else exchange.response,
        )


def fill(store_url: str, size: int) -> int:
    """Store sessions until a store has at least so many exchanges; return how many sessions these are."""
    run = saving.RecordingRun(id="0" * 32, name="many", started_at=BEGIN, version="0")
    stored = number = 0
    with closing(Store(store_url, durable=False)) as store:
        played = sessions()
        while stored < size:
            some = list(islice(played, 20))
            for batch in batched((each for session in some for each in session), _IN_A_BATCH):
                saving.save_batch(store, run, [saving.Judged(exchange, ()) for exchange in batch])
                stored += len(batch)
            number += len(some)
    return number
