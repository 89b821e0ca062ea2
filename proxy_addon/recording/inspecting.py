"""Judge exchanges while they are recorded; a failure here never loses an exchange."""

from __future__ import annotations

from proxy_addon.core.exchange import Exchange
from proxy_addon.core.findings import Finding, Verdict
from proxy_addon.core.judging.exchanges import judge_body, judge_exchange
from proxy_addon.core.judging.policy import Policy
from proxy_addon.core.routes import Operation
from proxy_addon.core.rules.body_views import Vocabulary
from proxy_addon.process.failures import Failures
from storage import schemas
from storage.engine import Store

JUDGED_AT_ONCE = 64 * 1024
"""Largest body, in bytes, that is judged in the event loop; larger ones would keep other devices waiting."""


class Inspector:
    """Judges exchanges by the rules for bodies, with the schemas of their upstream.

    Attributes:
        is_on: Whether recorded exchanges are judged.
        failures: All failures of judging in the recorder.
    """

    def __init__(self, policy: Policy, *, is_on: bool = True) -> None:
        self.policy = policy
        self.is_on = is_on
        self.failures = Failures()
        self._vocabularies: dict[str, Vocabulary] = {}
        self._built_in = Vocabulary(policy.params)

    def learn(self, store: Store, upstream: str) -> None:
        """Read the schemas of an upstream from the store.

        Raises:
            StorageUnavailable: The store cannot be read.
        """
        with store.read() as db:
            self._vocabularies[upstream] = schemas.vocabulary(db, upstream, self.policy.params)

    def learn_all(self, store: Store) -> None:
        """Read the schemas of all upstreams from the store, so that even the first request is judged by them.

        Raises:
            StorageUnavailable: The store cannot be read.
        """
        with store.read() as db:
            for upstream in {schema.upstream for schema in schemas.versions(db)}:
                self._vocabularies[upstream] = schemas.vocabulary(db, upstream, self.policy.params)

    def of_body(self, body: bytes, endpoint: Operation, upstream: str) -> list[Finding]:
        """Return the findings of a body by itself."""
        vocabulary = self._vocabularies.get(upstream, self._built_in)
        return judge_body(body, endpoint, self.policy, vocabulary)

    def at_once(self, exchange: Exchange) -> Verdict:
        """Return the findings of an exchange by itself; None if its body is large, or judging is off."""
        if not self.is_on or len(exchange.request.body) > JUDGED_AT_ONCE:
            return None
        return self.findings(exchange)

    def findings(self, exchange: Exchange) -> list[Finding]:
        """Return the findings of an exchange by itself, however long that takes. Never fails."""
        vocabulary = self._vocabularies.get(exchange.upstream, self._built_in)
        found = judge_exchange(exchange, self.policy, vocabulary)
        self.failures.of_rules(found, f"{exchange.request.method} {exchange.request.path}")
        return found
