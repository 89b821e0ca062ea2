"""All rules. A new one is a function in one of these modules; its docstring is its page."""

from __future__ import annotations

# In the order of the protocol's description, which is the order of `sessiontape rules`.
from proxy_addon.core.rules import (  # isort: skip
    http_json,
    frame,
    params,
    quality,
    batches,
    life,
    ads,
    chapters_and_states,
    order,
    playhead,
    pings,
)
from proxy_addon.core.rules.rule import RULES, Rule, Scope

MODULES = (http_json, frame, params, quality, batches, life, ads, chapters_and_states, order, playhead, pings)

ORDER = {id: place for place, id in enumerate(RULES)}
"""Place of each rule among all."""


def rules_of(scope: Scope) -> tuple[Rule, ...]:
    """Return the rules that look at such a thing, in their order."""
    return tuple(rule for rule in RULES.values() if rule.scope is scope)


__all__ = ["MODULES", "ORDER", "RULES", "Rule", "Scope", "rules_of"]
