"""Faults: answers that go wrong on purpose, for some of the requests.

A fault is written ``WHERE:ACTION[:WHEN]``::

    WHERE   sessions | events | downloaded | schemas | preflight | any, or an event type such as ping or adStart
    ACTION  status=CODE    answer with this status and do nothing else: no session is opened or closed
            delay=SECONDS  wait, then answer as usual
            drop           read the request, then close the connection without an answer, doing nothing else
            cut            answer as usual, but close the connection in the middle of the body
            hang           never answer; ends when the client leaves or the collector stops
            gone           answer an event with 410, and so all later ones of its session; other sessions go on
    WHEN    every=N        every Nth request
            nth=N          only the Nth
            after=N        all after the Nth
            first=N        the first N
                           left out: all

Each fault counts the requests that its WHERE matches, from 1; ``any`` matches all, unknown paths included, and an event
type matches single events, not those in a batch. If several faults are due for a request, only the one given first happens, but all count the request.

>>> Fault.parse("sessions:status=503:first=2")
Fault(text='sessions:status=503:first=2', where='sessions', action=<Action.STATUS: 'status'>, number=503, \
when=<When.FIRST: 'first'>, count=2)
>>> Fault.parse("events:delay=2.5").number
2.5
>>> Fault.parse("any:drop:every=10").is_due(20)
True
>>> Fault.parse("ping:gone:nth=3").matches(Operation.EVENTS, "ping")
True
>>> Fault.parse("events:explode")
Traceback (most recent call last):
    ...
proxy_addon.errors.SettingsError: fault 'events:explode': unknown action 'explode'
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from http import HTTPStatus

from proxy_addon.collector.answers import empty, error
from proxy_addon.collector.recorded import Ending
from proxy_addon.core.exchange import Response
from proxy_addon.core.protocol import EVENTS
from proxy_addon.core.routes import Operation
from proxy_addon.core.wording import close_to
from proxy_addon.errors import SettingsError

ANY = "any"
PLACES = (
    *(
        operation.value
        for operation in (
            Operation.SESSIONS,
            Operation.EVENTS,
            Operation.DOWNLOADED,
            Operation.SCHEMAS,
            Operation.PREFLIGHT,
        )
    ),
    ANY,
)

_MAX_DELAY_S = 86_400


class Action(StrEnum):
    """What a fault does instead of, or to, the answer."""

    STATUS = "status"
    DELAY = "delay"
    DROP = "drop"
    CUT = "cut"
    HANG = "hang"
    GONE = "gone"


class When(StrEnum):
    """For which of the matching requests a fault is due."""

    ALWAYS = ""
    EVERY = "every"
    NTH = "nth"
    AFTER = "after"
    FIRST = "first"


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault.

    Attributes:
        text: The fault as it was written.
        where: The name of an operation, an event type, or ``any``.
        number: The status, or the delay in seconds; 0 for an action without a number.
        count: The N of ``when``; 0 for `When.ALWAYS`.
    """

    text: str
    where: str
    action: Action
    number: float = 0
    when: When = When.ALWAYS
    count: int = 0

    @classmethod
    def parse(cls, text: str) -> Fault:
        """Read a fault as written on the command line.

        Raises:
            SettingsError: The text is not a fault; the hint says what is valid.
        """
        where, _, rest = text.strip().partition(":")
        action, colon, when = rest.partition(":")
        if where not in PLACES and where not in EVENTS:
            near = close_to(where, (*PLACES, *EVENTS))
            meant = f"is it {near}? " if near else ""
            raise _refused(text, f"unknown place {where!r}", f"{meant}places are {', '.join(PLACES)}, and event types")
        fault = _with_action(cls(text=text.strip(), where=where, action=Action.DROP), action)
        if fault.action is Action.GONE and (where in PLACES or where == "sessionStart") and where != Operation.EVENTS:
            raise _refused(
                text, f"{where} has no session to be gone", "write events, or a type of events within a session"
            )
        return _with_when(fault, when) if colon else fault

    def matches(self, operation: Operation, event_type: str | None = None) -> bool:
        """Whether the fault counts requests of this operation, or with an event of this type."""
        return self.where in (ANY, operation.value, event_type)

    def is_due(self, count: int) -> bool:
        """Whether the fault happens to the matching request with this number, counted from 1."""
        match self.when:
            case When.EVERY:
                return count % self.count == 0
            case When.NTH:
                return count == self.count
            case When.AFTER:
                return count > self.count
            case When.FIRST:
                return count <= self.count
        return True

    @property
    def is_answered_as_ever(self) -> bool:
        """Whether the request is processed as without the fault, and its answer is at least begun."""
        return self.action in (Action.DELAY, Action.CUT)

    @property
    def ending(self) -> Ending:
        """How a request ends that the fault happens to."""
        return {Action.DROP: Ending.CLOSE, Action.HANG: Ending.HANG, Action.CUT: Ending.CUT}.get(
            self.action, Ending.ANSWER
        )

    def response(self) -> Response | None:
        """Return the answer that replaces the real one; None if the fault gives none."""
        if self.action not in (Action.STATUS, Action.GONE):
            return None
        status = int(self.number) if self.action is Action.STATUS else HTTPStatus.GONE
        return error(status, f"fault {self.text}") if status >= 400 else empty(status)


