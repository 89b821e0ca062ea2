"""Replays within a test: one session, out of memory, with neither a store nor a process of its own."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator, Collection, Iterable
from concurrent.futures import ThreadPoolExecutor

from proxy_addon.core.fixtures.held import HeldSession
from proxy_addon.core.pseudonyms.personal import PERSONAL, Personal
from proxy_addon.core.replays.changing import SAFE, Changer
from proxy_addon.core.replays.pacing import Speed
from proxy_addon.core.replays.plans import SessionPlan, plan_session
from proxy_addon.core.replays.runs import SessionRun, Step
from proxy_addon.core.replays.sending import SendingOptions
from proxy_addon.core.replays.targets import parse_allowed
from proxy_addon.core.replays.timestamps import Timestamps
from proxy_addon.core.urls import parse_server_url
from proxy_addon.process import recorders
from proxy_addon.replay import loops
from proxy_addon.replay.engine import Engine, SystemClock
from proxy_addon.replay.resolving import check_target
from proxy_addon.replay.transport import HttpTransport


def replayed(
    held: HeldSession,
    target: str,
    *,
    speed: str = "max",
    timestamps: str = "now",
    allowed: Iterable[str] = (),
    stand_ins: Collection[str] = (),
    personal: Personal = PERSONAL,
) -> SessionRun:
    """Send a session to a server, and return what came of each step, once all of it has been sent.

    It runs in a thread of its own, so that it can be called where an event loop runs; that loop waits.

    Args:
        target: URL of the server.
        speed: As for ``--speed``.
        timestamps: As for ``--timestamps``.
        allowed: As for ``--allow-host``; what is sent to such a server is changed as by ``--safe``.
        stand_ins: URLs of collectors of the caller's, to which a session may be sent again although they were its upstream.
        personal: What ``--safe`` replaces.

    Raises:
        SettingsError: One of these cannot be understood.
        TargetRefused: A replay may not go there.
        TargetUnreachable: No connection succeeded.
    """
    url = parse_server_url(target)
    upstreams = {held.session.upstream, *(exchange.upstream for exchange in held.exchanges)} - {"", *stand_ins}
    checked = check_target(
        url,
        upstreams=upstreams,
        allowed=[parse_allowed(each) for each in allowed],
        recorders=list(recorders.running()),
    )
    options = SendingOptions(
        target=str(url), speed=Speed.parse(speed), timestamps=Timestamps.parse(timestamps), concurrency=1
    )
    safe = SAFE if checked.needed_leave else ()
    changer = Changer(safe, key=secrets.token_bytes(), profile=len(safe), personal=personal)
    plan = plan_session(held.session, held.exchanges, change=changer)

    async def send() -> SessionRun:
        ledger = _Results()
        async with HttpTransport(checked) as transport:
            await Engine(options, transport, SystemClock(), ledger).run(_alone(plan))
        return ledger.ended[0]

    with ThreadPoolExecutor(1, "sessiontape-replay") as thread:
        return thread.submit(loops.run, send()).result()


async def _alone(plan: SessionPlan) -> AsyncGenerator[tuple[int, SessionPlan]]:
    yield 0, plan


class _Results:
    """A ledger that keeps the results in memory."""

    def __init__(self) -> None:
        self.ended: list[SessionRun] = []

    def announce(self, position: int, number: int) -> asyncio.Future[None]:
        """Return a future that is done: nothing has to survive this process."""
        done = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done

    def opened(self, position: int, new_session_id: str) -> None:
        """Do nothing; the result has the ID, too."""

    def step(self, position: int, step: Step) -> None:
        """Do nothing; the result has the step, too."""

    def end(self, position: int, session: SessionRun) -> None:
        """Keep the result of a session."""
        self.ended.append(session)
