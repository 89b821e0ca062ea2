"""What is to be said of an exchange while it is recorded; nothing that goes wrong here costs the exchange."""

from __future__ import annotations

from proxy_addon.core.exchange import Exchange
from proxy_addon.core.findings import Finding, Severity
from proxy_addon.core.judging.exchanges import judge_body, judge_exchange
from proxy_addon.core.judging.policy import Policy
from proxy_addon.core.routes import Operation
from proxy_addon.core.rules.body_views import Vocabulary
from proxy_addon.process import logs
from storage import schemas
from storage.engine import Store

logger = logs.logger(__name__)

CHECKER_FAILED = "checker-failed"
"""What a finding is called that tells of a fault of ours; no rule of the protocol has this name."""


JUDGED_AT_ONCE = 64 * 1024
"""Largest body, in bytes, that is judged between two packets; a larger one must not keep other devices waiting."""


class Inspector:
    """Judges exchanges by the rules over bodies, with the schemas that their upstream gave."""

    def __init__(self, policy: Policy, *, is_on: bool = True) -> None:
        self.policy = policy
        self.is_on = is_on
        self._vocabularies: dict[str, Vocabulary] = {}
        self._built_in = Vocabulary(policy.params)

    def learn(self, store: Store, upstream: str) -> None:
        """Read the schemas that an upstream gave.

        Raises:
            StorageUnavailable: The store cannot be read.
        """
        with store.read() as db:
            self._vocabularies[upstream] = schemas.vocabulary(db, upstream, self.policy.params)

    def learn_all(self, store: Store) -> None:
        """Read the schemas of all upstreams that gave some: the first request after a start is judged by them too.

        Raises:
            StorageUnavailable: The store cannot be read.
        """
        with store.read() as db:
            for upstream in {schema.upstream for schema in schemas.versions(db)}:
                self._vocabularies[upstream] = schemas.vocabulary(db, upstream, self.policy.params)

    def of_body(self, body: bytes, endpoint: Operation, upstream: str) -> list[Finding]:
        """Return what is to be said of a body by itself."""
        vocabulary = self._vocabularies.get(upstream, self._built_in)
        return judge_body(body, endpoint, self.policy, vocabulary)

    def findings(self, exchange: Exchange) -> list[Finding]:
        """Return what is to be said of an exchange by itself. Never fails."""
        if not self.is_on:
            return []
        try:
            vocabulary = self._vocabularies.get(exchange.upstream, self._built_in)
            return judge_exchange(exchange, self.policy, vocabulary)
        except Exception as e:
            logger.exception(f"the rules failed on {exchange.request.method} {exchange.request.path}")
            message = f"the rules failed on this request, which is a fault of sessiontape: {e!r}"[:300]
            return [Finding(rule=CHECKER_FAILED, severity=Severity.WARNING, message=message)]