class Faults:
    """Several faults, and the number of requests that each has counted."""

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        self._faults = list(faults)
        self._counts = [0] * len(self._faults)

    def add(self, fault: Fault) -> None:
        """Add a fault, which counts the requests from now on."""
        self._faults.append(fault)
        self._counts.append(0)

    def forget(self, keep: int) -> None:
        """Remove all faults but the first ones, which go on counting.

        Args:
            keep: How many stay.
        """
        del self._faults[keep:], self._counts[keep:]

    def next(self, operation: Operation, event_type: str | None = None) -> Fault | None:
        """Count one request and return the fault that is due for it; None if there is none.

        Args:
            event_type: Type of the request's event; None for a batch or no event.
        """
        due = None
        for index, fault in enumerate(self._faults):
            if fault.matches(operation, event_type):
                self._counts[index] += 1
                if due is None and fault.is_due(self._counts[index]):
                    due = fault
        return due


def with_a_body(response: Response) -> Response:
    """Return an answer with a body of at least two bytes, so that it can be cut in half.

    204 and 304 become 200, because a client expects no body with them and would take the answer as complete.
    """
    if response.status in (204, 304):
        response = replace(response, status=200, reason="")
    if len(response.body) >= 2:
        return response
    return replace(response, body=b'{"message": "this body is cut in half by a fault"}')


def _with_action(fault: Fault, text: str) -> Fault:
    name, equals, number = text.partition("=")
    wanted = "actions are status=CODE, delay=SECONDS, drop, cut, hang, gone"
    if name not in tuple(Action):
        raise _refused(fault.text, f"unknown action {name!r}", wanted)
    action = Action(name)
    if action is Action.STATUS:
        if not re.fullmatch(r"[2-5][0-9]{2}", number, re.ASCII):
            raise _refused(fault.text, f"{number!r} is not a status", "write status=CODE with a code from 200 to 599")
        return replace(fault, action=action, number=int(number))
    if action is Action.DELAY:
        if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", number, re.ASCII) or float(number) > _MAX_DELAY_S:
            raise _refused(fault.text, f"{number!r} is not a delay", "write delay=SECONDS, like delay=2.5, up to a day")
        return replace(fault, action=action, number=float(number))
    if equals:
        raise _refused(fault.text, f"{name} takes no number", wanted)
    return replace(fault, action=action)


def _with_when(fault: Fault, text: str) -> Fault:
    name, _, number = text.partition("=")
    if name not in tuple(When)[1:] or not re.fullmatch(r"[0-9]{1,9}", number, re.ASCII):
        raise _refused(fault.text, f"{text!r} does not say when", "write every=N, nth=N, after=N or first=N")
    if int(number) == 0 and name != When.AFTER:
        raise _refused(fault.text, f"{text!r} never happens", "requests are counted from 1")
    return replace(fault, when=When(name), count=int(number))


def _refused(text: str, what: str, hint: str) -> SettingsError:
    return SettingsError(f"fault {text!r}: {what}", hint=f"{hint}; a fault is WHERE:ACTION[:WHEN]")
