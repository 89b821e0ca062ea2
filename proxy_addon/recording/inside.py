"""What people see who run the recorder inside mitmproxy or mitmweb: marks, comments, a view of bodies, two commands.

Flows with findings are marked and carry them as comment, those of a session on the flows of the events they name. The
view shows a body with its findings above it. ``tape.check`` judges flows, those loaded from a file too, and
``tape.sessions`` lists what the store has.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import NamedTuple
from weakref import WeakKeyDictionary, WeakValueDictionary

from mitmproxy import command, contentviews, ctx, flow, types
from mitmproxy.contentviews import Contentview, Metadata
from mitmproxy.exceptions import OptionsError
from mitmproxy.hooks import UpdateHook
from mitmproxy.http import HTTPFlow
from mitmproxy.optmanager import OptManager

from proxy_addon.core.exchange import Exchange, Outcome
from proxy_addon.core.findings import Finding, Severity, finding_line, worst
from proxy_addon.core.folding import place_of
from proxy_addon.core.judging.sessions import as_of
from proxy_addon.core.routes import TRACKING, Operation, parse_route
from proxy_addon.core.urls import ServerUrl
from proxy_addon.core.wording import close_to
from proxy_addon.recording.flows import Arrivals, exchange_of, upstream_url
from proxy_addon.recording.inspecting import Inspector
from storage import sessions
from storage.engine import Store
from storage.filters import Filters

PREFIX = "tape_"
"""What the names of all our options begin with."""
VIEW = "Media Collection API"
SESSIONS_SHOWN = 50
_MARKS = {Severity.ERROR: ":red_circle:", Severity.WARNING: ":yellow_circle:", Severity.INFO: ":large_blue_circle:"}
_MARKED, _COMMENTED = "sessiontape.marked", "sessiontape.commented"
"""What we have put on a flow: anything else there was put by somebody by hand, and stays."""


@dataclass(slots=True)
class _Found:
    """What was found of a flow: of its exchange by itself, and of its session where it names this event."""

    of_exchange: Sequence[Finding] = ()
    of_session: Sequence[Finding] = ()


class Marks:
    """Puts findings on flows as they come: a mark by the worst of them, and all of them as comment.

    Mere information about a session stands in the comment alone.

    A flow that nobody else keeps is not kept here either; then there is nobody to see its mark.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Make one.

        Args:
            loop: Where flows are changed. What says so may be called by other threads, all else is called there.
        """
        self._loop = loop
        self._tasks: set[asyncio.Task[None]] = set()
        self._flows: WeakValueDictionary[str, HTTPFlow] = WeakValueDictionary()
        self._found: WeakKeyDictionary[HTTPFlow, _Found] = WeakKeyDictionary()

    def follow(self, exchange_id: str, of: HTTPFlow) -> None:
        """Remember which flow an exchange was, for what is found of it later."""
        self._flows[exchange_id] = of

    def judged(self, of: HTTPFlow, findings: Sequence[Finding]) -> None:
        """Put on a flow what was found of its exchange, in the place of what was there."""
        self._found.setdefault(of, _Found()).of_exchange = findings
        self._put(of)

    def tell_of_exchange(self, exchange_id: str, findings: Sequence[Finding]) -> None:
        """Tell what was found of an exchange after it was stored. May be called by any thread."""
        self._in_loop(self._late, exchange_id, findings)

    def tell_of_session(self, findings: Mapping[str, Sequence[Finding]]) -> None:
        """Tell which findings of their session name exchanges, in the place of earlier ones. May be called by any thread.

        Args:
            findings: By the ids of the exchanges; those of which nothing has changed are left out.
        """
        self._in_loop(self._of_session, findings)

    def _in_loop(self, work: Callable[..., None], *arguments: object) -> None:
        if not self._loop.is_closed():  # a thread of ours may outlive it by a moment
            self._loop.call_soon_threadsafe(work, *arguments)

    def _late(self, exchange_id: str, findings: Sequence[Finding]) -> None:
        of = self._flows.get(exchange_id)
        if of is not None:
            self.judged(of, findings)
            self._show([of])

    def _of_session(self, findings: Mapping[str, Sequence[Finding]]) -> None:
        flows = []
        for exchange_id, found in findings.items():
            of = self._flows.get(exchange_id)
            if of is not None:
                self._found.setdefault(of, _Found()).of_session = found
                self._put(of)
                flows.append(of)
        self._show(flows)

    def _put(self, of: HTTPFlow) -> None:
        found = self._found[of]
        if not found.of_exchange and not found.of_session and _MARKED not in of.metadata:
            return
        # SDKs earn some information in every session: a mark for that would hide those that matter.
        marking = [finding for finding in found.of_session if finding.severity is not Severity.INFO]
        severity = worst((*found.of_exchange, *marking))
        mark = "" if severity is None else _MARKS[severity]
        comment = "\n".join(
            [
                *(finding_line(finding) for finding in found.of_exchange),
                *(finding_line(finding, place_of(finding)) for finding in found.of_session),
            ]
        )
        if of.marked in ("", of.metadata.get(_MARKED)):
            of.marked = of.metadata[_MARKED] = mark
        if of.comment in ("", of.metadata.get(_COMMENTED)):
            of.comment = of.metadata[_COMMENTED] = comment

    def _show(self, flows: Sequence[HTTPFlow]) -> None:
        if flows:
            task = self._loop.create_task(ctx.master.addons.trigger_event(UpdateHook(flows)))
            self._tasks.add(task)  # a loop keeps none
            task.add_done_callback(self._tasks.discard)


def take_options(options: OptManager) -> None:
    """Give our options, which were just declared, the values that mitmproxy was told for them.

    mitmproxy would do so itself, but where it cannot read one it goes on without this addon and says nothing.

    Raises:
        OptionsError: A value cannot be read; then all of ours have their defaults.
    """
    try:
        options.process_deferred()
    except OptionsError:
        for name in [name for name in options.deferred if name.startswith(PREFIX)]:
            del options.deferred[name]
        raise


def refuse_unknown_options(options: OptManager) -> None:
    """Refuse options whose names begin as ours do: mitmproxy keeps what nobody knows for addons that may come yet.

    Raises:
        OptionsError: There is one; the message names the close one.
    """
    for name in options.deferred:
        if name.startswith(PREFIX):
            known = sorted(each for each, _ in options.items() if each.startswith(PREFIX))
            close = close_to(name, known)
            hint = f"did you mean {close}?" if close else f"known are {', '.join(known)}"
            raise OptionsError(f"unknown option {name}; {hint}")


async def show_update(of: HTTPFlow) -> None:
    """Have the lists of mitmproxy and mitmweb show what was put on a flow."""
    if _MARKED in of.metadata:
        await ctx.master.addons.trigger_event(UpdateHook([of]))


class Judging(NamedTuple):
    """How the recorder judges: by its settings, with the schemas of upstreams.

    Attributes:
        upstream: The one of reverse mode that has a path; None elsewhere.
    """

    inspector: Inspector
    marks: Marks
    upstream: ServerUrl | None


class ApiContentview(Contentview):
    """A body of the API with its findings."""

    def __init__(self, judging: Callable[[], Judging]) -> None:
        self._judging = judging

    @property
    def name(self) -> str:
        """What it is called in the list of views."""
        return VIEW

    @property
    def syntax_highlight(self) -> contentviews.SyntaxHighlight:
        """Colours of the text below the findings."""
        return "yaml"

    def prettify(self, data: bytes, metadata: Metadata) -> str:
        """Return the findings of a body, and the body."""
        endpoint = _endpoint(metadata)
        if endpoint is None or not isinstance(metadata.flow, HTTPFlow):
            raise ValueError("no request body of the Media Collection API")
        judging = self._judging()
        findings = judging.inspector.of_body(data, endpoint, upstream_url(metadata.flow, judging.upstream))
        lines = [f"# {finding_line(finding)}" for finding in findings] or ["# no findings"]
        try:
            pretty = contentviews.registry["json"].prettify(data, metadata)
        except ValueError:
            pretty = data.decode("utf-8", "backslashreplace")
        return "\n".join([*lines, "", pretty])

    def render_priority(self, data: bytes, metadata: Metadata) -> float:
        """Come before mitmproxy's own view of JSON where it is about the API."""
        return 2 if data and _endpoint(metadata) is not None else -1


