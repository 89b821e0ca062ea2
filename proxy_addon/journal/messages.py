"""What ingest and those who want to know what is filed say to each other.

Messages are JSON with four bytes of length in front; each has a ``type``. Types and members that the other end does not know
are passed over.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

_HEAD_BYTES = 4
QUESTION_BYTES = 64 * 2**10
"""How long a message to ingest may be."""
ANSWER_BYTES = 64 * 2**20
"""How long a message of ingest may be."""


class _Message(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag=str.lower):
    pass


class Hello(_Message, frozen=True, kw_only=True):
    """The first message of a client.

    Attributes:
        run: Id of the recorder run; None if the client is no recorder.
        wants: What the client wants to be told besides: ``news``, ``marks``.
    """

    secret: str
    run: str | None = None
    wants: frozenset[str] = frozenset()


class Flush(_Message, frozen=True, kw_only=True):
    """A client wants to know when all that is in the journal now is filed; the answer has the same number."""

    number: int


class Bye(_Message, frozen=True, kw_only=True):
    """A client goes: what it wants filed has been asked for."""


class Welcome(_Message, frozen=True, kw_only=True):
    """The answer to `Hello`: the client is heard."""


class Flushed(_Message, frozen=True, kw_only=True):
    """All that was in the journal when the flush was asked for is filed."""

    number: int = 0


class Away(_Message, frozen=True, kw_only=True):
    """The store cannot be reached, so what waits in the journal stays there.

    Attributes:
        reason: As the store's error says it.
        waiting: How many exchanges, or about.
    """

    reason: str
    waiting: int
    number: int = 0


class Log(_Message, frozen=True, kw_only=True):
    """A line for the log of a recorder; its ``level`` as of `logging`."""

    level: str
    text: str


class News(_Message, frozen=True, kw_only=True):
    """What happened, for the lines on the terminal; `proxy_addon.core.news` as a document. Only for who wants it."""

    news: dict[str, Any]


class Marks(_Message, frozen=True, kw_only=True):
    """Findings of an exchange, for a flow inside mitmproxy. Only for who wants it."""

    exchange: str
    marks: list[dict[str, Any]]


class Filed(_Message, frozen=True, kw_only=True):
    """So many exchanges of a run have been filed since the last such message."""

    count: int
    run: str


class Counts(_Message, frozen=True, kw_only=True):
    """The books of ingest so far.

    Attributes:
        filed: Exchanges of all runs since ingest began.
        findings: Number of findings by severity.
        store_state: ``ok``, or why the store is away.
        refused: Exchanges that the store would not take.
        failures: How often judging failed.
    """

    filed: int
    findings: dict[str, int]
    store_state: str = "ok"
    refused: int = 0
    failures: int = 0


class Schemas(_Message, frozen=True, kw_only=True):
    """A schema of an upstream was stored."""

    upstream: str


FromClient = Hello | Flush | Bye
FromIngest = Welcome | Flushed | Away | Log | News | Marks | Filed | Counts | Schemas


encoded = msgspec.json.Encoder().encode
"""Return a message as bytes, without its length."""
from_client = msgspec.json.Decoder(FromClient).decode
from_ingest = msgspec.json.Decoder(FromIngest).decode
"""Return the message in bytes, as `from_client` does.

Raises:
    msgspec.ValidationError: It is of a kind that this version does not know.
    msgspec.DecodeError: It is no message.
"""


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """How ingest can be reached, in the folder."""

    port: int
    secret: str
    pid: int


class Frames:
    """Takes a stream of bytes apart into frames."""

    def __init__(self, most: int) -> None:
        """Begin with nothing.

        Args:
            most: How long a frame may be, in bytes.
        """
        self._most = most
        self._data = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Return the frames that are complete now.

        Raises:
            ValueError: One is too long.
        """
        self._data += data
        frames = []
        while len(self._data) >= _HEAD_BYTES:
            length = int.from_bytes(self._data[:_HEAD_BYTES])
            if length > self._most:
                raise ValueError(f"a message of {length} bytes")
            end = _HEAD_BYTES + length
            if len(self._data) < end:
                break
            frames.append(bytes(self._data[_HEAD_BYTES:end]))
            del self._data[:end]
        return frames


def frame_of(message: FromClient | FromIngest) -> bytes:
    """Return a message as it is sent."""
    data = encoded(message)
    return len(data).to_bytes(_HEAD_BYTES) + data


def note_in(path: Path) -> Note:
    """Return what a folder's note says.

    Raises:
        OSError: There is none.
        msgspec.DecodeError: It is broken.
    """
    return msgspec.json.decode(path.read_bytes(), type=Note)
