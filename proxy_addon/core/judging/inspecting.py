"""Judge bodies and exchanges by the settings of a recorder, and by what each upstream's schemas allow."""

from __future__ import annotations

from collections.abc import Mapping

from proxy_addon.core.exchange import Exchange
from proxy_addon.core.findings import Finding
from proxy_addon.core.judging.exchanges import judge_body, judge_exchange
from proxy_addon.core.judging.policy import Policy
from proxy_addon.core.routes import Operation
from proxy_addon.core.rules.body_views import Vocabulary


class Inspector:
    """Judges one exchange at a time by the rules for bodies. Thread-safe.

    Attributes:
        policy: How strictly it judges.
    """

    def __init__(self, policy: Policy, vocabularies: Mapping[str, Vocabulary] | None = None) -> None:
        """Make an inspector.

        Args:
            vocabularies: What events may contain, by upstream; all other upstreams have the tables that come with us.
        """
        self.policy = policy
        self._vocabularies = dict(vocabularies or {})
        self._built_in = Vocabulary(policy.params)

    def learn(self, upstream: str, vocabulary: Vocabulary) -> None:
        """Judge by this vocabulary from now on what is sent to an upstream."""
        self._vocabularies[upstream] = vocabulary

    def of_body(self, body: bytes, endpoint: Operation, upstream: str) -> list[Finding]:
        """Return the findings of a body by itself."""
        return judge_body(body, endpoint, self.policy, self._vocabularies.get(upstream, self._built_in))

    def of_exchange(self, exchange: Exchange) -> list[Finding]:
        """Return the findings of an exchange by itself, however long that takes. Never fails."""
        return judge_exchange(exchange, self.policy, self._vocabularies.get(exchange.upstream, self._built_in))
