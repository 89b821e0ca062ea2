"""How strict to be: which rules count, with which severity and limits. Comes from the settings file and options."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any

from proxy_addon.core.findings import CHECKER_FAILED, MOST_PLACES, Finding, Severity
from proxy_addon.core.protocol import Key
from proxy_addon.core.rules.limits import Limits
from proxy_addon.core.rules.rule import Rule

if TYPE_CHECKING:  # audits build on judging; a plan is handed in by whoever has read one
    from proxy_addon.core.audits.plans import Plan


@dataclass(frozen=True, kw_only=True)
class Policy:
    """Which rules apply, and how.

    Attributes:
        severities: Changed severities by rule id; None switches the rule off.
        params: Params that are allowed in addition to the known ones.
        limits: The limits that the rules use.
        select: Only findings of these rules count; empty for all. `accepted-by-upstream` selects what it lowered.
        ignore: Findings of these rules do not count.
        most_places: How many places of one finding are kept; its count includes the others. `to_document` leaves it out.
        plan: What sessions are held against beside the rules; None for nothing. Documents of a policy leave it out.
    """

    severities: Mapping[str, Severity | None] = field(default_factory=dict)
    params: tuple[Key, ...] = ()
    limits: Limits = field(default_factory=Limits)
    select: frozenset[str] = frozenset()
    ignore: frozenset[str] = frozenset()
    most_places: int = MOST_PLACES
    plan: Plan | None = None

    def severity(self, rule: Rule) -> Severity | None:
        """Return the severity of a rule's findings; None if the rule is switched off."""
        return self.severities.get(rule.id, rule.severity)

    def asks_for(self, rule: Rule) -> bool:
        """Whether the findings of a rule are asked for; then a failure of the rule is reported, too."""
        return rule.id not in self.ignore and (not self.select or bool(self.select & {rule.id, CHECKER_FAILED}))

    def kept(self, findings: Iterable[Finding]) -> list[Finding]:
        """Return those of the findings that are asked for."""
        return [finding for finding in findings if self._counts(finding)]

    def _counts(self, finding: Finding) -> bool:
        if finding.rule == CHECKER_FAILED:
            return CHECKER_FAILED not in self.ignore  # `asks_for` has already checked the rule that failed
        names = {finding.rule, finding.lowered_by}
        return not names & self.ignore and (not self.select or bool(names & self.select))


DEFAULT = Policy()


def to_document(policy: Policy) -> dict[str, Any]:
    """Return a policy as JSON can hold it, for `from_document`.

    >>> to_document(Policy(ignore=frozenset({"ts-order"})))["ignore"]
    ['ts-order']
    """
    return {
        "severities": {rule: severity and severity.value for rule, severity in policy.severities.items()},
        "params": [{"name": key.name, "type": key.type, "events": sorted(key.events)} for key in policy.params],
        "limits": asdict(policy.limits),
        "select": sorted(policy.select),
        "ignore": sorted(policy.ignore),
    }


def from_document(document: Mapping[str, Any]) -> Policy:
    """Return the policy in a document of `to_document`. What an older version did not write has its default.

    >>> policy = Policy(severities={"ping-gap": None}, limits=Limits(states=3))
    >>> from_document(to_document(policy)) == policy
    True
    >>> from_document({}) == DEFAULT
    True
    """
    limits = document.get("limits", {})
    return Policy(
        severities={rule: each and Severity(each) for rule, each in document.get("severities", {}).items()},
        params=tuple(
            Key(name=each["name"], type=each["type"], events=frozenset(each["events"]))
            for each in document.get("params", ())
        ),
        limits=Limits(**{each.name: limits[each.name] for each in fields(Limits) if each.name in limits}),
        select=frozenset(document.get("select", ())),
        ignore=frozenset(document.get("ignore", ())),
    )
