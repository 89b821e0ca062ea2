"""The collector without its sockets: sessions, recorded answers and faults, one request after the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from http import HTTPStatus

from proxy_addon.collector.answers import Sessions, answer, is_session_end, refusing
from proxy_addon.collector.faults import Action, Fault, Faults, with_a_body
from proxy_addon.collector.players import Given, Players
from proxy_addon.collector.recorded import Ending, event_type_of
from proxy_addon.core.exchange import Request, Response
from proxy_addon.core.judging.policy import DEFAULT, Policy
from proxy_addon.core.replays.pacing import Speed
from proxy_addon.core.routes import Operation, Route, parse_route

AS_RECORDED = Speed(1.0)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
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
        ending: How the request ends.
        duration_s: Seconds from the arrival of the request's head to the answer, at least.
        delay_s: Seconds to wait in addition.
    """

    operation: Operation
    event_type: str | None = None
    session_id: str | None = None
    response: Response | None = None
    fault: Fault | None = None
    ending: Ending = Ending.ANSWER
    duration_s: float = 0.0
    delay_s: float = 0.0


class Backend:
    """Decides what to answer. Call it for requests in the order in which their last bytes arrive."""

    def __init__(
        self,
        new_id: Callable[[], str],
        *,
        faults: Faults | None = None,
        players: Players | None = None,
        speed: Speed = AS_RECORDED,
        policy: Policy = DEFAULT,
    ) -> None:
        """Make a back end without sessions.

        Args:
            new_id: Returns a new session ID at each call.
            faults: The faults to inject.
            players: The players of a recording; for what it does not have, the back end answers by itself.
            speed: By how much recorded delays are divided.
            policy: Which findings are errors; a body with an error is refused.
        """
        self._new_id = new_id
        self._faults = faults or Faults()
        self._players = players or Players(new_id=new_id)
        self._speed = speed
        self._refuse = refusing(policy)
        self._sessions = Sessions()
        self._ended_by_fault: set[str] = set()

    def decide(self, request: Request) -> Decision:
        """Decide what to answer to a request with its whole body."""
        route = parse_route(request.method, request.path) or Route(operation=Operation.OTHER)
        event_type = event_type_of(request)
        fault = self._faults.next(route.operation, event_type)
        if fault is None:
            decision = self._answer(request, route)
        elif fault.is_answered_as_ever:
            decision = _with_fault(self._answer(request, route), fault)
        else:
            self._players.pass_over(request, route)
            if fault.action is Action.GONE and route.session_id is not None:
                self._sessions.expire(route.session_id)
                self._ended_by_fault.add(route.session_id)
            decision = Decision(
                operation=route.operation,
                session_id=route.session_id,
                response=fault.response(),
                ending=fault.ending,
            )
        return replace(decision, event_type=event_type, fault=fault)

    def _answer(self, request: Request, route: Route) -> Decision:
        given = self._recorded(request, route)
        if given is None:
            answered = answer(request, self._sessions, self._new_id, self._refuse)
            opened = answered.session_id if route.operation is Operation.SESSIONS else None
            if opened is not None and self._players.take_any_session:
                self._players.follow(opened)
            return Decision(operation=route.operation, response=answered.response, session_id=answered.session_id)
        if given.session_id is not None and given.response is not None:
            self._follow(request, route, given.session_id, given.response)
        return Decision(
            operation=route.operation,
            session_id=given.session_id,
            response=given.response,
            ending=given.ending,
            duration_s=self._speed.due_after_s(given.duration_s) or 0.0,
        )

    def _recorded(self, request: Request, route: Route) -> Given | None:
        if route.operation in (Operation.SESSIONS, Operation.DOWNLOADED):
            return self._players.start(request, route)
        session_id = route.session_id
        if session_id is None or route.operation not in (Operation.EVENTS, Operation.PREFLIGHT):
            return None
        if session_id in self._ended_by_fault:
            return None
        if not self._sessions.is_known(session_id) and not self._players.has(session_id):
            if not self._players.take_any_session:
                self._players.stranger()
                return None
            self._sessions.open(session_id)
            self._players.follow(session_id)
        return self._players.event(request, route)

    def _follow(self, request: Request, route: Route, session_id: str, recorded: Response) -> None:
        """Keep our own state of a session as the recorded answer suggests, for what the recording does not have."""
        if route.operation is Operation.PREFLIGHT:
            return
        if recorded.is_success and route.operation is Operation.EVENTS and is_session_end(request.body):
            self._sessions.close(session_id)
        elif recorded.is_success:
            self._sessions.open(session_id)
        elif recorded.status == HTTPStatus.NOT_FOUND:
            self._sessions.forget(session_id)
        elif recorded.status == HTTPStatus.GONE:
            self._sessions.expire(session_id)


def _with_fault(decision: Decision, fault: Fault) -> Decision:
    """Return what happens if a fault delays or cuts the answer; what ends without an answer is not cut."""
    if fault.action is Action.DELAY:
        return replace(decision, delay_s=fault.number)
    if decision.response is None:
        return decision
    return replace(decision, ending=Ending.CUT, response=with_a_body(decision.response))
