"""What a recorder does with the bytes of one device and its upstream: HTTP/1.1 from both sides, exchange after exchange.

A `Conversation` is told what happened and returns, as a list of actions, what to do about it, in order. It has no socket,
no clock and no chance: whoever drives it reads and writes, hands over the time and calls back.

What the driver owes it:

* Every action is carried out, in its order, before the next event is told.
* Events of an upstream connection are told only while it is the one that the latest `Connect` opened, and not after
  `CloseUpstream`.
* `connected` or `unconnected` follows each `Connect`, unless `CloseUpstream` came first.
* `committed` follows each `Record` whose ``waits`` is true, and `judged` each `Judge`, once.
* `timed_out` is called when `Conversation.deadline_us` has come; it may be called too early, which does nothing.
* After `Blind`, nothing is told any more: what comes from either side goes to the other as it is.
* After `CloseDevice`, only `committed` and `judged` are; they return nothing that matters.

`Settings.arrive` is called once for each exchange that is recorded, and exactly one `Record` follows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from proxy_addon.journal.entries import Exchanged


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What all conversations of a recorder have in common.

    Attributes:
        authority: ``Host`` of what goes to upstream.
        arrive: Called with the time of a recorded request's first byte, in Unix microseconds, once its head is whole.
            Returns the exchange's ID and the time to note, which no other exchange of the recorder has.
        prefix: Path of the upstream's URL, which is put before each path.
        keeps_host: Whether ``Host`` goes upstream as the device sent it.
        waits: Whether an answer goes to the device only once its exchange is committed.
        judges: Whether recorded requests are judged before upstream sees them.
        upstream: `Exchanged.upstream`; None if all exchanges of the journal have the same.
        mark: Value of `proxy_addon.recording.loops.MARK` by which this recorder knows its own requests.
        max_body: Bytes of the longest body that is recorded whole.
        upstream_timeout_us: From the request's last byte to that of its answer; connecting is part of it.
        idle_timeout_us: From an answer to the next request's first byte, and from the connection to the first.
        head_timeout_us: From a request's first byte to the end of its head.
        silence_timeout_us: Between two pieces of a request's body.
        body_timeout_us: From a request's first byte to its last.
    """

    authority: bytes
    arrive: Callable[[int], tuple[str, int]]
    prefix: bytes = b""
    keeps_host: bool = False
    waits: bool = True
    judges: bool = False
    upstream: str | None = None
    mark: bytes = b""
    max_body: int = 10 * 1024 * 1024
    upstream_timeout_us: int = 30_000_000
    idle_timeout_us: int = 75_000_000
    head_timeout_us: int = 60_000_000
    silence_timeout_us: int = 60_000_000
    body_timeout_us: int = 600_000_000


# Actions. They are not frozen because making a frozen one takes three times as long.


@dataclass(slots=True)
class ToDevice:
    """Send bytes to the device; if it has gone, that may fail."""

    data: bytes


@dataclass(slots=True)
class ToUpstream:
    """Send bytes to upstream."""

    data: bytes


@dataclass(slots=True)
class Connect:
    """Open a connection to upstream; there is none."""


@dataclass(slots=True)
class CloseDevice:
    """Close the connection to the device, once all is sent; the conversation is over."""


@dataclass(slots=True)
class HalfCloseDevice:
    """Say to the device that nothing more will come, but go on reading: closing at once could take back what was sent.

    Where a connection cannot be half closed, doing nothing is right: `CloseDevice` follows.
    """


@dataclass(slots=True)
class CloseUpstream:
    """Close the connection to upstream, or give up opening it."""


@dataclass(slots=True)
class Record:
    """Put an exchange into the journal.

    Attributes:
        exchange: The entry.
        token: What to call `Conversation.committed` with.
        waits: Whether an answer waits for the commit.
    """

    exchange: Exchanged
    token: int
    waits: bool


