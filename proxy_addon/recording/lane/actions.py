"""What a conversation has its driver do, in order: actions. `proxy_addon.recording.lane.conversation` says when."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from proxy_addon.journal.entries import Exchanged

# They are not frozen because making a frozen one takes three times as long.


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
* ``upstream``: an answer that is no HTTP, was cut off or did not come in time, and how.
* ``loop``: a request that this recorder sent has come back to it.
* ``upgrade``: what follows an answer 101 is not HTTP any more and passes by unrecorded; the text is method and path.
"""


@dataclass(slots=True)
class Tell:
    """Tell people something that is not in an exchange's row alone; one line, with control characters made visible.

    Attributes:
        request: Method and path that it is about, which may have personal values in them; empty if it is about none, or if
            the text has them.
    """

    kind: Kind
    text: str
    request: str = ""


@dataclass(slots=True)
class Blind:
    """From now on, pass on what either side sends as it is, and the end of each to the other."""


Action = ToDevice | ToUpstream | Connect | CloseDevice | HalfCloseDevice | CloseUpstream | Record | Judge | Tell | Blind
