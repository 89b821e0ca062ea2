"""The addresses of the pages: each page as HTML, the same value as JSON, and its updates as server-sent events."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from sse_starlette import EventSourceResponse
from sse_starlette.sse import SendTimeoutError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from proxy_addon.core.judging.policy import Policy
from proxy_addon.core.judging.sessions import as_of
from proxy_addon.core.sessions import AsOf, Session
from proxy_addon.core.wording import visible
from proxy_addon.errors import NotFound, SessiontapeError, SettingsError
from proxy_addon.reporting.pages.rendering import page
from proxy_addon.reporting.pages.session import SessionPage
from proxy_addon.ui import following, listing
from proxy_addon.ui.answers import failure, html, json
from proxy_addon.ui.asking import Asked
from proxy_addon.ui.documents import Documents
from proxy_addon.ui.following import Following
from proxy_addon.ui.listing import Listing
from proxy_addon.ui.reading import Reading
from proxy_addon.ui.threads import Ending, Threads
from proxy_addon.ui.topics import Message, Subject
from proxy_addon.ui.watching import Crowded, Watching
from storage import sessions

if TYPE_CHECKING:
    from sqlalchemy import Connection

SEND_S = 10.0
"""How long a browser may leave what is sent to it unread before its stream is closed."""
BEAT_S = 10
"""How often an open stream sends a sign of life."""
_LIST, _SESSION = "sessions_page.js", "session_live.js"
_OWN = {"before", "rows"}
"""Parameters of the list that are not filters."""


def app(reading: Reading, watching: Watching, settings: Policy, threads: Threads) -> Starlette:
    """Return the pages as an application.

    Args:
        reading: For requests; `watching` has its own.
        settings: How strictly to judge.
        threads: In which requests are worked on.
    """
    pages = _Pages(reading, watching, settings, threads)
    return Starlette(
        routes=[
            Route("/", pages.list_page),
            Route("/sessions", _list),
            Route("/sessions.json", pages.list_json),
            Route("/live", pages.list_live),
            Route("/sessions/{id}.json", pages.session_json),
            Route("/sessions/{id}/live", pages.session_live),
            Route("/sessions/{id}/traffic.json", pages.traffic_json),
            Route("/sessions/{id}/traffic/{seq:int}.json", pages.traffic_json),
            Route("/sessions/{name}", pages.session_page),
            *Documents(pages.read, settings).routes,
            Route("/favicon.ico", _no_icon),
        ],
        exception_handlers={SessiontapeError: _failed, Crowded: _crowded, Ending: _ending, HTTPException: _unknown},
    )


class _Pages:
    def __init__(self, reading: Reading, watching: Watching, settings: Policy, threads: Threads) -> None:
        self._threads = threads
        self._reading = reading
        self._watching = watching
        self._settings = settings

    # The list

    async def list_page(self, request: Request) -> Response:
        def read(db: Connection, now: AsOf) -> Callable[[], Response]:
            parts = {"value": self._listed(db, request, now)}
            return lambda: html(page(title="Sessions", entry=_LIST, parts=parts, is_live=True), _LIST, is_live=True)

        return await self.read(read)

    async def list_json(self, request: Request) -> Response:
        return await self.read(lambda db, now: partial(json, self._listed(db, request, now)))

    async def list_live(self, request: Request) -> Response:
        asked, size = _asked(request), _number(request, "rows", listing.PAGE, most=listing.MOST)
        return await self._stream(("list", asked, size), lambda: Listing(asked, size))

    def _listed(self, db: Connection, request: Request, now: AsOf) -> dict[str, Any]:
        before = request.query_params.get("before")
        last = None if before is None else _found(db, before)
        return listing.listed(db, _asked(request), now, store=self._reading.label, before=last).document()

    # One session

    async def session_page(self, request: Request) -> Response:
        name = request.path_params["name"]

        def read(db: Connection, now: AsOf) -> Callable[[], Response]:
            found = sessions.get(db, [name])
            if not found:
                return partial(RedirectResponse, f"/sessions/{sessions.find(db, name).id}")
            title = found[0].media_name or found[0].media_id or found[0].id
            drawn = self._followed(db, found[0], now)

            def draw() -> Response:
                parts = {"value": drawn().document()}
                return html(page(title=title, entry=_SESSION, parts=parts, is_live=True), _SESSION, is_live=True)

            return draw

        return await self.read(read)

    async def session_json(self, request: Request) -> Response:
        id = request.path_params["id"]

        def read(db: Connection, now: AsOf) -> Callable[[], Response]:
            drawn = self._followed(db, _found(db, id), now)
            return lambda: json(drawn().document())

        return await self.read(read)

    async def session_live(self, request: Request) -> Response:
        id = request.path_params["id"]
        await self.read(lambda db, _: partial(str, _found(db, id).id))
        return await self._stream(("session", id), lambda: Following(id, self._settings))

    async def traffic_json(self, request: Request) -> Response:
        id, only = request.path_params["id"], request.path_params.get("seq")
        after = _number(request, "after", 0)

        def read(db: Connection, _: AsOf) -> Callable[[], Response]:
            _found(db, id)
            return partial(json, following.traffic_of(db, id, after=after, only=only))

        return await self.read(read)

    def _followed(self, db: Connection, session: Session, now: AsOf) -> Callable[[], SessionPage]:
        return Following(session.id, self._settings).page(db, session, now, [*following.links_of(db, session)])

    # Both

    async def read[T](self, read: Callable[[Connection, AsOf], Callable[[], T]]) -> T:
        """Read the store in one transaction and return what is made of it, all in a thread.

        Args:
            read: Reads the store, and returns the function that makes the result. This is called after the transaction,
                because an SQLite store cannot reuse the space of its -wal file while a transaction is open.
        """

        def in_thread() -> T:
            with self._reading.open() as db:
                make = read(db, as_of(datetime.now(UTC), self._settings))
            return make()

        return await self._threads.do(in_thread)

    async def _stream(self, key: Hashable, make: Callable[[], Subject]) -> Response:
        """Answer with server-sent events until the browser disconnects, or reads nothing for too long."""
        self._watching.require_room()
        return _Events(self._events(key, make), sep="\n", ping=BEAT_S, send_timeout=SEND_S)

    async def _events(self, key: Hashable, make: Callable[[], Subject]) -> AsyncIterator[dict[str, str]]:
        async with self._watching.watching(key, make) as messages:
            async for message in messages:
                yield _event(message)


class _Events(EventSourceResponse):
    """Server-sent events that end without an error if the browser reads nothing for too long."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with suppress(SendTimeoutError):
            await super().__call__(scope, receive, send)


