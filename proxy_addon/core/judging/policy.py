"""How strict to be: which rules count, how much, and with which numbers. Made from the settings file and options."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from proxy_addon.core.findings import CHECKER_FAILED, Finding, Severity
from proxy_addon.core.protocol import Key
from proxy_addon.core.rules.limits import Limits
from proxy_addon.core.rules.rule import Rule


@dataclass(frozen=True, kw_only=True)
class Policy:
    """What is judged, and how.

    Attributes:
        severities: Rules whose severity was changed, by id; None switches one off.
        params: Params that are allowed beside the known ones.
        limits: The numbers in the rules.
        select: Only findings of these rules count; empty for all. A rule's name also selects what it lowered.
        ignore: Findings of these rules do not count.
    """

    severities: Mapping[str, Severity | None] = field(default_factory=lambda: MappingProxyType({}))
    params: tuple[Key, ...] = ()
    limits: Limits = field(default_factory=Limits)
    select: frozenset[str] = frozenset()
    ignore: frozenset[str] = frozenset()

    def severity(self, rule: Rule) -> Severity | None:
        """Return how bad findings of a rule are; None where it is switched off."""
        return self.severities.get(rule.id, rule.severity)

    def asks_for(self, rule: Rule) -> bool:
        """Whether anybody wants to know what a rule finds, and so that it failed."""
        return rule.id not in self.ignore and (not self.select or bool(self.select & {rule.id, CHECKER_FAILED}))

    def kept(self, findings: Iterable[Finding]) -> list[Finding]:
        """Return the findings that are among those asked for."""
        return [finding for finding in findings if self._counts(finding)]

    def _counts(self, finding: Finding) -> bool:
        if finding.rule == CHECKER_FAILED:
            return CHECKER_FAILED not in self.ignore  # which rules they are about was looked at before
        names = {finding.rule, finding.lowered_by}
        return not names & self.ignore and (not self.select or bool(names & self.select))


DEFAULT = Policy()