@dataclass(slots=True)
class Judge:
    """Judge a request that upstream has not seen yet, and call `Conversation.judged`; now, or when it has been done.

    Attributes:
        exchange: The request as an entry that was rejected; never recorded itself.
        token: What to call `Conversation.judged` with.
    """

    exchange: Exchanged
    token: int


Kind = Literal["passes-by", "connect", "malformed", "too-long", "slow", "upstream", "loop", "upgrade"]
"""What a `Tell` is about.

* ``passes-by``: a request that is not recorded; the text is its method and path.
* ``connect``: the device takes the recorder for a proxy that tunnels; the text is what it wants to connect to.
* ``malformed``, ``too-long``, ``slow``: a request that was refused, and why.
* ``upstream``: an answer that is no HTTP or was cut off, and how.
* ``loop``: a request that this recorder sent has come back to it.
* ``upgrade``: what follows an answer 101 is not HTTP any more and passes by unrecorded; the text is method and path.
"""


@dataclass(slots=True)
class Tell:
    """Tell people something that is not in an exchange's row alone; one line, with control characters made visible."""

    kind: Kind
    text: str


@dataclass(slots=True)
class Blind:
    """From now on, pass on what either side sends as it is, and the end of each to the other."""


Action = ToDevice | ToUpstream | Connect | CloseDevice | HalfCloseDevice | CloseUpstream | Record | Judge | Tell | Blind


class Conversation:
    """A device's connection, and the connections to upstream that serve it, one at a time.

    Attributes:
        deadline_us: When to call `timed_out`, in Unix microseconds; None for never. It changes with each event: a timer
            that finds it moved is set again.
        is_idle: Whether no request is under way: none has begun to arrive, and the answers are out.
    """

    deadline_us: int | None
    is_idle: bool

    def __init__(self, settings: Settings, client: str | None, now_us: int) -> None:
        """Begin one, when the device has connected.

        Args:
            client: The device's address.
        """
        raise NotImplementedError

    def device_sent(self, data: bytes, now_us: int) -> list[Action]:
        """Take bytes of the device."""
        raise NotImplementedError

    def device_closed(self, now_us: int) -> list[Action]:
        """Note that the device sends nothing more; whether it still reads cannot be known.

        Requests that are complete are still forwarded, and their answers recorded and sent.
        """
        raise NotImplementedError

    def connected(self, server: tuple[str, int], now_us: int, *, is_recorder: bool = False) -> list[Action]:
        """Note that upstream is connected.

        Args:
            server: Its address and port.
            is_recorder: Whether this is another recorder, which has to get our mark.
        """
        raise NotImplementedError

    def unconnected(self, reason: str, now_us: int) -> list[Action]:
        """Note that upstream could not be connected.

        Args:
            reason: Why, as an answer and the log say it after "sessiontape: ".
        """
        raise NotImplementedError

    def upstream_sent(self, data: bytes, now_us: int) -> list[Action]:
        """Take bytes of upstream."""
        raise NotImplementedError

    def upstream_closed(self, now_us: int) -> list[Action]:
        """Note that upstream has closed its connection, or its sending half."""
        raise NotImplementedError

    def committed(self, token: int, now_us: int) -> list[Action]:
        """Note that a `Record` is in the journal, or never will be; the answer goes out either way."""
        raise NotImplementedError

    def judged(self, token: int, refusal: str | None, now_us: int) -> list[Action]:
        """Note what has come of a `Judge`.

        Args:
            refusal: What the device is told, with 400; None if the request goes on.
        """
        raise NotImplementedError

    def timed_out(self, now_us: int) -> list[Action]:
        """Do what has to be done if `deadline_us` has come; nothing if it has not."""
        raise NotImplementedError

    def drain(self, now_us: int) -> list[Action]:
        """End after the request that is under way; at once if none is."""
        raise NotImplementedError

    def stop(self, now_us: int) -> list[Action]:
        """End now: what is in flight is interrupted, and the device told 503. Answers that wait for a commit still go out."""
        raise NotImplementedError
