"""Judge exchanges while they are recorded; a failure here never loses an exchange."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from proxy_addon.core.exchange import Exchange
from proxy_addon.core.findings import CHECKER_FAILED, Finding, Verdict
from proxy_addon.core.judging import net
from proxy_addon.core.judging.exchanges import judge_body, judge_exchange
from proxy_addon.core.judging.policy import Policy
from proxy_addon.core.routes import Operation
from proxy_addon.core.rules.body_views import Vocabulary
from proxy_addon.process import logs
from storage import schemas
from storage.engine import Store

logger = logs.logger(__name__)

JUDGED_AT_ONCE = 64 * 1024
"""Largest body, in bytes, that is judged in the event loop; larger ones would keep other devices waiting."""


class Failures:
    """Counts failures of judging, and logs each kind once. Thread-safe.

    Attributes:
        count: How often judging failed.
    """

    def __init__(self) -> None:
        self.count = 0
        self._kinds: set[str] = set()
        self._lock = threading.Lock()

    def of_rules(self, findings: Iterable[Finding], where: str) -> None:
        """Count the rules that failed, according to their findings.

        Args:
            where: What was judged, for the log.
        """
        for finding in findings:
            if finding.rule == CHECKER_FAILED and self._note(net.kind(finding), finding.count):
                logger.error(f"{finding.message}; first on {where}")

    def of_ours(self, what: str, where: str, error: Exception) -> None:
        """Count a failure of something other than a rule.

        Args:
            what: What failed; the same text for every failure of its kind.
            where: What it failed on, for the log.
        """
        if self._note(f"{what}: {type(error).__name__}", 1):
            logger.error(f"{what} failed, first on {where}", exc_info=error)

    def _note(self, kind: str, times: int) -> bool:
        with self._lock:
            self.count += times
            is_new = kind not in self._kinds
            self._kinds.add(kind)
            return is_new


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