def _endpoint(metadata: Metadata) -> Operation | None:
    """Return what a request body was posted to; None for everything else."""
    of = metadata.flow
    if not isinstance(of, HTTPFlow) or metadata.http_message is not of.request:
        return None
    route = parse_route(of.request.method, of.request.path)
    return route.operation if route is not None and route.operation in TRACKING else None


class Commands:
    """The commands, and the view."""

    def __init__(self, judging: Callable[[], Judging]) -> None:
        """Make them.

        Args:
            judging: Asked at each use: what the recorder judges by is known once it runs.
        """
        self._judging = judging
        self._view = ApiContentview(judging)

    def running(self) -> None:
        """Add the view."""
        contentviews.add(self._view)

    @command.command("tape.check")  # type: ignore[untyped-decorator]
    def check(self, flows: Sequence[flow.Flow]) -> types.Data:
        """Judge flows by the rules of the protocol: a row for each finding."""
        rows: list[list[str]] = [["path", "severity", "rule", "message", "pointer"]]
        judging = self._judging()
        for each in flows:
            exchange = _exchange(each, judging.upstream)
            if exchange is not None:
                findings = judging.inspector.findings(exchange)
                if isinstance(each, HTTPFlow):
                    judging.marks.judged(each, findings)
                rows += [_row(exchange, finding) for finding in findings]
        return rows  # type: ignore[return-value]  # a list of lists is what mitmproxy means by Data

    @command.command("tape.sessions")  # type: ignore[untyped-decorator]
    def sessions(self) -> types.Data:
        """List the newest sessions in the store."""
        rows: list[list[str]] = [["id", "started", "state", "events", "errors", "warnings", "player", "media"]]
        at = as_of(datetime.now(UTC), self._judging().inspector.policy)
        store = Store(ctx.options.tape_store)
        try:
            with store.read() as db:
                for each in islice(sessions.newest(db, Filters(), now=at.now, limit=SESSIONS_SHOWN), SESSIONS_SHOWN):
                    counts = each.finding_counts(at)
                    started = f"{each.started_at:%Y-%m-%d %H:%M:%S}"
                    media = each.media_name or each.media_id or ""
                    numbers = [str(number) for number in (each.events, counts.error, counts.warning)]
                    row = [each.id, started, each.state(at).value, *numbers]
                    rows.append([*row, each.player_name or "", media])
        finally:
            store.close()
        return rows  # type: ignore[return-value]  # as above


def _exchange(of: flow.Flow, upstream: ServerUrl | None) -> Exchange | None:
    """Return the exchange that a flow is, also one loaded from a file; None for one that is not of the API."""
    if not isinstance(of, HTTPFlow) or parse_route(of.request.method, of.request.path) is None:
        return None
    arrival = Arrivals().take_down(of, upstream_url(of, upstream))
    return exchange_of(of, arrival, Outcome.ANSWERED if of.response is not None else Outcome.UPSTREAM_CLOSED)


def _row(exchange: Exchange, finding: Finding) -> list[str]:
    return [exchange.request.path, finding.severity.value, finding.rule, finding.message, finding.pointer or ""]
