"""How a run sends: the options that matter while it runs."""

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
        concurrency: How many sessions are replayed at the same time at most.
        noise: What may differ between a recorded answer and a new one.
        spread_s: Over how many seconds the starts of the first ``concurrency`` sessions are spread.
    """

    target: str
    speed: Speed
    timestamps: Timestamps
    concurrency: int
    noise: Noise = field(default_factory=Noise)
    spread_s: float = 0.0
