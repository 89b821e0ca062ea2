"""The user interface inside mitmproxy and mitmweb: marks, comments, a view of bodies, and two commands.

Flows with findings are marked and have the findings as their comment; a session's findings are on the flows of the
events that they name. The view shows a body below its findings. ``tape.check`` judges flows, even those loaded from a
file, and ``tape.sessions`` lists the sessions in the store.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import NamedTuple
from weakref import WeakKeyDictionary, WeakValueDictionary

from mitmproxy import command, contentviews, ctx, flow, types
from mitmproxy.addonmanager import Loader
from mitmproxy.contentviews import Contentview, Metadata
from mitmproxy.exceptions import OptionsError
from mitmproxy.hooks import UpdateHook
from mitmproxy.http import HTTPFlow
from mitmproxy.optmanager import OptManager

from proxy_addon.core.exchange import Exchange, Outcome
from proxy_addon.core.findings import Finding, Severity, finding_line, worst
from proxy_addon.core.folding import place_of
from proxy_addon.core.judging.inspecting import Inspector
from proxy_addon.core.judging.sessions import as_of
from proxy_addon.core.routes import TRACKING, Operation, parse_route
from proxy_addon.core.urls import ServerUrl
from proxy_addon.core.wording import close_to
from proxy_addon.recording.arrivals import Arrivals
from proxy_addon.recording.flows import arrival_of, began_us, exchange_of, upstream_url
from storage import sessions
from storage.engine import Store
from storage.filters import Filters

PREFIX = "tape_"
"""Prefix of the names of our options."""
VIEW = "Media Collection API"
SESSIONS_SHOWN = 50
_MARKS = {Severity.ERROR: ":red_circle:", Severity.WARNING: ":yellow_circle:", Severity.INFO: ":large_blue_circle:"}
_MARKED, _COMMENTED = "sessiontape.marked", "sessiontape.commented"
"""Metadata keys under which we remember our mark and comment; others were set by the user, and stay."""


@dataclass(slots=True)
class _Found:
    """The findings of a flow: those of its exchange, and those of its session that name this event."""

    of_exchange: Sequence[Finding] = ()
    of_session: Sequence[Finding] = ()


class Marks:
    """Puts findings on flows: a mark for the worst, and a comment with all of them.

    Findings of a session with severity ``info`` are in the comment only. Flows are held by weak references: if nothing
    else keeps a flow, nobody can see its mark.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Make an object without flows.

        Args:
            loop: The event loop in which flows are changed. Call all methods from it, except where they say otherwise.
        """
        self._loop = loop
        self._tasks: set[asyncio.Task[None]] = set()
        self._flows: WeakValueDictionary[str, HTTPFlow] = WeakValueDictionary()
        self._found: WeakKeyDictionary[HTTPFlow, _Found] = WeakKeyDictionary()

    def follow(self, exchange_id: str, of: HTTPFlow) -> None:
        """Remember which flow an exchange came from, for later findings."""
        self._flows[exchange_id] = of

    def judged(self, of: HTTPFlow, findings: Sequence[Finding]) -> None:
        """Put the findings of its exchange on a flow, replacing earlier ones."""
        self._found.setdefault(of, _Found()).of_exchange = findings
        self._put(of)

    def found(self, exchange_id: str, findings: Sequence[Finding]) -> None:
        """Put the findings of an exchange on its flow, and show it anew."""
        of = self._flows.get(exchange_id)
        if of is not None and findings:
            self.judged(of, findings)
            self._show([of])

    def tell_of_session(self, exchange_id: str, findings: Sequence[Finding]) -> None:
        """Put a session's findings on the flow that they name, replacing earlier ones. Call it from any thread."""
        self._in_loop(self._of_session, exchange_id, findings)

    def _in_loop(self, work: Callable[..., None], *arguments: object) -> None:
        if not self._loop.is_closed():  # our threads may outlive it by a moment
            self._loop.call_soon_threadsafe(work, *arguments)

    def _of_session(self, exchange_id: str, findings: Sequence[Finding]) -> None:
        of = self._flows.get(exchange_id)
        if of is not None:
            self._found.setdefault(of, _Found()).of_session = findings
            self._put(of)
            self._show([of])

    def _put(self, of: HTTPFlow) -> None:
        found = self._found[of]
        if not found.of_exchange and not found.of_session and _MARKED not in of.metadata:
            return
        # SDKs cause some info findings in every session; marks for these would hide those that matter.
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
            self._tasks.add(task)  # the loop holds only weak references to tasks
            task.add_done_callback(self._tasks.discard)


