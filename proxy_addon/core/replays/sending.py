"""How a run sends: the options that matter while it is under way."""

from __future__ import annotations

from dataclasses import dataclass, field

from proxy_addon.core.replays.comparing import Noise
from proxy_addon.core.replays.pacing import Speed
from proxy_addon.core.replays.timestamps import Timestamps


@dataclass(frozen=True, kw_only=True)
class SendingOptions:
    """How to replay.

    Attributes:
        target: The server's URL, for messages.
        concurrency: How many sessions run side by side at most.
        noise: What may differ between a recorded answer and a new one.
        spread_s: Over how long a time the first sessions, as many as run side by side, begin.
    """

    target: str
    speed: Speed
    timestamps: Timestamps
    concurrency: int
    noise: Noise = field(default_factory=Noise)
    spread_s: float = 0.0
