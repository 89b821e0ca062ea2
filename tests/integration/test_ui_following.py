"""A session that is watched: at any time, what its page has been told is what a page that is opened then shows."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest

from proxy_addon.core.judging.policy import DEFAULT
from proxy_addon.core.judging.sessions import as_of
from proxy_addon.errors import StorageUnavailable
from proxy_addon.reporting.pages.embedding import json_text
from proxy_addon.reporting.pages.session import session_page
from proxy_addon.ui import following, pages
from proxy_addon.ui.asking import Asked
from proxy_addon.ui.following import Following, links_of
from proxy_addon.ui.listing import Listing
from proxy_addon.ui.reading import Reading
from proxy_addon.ui.threads import Threads
from proxy_addon.ui.topics import Look, News
from proxy_addon.ui.watching import Watching
from storage import exchanges, migrate, sessions
from storage.engine import Store
from storage.filters import Filters
from storage.saving import RecordingRun, save
from tests.builders import BEGIN, at, event, start, unjudged

RUN = RecordingRun(id="r1", name="smoke", started_at=BEGIN, version="1")


class Watched:
    """The first session of a store, as a browser keeps it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        with store.read() as db:
            (self._id,) = (each.id for each in sessions.newest(db, Filters(), now=BEGIN))
        self._following = Following(self._id, DEFAULT)
        self.value: Any = None

    def look(self, after_s: float, *, is_due: bool = False) -> bool:
        """Look as often as the pages do; return whether there was news."""
        with self._store.read() as db:
            tell = self._following.look(Look(db=db, as_of=as_of(at(after_s), DEFAULT), is_due=is_due))
        if tell is None:
            return False
        news = tell()
        if news.change is None or self.value is None:
            self.value = json.loads(json_text(news.whole["value"]))
            return True
        change = json.loads(json_text(news.change))
        for name, (begin, rest) in change["events"].items():
            self.value["events"][name][begin:] = rest
        self.value |= change["set"]
        return True

    def opened(self, after_s: float) -> Any:
        """The value of a page that is opened at a time."""
        now = as_of(at(after_s), DEFAULT)
        with self._store.read() as db:
            (found,) = sessions.get(db, [self._id])
            draw = Following(self._id, DEFAULT).page(db, found, now, [*links_of(db, found)])
        return json.loads(json_text(draw().document())) | {"made_at": self.value["made_at"]}


def saved(store: Store, *values: Any) -> None:
    with store.write() as db:
        save(db, RUN, unjudged(values))


def test_a_session_without_a_start_runs_out_on_its_open_page_too(store):
    saved(store, event("play", id="a", after_s=1), event("ping", id="b", after_s=11, playhead=10))
    watched = Watched(store)
    assert watched.look(12)
    assert watched.value["closed_by"] != "timeout_idle"
    assert watched.look(1000, is_due=True)
    assert watched.value["closed_by"] == "timeout_idle"
    assert watched.value == watched.opened(1000)
    assert not watched.look(1005, is_due=True), "it cannot run out twice"


def test_the_next_session_of_a_device_is_linked_from_the_open_page_of_the_one_before(store):
    saved(store, start(id="a", session_id="one"), event("sessionEnd", id="b", session_id="one", after_s=5))
    watched = Watched(store)
    assert watched.look(6)
    saved(store, start(id="c", session_id="two", after_s=60))
    assert not watched.look(61), "which can wait: to look for it each time would be too much"
    assert watched.look(65, is_due=True)
    assert [kind for kind, _ in watched.value["links"]] == ["next"]
    assert watched.value == watched.opened(65)
    assert not watched.look(70, is_due=True)


def test_what_could_not_be_read_is_told_by_the_next_look(store, monkeypatch):
    saved(store, start(id="a"), event("play", id="b"))
    watched = Watched(store)
    assert watched.look(2)
    saved(store, event("sessionEnd", id="c", after_s=3, playhead=2))

    def gone(*_: object) -> None:
        raise StorageUnavailable("the store is away")

    with monkeypatch.context() as patched:
        patched.setattr(exchanges, "keys_of_session", gone)
        with pytest.raises(StorageUnavailable):
            watched.look(4)
    assert watched.look(4)
    assert watched.value == watched.opened(4)


async def test_a_subject_that_cannot_be_drawn_keeps_no_other_from_being_told(store):
    class Broken:
        def look(self, _: Look) -> Callable[[], News]:
            return lambda: News("broken", whole={"never": 1 / 0})

    class Sound:
        def look(self, _: Look) -> Callable[[], News]:
            return lambda: News("sound", whole={})

    with closing(Reading(store.url)) as reading:
        watching = Watching(reading, DEFAULT)
        running = asyncio.create_task(watching.run())
        async with watching.watching(1, Broken) as broken, watching.watching(2, Sound) as sound:
            told = await asyncio.wait_for(asyncio.gather(anext(sound), anext(broken)), 20)
        running.cancel()
    assert [each.event for each in told] == ["sound", "store"]
    assert "an error in sessiontape" in told[1].data


async def test_pages_are_drawn_when_the_store_is_no_longer_read(sqlite_url, monkeypatch):
    """A transaction that goes on keeps SQLite from using the space of the -wal file again, which grows meanwhile."""
    emptied: list[int] = []

    def draw(*given: Any) -> Any:
        with closing(sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), timeout=0)) as db:
            emptied.append(1 - db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0])
        return session_page(*given)

    monkeypatch.setattr(following, "session_page", draw)
    with closing(Store(sqlite_url)) as store:
        migrate.upgrade(store)
        saved(store, start(id="a"), event("play", id="b"))
        with store.read() as db:
            (id,) = (each.id for each in sessions.newest(db, Filters(), now=BEGIN))
        with closing(Reading(sqlite_url)) as reading, closing(Reading(sqlite_url)) as watched:
            watching = Watching(watched, DEFAULT)
            running = asyncio.create_task(watching.run())
            async with watching.watching(id, lambda: Following(id, DEFAULT)) as messages:
                await asyncio.wait_for(anext(messages), 20)
            running.cancel()
            app = pages.app(reading, watching, DEFAULT, Threads())
            for path in (f"/sessions/{id}", f"/sessions/{id}.json"):
                assert await asyncio.wait_for(_status(app, path), 20) == 200
    assert emptied == [1, 1, 1]


async def _status(app: Any, path: str) -> int:
    said: list[int] = []

    async def send(message: Any) -> None:
        said.append(message.get("status", 0))

    scope = {"type": "http", "method": "GET", "http_version": "1.1", "scheme": "http", "root_path": ""}
    request = {"path": path, "raw_path": path.encode(), "query_string": b"", "headers": []}
    await app(scope | request, asyncio.Event().wait, send)
    return said[0]


def test_an_empty_list_is_told_once(store):
    listing = Listing(Asked.parse([("media", "none")]), 200)
    with store.read() as db:
        look = Look(db=db, as_of=as_of(BEGIN, DEFAULT), is_due=True)
        tell = listing.look(look)
        assert tell is not None
        assert tell().whole == {"whole": True, "rows": [], "gone": []}
        assert listing.look(look) is None
