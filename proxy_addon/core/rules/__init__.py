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

__all__ = ["MODULES", "RULES", "Rule", "Scope"]
