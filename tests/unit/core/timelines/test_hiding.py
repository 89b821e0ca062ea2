"""What is mailed names nobody, and still shows that two values differ."""

from __future__ import annotations

import pytest

from proxy_addon.core.pseudonyms.exchanges import Pseudonymiser
from proxy_addon.core.replays.aligning import Kind
from proxy_addon.core.timelines.aligned import Aligned, Match, Unlike
from proxy_addon.core.timelines.hiding import hidden

TOKENS = Pseudonymiser(b"key")


def shown(unlike: Unlike) -> Unlike:
    match = Match(a=(1, ""), b=(1, ""), kind=Kind.CHANGED, unlike=(unlike,), counts=True)
    return hidden(Aligned(matches=(match,)), TOKENS).matches[0].unlike[0]


@pytest.mark.parametrize(
    ("where", "value"),
    [
        ("/params/visitor.marketingCloudUserId", '"somebody-7"'),
        ("params/visitor.customerIDs", '{"crm": {"id": "somebody-7"}}'),
        ("/params/visitor.customerIDs", '{"crm": {"id": "somebody-7", "aut…'),
        ("customMetadata/email", '"somebody-7@mail.example"'),
        ("customMetadata/note", '"ask somebody-7@mail.example"'),
        ("request.header.Cookie", "who=somebody-7"),
        ("body", "somebody-7@mail.example"),
    ],
)
def test_a_personal_value_is_a_token_and_two_values_are_two(where: str, value: str):
    found = shown(Unlike(where=where, a=value, b=value.replace("-7", "-8"), message=f"start #1: x is {value}"))
    assert found.a is not None
    assert found.a != found.b
    assert "somebody" not in found.a + (found.b or "") + found.message


@pytest.mark.parametrize(
    ("where", "value"),
    [
        ("playhead", "12.50"),
        ("status", "204"),
        ("/params/media.name", '"A \\u00e4 film"'),
        ("params/media.ad.id", '"spot-1'),
        ("qoeData", "{}"),
    ],
)
def test_all_else_is_shown_as_it_is(where: str, value: str):
    found = shown(Unlike(where=where, a=value, b=None, message="adStart #3 is late"))
    assert (found.a, found.b, found.message) == (value, None, "adStart #3 is late")