def take_options(options: OptManager) -> None:
    """Apply the values that the user gave mitmproxy for our options, which were just declared.

    mitmproxy would do so itself, but if a value is invalid, it silently goes on without this addon.

    Raises:
        OptionsError: A value is invalid. All our options then have their defaults.
    """
    try:
        options.process_deferred()
    except OptionsError:
        for name in [name for name in options.deferred if name.startswith(PREFIX)]:
            del options.deferred[name]
        raise


def refuse_unknown_options(options: OptManager) -> None:
    """Refuse unknown options with our prefix, which mitmproxy would keep for addons that may be loaded later.

    Raises:
        OptionsError: There is such an option; the message suggests a similar one.
    """
    for name in options.deferred:
        if name.startswith(PREFIX):
            known = sorted(each for each, _ in options.items() if each.startswith(PREFIX))
            close = close_to(name, known)
            hint = f"did you mean {close}?" if close else f"known are {', '.join(known)}"
            raise OptionsError(f"unknown option {name}; {hint}")


class Judging(NamedTuple):
    """How the recorder judges: by its settings, and by the schemas of upstreams.

    Attributes:
        upstream: The upstream of reverse mode as the user named it; None if it was not named.
        told: Returns an exchange as it would be stored.
    """

    inspector: Inspector
    marks: Marks
    upstream: ServerUrl | None
    told: Callable[[Exchange], Exchange]


class ApiContentview(Contentview):
    """The view of a request body of the API with its findings."""

    def __init__(self, judging: Callable[[], Judging]) -> None:
        self._judging = judging

    @property
    def name(self) -> str:
        """Its name in the list of views."""
        return VIEW

    @property
    def syntax_highlight(self) -> contentviews.SyntaxHighlight:
        """The syntax by which the text is highlighted."""
        return "yaml"

    def prettify(self, data: bytes, metadata: Metadata) -> str:
        """Return the findings of a body, then the body.

        Raises:
            ValueError: It is not a request body of the API.
        """
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
        """Take precedence over mitmproxy's JSON view for request bodies of the API."""
        return 2 if data and _endpoint(metadata) is not None else -1


def _endpoint(metadata: Metadata) -> Operation | None:
    """Return the endpoint to which a request body was posted; None for everything else."""
    of = metadata.flow
    if not isinstance(of, HTTPFlow) or metadata.http_message is not of.request:
        return None
    route = parse_route(of.request.method, of.request.path)
    return route.operation if route is not None and route.operation in TRACKING else None


class Commands:
    """The addon with the commands and the view."""

    def __init__(self, judging: Callable[[], Judging]) -> None:
        """Make the addon.

        Args:
            judging: Called at each use, because how the recorder judges is only known once it runs.
        """
        self._judging = judging
        self._view = ApiContentview(judging)

    def load(self, _: Loader) -> None:
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
                findings = judging.inspector.of_exchange(judging.told(exchange))
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
    """Return the exchange of a flow, which may be loaded from a file; None if it is not a request of the API."""
    if not isinstance(of, HTTPFlow) or parse_route(of.request.method, of.request.path) is None:
        return None
    arrival = arrival_of(of, upstream_url(of, upstream), Arrivals().arrive(began_us(of)))
    return exchange_of(of, arrival, Outcome.ANSWERED if of.response is not None else Outcome.UPSTREAM_CLOSED)


def _row(exchange: Exchange, finding: Finding) -> list[str]:
    return [exchange.request.path, finding.severity.value, finding.rule, finding.message, finding.pointer or ""]
