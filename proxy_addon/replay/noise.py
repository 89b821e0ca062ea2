"""Learn what differs between two answers of a target to the same request, by sending each session twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable
from dataclasses import replace

from proxy_addon.core.exchange import Request, Response
from proxy_addon.core.replays.comparing import learn
from proxy_addon.core.replays.pacing import Speed
from proxy_addon.core.replays.plans import SessionPlan
from proxy_addon.core.replays.runs import SessionRun, Step
from proxy_addon.core.replays.sending import SendingOptions
from proxy_addon.process import signals
from proxy_addon.replay import loops
from proxy_addon.replay.engine import Engine, SystemClock
from proxy_addon.replay.transport import HttpTransport


def learn_noise(plans: Iterable[SessionPlan], options: SendingOptions, transport: HttpTransport) -> tuple[str, ...]:
    """Send each session twice, one at a time, and return what differs between the answers, as rules.

    Raises:
        TargetUnreachable: No connection to the target succeeded.
        Ended: A signal arrived.
    """
    found: set[str] = set()

    async def send_all_twice() -> int | None:
        one_by_one = replace(options, speed=Speed(None), concurrency=1)
        async with transport:
            for plan in plans:
                heard: list[list[Response | None]] = []
                for _ in range(2):
                    listening = _Listening(transport)
                    engine = Engine(one_by_one, listening, SystemClock(), _NoLedger())
                    with signals.calling_on_signals(engine.stop) as received:
                        await engine.run(_alone(plan))
                    if received:
                        return received[0]
                    heard.append(listening.heard)
                pairs = zip(*heard, strict=False)
                found.update(learn((one, other) for one, other in pairs if one is not None and other is not None))
        return None

    interrupted_by = loops.run(send_all_twice())
    if interrupted_by is not None:
        raise signals.Ended(interrupted_by)  # everything is closed, so the command can end as usual
    return tuple(sorted(found))


async def _alone(plan: SessionPlan) -> AsyncGenerator[tuple[int, SessionPlan]]:
    yield 0, plan


class _Listening:
    """A transport that keeps the answers in the order of the requests; None for a request without an answer."""

    def __init__(self, transport: HttpTransport) -> None:
        self._transport = transport
        self.heard: list[Response | None] = []

    @property
    def has_connected(self) -> bool:
        return self._transport.has_connected

    async def send(self, request: Request) -> Response:
        place = len(self.heard)
        self.heard.append(None)
        response = await self._transport.send(request)
        self.heard[place] = response
        return response


class _NoLedger:
    """A ledger that records nothing."""

    def announce(self, position: int, number: int) -> asyncio.Future[None]:
        """Return a future that is done."""
        done = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done

    def opened(self, position: int, new_session_id: str) -> None:
        """Do nothing."""

    def step(self, position: int, step: Step) -> None:
        """Do nothing."""

    def end(self, position: int, session: SessionRun) -> None:
        """Do nothing."""
