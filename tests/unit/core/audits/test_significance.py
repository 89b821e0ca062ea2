"""The tests that tell changes from chance agree with their definitions."""

from __future__ import annotations

import math
from collections import Counter
from itertools import combinations

import pytest

from proxy_addon.core.audits.significance import discoveries, fisher, superiority


def exact_fisher(one: int, one_of: int, other: int, other_of: int) -> float:
    having = one + other
    ways = {
        number: math.comb(one_of, number) * math.comb(other_of, having - number)
        for number in range(max(0, having - other_of), min(having, one_of) + 1)
    }
    return sum(each for each in ways.values() if each <= ways[one]) / sum(ways.values())


def test_fishers_test_agrees_with_counting_all_tables():
    for one_of in range(7):
        for other_of in range(9):
            for one in range(one_of + 1):
                for other in range(other_of + 1):
                    exact = exact_fisher(one, one_of, other, other_of)
                    assert fisher(one, one_of, other, other_of) == pytest.approx(exact, rel=1e-9)
    for table in ((3, 4, 1, 4), (30, 100, 47, 90), (0, 500, 12, 400), (1, 1, 0, 2_000), (700, 1_000, 705, 1_000)):
        assert fisher(*table) == pytest.approx(exact_fisher(*table), rel=1e-6)
    assert fisher(3, 4, 1, 4) == pytest.approx(0.485714, abs=1e-6)  # the lady tasting tea


def test_fishers_test_of_a_million_sessions_is_the_normal_one():
    number, one, other = 1_000_000, 100_000, 101_000
    pooled = (one + other) / (2 * number)
    z = (abs(other - one) - 1) / number / math.sqrt(2 * pooled * (1 - pooled) / number)
    assert fisher(one, number, other, number) == pytest.approx(math.erfc(z / math.sqrt(2)), rel=0.01)
    assert fisher(0, number, 1_000, number) < 1e-100
    assert fisher(one, number, one, number) == 1


def exact_superiority(one: list[int], other: list[int]) -> tuple[float, float]:
    def excess(first: tuple[int, ...], second: tuple[int, ...]) -> int:
        return sum((b > a) - (b < a) for a in first for b in second)

    values = [*one, *other]
    found = excess(tuple(one), tuple(other))
    all_of_them = as_extreme = 0
    for chosen in combinations(range(len(values)), len(one)):
        rest = tuple(value for place, value in enumerate(values) if place not in chosen)
        all_of_them += 1
        as_extreme += abs(excess(tuple(values[place] for place in chosen), rest)) >= abs(found)
    return found / (len(one) * len(other)), as_extreme / all_of_them


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ([1, 2, 3, 4, 5, 6], [7, 8, 9, 10, 11, 12]),
        ([1, 2, 3, 4, 5, 6, 7], [4, 5, 6, 7, 8, 9]),
        ([10, 10, 10, 10, 10, 11], [10, 11, 11, 11, 11, 11, 12]),
        ([5, 5, 5, 5, 5, 5], [5, 9, 9, 9, 9, 9]),
        ([-3, -2, 0, 4, 9, 9], [-40, -3, -3, -2, -1, 0, 1]),
    ],
)
def test_the_u_test_is_about_what_all_permutations_say(one, other):
    above, p = superiority(Counter(one), Counter(other))
    exact_above, exact_p = exact_superiority(one, other)
    assert above == pytest.approx(exact_above)
    assert p == pytest.approx(exact_p, abs=0.06)
    assert superiority(Counter(other), Counter(one)) == pytest.approx((-above, p))


@pytest.mark.parametrize("number", range(4, 9))
def test_the_u_test_of_few_sessions_is_never_too_sure(number):
    one, other = Counter(range(number)), Counter(range(number, 2 * number))
    above, p = superiority(one, other)
    assert above == 1
    assert p >= 2 / math.comb(2 * number, number)


def test_equal_or_no_values_are_no_difference():
    assert superiority({7: 100}, {7: 3}) == (0, 1)
    assert superiority({}, {7: 3}) == superiority({7: 3}, {}) == (0, 1)


def test_of_many_comparisons_fewer_count():
    # Benjamini and Hochberg's example of 1995, of which four count at 5 %.
    p_values = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344]
    p_values += [0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0]
    assert discoveries(p_values, 0.05) == 0.0095
    assert discoveries(p_values, 0.001) == -1
    assert discoveries([], 0.05) == -1