def _event(message: Message) -> dict[str, str]:
    return {"event": message.event, "data": message.data}


def _asked(request: Request) -> Asked:
    return Asked.parse(pair for pair in request.query_params.multi_items() if pair[0] not in _OWN)


def _number(request: Request, name: str, default: int, most: int = 1_000_000_000) -> int:
    text = request.query_params.get(name, str(default))
    if not text.isascii() or not text.isdigit() or len(text) > 10:
        raise SettingsError(f"{name} is not a number: {text[:40]!r}")
    return min(int(text), most)


def _found(db: Connection, id: str) -> Session:
    found = sessions.get(db, [id])
    if not found:
        raise NotFound(
            f"there is no session {id[:100]!r}", hint="name the whole id; the session may also have been deleted"
        )
    return found[0]


def _failed(request: Request, error: Exception) -> Response:
    assert isinstance(error, SessiontapeError)
    status = 404 if isinstance(error, NotFound) else 400 if isinstance(error, SettingsError) else 503
    return _told(request, visible(str(error)), error.hint, status)


def _crowded(request: Request, _: Exception) -> Response:
    return _told(request, "too many pages are open", "close some of them", 503)


def _ending(request: Request, _: Exception) -> Response:
    return _told(request, "the server is stopping", "", 503)


def _unknown(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _told(request, "there is no such page", "", error.status_code)


def _told(request: Request, error: str, hint: str, status: int) -> Response:
    """Answer with an error: as JSON if JSON was requested, otherwise as `answers.failure` does."""
    if request.url.path.endswith((".json", "/live")):
        return json({"error": error, "hint": hint}, status)
    return failure(request, status, error, hint)


async def _list(request: Request) -> Response:
    query = request.url.query
    return RedirectResponse(f"/?{query}" if query else "/")


async def _no_icon(_: Request) -> Response:
    return Response(status_code=204)
