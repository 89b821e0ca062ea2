"""The addon by itself, with flows made by hand and a real store: what each hook does, whatever order they come in."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import shutil
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime
from typing import Any

import pytest
from mitmproxy import ctx
from mitmproxy.addons.proxyserver import Proxyserver
from mitmproxy.exceptions import OptionsError
from mitmproxy.flow import Flow
from mitmproxy.http import Headers, HTTPFlow, Response
from mitmproxy.proxy.mode_specs import ProxyMode
from mitmproxy.test import taddons, tflow, tutils

from proxy_addon.core.exchange import Exchange, Outcome
from proxy_addon.core.schemas import schema_of
from proxy_addon.journal.awaiting import await_filed
from proxy_addon.journal.writing import Journal
from proxy_addon.recording import hooks, ingesting, stream
from proxy_addon.recording.hooks import Tape
from proxy_addon.recording.judging import JUDGED_AT_ONCE, Judge
from storage import exchanges, findings, sessions
from storage.engine import Store
from storage.filters import Filters
from tests import forking
from tests.builders import BEGIN_MS, body, event_dict

START = body(event_dict("sessionStart"))
WITHOUT_PARAMS = body(event_dict("sessionStart", params={}))


@pytest.fixture(autouse=True)
def _forked(monkeypatch):
    monkeypatch.setattr(ingesting, "spawn", forking.ingest)


@pytest.fixture
def store(sqlite_url, migrated_file) -> Iterator[Store]:
    """What the hooks know of a store is its URL, so that one engine will do."""
    shutil.copy(migrated_file, sqlite_url.removeprefix("sqlite:///"))
    with closing(Store(sqlite_url)) as store:
        yield store


@asynccontextmanager
async def recording(store: Store, **options: Any) -> AsyncIterator[Tape]:
    tape = Tape()
    with taddons.context(Proxyserver(), tape) as context:
        context.configure(tape, tape_store=store.url, server=False, **options)
        await tape.running()
        yield tape
        await tape.done()


def flow(content: bytes = START, path: bytes = b"/api/v1/sessions", **request: Any) -> HTTPFlow:
    headers = Headers([(b"Host", b"tv.example"), (b"Content-Type", b"application/json")])
    values: dict[str, Any] = {"method": b"POST", "path": path, "content": content, "authority": b"", "headers": headers}
    made = tflow.tflow(req=tutils.treq(**values | request))
    made.client_conn.proxy_mode = ProxyMode.parse("reverse:http://up.example")
    return made


def answered(made: HTTPFlow, status: int = 201) -> None:
    made.metadata["sessiontape.asked"] = True  # as our stream notes it
    made.response = Response.make(status, b"", {"Location": "/api/v1/sessions/" + "0f" * 32})
    made.response.timestamp_end = made.request.timestamp_start + 0.5


def stored(store: Store) -> list[Exchange]:
    assert await_filed(store.path, store.label, 10) == []
    with store.read() as db:
        found = list(sessions.newest(db, Filters(), now=now(), oldest_first=True))
        return [exchange for session in found for exchange in exchanges.of_session(db, session.id)]


def now() -> datetime:
    return datetime.now(UTC)


def lost(tape: Tape) -> int:
    assert tape._recorder is not None
    return tape._recorder.counts().dropped


def rules_of(store: Store, exchange: Exchange) -> set[str]:
    assert await_filed(store.path, store.label, 10) == []
    with store.read() as db:
        (session,) = sessions.newest(db, Filters(), now=now())
        return {finding.rule for finding in findings.of_exchanges(db, session.id).get(exchange.id) or ()}


async def test_an_answered_request_is_stored_before_its_answer_goes_on(store):
    async with recording(store, tape_name="tv") as tape:
        made = flow()
        tape.requestheaders(made)
        assert made.request.headers["Host"] == "up.example"
        assert made.request.stream is False
        await tape.request(made)
        answered(made)
        tape.responseheaders(made)
        assert made.response is not None
        assert made.response.stream is False
        await tape.response(made)
        (exchange,) = stored(store)
    assert (exchange.outcome, exchange.upstream, exchange.duration_us) == (
        Outcome.ANSWERED,
        "http://up.example",
        500_000,
    )
    assert dict(exchange.request.headers)["Host"] == "tv.example"
    assert exchange.request.body == START
    assert lost(tape) == 0
    with store.read() as db:
        (session,) = sessions.newest(db, Filters(name="tv"), now=now())
    assert session.session_id == "0f" * 32


async def test_requests_outside_the_api_are_forwarded_and_not_stored(store):
    async with recording(store) as tape:
        made = flow(path=b"/favicon.ico")
        tape.requestheaders(made)
        assert made.request.stream is True
        answered(made)
        tape.responseheaders(made)
        assert made.response is not None
        assert made.response.stream is True
        await tape.response(made)
    assert stored(store) == []


async def test_the_path_of_the_upstream_goes_in_front(store):
    async with recording(store, tape_upstream="http://up.example/in/front") as tape:
        made = flow()
        tape.requestheaders(made)
        answered(made)
        await tape.response(made)
    assert made.request.path == "/in/front/api/v1/sessions"
    assert stored(store)[0].upstream == "http://up.example/in/front"
    assert stored(store)[0].request.path == "/api/v1/sessions"


async def test_an_answer_that_upstream_did_not_give_is_a_refusal_of_ours(store):
    async with recording(store) as tape:
        made = flow()
        tape.requestheaders(made)
        made.response = Response.make(400)
        await tape.response(made)
    assert [(exchange.outcome, exchange.response) for exchange in stored(store)] == [(Outcome.REJECTED, None)]


async def test_an_invalid_request_is_refused_where_that_is_asked_for(store, monkeypatch):
    monkeypatch.setattr(hooks, "DRAIN_S", 0.0)
    async with recording(store, tape_reject_invalid=True) as tape:
        good, bad, large = flow(), flow(WITHOUT_PARAMS), flow(WITHOUT_PARAMS + b" " * JUDGED_AT_ONCE)
        for made in (good, bad, large):
            tape.requestheaders(made)
            await tape.request(made)
        assert good.response is None
        for made in (bad, large):
            assert made.response is not None
            assert made.response.status_code == 400
            assert b"param-missing" in (made.response.content or b"")


async def test_a_request_that_goes_wrong_is_stored_as_what_came_of_it(store):
    async with recording(store) as tape:
        made = flow()
        tape.requestheaders(made)
        made.metadata["sessiontape.outcome"] = Outcome.UPSTREAM_UNREACHABLE.value
        await tape.error(made)
        await tape.error(made)  # the second time there is nothing left to store
    assert [exchange.outcome for exchange in stored(store)] == [Outcome.UPSTREAM_UNREACHABLE]


async def test_requests_of_a_disconnected_device_are_stored(store):
    async with recording(store) as tape:
        left, other, failed = flow(), flow(), flow()
        failed.client_conn = left.client_conn
        for made in (left, other, failed):
            tape.requestheaders(made)
        failed.error = tflow.terr()
        await tape.client_disconnected(left.client_conn)
        answered(other)
        await tape.response(other)
    outcomes = sorted(exchange.outcome.value for exchange in stored(store))
    assert outcomes == ["answered", "client-gone", "rejected"]


async def test_what_is_in_flight_at_the_end_is_stored_without_an_answer(store, monkeypatch, caplog):
    monkeypatch.setattr(hooks, "DRAIN_S", 0.05)
    with caplog.at_level(logging.INFO):
        async with recording(store) as tape:
            tape.requestheaders(flow())
    assert [(each.outcome, each.reason) for each in stored(store)] == [(Outcome.INTERRUPTED, stream.STOPPED)]
    assert "requests that have no answer yet: 1" in caplog.text
    assert "1 exchange stored, 0 lost" in caplog.text


async def test_what_cannot_be_converted_is_counted_as_lost_and_the_traffic_goes_on(store, monkeypatch, caplog):
    def failing(*_: object) -> None:
        raise ZeroDivisionError

    async with recording(store) as tape:
        monkeypatch.setattr(hooks, "exchange_of", failing)
        made = flow()
        tape.requestheaders(made)
        answered(made)
        await tape.response(made)
        monkeypatch.setattr(hooks, "arrival_of", failing)
        second = flow()
        tape.requestheaders(second)
        assert second.request.headers["Host"] == "up.example"
    assert lost(tape) == 2
    assert caplog.text.count("lost: POST /api/v1/sessions of ") == 2
    assert "0 exchanges stored, 2 lost" in caplog.text


@pytest.mark.parametrize("durability", ["commit", "async"])
async def test_an_answer_waits_for_the_journal_only_where_that_is_wanted(store, monkeypatch, durability):
    held: list[Callable[..., object]] = []
    put = Journal.put

    def holding(self: Journal, entry: Any, done: Any = None) -> None:
        held.append(done)
        put(self, entry)

    monkeypatch.setattr(Journal, "put", holding)
    async with recording(store, tape_durability=durability) as tape:
        made = flow()
        tape.requestheaders(made)
        answered(made)
        waiting = asyncio.create_task(tape.response(made))
        await asyncio.sleep(0)
        assert waiting.done() == (durability == "async")
        held[0](OSError("no disk takes it: the answer goes on all the same"))
        await waiting


async def test_findings_mark_flows_and_are_stored_with_the_exchange(store):
    async with recording(store) as tape:
        made = flow(WITHOUT_PARAMS)
        tape.requestheaders(made)
        answered(made, 400)
        await tape.response(made)
    assert made.marked == ":red_circle:"
    assert "param-missing" in made.comment
    assert "param-missing" in rules_of(store, stored(store)[0])


class Shown:
    """What mitmweb would show anew: waits for it."""

    def __init__(self) -> None:
        self._update = asyncio.Event()
        ctx.master.addons.add(self)

    def update(self, flows: Sequence[Flow]) -> None:
        self._update.set()

    async def until(self, is_so: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not is_so():
                await self._update.wait()
                self._update.clear()


@pytest.mark.parametrize("beyond", [0, 1])
async def test_a_large_body_is_marked_when_it_is_judged(store, beyond):
    async with recording(store) as tape:
        shown = Shown()
        made = flow(WITHOUT_PARAMS + b" " * (JUDGED_AT_ONCE - len(WITHOUT_PARAMS) + beyond))
        tape.requestheaders(made)
        answered(made, 400)
        assert tape._write(made, Outcome.ANSWERED)
        assert bool(made.marked) == (not beyond), "what is larger must not keep other devices waiting"
        await shown.until(lambda: made.marked == ":red_circle:")
    assert "param-missing" in rules_of(store, stored(store)[0])


async def test_a_large_body_outside_of_sessions_is_judged_too_and_its_flow_is_let_go(store):
    async def asked() -> weakref.ref[HTTPFlow]:
        made = flow(b" " * (JUDGED_AT_ONCE + 1), b"/api/v1/other")
        tape.requestheaders(made)
        answered(made, 404)
        await tape.response(made)
        await shown.until(lambda: made.marked == ":yellow_circle:")
        assert "http-path-unknown" in made.comment
        return weakref.ref(made)

    async with recording(store) as tape:
        shown = Shown()
        gone = await asked()
        gc.collect()
        assert gone() is None
    with store.read() as db:
        (found,) = findings.of_exchanges(db, None).values()
    assert [finding.rule for finding in found or ()] == ["http-path-unknown"]


async def test_a_finding_of_a_session_marks_the_flow_of_the_event_it_names_until_it_is_withdrawn(store):
    async def reported(event_type: str, ts_ms: int, **params: Any) -> HTTPFlow:
        sent = body(event_dict(event_type, ts=ts_ms, params=params or None))
        made = flow(sent, b"/api/v1/sessions/%s/events" % (b"0f" * 32))
        tape.requestheaders(made)
        answered(made, 204)
        await tape.response(made)
        return made

    ad = {"media.ad.id": "a", "media.ad.length": 30, "media.ad.podPosition": 1, "media.ad.playerName": "x"}
    async with recording(store) as tape:
        shown = Shown()
        began = flow()
        tape.requestheaders(began)
        answered(began)
        await tape.response(began)
        odd = await reported("adStart", BEGIN_MS + 2000, **ad)
        await shown.until(lambda: odd.marked == ":red_circle:")
        assert odd.comment.startswith("error ad-outside-break #2: adStart with no ad break open")
        odd.comment = "seen"
        await reported("adBreakStart", BEGIN_MS + 1000, **{"media.ad.podIndex": 1, "media.ad.podSecond": 0})
        await shown.until(lambda: odd.marked != ":red_circle:")
        assert odd.comment == "seen", "what somebody wrote by hand"
        assert "ad-outside-break" not in began.comment


async def test_a_schema_that_comes_by_counts_from_then_on(store, monkeypatch):
    schema = json.dumps(schema_of("ping")).encode()
    learned = threading.Event()
    learn = Judge.learn

    def learning(self: Judge, upstream: str | None = None) -> None:
        learn(self, upstream)
        if upstream is not None:
            learned.set()

    monkeypatch.setattr(Judge, "learn", learning)
    async with recording(store) as tape:
        asked = flow(b"", b"/api/v1/schemas/ping", method=b"GET")
        tape.requestheaders(asked)
        asked.metadata["sessiontape.asked"] = True
        asked.response = Response.make(200, schema, {"Content-Type": "application/json"})
        asked.response.timestamp_end = asked.request.timestamp_start
        await tape.response(asked)
        assert await asyncio.to_thread(learned.wait, 20)
        vocabulary = tape._begin().judging.inspector._vocabularies["http://up.example"]
    assert vocabulary.of("ping").authority.startswith("schema")
    assert vocabulary.of("play").authority == "built-in"


async def test_without_checking_nothing_is_found(store):
    async with recording(store, tape_check=False) as tape:
        made = flow(WITHOUT_PARAMS)
        tape.requestheaders(made)
        answered(made, 400)
        await tape.response(made)
    assert rules_of(store, stored(store)[0]) == set()
    assert not made.marked


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("tape_store", "mysql://x", "store"),
        ("tape_upstream", "ftp://x", "ftp"),
        ("tape_config", "no-such.toml", "no-such.toml"),
        ("tape_durability", "sometimes", "expected commit or async"),
        ("tape_upstream_timeout", "0", "not a number of seconds"),
        ("tape_upstream_timeout", "soon", "not a number of seconds"),
    ],
)
def test_invalid_options_are_errors(option, value, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tape = Tape()
    with taddons.context(Proxyserver(), tape) as context, pytest.raises(OptionsError, match=says):
        context.configure(tape, **{option: value})


def test_refusing_needs_checking():
    tape = Tape()
    with taddons.context(Proxyserver(), tape) as context, pytest.raises(OptionsError, match="needs tape_check"):
        context.configure(tape, tape_reject_invalid=True, tape_check=False)


async def test_some_options_cannot_be_changed_while_recording(store):
    async with recording(store) as tape:
        with pytest.raises(OptionsError, match="tape_name cannot be changed while recording"):
            tape.configure({"tape_name"})
        tape.configure({"tape_reject_invalid"})


async def test_a_store_that_cannot_be_opened_is_an_error_in_the_log(tmp_path, caplog):
    tape = Tape()
    with taddons.context(Proxyserver(), tape) as context:
        context.configure(tape, tape_store=f"sqlite:///{tmp_path}/no/such/folder/tape.db", server=False)
        await tape.running()
        await tape.done()
    assert "no/such/folder" in caplog.text
