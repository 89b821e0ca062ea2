"""Judge exchanges in the recorder's own process: those that may be refused, and the marks inside mitmproxy.

Everything that is recorded is judged by ingest, which this does not replace.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from proxy_addon.core.exchange import Exchange
from proxy_addon.core.findings import Finding
from proxy_addon.core.judging.exchanges import refusal
from proxy_addon.core.judging.inspecting import Inspector
from proxy_addon.core.judging.policy import Policy
from proxy_addon.errors import SessiontapeError
from proxy_addon.process import logs
from proxy_addon.recording.at_rest import AtRest, NotPseudonymised
from storage import schemas
from storage.engine import Store

logger = logs.logger(__name__)

JUDGED_AT_ONCE = 64 * 1024
"""Largest body, in bytes, that is judged in the event loop; larger ones would keep other devices waiting."""


class Judge:
    """Judges by a policy, and by the schemas of upstreams that are in the store.

    Attributes:
        inspector: What judges; it knows no schema before `learn` is called.
    """

    def __init__(self, policy: Policy, at_rest: AtRest, store_url: str) -> None:
        """Make a judge, which judges exchanges as they are at rest."""
        self.inspector = Inspector(policy)
        self._at_rest = at_rest
        self._store_url = store_url
        self._thread = ThreadPoolExecutor(1, "sessiontape-judge")

    def learn(self, upstream: str | None = None) -> None:
        """Read the schemas of an upstream from the store, or those of all. Call it from any thread; it may take a while."""
        store = Store(self._store_url)
        try:
            with store.read() as db:
                of = {each.upstream for each in schemas.versions(db)} if upstream is None else {upstream}
                for each in of:
                    self.inspector.learn(each, schemas.vocabulary(db, each, self.inspector.policy.params))
        except SessiontapeError as e:
            logger.debug(f"schemas cannot be read: {e}")
        finally:
            store.close()

    def judge(self, exchange: Exchange, judged: Callable[[list[Finding]], object]) -> None:
        """Call a function with the findings of an exchange: now, or later in the event loop if judging takes long.

        An exchange whose personal values cannot be replaced has none.
        """
        if len(exchange.request.body) <= JUDGED_AT_ONCE and not self._at_rest.is_slow(exchange):
            judged(self._findings(exchange))
            return
        loop = asyncio.get_running_loop()
        self._thread.submit(lambda: loop.call_soon_threadsafe(judged, self._findings(exchange)))

    def refuse(self, exchange: Exchange, judged: Callable[[str | None], object]) -> None:
        """Call a function, now or later, with what the device is told; None if the request may pass."""
        self.judge(exchange, lambda found: judged(refusal(found)))

    def _findings(self, exchange: Exchange) -> list[Finding]:
        try:
            return self.inspector.of_exchange(self._at_rest.told(exchange))
        except NotPseudonymised:
            return []
