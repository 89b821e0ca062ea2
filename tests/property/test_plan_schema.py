"""The JSON Schema of plans and the reader of plans accept the same files."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import jsonschema_rs
from hypothesis import example, given
from hypothesis import strategies as st

from proxy_addon.core.audits.plan_schema import SCHEMA
from proxy_addon.errors import SettingsError
from proxy_addon.files.plans import load

DOCS = Path(__file__).parents[2] / "docs"
_VALID = jsonschema_rs.validator_for(SCHEMA)

BEYOND = (
    *("bad pattern", "which is less than min", "which the type excludes", "; change the type", "extends itself"),
    *("the plan says nothing of", "there is no ", "is required and ", "is optional and ", "leave out the value, or"),
)
"""What the reader sees and a schema cannot say."""

# Whatever a plan may have, with here and there what it may not.
_ODD: st.SearchStrategy[Any] = st.sampled_from(
    [None, 5, 0, -1, True, "", "x", [], {}, ["x", "x"], ["x", None], [5], {"x": 1}, {"extends": "x"}, [[]]]
)


def _or_odd(good: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.integers(0, 60).flatmap(lambda number: _ODD if number == 0 else good)


def _some(**members: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    optional = {name: _or_odd(value) for name, value in members.items()}
    return _or_odd(st.fixed_dictionaries({}, optional=optional))


_TYPES = st.sampled_from(["string", "integer", "number", "null", "array", "strin"])
_TYPE = _TYPES | st.lists(_TYPES, max_size=2)
_NUMBERS = st.sampled_from([-1, 0, 2.5, 10])
_SCALARS = st.sampled_from(["gold", 1, 2.5, True, None])
_KEY = _or_odd(
    st.none()
    | _TYPE
    | _some(
        type=_TYPE,
        pattern=st.sampled_from(["a+", "x" * 501]),
        values=st.lists(_SCALARS, max_size=2),
        min=_NUMBERS,
        max=_NUMBERS,
    )
)
_NAMES = st.lists(st.sampled_from("abc"), max_size=2)
_KEYS = _NAMES | st.dictionaries(st.sampled_from("abcde"), _KEY, max_size=2)
_SECTION = st.none() | _some(required=_KEYS, optional=_KEYS, forbidden=_NAMES, further_keys=st.booleans())
_TYPES_OF_EVENTS = st.sampled_from(["all", "ping", "play", "pign"])
_EVENT = st.none() | _some(
    extends=_TYPES_OF_EVENTS | st.lists(_TYPES_OF_EVENTS, max_size=2),
    occurs=st.sampled_from(["always", "never", "often", None]) | _some(min=_NUMBERS, max=_NUMBERS),
    params=_SECTION,
    qoeData=_SECTION,
    customMetadata=_SECTION,
)
_EVENTS = st.dictionaries(_TYPES_OF_EVENTS, _or_odd(_EVENT), max_size=2)
_RATE = st.fixed_dictionaries({"every_s": _NUMBERS, "plus_minus_s": _NUMBERS})
_PINGS = st.dictionaries(
    st.sampled_from(["content", "ad", "over"]), _RATE | _some(every_s=_NUMBERS, plus_minus_s=_NUMBERS), max_size=2
)
_PART = {"further_events": st.booleans(), "further_keys": st.booleans(), "events": _EVENTS, "pings": _PINGS}
_WANTED = st.none() | st.just("web-*") | st.lists(st.sampled_from(["a", None]), max_size=2)
_WHERE = st.dictionaries(st.sampled_from(["player", "app-version", "os"]), _or_odd(_WANTED), max_size=2)
_RULES = st.dictionaries(
    st.sampled_from(["ping-gap", "plan-value", "ping-gpa"]),
    _or_odd(st.sampled_from(["off", "info", "none"])),
    max_size=2,
)
_GROUP = _some(where=_WHERE, **_PART)
_PLANS = st.one_of(  # each part by itself, too, because few of the whole plans are good in all but one place
    _KEY.map(lambda key: {"events": {"play": {"params": {"required": {"a": key}}}}}),
    _SECTION.map(lambda section: {"events": {"all": {"qoeData": section}}}),
    _EVENTS.map(lambda events: {"events": events}),
    _PINGS.map(lambda pings: {"pings": pings}),
    _WHERE.map(lambda where: {"groups": [{"where": where}]}),
    _RULES.map(lambda rules: {"rules": rules}),
    _some(rules=_RULES, groups=st.lists(_GROUP, max_size=2), **_PART),
)


def test_the_file_in_the_docs_is_the_schema():
    assert json.loads((DOCS / "plan.schema.json").read_text(encoding="utf-8")) == SCHEMA, "run: make docs"


def refusal(document: Any) -> str | None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "PLAN.yaml"
        path.write_text(json.dumps(document), encoding="utf-8")
        try:
            load(path)
        except SettingsError as e:
            return f"{e}; {e.hint}"
    return None


@given(_PLANS)
@example({"pings": {"content": {"every_s": 0, "plus_minus_s": 1}}})
@example({"pings": {"content": {"every_s": 1, "plus_minus_s": -1}}})
@example({"events": {"play": {"params": {"required": ["a", "a"]}}}})
@example({"events": {"play": {"extends": ["all", "all"]}, "all": None}})
@example({"extends": ["a", "a"]})
@example({"extends": 5})
@example({"events": {"play": {"params": {"required": {"a": {"values": [1], "min": 2.5}}}}}})
@example([])
def test_the_reader_refuses_what_the_schema_does_and_what_no_schema_can(document):
    refused = refusal(document)
    errors = [str(error) for error in _VALID.iter_errors(document)]
    assert refused is not None or errors == []
    assert errors or refused is None or any(each in refused for each in BEYOND), refused
