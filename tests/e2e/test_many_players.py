"""Many players at once: nothing is lost and nothing lands under another session."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from contextlib import ExitStack, closing
from typing import Any

import aiohttp
import pytest

from proxy_addon.core.exchange import Outcome
from storage import exchanges
from storage.engine import Store
from tests import processes
from tests.builders import START_PARAMS, body, event_dict

PLAYERS = 32
EVENTS = 50
IN_FLIGHT = 3


def start_body(player: int) -> bytes:
    return body(event_dict("sessionStart", params={**START_PARAMS, "media.id": f"video-{player}"}))


def event_body(player: int, number: int) -> bytes:
    return body(event_dict("ping", playhead=number, customMetadata={"player": str(player)}))


async def play(client: aiohttp.ClientSession, player: int, urls: Sequence[str]) -> None:
    """Report one playback; the events go through the recorders in turn, three at a time."""
    async with client.post(f"{urls[player % len(urls)]}/api/v1/sessions", data=start_body(player)) as answer:
        assert answer.status == 201
        path = f"{answer.headers['Location']}/events"
    free = asyncio.Semaphore(IN_FLIGHT)

    async def report(number: int) -> None:
        async with free, client.post(urls[number % len(urls)] + path, data=event_body(player, number)) as answer:
            assert answer.status == 204

    async with asyncio.TaskGroup() as reports:
        for number in range(EVENTS):
            reports.create_task(report(number))


async def play_all(urls: Sequence[str]) -> None:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as client, asyncio.TaskGroup() as players:
        for player in range(PLAYERS):
            players.create_task(play(client, player, urls))


def assert_complete(store_url: str) -> None:
    sessions = processes.printed("sessions", "--store", store_url)
    assert len(sessions) == PLAYERS
    assert {session["media_id"] for session in sessions} == {f"video-{player}" for player in range(PLAYERS)}
    assert sum(session["exchanges"] for session in sessions) == PLAYERS * (EVENTS + 1) == 1632
    assert processes.printed("exchanges", "--store", store_url) == []
    store = Store(store_url)
    with closing(store), store.read() as db:
        for session in sessions:
            player = int(session["media_id"].removeprefix("video-"))
            found = list(exchanges.of_session(db, session["id"]))
            sent = [start_body(player), *(event_body(player, number) for number in range(EVENTS))]
            assert sorted(exchange.request.body for exchange in found) == sorted(sent)
            assert session["events"] == EVENTS + 1
            assert {exchange.route.session_id for exchange in found[1:]} == {session["session_id"]}
            assert {exchange.outcome for exchange in found} == {Outcome.ANSWERED}
    shown = processes.printed("show", sessions[0]["id"], "--store", store_url)
    assert [exchange["seq"] for exchange in shown["exchanges"]] == list(range(1, EVENTS + 2))


def record(tmp_path: Any, store_url: str, recorders: int) -> None:
    with processes.collector(tmp_path) as upstream:
        with ExitStack() as running:
            proxies = [
                running.enter_context(processes.recorder(tmp_path, upstream.url, store_url)) for _ in range(recorders)
            ]
            asyncio.run(play_all([proxy.url for proxy in proxies]))
        assert len(upstream.received()) == PLAYERS * (EVENTS + 1)
    assert all("0 lost" in proxy.process.output for proxy in proxies)
    assert_complete(store_url)


def test_32_players_with_50_events_each_are_all_stored(store_url, tmp_path):
    record(tmp_path, store_url, recorders=1)


def test_two_recorders_on_one_store_share_the_sessions(store_url, tmp_path):
    record(tmp_path, store_url, recorders=2)


def test_a_session_through_two_recorders_is_one_session_in_order(postgres_url, tmp_path):
    with (
        processes.collector(tmp_path) as upstream,
        processes.recorder(tmp_path, upstream.url, postgres_url, "--name", "first") as first,
        processes.recorder(tmp_path, upstream.url, postgres_url, "--name", "second") as second,
    ):
        path = first.ask("POST", "/api/v1/sessions", start_body(0)).header("Location")
        for number in range(6):
            proxy = (second, first)[number % 2]
            assert proxy.ask("POST", f"{path}/events", event_body(0, number)).status == 204
    sessions = processes.printed("sessions", "--store", postgres_url)
    assert [(session["recording"], session["exchanges"]) for session in sessions] == [("first", 7)]
    shown = processes.printed("show", sessions[0]["id"], "--store", postgres_url)
    assert [e["playhead_s"] for e in shown["exchanges"]] == [0, 0, 1, 2, 3, 4, 5]
    assert [e["seq"] for e in shown["exchanges"]] == [1, 2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize("size", [5_000_000])
def test_a_body_of_megabytes_is_stored_whole(sqlite_url, tmp_path, size):
    events = [event_dict("sessionStart"), event_dict("play", customMetadata={"x": "y" * size})]
    with processes.collector(tmp_path) as upstream, processes.recorder(tmp_path, upstream.url, sqlite_url) as proxy:
        assert proxy.ask("POST", "/api/v1/downloaded", body(events)).status == 201
    session = processes.printed("sessions", "--store", sqlite_url)[0]
    assert (session["state"], session["events"]) == ("ended", 2)
    shown = processes.printed("show", session["id"], "--store", sqlite_url)
    assert json.loads(shown["exchanges"][0]["request"]["body"]["text"]) == events
    assert [each["event_type"] for each in shown["exchanges"][0]["batch"]] == ["sessionStart", "play"]
