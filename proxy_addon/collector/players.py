"""How far each player has come in a recording, and what the recording has for its next request.

A request is matched by its type and position in its session: the third ``ping`` of a player gets what the third recorded
``ping`` got. So one event more or less of a type does not shift the answers to others. Each start begins a new session
with an ID of its own.

The recording can have several attempts to start the playback. A start is the next of them if the one before it had the
same body. If that was refused, the time in the body may be another. Otherwise it begins a new playback.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from proxy_addon.collector.recorded import Attempt, Case, Ending, Recorded, case_type, is_resumed
from proxy_addon.collector.renewing import Renewal, renewed
from proxy_addon.core.exchange import Exchange, Request, Response, header
from proxy_addon.core.routes import Operation, Route

_TIME = re.compile(rb'"(?:ts|playhead)"\s*:\s*[-+.0-9eE]+')
_MOST_SAID = 100
"""How many different things are said to be missing; types of events come from devices, without end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What the recording has for a request.

    Attributes:
        ending: How the request ends.
        response: The answer, for the player's own session; None if the ending is without.
        duration_s: Seconds from the request's first byte to the answer's last.
        session_id: The ID in the path, or the new one of a start; None for a start that opens no session.
    """

    ending: Ending
    response: Response | None
    duration_s: float
    session_id: str | None


@dataclass(slots=True)
class _Player:
    attempt: Attempt
    session_id: str
    counts: Counter[Case] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class _Tried:
    """A start that another attempt can follow; ``next`` is its index."""

    sha256: str
    next: int
    was_refused: bool


class _NotRecorded(Exception):
    """The recording has nothing for a request; the message says for which, and ``kind`` is told only once."""

    def __init__(self, what: str, kind: str = "") -> None:
        super().__init__(what)
        self.kind = kind or what


class Players:
    """The players of one recording, or of none, which then has nothing for any request."""

    def __init__(
        self,
        attempts: Iterable[Iterable[Exchange]] = (),
        *,
        new_id: Callable[[], str],
        scheme: str = "http",
        say: Callable[[str], None] = lambda _line: None,
    ) -> None:
        """Read a recording.

        Args:
            attempts: The recorded sessions, by time: all attempts to start the playback, each with its exchanges by
                time of arrival; consumed at once.
            new_id: Returns a new session ID at each call.
            scheme: Of the URL under which players reach us.
            say: Called with a line for the first of each kind of request for which the recording has nothing; a
                device's text in it is as it was sent.
        """
        read = [Attempt.read(exchanges) for exchanges in attempts]
        self._attempts = [each for each in read if each.can_be_given] or read[-1:]
        self._new_id = new_id
        self._scheme = scheme
        self._say = say
        self._said: set[str] = set()
        self._tried: dict[bytes, _Tried] = {}
        self._players: dict[str, _Player] = {}
        for each in read:
            if each not in self._attempts and each.opening is not None:
                say(
                    f"an attempt to start has no answer in the recording ({each.opening.outcome.value}): it is left out"
                )

    @property
    def take_any_session(self) -> bool:
        """Whether the recording lacks the start, so that the session IDs of its players cannot be known."""
        return bool(self._attempts) and self._attempts[-1].opening is None

    def has(self, session_id: str) -> bool:
        """Whether a session is played from the recording."""
        return session_id in self._players

    def follow(self, session_id: str) -> None:
        """Let a session begin that no recorded start has opened."""
        self._players[session_id] = _Player(self._attempts[-1], session_id)

    def start(self, request: Request, route: Route) -> Given | None:
        """Return what the recording has for a start or a batch; None for nothing."""
        if not self._attempts:
            return None
        try:
            return self._start(request, route)
        except _NotRecorded as e:
            self._miss(e)
            return None

    def _start(self, request: Request, route: Route) -> Given:
        number, attempt = self._attempt_of(request)
        name = "a batch" if request.reading.is_batch else "sessionStart"
        if attempt is None:
            raise _NotRecorded(f"{name} {number} is not in the recording, which has {len(self._attempts)}")
        opening = attempt.opening
        if opening is None:
            raise _NotRecorded(f"{name} is not in the recording")
        if (attempt.operation, attempt.is_batch) != (route.operation, request.reading.is_batch):
            raise _NotRecorded(f"{name} at {route.operation.value} is not in the recording")
        if is_resumed(request) and not attempt.is_resumed:
            raise _NotRecorded("a resumed start (media.resume is true) is not in the recording")
        if opening.ending is None:
            raise _NotRecorded(f"{name} has no answer in the recording ({opening.outcome.value})")
        if not attempt.is_accepted or number < len(self._attempts):
            self._tried[_content(request)] = _Tried(request.body_sha256, number, not attempt.is_accepted)
        new_id = "" if attempt.session_id is None else self._new_id()
        if attempt.is_accepted and new_id:
            # A device that retried a start that was accepted sent its events to the session of the last attempt.
            self._players[new_id] = _Player(attempt if attempt.rows else self._attempts[-1], new_id)
        return self._given(opening, attempt, request, new_id, new_id if new_id in self._players else None)

    def event(self, request: Request, route: Route) -> Given | None:
        """Return what the recording has for an event, or for a preflight of one, and count it; None for nothing."""
        player = self._players.get(route.session_id or "")
        if player is None:
            return None
        try:
            return self._event(player, request, route)
        except _NotRecorded as e:
            self._miss(e)
            return None

    def _event(self, player: _Player, request: Request, route: Route) -> Given:
        case = (route.operation, case_type(route.operation, request))
        number = self._count(player, case)
        row = player.attempt.rows.get(case, ())
        if row and route.operation is Operation.PREFLIGHT:
            number = min(number, len(row))  # browsers remember permissions, so their number says nothing
        name = "a preflight" if route.operation is Operation.PREFLIGHT else case[1] or "a request without an event"
        if not row:
            raise _NotRecorded(f"{name} is not in the recording")
        if number > len(row):
            raise _NotRecorded(f"{name} {number} is not in the recording, which has {len(row)}", kind=name)
        if row[number - 1].ending is None:
            raise _NotRecorded(f"{name} {number} has no answer in the recording ({row[number - 1].outcome.value})")
        return self._given(row[number - 1], player.attempt, request, player.session_id, player.session_id)

    def pass_over(self, request: Request, route: Route) -> None:
        """Count an event that gets no answer of ours, so that the next of its type is the next in the recording."""
        if player := self._players.get(route.session_id or ""):
            self._count(player, (route.operation, case_type(route.operation, request)))

    def stranger(self) -> None:
        """Say that an event has the ID of no session."""
        if self._attempts:
            self._miss(_NotRecorded("an event of a session that was not opened here is not in the recording"))

    def _attempt_of(self, request: Request) -> tuple[int, Attempt | None]:
        """Return which attempt a start is, from 1, and the recorded one; None if the recording has too few."""
        tried = self._tried.pop(_content(request), None)
        is_retry = tried is not None and tried.sha256 == request.body_sha256
        if tried is None or not (is_retry or tried.was_refused):
            return 1, self._attempts[0]
        if tried.next < len(self._attempts):
            return tried.next + 1, self._attempts[tried.next]
        # The recording ends with a refusal. The same bytes again are a retry that it lacks; else it is a new playback.
        return (tried.next + 1, None) if is_retry else (1, self._attempts[0])

    def _given(
        self, recorded: Recorded, attempt: Attempt, request: Request, new_id: str, session_id: str | None
    ) -> Given:
        assert recorded.ending is not None
        response = recorded.response
        if response is not None:
            host = header(request.headers, "Host")
            renewal = Renewal(
                recorded_id=attempt.session_id,
                new_id=new_id,
                server=None if host is None else f"{self._scheme}://{host}",
                recorded_origin=recorded.origin,
                new_origin=header(request.headers, "Origin"),
            )
            response = renewed(response, renewal)
        return Given(ending=recorded.ending, response=response, duration_s=recorded.duration_s, session_id=session_id)

    def _miss(self, missing: _NotRecorded) -> None:
        if missing.kind not in self._said and len(self._said) < _MOST_SAID:
            self._said.add(missing.kind)
            self._say(f"{missing}: answered by the protocol")

    @staticmethod
    def _count(player: _Player, case: Case) -> int:
        player.counts[case] += 1
        return player.counts[case]


def _content(request: Request) -> bytes:
    """Return what a start reports, without its time, in a short form."""
    return hashlib.sha256(_TIME.sub(b"", request.body)).digest()
