"""Patterns match as the standard library's do, in time that grows with the text alone."""

from __future__ import annotations

import pickle
import re
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy_addon.core.audits.patterns import LONGEST, Pattern, PatternError

_TEXTS = st.text(alphabet="ab-1._ \n^${},", max_size=8)


@given(st.text(alphabet="ab-1._ \n^$\\[](){}|*+?,d", max_size=10), st.lists(_TEXTS, max_size=5))
def test_what_is_a_pattern_matches_as_in_the_standard_library(written, texts):
    try:
        pattern = Pattern(written)
    except PatternError:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of sets that may one day mean something else
        same = re.compile(written)
    for text in [*texts, written]:
        assert pattern.matches(text) == bool(same.fullmatch(text)), text


@pytest.mark.parametrize(
    ("written", "matching", "other"),
    [
        ("", "", "a"),
        ("[a-z0-9]+(-[a-z0-9]+)*", "my-media-7", "my--media"),
        (r"^\d{1,3}(\.\d{1,3}){3}$", "10.0.255.1", "10.0.255"),
        ("vod|live|(?:long|short) form", "short form", "form"),
        (r"[^\s,]{2,}", "ä€", "a b"),
        (r"\$\{\w+\}", "${tier}", "$tier"),
        ("(a|b){0,2}c?", "ab", "abb"),
        (r"[]\-a]+", "]-a", "b"),
        (r"(\t|\n)?x", "\tx", "tx"),
    ],
)
def test_patterns_match_whole_texts(written, matching, other):
    pattern = pickle.loads(pickle.dumps(Pattern(written)))
    assert pattern == Pattern(written)
    assert pattern.matches(matching)
    assert not pattern.matches(other)


@pytest.mark.parametrize("written", ["(a*)*b", "(a|a)*b", "(a|aa)+$", "(.*)*(.*)*x", "(a?){30}a{30}", "(\\w+\\s?)*:"])
def test_no_pattern_takes_long(written):
    assert not Pattern(written).matches("a" * 20_000 + "!")


def test_a_text_with_too_many_ways_counts_as_another_whatever_was_matched_before():
    pattern = Pattern("[ab]*a[ab]{200}")
    short, long = "ba" * 300, "ba" * 10_000
    assert re.fullmatch(pattern.text, long)
    assert [pattern.matches(text) for text in (long, short, long)] == [False, True, False]
    assert Pattern("(a|b)*").matches(long)


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ("a(b", "is not closed"),
        ("a)b", "closes no ("),
        ("[a", "is not closed"),
        ("[z-a]", "runs backwards"),
        (r"[\d-x]", "no end of a range"),
        ("*a", "nothing to repeat"),
        ("a**", "follows a repetition"),
        ("a{x}", "begins no repetition"),
        ("a{3,1}", "lower number second"),
        ("a{9999}", "too many"),
        ("((a{99}){99}){99}", "too long"),
        ("((){999}){999}a{9,99999}", "too many"),
        ("a^b", "stands in the middle"),
        ("(?=a)", "not supported"),
        (r"(a)\1", "not supported"),
        ("a\\", "stands at the end"),
        ("(" * 40 + ")" * 40, "nested too deep"),
        ("a" * (LONGEST + 1), "characters"),
    ],
)
def test_what_is_refused_says_why(written, problem):
    with pytest.raises(PatternError, match=re.escape(problem)):
        Pattern(written)
