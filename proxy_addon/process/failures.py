"""Count what goes wrong while judging, which never ends a process, and log each kind once."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from proxy_addon.core.findings import CHECKER_FAILED, Finding
from proxy_addon.core.judging import net
from proxy_addon.process import logs

logger = logs.logger(__name__)


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
