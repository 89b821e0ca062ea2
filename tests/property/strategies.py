"""What devices might send, for Hypothesis: JSON spelled in odd ways, and whole requests."""

from __future__ import annotations

import json
from collections.abc import Callable

from hypothesis import strategies as st

_SPACE = st.text(alphabet=" \t\r\n", max_size=3)
_STRINGS = st.text(alphabet=st.characters(codec="utf-8"), max_size=6) | st.sampled_from(
    ["ts", "playerTime", 'a"b', "\\", "{[,:]}", "\x00", "\u2028", "\U0001f600", "1"]
)
_NUMBERS = st.integers(-(2**64), 2**64).map(str) | st.sampled_from(["-0", "0.0", "1e3", "60.39333333333333", "1E+400"])

TIMES = st.integers(-(2**63), 2**63 - 1)


@st.composite
def spelled_strings(draw: st.DrawFn, strings: st.SearchStrategy[str] = _STRINGS) -> str:
    """Return a JSON string in which any character may be escaped."""
    pieces = []
    for character in draw(strings):
        plain = json.dumps(character, ensure_ascii=False)[1:-1]
        escaped = "".join(f"\\u{unit:04x}" for unit in _utf16(character))
        pieces.append(draw(st.sampled_from([plain, escaped])))
    return '"' + "".join(pieces) + '"'


def _utf16(character: str) -> list[int]:
    data = character.encode("utf-16-be")
    return [int.from_bytes(data[i : i + 2], "big") for i in range(0, len(data), 2)]


def _array(items: list[str], spaces: tuple[str, str]) -> str:
    before, after = spaces
    return "[" + before + f"{after},{before}".join(items) + after + "]"


def _object(members: list[tuple[str, str]], spaces: tuple[str, str]) -> str:
    before, after = spaces
    return (
        "{" + before + f"{after},{before}".join(f"{key}{after}:{before}{value}" for key, value in members) + after + "}"
    )


_SPACES = st.tuples(_SPACE, _SPACE)


def _nested(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.builds(_array, st.lists(inner, max_size=3), _SPACES) | st.builds(
        _object, st.lists(st.tuples(spelled_strings(), inner), max_size=3), _SPACES
    )


JSON_TEXTS = st.recursive(
    st.sampled_from(["null", "true", "false", r'"\ud83c"']) | _NUMBERS | spelled_strings(), _nested, max_leaves=8
)
"""Any JSON text: odd spacing, duplicate keys, escapes, numbers of more than 64 bits, lone surrogates."""

Write = Callable[[int], str]
"""Writes one JSON text, with all its times moved by some milliseconds."""


def _members(key: str) -> st.SearchStrategy[str]:
    """Return spellings of anything that is not a key."""
    return spelled_strings(_STRINGS.filter(lambda text: text != key))


@st.composite
def timed_objects(draw: st.DrawFn) -> Write:
    """Return what writes an event with at least one time, and whatever else."""

    def player_time() -> Write:
        others = draw(st.lists(st.tuples(_members("ts"), JSON_TEXTS), max_size=2))
        times = draw(st.lists(st.tuples(spelled_strings(st.just("ts")), TIMES), min_size=1, max_size=2))
        order = draw(st.permutations(range(len(others) + len(times))))
        spaces = draw(_SPACES)

        def write(by_ms: int) -> str:
            members = [*others, *((key, str(ts + by_ms)) for key, ts in times)]
            return _object([members[index] for index in order], spaces)

        return write

    others = draw(st.lists(st.tuples(_members("playerTime"), JSON_TEXTS), max_size=2))
    times = [(draw(spelled_strings(st.just("playerTime"))), player_time()) for _ in range(draw(st.integers(1, 2)))]
    order = draw(st.permutations(range(len(others) + len(times))))
    spaces = draw(_SPACES)

    def write(by_ms: int) -> str:
        members = [*others, *((key, time(by_ms)) for key, time in times)]
        return _object([members[index] for index in order], spaces)

    return write


@st.composite
def timed_bodies(draw: st.DrawFn) -> Write:
    """Return what writes the body of an event or of a batch, with space around it."""
    before, after = draw(_SPACES)
    if draw(st.booleans()):
        event = draw(timed_objects())
        return lambda by_ms: before + event(by_ms) + after
    events = draw(st.lists(timed_objects(), min_size=1, max_size=3))
    untimed = draw(st.sampled_from([[], ["{}"], ["7", '{"playerTime":{"x":1}}']]))
    spaces = draw(_SPACES)
    return lambda by_ms: before + _array([*untimed, *(event(by_ms) for event in events)], spaces) + after


_PATH_PIECES = st.sampled_from(
    [
        "/",
        "api",
        "/api/v1/",
        "sessions",
        "downloaded",
        "schemas",
        "events",
        "4a0f",
        "?",
        "#",
        "\n",
        "%2F",
        "http://h",
        "v1",
    ]
)
PATHS = st.lists(_PATH_PIECES | st.text(alphabet=st.characters(max_codepoint=255), max_size=3), max_size=9).map("".join)
"""Paths that look more or less like those of the protocol; characters are the Latin-1 bytes of the wire."""

SESSION_IDS = st.text(alphabet=st.characters(max_codepoint=255, exclude_characters="/?"), min_size=1, max_size=8) | (
    st.sampled_from(["sessions", "events", "api", "v1"])
)
"""IDs that fit between two slashes of a path."""
