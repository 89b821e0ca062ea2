"""Whatever a body holds, it can be changed, and what is not changed stays byte for byte."""

from __future__ import annotations

import copy
import json
from typing import Any

import jsonpath_rfc9535 as jsonpath
from hypothesis import given
from hypothesis import strategies as st

from proxy_addon.core.exchange import Request
from proxy_addon.core.replays import changing as changes
from proxy_addon.core.replays.changing import SAFE, Changer
from tests.property.strategies import JSON_TEXTS

NAMES = st.sampled_from(["a", "b", "c"])
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.integers(-5, 5) | st.sampled_from(["", "x", None, True]),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(NAMES, inside, max_size=3),
    max_leaves=12,
)
PATHS = st.sampled_from(["$.a", "$..a", "$[0]", "$[*]", "$.a.b", "$['a','b']", "$[-1]", "$.a[*].b", "$..*"])
SPACES = st.sampled_from([None, 1, "\t"])


def changed(sent: bytes, change: changes.Change) -> bytes:
    return Changer([change], key=b"k")(Request(method="POST", path="/", body=sent)).request.body


@given(VALUES, PATHS, SPACES)
def test_dropping_is_dropping_from_the_value(value, path, indent):
    sent = json.dumps(value, indent=indent).encode()
    expected = copy.deepcopy(value)
    locations = [tuple(node.location) for node in jsonpath.find(path, value)]
    # The deepest and last first, so that none moves another one that is still to go.
    for location in sorted(locations, key=lambda at: (len(at), [str(step).zfill(9) for step in at]), reverse=True):
        if location:
            above = expected
            for step in location[:-1]:
                above = above[step]
            del above[location[-1]]
    assert json.loads(changed(sent, changes.drop_value(path))) == expected


@given(VALUES, st.sampled_from(["$.a", "$..a", "$.a.b", "$.a[*].b", "$[*].c"]), SPACES)
def test_setting_is_setting_in_the_value(value, path, indent):
    sent = json.dumps(value, indent=indent).encode()
    done = json.loads(changed(sent, changes.set_value(f"{path}=9")))
    for node in jsonpath.find(path, done):
        assert node.value == 9
    if not jsonpath.find(path, value) and not jsonpath.find(path, done):
        assert done == value


TEXTS = JSON_TEXTS.map(lambda text: text.encode("utf-8", "replace"))


@given(TEXTS | st.binary(max_size=60), PATHS)
def test_any_body_can_be_changed(sent, path):
    for change in (changes.drop_value(path), changes.set_value(f"{path}=1"), {"do": "pseudonym", "path": path}, *SAFE):
        if "path" in change:
            changed(sent, change)


@given(TEXTS)
def test_a_path_that_leads_nowhere_changes_nothing(sent):
    assert changed(sent, changes.drop_value("$['nowhere'].x")) == sent
