"""The numbers in the rules over sessions, which the settings file may change."""

from __future__ import annotations

from dataclasses import dataclass

from proxy_addon.core import protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The numbers in the rules over sessions. Defaults are those of the protocol's documents and SDKs.

    Attributes:
        ping_gap_s: Longest silence of which nothing is said.
        ping_gap_long_s: From here on silence is a warning.
        idle_timeout_s: Silence that closes a session.
        playhead_timeout_s: A playhead that stands still for so long has closed the session, SDKs' own end excepted.
        ping_median_s: Longest median distance of pings while content plays.
        ad_ping_median_s: The same while an ad plays; None where ads may ping as content does.
        session_s: Longest time between the first and the last ``ts``.
        reorder_window_s: How far below the highest so far a ``ts`` may be and still be put in order by the back end.
        clock_skew_s: How far ``ts`` and arrival may differ.
        playhead_slack_s: How far a playhead may lie beyond the length, and move in an ad.
        retry_window_s: Within this time the same start is another attempt.
        frozen_pings: How many pings with one playhead are suspicious, and
        frozen_s: over how long a time at least.
        states: Names of player states that count.
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
