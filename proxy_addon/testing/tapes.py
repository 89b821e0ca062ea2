"""What a test gets from the pytest plugin: a collector and a recorder, with what a player reported to them."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

from proxy_addon.collector.faults import When
from proxy_addon.core.fixtures.held import HeldSession
from proxy_addon.core.judging.policy import DEFAULT, Policy
from proxy_addon.core.sessions import session_id_of
from proxy_addon.errors import SettingsError
from proxy_addon.testing.collecting import WAIT_S, NothingCame, ReceivedEvent, RunningCollector, events_in
from proxy_addon.testing.recorders import RunningRecorder

__tracebackhide__ = True
"""pytest leaves the frames of this module out of tracebacks, because they say nothing about a test."""


class Collector(RunningCollector):
    """A collector, with a method for each fault that tests ask for most.

    Attributes:
        wait_s: How long `wait_for` waits unless told otherwise.
    """

    def __init__(self, *, wait_s: float = WAIT_S, **how: Any) -> None:
        """Make a collector that does not listen yet.

        Args:
            wait_s: How long `wait_for` waits unless told otherwise.
            **how: As for `RunningCollector`.
        """
        super().__init__(**how)
        self.wait_s = wait_s

    def wait_for(self, type: str, timeout: float | None = None, count: int = 1) -> ReceivedEvent:
        """Wait until so many events of a type have been received; see `RunningCollector.wait_for`."""
        try:
            return super().wait_for(type, self.wait_s if timeout is None else timeout, count)
        except NothingCame as e:
            raise NothingCame(str(e)) from None  # without the frames below this one

    def order(self, fault: str) -> None:
        """Order a fault from now on; see `RunningCollector.order`."""
        try:
            super().order(fault)
        except SettingsError as e:
            raise SettingsError(f"{e}; {e.hint}") from None

    def fail(self, where: str = "any", *, status: int = 500, **when: int) -> None:
        """Answer requests with an error from now on.

        Args:
            where: ``sessions``, ``events``, ``downloaded``, ``schemas``, ``preflight``, ``any``, or a type of event.
            status: The status of the answer.
            **when: One of ``nth``, ``every``, ``after`` and ``first``; none for all requests. Only requests after this
                call are counted.

        Raises:
            SettingsError: There is no such fault.
            TypeError: There is no such argument.
        """
        self.order(_fault(where, f"status={status}", when))

    def delay(self, seconds: float, where: str = "any", **when: int) -> None:
        """Answer requests late from now on; ``where`` and ``when`` are as for `fail`."""
        self.order(_fault(where, f"delay={seconds:g}", when))

    def gone_after(self, n: int) -> None:
        """Take ``n`` more events, then answer 410 to the next and to all later ones of its session.

        That is what the real server does when a session timed out. A new session is taken as ever.
        """
        self.order(_fault("events", "gone", {"nth": n + 1}))


def _fault(where: str, action: str, when: dict[str, int]) -> str:
    known = [each.value for each in When if each is not When.ALWAYS]
    for name in when.keys() - known:
        raise TypeError(
            f"unknown argument {name!r}: requests are chosen by {', '.join(known)}; to fail in another way, "
            f'write .order("{where}:drop") or any other fault of --fault'
        )
    return ":".join((where, action, *(f"{name}={number}" for name, number in when.items())))


class Recorder:
    """A recording proxy on a free port; a context manager.

    Attributes:
        url: Where it listens: ``http://127.0.0.1:PORT``. It takes https on the same port.
        host: Its address and port: ``127.0.0.1:PORT``.
        upstream: URL of the server behind it.
        store_url: The store that it records into.
        wait_s: How long `wait_for` waits unless told otherwise.
    """

    def __init__(
        self,
        upstream: str,
        store_url: str,
        *,
        name: str | None = None,
        policy: Policy = DEFAULT,
        wait_s: float = WAIT_S,
    ) -> None:
        """Describe a recorder; entering the context starts it.

        Args:
            upstream: URL of the server behind it.
            store_url: The store to record into; others may record there, too.
            name: Name of the recording.
            policy: How strictly to judge while recording.
            wait_s: How long `wait_for` waits unless told otherwise.
        """
        self.url = self.host = ""
        self.upstream = upstream
        self.store_url = store_url
        self.wait_s = wait_s
        self._began = datetime.now(UTC)
        self._name = name
        self._stored = threading.Event()
        self._running = RunningRecorder(upstream, store_url, name=name, policy=policy, stored=self._stored.set)

    def __enter__(self) -> Self:
        self._running.__enter__()
        self.url, self.host = self._running.url, self._running.host
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        self._running.__exit__(kind, e, tb)

    @property
    def warnings(self) -> list[str]:
        """What it logged as warnings and errors, a line each."""
        return self._running.warnings

    @property
    def sessions(self) -> list[HeldSession]:
        """The sessions recorded so far, oldest first, with everything that the player has an answer to."""
        found = self._running.sessions(since=self._began)
        return [each for each in found if each.session.recording == self._name]

    def events(self, type: str | None = None) -> list[ReceivedEvent]:
        """Return the events recorded so far, of all types or one, session by session, in order of arrival."""
        exchanges = [exchange for held in self.sessions for exchange in held.exchanges]
        return [
            event
            for exchange in exchanges
            for event in events_in(exchange, session_id_of(exchange))
            if type is None or event.type == type
        ]

    def wait_for(self, type: str, timeout: float | None = None, count: int = 1) -> ReceivedEvent:
        """Wait until so many events of a type have been recorded, and return the last of them.

        Args:
            type: Such as ``sessionEnd``.
            timeout: Seconds.
            count: 2 for the second such event, and so on.

        Raises:
            NothingCame: They were not recorded in time.
        """
        timeout = self.wait_s if timeout is None else timeout
        until_s = time.monotonic() + timeout
        while True:
            self._stored.clear()
            events = self.events()
            found = [event for event in events if event.type == type]
            if len(found) >= count:
                return found[count - 1]
            left_s = until_s - time.monotonic()
            if left_s <= 0:
                break
            self._stored.wait(left_s)
        came = ", ".join(event.type or "an event without a type" for event in events)
        raise NothingCame(f"no {type} within {timeout:g} s; recorded: {came or 'nothing'}")
