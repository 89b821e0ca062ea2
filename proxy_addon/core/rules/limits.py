"""The limits that the session rules use; the settings file can change them."""

from __future__ import annotations

from dataclasses import dataclass

from proxy_addon.core import protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits that the session rules use. The defaults come from the protocol's documents and SDKs.

    Attributes:
        ping_gap_s: Longest silence that is not reported.
        ping_gap_long_s: A longer silence is a warning.
        idle_timeout_s: A silence of this length closes the session.
        playhead_timeout_s: A playhead that does not move for this long has closed the session. It includes some slack,
            because SDKs end the session themselves after about 30 minutes.
        ping_median_s: Longest median interval between pings while content plays.
        ad_ping_median_s: The same while an ad plays; None if pings during ads are not checked.
        session_s: Longest time between the first and the last ``ts``.
        reorder_window_s: How far a ``ts`` may be below the highest one so far and still be sorted by the back end.
        clock_skew_s: How much ``ts`` and the time of arrival may differ.
        playhead_slack_s: How far a playhead may exceed the length of the content, or move during an ad or a pause.
        retry_window_s: Within this time, the same start counts as a retry.
        frozen_pings: How many consecutive pings with the same playhead are a standstill.
        frozen_s: How long a standstill must last at least.
        states: How many names of player states count in a session.
    """

    ping_gap_s: float = 15
    ping_gap_long_s: float = 60
    idle_timeout_s: float = 600
    playhead_timeout_s: float = 1860
    ping_median_s: float = 12
    ad_ping_median_s: float | None = None
    session_s: float = 86_460
    reorder_window_s: float = 5
    clock_skew_s: float = 300
    playhead_slack_s: float = 1
    retry_window_s: float = 60
    frozen_pings: int = 3
    frozen_s: float = 20
    states: int = protocol.MOST_STATES

    @property
    def shortest_gap_s(self) -> float:
        """The shortest silence that a rule may report."""
        return min(self.ping_gap_s, self.ping_gap_long_s, self.idle_timeout_s)
