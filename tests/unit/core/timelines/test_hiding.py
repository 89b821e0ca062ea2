"""What is mailed names nobody, and still shows that two values differ."""

from __future__ import annotations

import json

import pytest

from proxy_addon.core.exchange import Exchange
from proxy_addon.core.pseudonyms.exchanges import Pseudonymiser
from proxy_addon.core.replays.aligning import Kind
from proxy_addon.core.timelines.aligned import Aligned, Match, Unlike
from proxy_addon.core.timelines.hiding import hidden
from tests import builders

TOKENS = Pseudonymiser(b"key")


def shown(unlike: Unlike, *exchanges: list[Exchange]) -> Unlike:
    match = Match(a=(1, ""), b=(1, ""), kind=Kind.CHANGED, unlike=(unlike,), counts=True)
    return hidden(Aligned(matches=(match,)), TOKENS, *exchanges).matches[0].unlike[0]


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


def test_a_personal_value_is_a_token_also_where_it_is_only_repeated():
    def session(visitor: str, note: str) -> list[Exchange]:
        said = builders.event_dict("play", customMetadata={"note": note})
        opening = builders.start(params={**builders.START_PARAMS, "analytics.visitorId": visitor})
        return [opening, builders.event(id="b", body=builders.body(said))]

    texts = "seen by somebody-7 today", "seen by somebody-8 today"
    sessions = [session(text.split()[2], text) for text in texts]
    a, b = (json.dumps(text) for text in texts)
    found = shown(Unlike(where="/customMetadata/note", a=a, b=b, message=f"play #2: note is {b}"), *sessions)
    masked = [[*TOKENS.session(exchanges)][1] for exchanges in sessions]
    notes = [json.dumps(json.loads(each.request.body)["customMetadata"]["note"]) for each in masked]
    assert [found.a, found.b] == notes, "as in the bodies beside it"
    assert "somebody" not in "".join(notes) + found.message
