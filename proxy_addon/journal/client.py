"""The end of the connection to ingest that recorders and commands have: see `proxy_addon.journal.channel`."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from pathlib import Path

import msgspec

from proxy_addon.journal import folders
from proxy_addon.journal.messages import (
    ANSWER_BYTES,
    Away,
    Bye,
    Flush,
    Flushed,
    Frames,
    FromClient,
    FromIngest,
    Hello,
    Welcome,
    frame_of,
    from_ingest,
    note_in,
)
from proxy_addon.journal.reading import Waiting, living, waiting
from proxy_addon.process import logs

logger = logs.logger(__name__)

_AGAIN_S = 0.05
"""Pause before ingest is asked again."""


class Client:
    """The other end: a thread that calls back."""

    def __init__(
        self,
        folder: Path,
        *,
        on: Callable[[FromIngest], object],
        on_closed: Callable[[], object] | None = None,
        run: str | None = None,
        wants: Collection[str] = (),
        timeout_s: float = 2.0,
    ) -> None:
        """Connect to the ingest process of a folder.

        Args:
            on: Called in the client's thread with each message but the answers of `flush`.
            on_closed: Called in the client's thread if ingest has gone without `close` being called.

        Raises:
            ConnectionError: No ingest process can be reached.
        """
        self._on = on
        self._on_closed = on_closed
        self._is_closing = False
        self._flushing = threading.Lock()
        self._sending = threading.Lock()
        self._answered = threading.Condition()
        self._answer: Flushed | Away | None = None
        self._number = 0
        self._is_gone = False
        try:
            note = note_in(folder / folders.INGEST)
            self._connection = socket.create_connection(("127.0.0.1", note.port), timeout_s)
        except (OSError, msgspec.DecodeError) as e:
            raise ConnectionError(f"no ingest process can be reached by {folder}: {e}") from e
        self._frames = Frames(ANSWER_BYTES)
        try:
            self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._send(Hello(secret=note.secret, run=run, wants=frozenset(wants)))
            self._coming = self._messages()
            first = next(self._coming, None)
        except (OSError, ValueError) as e:
            self._connection.close()
            raise ConnectionError(f"no ingest process answers for {folder}: {e}") from e
        if not isinstance(first, Welcome):
            self._connection.close()
            raise ConnectionError(f"what answers for {folder} is no ingest process")
        self._connection.settimeout(None)
        self._thread = threading.Thread(target=self._run, name="sessiontape-channel", daemon=True)
        self._thread.start()

    def flush(self, timeout_s: float) -> Flushed | Away | None:
        """Have all filed that is in the journal now, and return the answer; None if none came in time."""
        with self._flushing:
            self._number += 1
            with suppress(OSError):
                self._send(Flush(number=self._number))
            with self._answered:
                self._answered.wait_for(self._is_answered, timeout_s)
                answer = self._answer
            return answer if answer is not None and answer.number == self._number else None

    def _is_answered(self) -> bool:
        return self._is_gone or (self._answer is not None and self._answer.number == self._number)

    def close(self) -> None:
        """Say goodbye and end the thread."""
        self._is_closing = True
        with suppress(OSError):
            self._send(Bye())
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _send(self, message: FromClient) -> None:
        with self._sending:
            self._connection.sendall(frame_of(message))

    def _messages(self) -> Iterator[FromIngest]:
        """Yield messages until the connection ends.

        Raises:
            OSError: It ended badly.
            ValueError: What came is no message.
        """
        while data := self._connection.recv(2**16):
            for frame in self._frames.feed(data):
                with suppress(msgspec.ValidationError):  # from a newer ingest
                    yield from_ingest(frame)

    def _run(self) -> None:
        try:
            for message in self._coming:
                if isinstance(message, Flushed | Away):
                    with self._answered:
                        self._answer = message
                        self._answered.notify_all()
                else:
                    self._call(self._on, message)
        except (OSError, ValueError) as e:
            if not self._is_closing:
                logger.warning(f"the connection to ingest broke: {e}")
        self._connection.close()
        with self._answered:
            self._is_gone = True
            self._answered.notify_all()
        if not self._is_closing and self._on_closed is not None:
            self._call(self._on_closed)

    def _call(self, function: Callable[..., object], *args: object) -> None:
        try:
            function(*args)
        except Exception:  # the next message must be heard all the same
            logger.exception("what ingest said could not be handled")


def await_filed(folder: Path, timeout_s: float = 2.0) -> Waiting | None:
    """Wait briefly until what is in a folder's journal is filed, so that a store is read with it.

    Returns:
        What still waits after that; None if nothing does, at once if nothing did.
    """
    until_s = time.monotonic() + timeout_s
    left = waiting(folder)
    while left is not None:
        answer = _flushed(folder, max(0.0, until_s - time.monotonic()))
        if isinstance(answer, Flushed):
            return None
        left = waiting(folder)
        # Beside a recorder that goes on, ingest may just be ending, or starting.
        if isinstance(answer, Away) or time.monotonic() + _AGAIN_S >= until_s or not living(folder):
            return left
        time.sleep(_AGAIN_S)
    return None


def _flushed(folder: Path, timeout_s: float) -> Flushed | Away | None:
    """Have what is in a folder's journal filed; None if nobody does that, or not in time."""
    try:
        client = Client(folder, on=lambda _: None, timeout_s=timeout_s)
    except ConnectionError:
        return None
    try:
        return client.flush(timeout_s)
    finally:
        client.close()
