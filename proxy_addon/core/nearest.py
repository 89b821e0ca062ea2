"""Find the counterparts of times in another list of times, of which some have none."""

from __future__ import annotations

from collections.abc import Sequence

_MOST_STEPS = 40_000
"""So many steps are taken at most; longer lists are paired from the front."""


def in_pairs(ours: Sequence[float], theirs: Sequence[float]) -> list[tuple[int, int]]:
    """Return which times belong together: all of the shorter list, in order, as little apart as possible altogether.

    >>> in_pairs([1.0, 2.1, 3.2], [1.1, 3.1])
    [(0, 0), (2, 1)]
    >>> in_pairs([5.0], [1.0, 5.2, 9.0])
    [(0, 1)]
    """
    if len(ours) > len(theirs):
        return [(one, other) for other, one in in_pairs(theirs, ours)]
    spare = len(theirs) - len(ours)
    if not spare or len(ours) * (spare + 1) > _MOST_STEPS:
        return [(place, place) for place in range(len(ours))]
    # By how many have been left out so far: how far the pairs are apart, and how many were left out before each of ours.
    apart = [0.0] * (spare + 1)
    left_out: list[list[int]] = []
    for place, at in enumerate(ours):
        best, fewest = apart[0], 0
        came_from = []
        for skipped in range(spare + 1):
            if apart[skipped] < best:
                best, fewest = apart[skipped], skipped
            came_from.append(fewest)
            apart[skipped] = best + abs(theirs[place + skipped] - at)
        left_out.append(came_from)
    skipped = min(range(spare + 1), key=apart.__getitem__)
    found = []
    for place in range(len(ours) - 1, -1, -1):
        found.append((place, place + skipped))
        skipped = left_out[place][skipped]
    return found[::-1]
