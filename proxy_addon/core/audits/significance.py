"""Whether two sets of sessions differ by more than chance.

All tests are two-sided. They take counts of independent observations, which sessions are and events of one session are not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence

_EQUAL = 1e-7
"""Probabilities that differ by this part are the same: they are sums of rounded logarithms."""
_NEGLIGIBLE = 1e-17


def fisher(one: int, one_of: int, other: int, other_of: int) -> float:
    """Return the p-value of Fisher's exact test: how likely shares are to differ as much or more if it is all chance.

    Args:
        one: How many of the first set have something.
        one_of: How many there are in the first set.
        other: How many of the second set have it.
        other_of: How many there are in the second set.
    """
    having = one + other
    lowest, highest = max(0, having - other_of), min(having, one_of)
    if lowest == highest:
        return 1.0
    log_all = _log_choose(one_of + other_of, having)

    def log_probability(number: int) -> float:
        return _log_choose(one_of, number) + _log_choose(other_of, having - number) - log_all

    limit = log_probability(one) + _EQUAL
    mode = min(highest, max(lowest, (having + 1) * (one_of + 1) // (one_of + other_of + 2)))
    # Probabilities rise up to the mode and fall behind it: those below the limit are the two tails.
    left = _last(lowest - 1, mode, lambda number: log_probability(number) <= limit)
    right = -_last(-highest - 1, -mode, lambda number: log_probability(-number) <= limit)
    tails = (range(left, lowest - 1, -1), range(right, highest + 1))
    if left >= right:  # the mode itself
        return 1.0
    return min(1.0, math.fsum(each for tail in tails for each in _falling(map(log_probability, tail))))


def _last(before: int, end: int, holds: Callable[[int], bool]) -> int:
    """Return the last number behind the first one, up to the end, for which a condition holds that holds no more once it fails."""
    while before < end:
        middle = (before + end + 1) // 2
        if holds(middle):
            before = middle
        else:
            end = middle - 1
    return before


def _falling(logarithms: Iterator[float]) -> Iterator[float]:
    first: float | None = None
    for logarithm in logarithms:
        probability = math.exp(logarithm)
        first = probability if first is None else first
        if probability <= first * _NEGLIGIBLE:
            return
        yield probability


def _log_choose(of: int, number: int) -> float:
    return math.lgamma(of + 1) - math.lgamma(number + 1) - math.lgamma(of - number + 1)


def superiority(one: Mapping[int, int], other: Mapping[int, int]) -> tuple[float, float]:
    """Return how far numbers of a second set are above those of a first one, and how likely that is if it is all chance.

    The first is the probability that a number of the second set is higher than one of the first, minus the probability that
    it is lower: from -1 to 1. The second is the p-value of the Mann-Whitney U test, by the normal distribution with
    corrections for ties and for continuity. For few numbers that hardly overlap, from 4 on each side, it is too high rather
    than too low.

    Args:
        one: How often each number is in the first set.
        other: The same of the second one.
    """
    size, other_size = sum(one.values()), sum(other.values())
    if not size or not other_size:
        return 0.0, 1.0
    below = above = ties = 0
    for number in sorted({*one, *other}):
        here, there = one.get(number, 0), other.get(number, 0)
        above += there * (2 * below + here)
        below += here
        ties += (here + there) ** 3 - (here + there)
    whole, pairs = size + other_size, size * other_size
    excess = above - pairs  # of pairs in which the second is higher over those in which it is lower
    variance = pairs / 12 * (whole + 1 - ties / (whole * (whole - 1))) if whole > 1 else 0.0
    deviation = abs(excess) / 2 - 0.5
    if variance <= 0 or deviation <= 0:
        return excess / pairs, 1.0
    return excess / pairs, math.erfc(deviation / math.sqrt(2 * variance))


def discoveries(p_values: Sequence[float], rate: float) -> float:
    """Return up to which p-value differences count, if of all that count only a part may be chance.

    Args:
        p_values: Of all comparisons that were made.
        rate: That part, as Benjamini and Hochberg control it.

    Returns:
        The highest p-value that counts; -1 if none does.
    """
    limit = -1.0
    for place, p_value in enumerate(sorted(p_values), 1):
        if p_value <= rate * place / len(p_values):
            limit = p_value
    return limit
