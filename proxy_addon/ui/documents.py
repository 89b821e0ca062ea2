"""Pages that are not updated while they are open: comparisons, replay runs, the rules, the schemas."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from proxy_addon.core.judging.policy import Policy
from proxy_addon.core.replays.runs import SessionRun
from proxy_addon.core.rules import Rule
from proxy_addon.core.rules.planned import KNOWN
from proxy_addon.core.sessions import AsOf
from proxy_addon.core.wording import suggestion
from proxy_addon.errors import NotFound
from proxy_addon.reporting.documents import run_text
from proxy_addon.reporting.pages import compare, rules, run, runs, schemas
from proxy_addon.reporting.pages.sessions import row_of
from proxy_addon.ui.answers import html, json
from storage import runs as stored_runs
from storage import schemas as stored_schemas
from storage import sessions
from storage.pictures import Pictures

if TYPE_CHECKING:
    from sqlalchemy import Connection

MOST_RUNS = 200
"""How many runs are listed."""
MOST_BROKEN = 20
"""How many sessions the page of a rule lists."""
_NOT_CLOSED = "session-not-closed"
_DOCUMENT, _COMPARE = "document_page.js", "compare_page.js"


class Reader(Protocol):
    """Reads the store in a thread, in one transaction."""

    def __call__[T](self, read: Callable[[Connection, AsOf], Callable[[], T]], /) -> Awaitable[T]:
        """Call a function that reads the store, then the function that it returns, which needs no store; return its result."""


class Documents:
    """The routes of these pages.

    Attributes:
        routes: Each page, and the same value as JSON.
    """

    def __init__(self, read: Reader, settings: Policy) -> None:
        """Make the routes.

        Args:
            read: Reads the store.
            settings: How strictly to judge.
        """
        self._read = read
        self._settings = settings
        self.routes: Sequence[Route] = (
            Route("/compare/{a}/{b}.json", self._compare_json),
            Route("/compare/{a}/{b}", self._compare),
            Route("/runs", self._runs),
            Route("/runs.json", self._runs_json),
            Route("/runs/{run}/{session}.json", self._replay_json),
            Route("/runs/{run}/{session}", self._replay),
            Route("/runs/{run}.json", self._run_json),
            Route("/runs/{run}", self._run),
            Route("/rules", self._rules),
            Route("/rules.json", self._rules_json),
            Route("/rules/{rule}.json", self._rule_json),
            Route("/rules/{rule}", self._rule),
            Route("/schemas", self._schemas),
            Route("/schemas.json", self._schemas_json),
        )

    # Two sessions, and a session with its replay

    async def _compare(self, request: Request) -> Response:
        def draw(page: compare.ComparePage) -> Response:
            return html(compare.html(page, sessions="/", sides=_sides(page)), _COMPARE)

        return await self._compared(request, draw)

    async def _compare_json(self, request: Request) -> Response:
        return await self._compared(request, lambda page: json(page.document()))

    async def _compared(self, request: Request, draw: Callable[[compare.ComparePage], Response]) -> Response:
        names = request.path_params["a"], request.path_params["b"]

        def read(db: Connection, now: AsOf) -> Callable[[], Response]:
            one, other = (self._side(db, name, now) for name in names)
            return lambda: draw(compare.sessions_page(one, other))

        return await self._read(read)

    async def _replay(self, request: Request) -> Response:
        def draw(page: compare.ComparePage) -> Response:
            own, _ = _sides(page)
            return html(compare.html(page, sessions="/", sides=(own, f"/runs/{request.path_params['run']}")), _COMPARE)

        return await self._replayed(request, draw)

    async def _replay_json(self, request: Request) -> Response:
        return await self._replayed(request, lambda page: json(page.document()))

    async def _replayed(self, request: Request, draw: Callable[[compare.ComparePage], Response]) -> Response:
        run_name, session_name = request.path_params["run"], request.path_params["session"]

        def read(db: Connection, now: AsOf) -> Callable[[], Response]:
            found = stored_runs.find(db, run_name)
            side = self._side(db, session_name, now)
            own = side.picture.session.id
            replayed = next((each for each in stored_runs.sessions(db, found.id) if each.source == own), None)
            if replayed is None:
                raise NotFound(
                    f"run {found.id} did not replay session {own}", hint="the page of the run lists its sessions"
                )
            return lambda: draw(compare.replay_page(side, replayed, name=f"run {found.id}"))

        return await self._read(read)

    def _side(self, db: Connection, name: str, now: AsOf) -> compare.Side:
        session = sessions.find(db, name)
        return compare.Side(picture=Pictures(db, self._settings, now.now).reported(session).picture())

    # Replay runs

    async def _runs(self, _: Request) -> Response:
        return await self._listed(lambda page: html(runs.html(page), _DOCUMENT))

    async def _runs_json(self, _: Request) -> Response:
        return await self._listed(lambda page: json(page.document()))

    async def _listed(self, draw: Callable[[runs.RunsPage], Response]) -> Response:
        def read(db: Connection, _: AsOf) -> Callable[[], Response]:
            found = [*stored_runs.newest(db, limit=MOST_RUNS + 1)]
            return lambda: draw(runs.runs_page(found[:MOST_RUNS], is_whole=len(found) <= MOST_RUNS))

        return await self._read(read)

    async def _run(self, request: Request) -> Response:
        name = request.path_params["run"]

        def read(db: Connection, _: AsOf) -> Callable[[], Response]:
            found = stored_runs.find(db, name)

            def comparison(session: SessionRun) -> str:
                return f"/runs/{found.id}/{session.source}"

            summary = stored_runs.summary(db, found)
            pieces = [
                *run.page(summary, lambda: stored_runs.sessions(db, found.id), runs="/runs", comparison=comparison)
            ]
            return lambda: html(pieces, _DOCUMENT)

        return await self._read(read)

    async def _run_json(self, request: Request) -> Response:
        name = request.path_params["run"]

        def read(db: Connection, _: AsOf) -> Callable[[], Response]:
            found = stored_runs.find(db, name)
            text = "".join(run_text(stored_runs.summary(db, found), stored_runs.sessions(db, found.id)))
            return lambda: Response(text, media_type="application/json")

        return await self._read(read)

    # Rules and schemas

    async def _rules(self, _: Request) -> Response:
        return html(rules.list_html(rules.rules_page()), _DOCUMENT)

    async def _rules_json(self, _: Request) -> Response:
        return json(rules.rules_page().document())

    async def _rule(self, request: Request) -> Response:
        return await self._ruled(request, lambda page: html(rules.html(page), _DOCUMENT))

    async def _rule_json(self, request: Request) -> Response:
        return await self._ruled(request, lambda page: json(page.document()))

    async def _ruled(self, request: Request, draw: Callable[[rules.RulePage], Response]) -> Response:
        rule = _rule(request)

        def read(db: Connection, now: AsOf) -> Callable[[], Response]:
            unclosed = rule.id == _NOT_CLOSED and bool(now.unclosed)
            broken = sessions.breaking(db, rule.id, now, limit=MOST_BROKEN, unclosed=unclosed)
            return lambda: draw(rules.rule_page(rule, [row_of(session, now) for session in broken]))

        return await self._read(read)

    async def _schemas(self, _: Request) -> Response:
        return await self._versions(lambda page: html(schemas.html(page), _DOCUMENT))

    async def _schemas_json(self, _: Request) -> Response:
        return await self._versions(lambda page: json(page.document()))

    async def _versions(self, draw: Callable[[schemas.SchemasPage], Response]) -> Response:
        def read(db: Connection, _: AsOf) -> Callable[[], Response]:
            page = schemas.schemas_page(stored_schemas.versions(db))
            return lambda: draw(page)

        return await self._read(read)


def _sides(page: compare.ComparePage) -> tuple[str, str]:
    one, other = (f"/sessions/{side['page']['session']['id']}" for side in page.sides)
    return one, other


def _rule(request: Request) -> Rule:
    name = request.path_params["rule"]
    if name not in KNOWN:
        raise NotFound(f"there is no rule {name[:100]!r}{suggestion(name, KNOWN)}", hint="/rules lists them")
    return KNOWN[name]
