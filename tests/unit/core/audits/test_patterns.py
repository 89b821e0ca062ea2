"""Patterns match as the standard library's do, with limited work."""

from __future__ import annotations

import pickle
import re
import sys
import warnings
from typing import Self

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy_addon.core.audits import patterns
from proxy_addon.core.audits.patterns import LONGEST, MOST_STEPS, WORK_OF_BYTE, Pattern, PatternError, Work

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
        ("a{3}b?", "aaab", "ab"),
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


class Counted:
    """Counts what is called by Python code, and what returns; that takes the same number however busy the machine is."""

    calls = 0

    def __enter__(self) -> Self:
        sys.setprofile(self._count)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)

    def _count(self, *_: object) -> None:
        self.calls += 1


@pytest.mark.parametrize(
    "written",
    [
        ".*",
        "(a*)*b",
        "(a|a)*b",
        "(a|aa)+$",
        "(.*)*(.*)*x",
        "(a?){1000}a{1000}",
        "(\\w+\\s?)*:",
        ".*-.{0,15}",
        "[ab]*a[ab]{900}",
        ".{0,999}-.{0,999}a?x",
        "(" + "(a?|b?|-?)?" * 20 + "){0,12}x",
        "(((((((((((a?)*)+)*)+)*)+)*)+)*)+){0,99}x",
        "[" + "".join(map(chr, range(0x4E00, 0x4E00 + 480))) + "a-]*b",
        ".*(" + "|".join(f"[ab{chr(0x4E00 + number)}]" for number in range(60)) + "){0,20}",
    ],
)
def test_the_work_for_the_texts_of_a_body_is_limited_whatever_pattern_and_texts_are(written, monkeypatch):
    monkeypatch.setattr(patterns, "MOST_WORK", most := 5_000)
    mixed = "".join("ab-"[number * number % 7 % 3] for number in range(most))
    texts = ["a" * most, mixed, mixed[::-1], "a-" * 40, "".join(map(chr, range(0x5000, 0x5000 + most))), "b", ""] * 3
    with Counted() as of_pattern:
        pattern = Pattern(written)
    assert of_pattern.calls < 200 * MOST_STEPS
    work = Work(length=100)
    with Counted() as of_texts:
        results = [pattern.matches(text, work) for text in texts]
    assert None in results
    # a place makes up to three calls that return, and a character some more
    assert of_texts.calls < (most + 100 * WORK_OF_BYTE) * 30


def test_no_text_is_told_for_which_too_little_work_is_left_whatever_was_matched_before():
    pattern = Pattern("[ab]*a[ab]{200}")
    short, long = "ba" * 300, "ba" * 20_000
    assert re.fullmatch(pattern.text, long)
    assert [pattern.matches(text) for text in (long, short, long)] == [None, True, None]
    work = Work()
    assert [pattern.matches(text, work) for text in (short, "a", long, short, "")] == [True, False, None, None, False]


def test_patterns_that_go_on_in_few_ways_match_all_texts_of_a_body_however_long_it_is(monkeypatch):
    monkeypatch.setattr(patterns, "MOST_WORK", 0)
    for written in ("[a-z0-9]+(-[a-z0-9]+)*", ".*-x", r"(\w+\.)+\w+", "x+"):
        pattern, texts = Pattern(written), ["x-" * 40 + "x", "x." * 40 + "x", "x" * 80, "", "-"]
        work = Work(sum(map(len, texts)))
        assert [pattern.matches(text, work) for text in texts] == [bool(re.fullmatch(written, text)) for text in texts]


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
