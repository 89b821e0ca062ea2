"""A lane's conversation without sockets: what drives it in tests, and holds it to what it owes its driver."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import count, pairwise
from typing import Any

from proxy_addon.journal.entries import Exchanged
from proxy_addon.recording.lane.actions import (
    Action,
    Blind,
    CloseDevice,
    CloseUpstream,
    Connect,
    HalfCloseDevice,
    Judge,
    Record,
    Tell,
    ToDevice,
    ToUpstream,
)
from proxy_addon.recording.lane.conversation import Conversation, Settings

SERVER = ("192.0.2.1", 80)


def settings(**changes: Any) -> Settings:
    """Return settings of a recorder before ``http://upstream``."""
    numbers = count(1)
    return Settings(**{"authority": b"upstream", "arrive": lambda us: (f"{next(numbers):04}", us), **changes})


def pieces(data: bytes, cuts: Iterable[int]) -> list[bytes]:
    """Return bytes cut at some places."""
    places = [0, *sorted({cut for cut in cuts if 0 < cut < len(data)}), len(data)]
    return [data[begin:end] for begin, end in pairwise(places) if begin < end]


@dataclass
class Upstream:
    """What upstream got on one connection."""

    got: bytearray = field(default_factory=bytearray)
    is_open: bool = True


class Lane:
    """A conversation, and what came of it.

    Attributes:
        upstreams: The connections to upstream, in order.
        recorded: What was put into the journal.
        told: What people were told.
        refusal: What judging says of each request.
        commits: Whether what is put into the journal is committed at once; else `commit` does it.
        connects: Whether a connection to upstream stands at once.
    """

    def __init__(
        self,
        made: Settings | None = None,
        answering: Callable[[Lane, Upstream, bytes], None] | None = None,
        *,
        commits: bool = True,
        connects: bool = True,
    ) -> None:
        """Begin one.

        Args:
            answering: Called with what goes to upstream.
        """
        made = made or settings()
        self.arrived = 0
        arrive = made.arrive

        def arriving(us: int) -> tuple[str, int]:
            self.arrived += 1
            return arrive(us)

        self.settings = Settings(
            **{**{name: getattr(made, name) for name in made.__dataclass_fields__}, "arrive": arriving}
        )
        self.now_us = 1_000_000
        self.conversation = Conversation(self.settings, "192.0.2.9", self.now_us)
        self._device = bytearray()
        self.upstreams: list[Upstream] = []
        self.recorded: list[Exchanged] = []
        self.told: list[Tell] = []
        self.refusal: str | None = None
        self.commits, self.connects = commits, connects
        self.is_closed = self.is_half_closed = self.is_blind = self.is_connecting = False
        self.has_left = False
        self.tokens: list[int] = []
        self.judging: list[int] = []
        self._answering = answering
        self._events: list[Callable[[], list[Action]]] = []
        self._is_busy = False

    # What happens

    def sends(self, data: bytes, cuts: Iterable[int] = ()) -> Lane:
        """Let the device send."""
        for piece in pieces(data, cuts):
            self._tell(lambda piece=piece: self.conversation.device_sent(piece, self._tick()))  # type: ignore[misc]
        return self

    def leaves(self) -> Lane:
        """Let the device close its connection."""
        self.has_left = True
        self._tell(lambda: self.conversation.device_closed(self._tick()))
        return self

    def answers(self, data: bytes, cuts: Iterable[int] = ()) -> Lane:
        """Let upstream send."""
        upstream = self.upstreams[-1]
        for piece in pieces(data, cuts):
            self._tell(
                lambda piece=piece: (  # type: ignore[misc]
                    self.conversation.upstream_sent(piece, self._tick()) if upstream.is_open else []
                )
            )
        return self

    def hangs_up(self) -> Lane:
        """Let upstream close its connection."""
        upstream = self.upstreams[-1]
        self._tell(lambda: self.conversation.upstream_closed(self._tick()) if upstream.is_open else [])
        return self

    def connect(self, *, is_recorder: bool = False) -> Lane:
        """Let upstream be connected."""
        assert self.is_connecting
        self.is_connecting = False
        self.upstreams.append(Upstream())
        self._tell(lambda: self.conversation.connected(SERVER, self._tick(), is_recorder=is_recorder))
        return self

    def unconnected(self, reason: str = "connection refused") -> Lane:
        """Let upstream be unreachable."""
        assert self.is_connecting
        self.is_connecting = False
        self._tell(lambda: self.conversation.unconnected(reason, self._tick()))
        return self

    def commit(self) -> Lane:
        """Let all that waits be committed."""
        for token in self.tokens:
            self._tell(lambda token=token: self.conversation.committed(token, self._tick()))  # type: ignore[misc]
        self.tokens = []
        return self

    def judge(self) -> Lane:
        """Let what waits be judged."""
        for token in self.judging:
            self._tell(lambda token=token: self.conversation.judged(token, self.refusal, self._tick()))  # type: ignore[misc]
        self.judging = []
        return self

    def waits(self, seconds: float | None = None) -> Lane:
        """Let time pass: as much as is said, or until the deadline."""
        if seconds is None:
            assert self.conversation.deadline_us is not None
            self.now_us = self.conversation.deadline_us
        else:
            self.now_us += round(seconds * 1_000_000)
        self._tell(lambda: self.conversation.timed_out(self.now_us))
        return self

    def drain(self) -> Lane:
        """Let the recorder end after the request under way."""
        self._tell(lambda: self.conversation.drain(self._tick()))
        return self

    def stop(self) -> Lane:
        """Let the recorder end now."""
        self._tell(lambda: self.conversation.stop(self._tick()))
        return self

    # What comes of it

    @property
    def device(self) -> bytes:
        """What the device got."""
        return bytes(self._device)

    @property
    def upstream(self) -> bytes:
        """What upstream got, on all connections."""
        return b"".join(bytes(each.got) for each in self.upstreams)

    @property
    def statuses(self) -> list[int]:
        """The statuses of the answers that the device got, if their bodies have no status line in them."""
        return [int(part[2:5]) for part in self.device.split(b"HTTP/1.")[1:] if part[1:2] == b" "]

    @property
    def outcomes(self) -> list[str]:
        """How what was recorded ended."""
        return [str(each.outcome) for each in self.recorded]

    def end(self) -> Lane:
        """Let the device leave, and time pass until all is over; that must come."""
        if not self.is_closed:
            self.leaves()
        for _ in range(100):
            if self.is_closed or self.is_blind:
                break
            self.judge()
            self.commit()
            if self.is_connecting:
                self.connect()
            elif not (self.is_closed or self.tokens or self.judging):
                assert self.conversation.deadline_us is not None, "it waits for nothing, and for ever"
                self.waits()
        assert self.is_closed or self.is_blind, "it does not end"
        assert self.arrived == len(self.recorded), "what has arrived is recorded once"
        assert len({each.id for each in self.recorded}) == len(self.recorded)
        return self

    def _tick(self) -> int:
        self.now_us += 1000
        return self.now_us

    def _tell(self, event: Callable[[], list[Action]]) -> None:
        """Tell the conversation of an event, once it has dealt with those before."""
        self._events.append(event)
        if self._is_busy:
            return
        self._is_busy = True
        while self._events:
            event = self._events.pop(0)
            if self.is_blind or self.is_closed:
                continue
            for action in event():
                self._do(action)
        self._is_busy = False

    def _do(self, action: Action) -> None:
        assert not self.is_closed, "nothing follows the end"
        match action:
            case ToDevice(data):
                assert data
                assert not self.is_half_closed
                self._device += data
            case ToUpstream(data):
                assert data
                assert self.upstreams
                assert self.upstreams[-1].is_open
                self.upstreams[-1].got += data
                if self._answering is not None:
                    self._answering(self, self.upstreams[-1], data)
            case Connect():
                assert not self.is_connecting
                assert not (self.upstreams and self.upstreams[-1].is_open)
                self.is_connecting = True
                if self.connects:
                    self.connect()
            case CloseUpstream():
                assert self.is_connecting or self.upstreams[-1].is_open
                if self.is_connecting:
                    self.is_connecting = False
                else:
                    self.upstreams[-1].is_open = False
            case CloseDevice():
                assert not (self.upstreams and self.upstreams[-1].is_open)
                self.is_closed = True
            case HalfCloseDevice():
                self.is_half_closed = True
            case Record(exchange, token, waits):
                self.recorded.append(exchange)
                if waits:
                    self.tokens.append(token)
                    if self.commits:
                        self.commit()
            case Judge(_, token):
                self.judging.append(token)
                if self.commits:
                    self.judge()
            case Tell():
                assert "\n" not in action.text
                self.told.append(action)
            case Blind():
                self.is_blind = True
