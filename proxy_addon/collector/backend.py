"""The collector without its sockets: sessions, recorded answers and faults, one request after the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from proxy_addon.collector.answers import Answer, Sessions, answer, is_session_end, refusing
from proxy_addon.collector.faults import Action, Fault, Faults, with_a_body
from proxy_addon.collector.recorded import Recorded, RecordedAnswers, event_type_of
from proxy_addon.core.exchange import Request, Response
from proxy_addon.core.judging.policy import DEFAULT, Policy
from proxy_addon.core.locations import find_location, session_id_in
from proxy_addon.core.routes import Operation, Route, parse_route


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """A request that arrived.

    Attributes:
        request: The request; incomplete if its body broke off or was refused.
        received_at: When its head arrived, aware UTC.
        monotonic_s: The same on a monotonic clock.
        client_address: The address it came from; None if the connection is already gone.
    """

    request: Request
    received_at: datetime
    monotonic_s: float
    client_address: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What to do with a request.

    Attributes:
        operation: The operation requested; ``other`` for every path that the protocol does not name.
        event_type: Type of the event in the body; None for a batch or a body without an event.
        session_id: The session ID in the path, or the one given to a start.
        response: The answer, in full even if it will be cut; None if there is none.
        fault: The fault that is due; None for none.
    """

    operation: Operation
    event_type: str | None = None
    session_id: str | None = None
    response: Response | None = None
    fault: Fault | None = None


class Backend:
    """Decides what to answer. Call it for requests in the order in which their last bytes arrive."""

    def __init__(
        self,
        new_id: Callable[[], str],
        *,
        faults: Faults | None = None,
        recorded: RecordedAnswers | None = None,
        policy: Policy = DEFAULT,
        warn: Callable[[str], None] = lambda _line: None,
    ) -> None:
        """Make a back end without sessions.

        Args:
            new_id: Returns a new session ID at each call.
            faults: The faults to inject.
            recorded: Answers to give first; when they are used up, the back end answers by itself.
            policy: Which findings are errors; a body with an error is refused.
            warn: Called with a line, in which a device's text is as it was sent, for the first event of a session that
                is not the one recorded in its place.
        """
        self._new_id = new_id
        self._faults = faults or Faults()
        self._recorded = recorded or RecordedAnswers()
        self._refuse = refusing(policy)
        self._sessions = Sessions()
        self._warn = warn
        self._warned_of: set[str | None] = set()

    def decide(self, request: Request) -> Decision:
        """Decide what to answer to a request with its whole body."""
        route = parse_route(request.method, request.path) or Route(operation=Operation.OTHER)
        fault = self._faults.next(route.operation)
        if fault is None or fault.is_answered_as_ever:
            given = self._answer(request, route)
            cut = fault is not None and fault.action is Action.CUT
            response = with_a_body(given.response) if cut else given.response
            decision = Decision(operation=route.operation, response=response, session_id=given.session_id)
        else:
            decision = Decision(operation=route.operation, response=fault.response(), session_id=route.session_id)
        return replace(decision, event_type=event_type_of(request), fault=fault)

    def _answer(self, request: Request, route: Route) -> Answer:
        recorded = self._recorded.next(route.operation)
        if recorded is None or recorded.response is None:
            given = answer(request, self._sessions, self._new_id, self._refuse)
        else:
            given = Answer(response=recorded.response, session_id=self._follow(request, route, recorded.response))
        if recorded is not None and route.operation in (Operation.SESSIONS, Operation.EVENTS):
            self._warn_of_another(given.session_id, route.operation, event_type_of(request), recorded)
        return given

    def _warn_of_another(self, session_id: str | None, operation: Operation, sent: str | None, there: Recorded) -> None:
        """Tell once per session that an event is not the one that was recorded in its place."""
        if sent == there.event_type or session_id in self._warned_of:
            return
        self._warned_of.add(session_id)
        self._warn(
            f"session {session_id or 'without an ID'}: request {there.number} to {operation.value} is "
            f"{sent or 'without an event'}, but the recording has {there.event_type or 'no event'} there: answers are "
            "given by position"
        )

    def _follow(self, request: Request, route: Route, recorded: Response) -> str | None:
        """Open or close the session of a recorded answer, so that our later answers are consistent with it.

        Return the session ID.
        """
        session_id = route.session_id
        if route.operation is Operation.SESSIONS:
            location = find_location(recorded.headers) if recorded.is_success else None
            session_id = session_id_in(location) if location else None
        if session_id is not None and recorded.is_success and route.operation is not Operation.PREFLIGHT:
            self._sessions.open(session_id)
            if route.operation is Operation.EVENTS and is_session_end(request.body):
                self._sessions.close(session_id)
        return session_id
