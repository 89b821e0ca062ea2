"""All rules. To add one, write a function in one of these modules; its docstring is its page."""

from __future__ import annotations

from functools import cache

# In the order of the protocol's description; `sessiontape rules` lists them in this order.
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
"""The position of each rule in the list of all rules."""


@cache
def rules_of(scope: Scope, moments: int | None = None) -> tuple[Rule, ...]:
    """Return the rules of one scope, in the order of `RULES`.

    Args:
        moments: The sum of the moments at which they are asked; None for all rules.
    """
    rules = (rule for rule in RULES.values() if rule.scope is scope)
    return tuple(rule for rule in rules if moments is None or rule.is_due(moments))


__all__ = ["MODULES", "ORDER", "RULES", "Rule", "Scope", "rules_of"]
