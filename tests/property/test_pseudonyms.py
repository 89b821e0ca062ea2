"""Whatever is sent, no personal value is left of it, and the rules find the same."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy_addon.core.events import read_body
from proxy_addon.core.exchange import Exchange, Request
from proxy_addon.core.fixtures.held import HeldSession, fold
from proxy_addon.core.judging.exchanges import judge_body, judge_exchange
from proxy_addon.core.judging.sessions import SessionJudge, events_of, facts_of
from proxy_addon.core.pseudonyms.exchanges import Pseudonymiser
from proxy_addon.core.routes import Operation
from tests import personal, sdk_traffic
from tests.builders import START_PARAMS, batch, event, event_dict, exchange, request, response, start
from tests.property.strategies import JSON_TEXTS, PATHS, spelled_strings
from tests.property.test_any_input import BODIES, METHODS

pseudonymise = Pseudonymiser(b"a key of the tests")

HEADERS = st.lists(
    st.tuples(
        st.sampled_from(
            ["Cookie", "set-cookie", "Forwarded", "VIA", "Referer", "X-Forwarded-For", "Location", "X-Y", "User-Agent"]
        )
        | st.sampled_from(["Authorization", "Content-Encoding", "From", "X-Session-Id", "Content-Length"]),
        st.text(alphabet=st.characters(max_codepoint=255), max_size=30) | PATHS,
    ),
    max_size=4,
).map(tuple)
VALUES = st.text(alphabet="abcdefghijkmnopqrstuvwxyzABC123456789-_äß", min_size=10, max_size=20).filter(
    lambda text: any(character.isdigit() for character in text) and any(character.isalpha() for character in text)
)
VALUE_OF_ANOTHER = "device-of-jane-4711"
PLACES: dict[str, Callable[[str, str], Exchange]] = {
    "a param": lambda value, spelled: start(body=f'{{"params": {{"analytics.visitorId": {spelled}}}}}'.encode()),
    "a list": lambda value, spelled: start(body=f'[{{"visitor": {{"x": [{{"y": {spelled}}}]}}}}]'.encode()),
    "an escaped name": lambda value, spelled: start(body=rf'{{"user\u0049d" : {spelled} }}'.encode()),
    "twice": lambda value, spelled: start(body=f'{{"uid":{spelled},"uid":{spelled},"x":{spelled}}}'.encode()),
    "cut off": lambda value, spelled: start(body=f'{{"uid": {spelled}, "x'.encode()),
    "cut in the value": lambda value, spelled: start(body=f'{{"uid": {spelled[:-1]}'.encode()),
    "broken": lambda value, spelled: start(body=f'{{"a": }}, "uid": {spelled}}}'.encode()),
    "no JSON": lambda value, spelled: start(body=f"uid is {value}".encode()),
    "a form": lambda value, spelled: start(body=f"a=1&uid={quote(value)}&b={value}".encode()),
    "a query": lambda value, spelled: start(path=f"/api/v1/sessions?b={quote(value, safe='')}&uid={quote(value)}"),
    "a path": lambda value, spelled: start(path=f"/{quote(value)}/api/v1/sessions?uid={quote(value)}"),
    "a cookie": lambda value, spelled: start(headers=(("cookie", f"a=b; c={_wire(value)}"),)),
    "a header": lambda value, spelled: start(headers=(("x-device-id", _wire(value)), ("X-Y", _wire(value)))),
    "a page": lambda value, spelled: start(headers=(("Referer", f"https://h/p?q={quote(value)}#{_wire(value)}"),)),
    "an answer": lambda value, spelled: start(
        headers=(("X-User", _wire(value)),), response=response(400, body=f'{{"message": {spelled}}}'.encode())
    ),
    "a string in a string": lambda value, spelled: start(
        body=json.dumps({"customMetadata": {"a": json.dumps({"uid": value}), "b": f"/?uid={quote(value)}"}}).encode()
    ),
}


def _wire(text: str) -> str:
    return text.encode().decode("latin-1")


def everything(sent: Exchange) -> str:
    """Return all that is stored of an exchange, with escapes undone in every way that a reader may try."""
    answer = sent.response
    texts = [sent.request.path, repr(sent.request.headers), repr(answer and answer.headers)]
    for raw in (sent.request.body, answer.body if answer else b""):
        text = raw.decode("utf-8", "replace")
        texts += [text, json.dumps(_decoded(text), ensure_ascii=False)]
    return " ".join([*texts, *(_unquoted(each) for each in texts)])


def _decoded(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _unquoted(text: str) -> str:
    from urllib.parse import unquote

    return unquote(text) + text.encode("latin-1", "replace").decode("utf-8", "replace")


@given(VALUES, st.data())
def test_a_value_is_found_nowhere(value: str, data: st.DataObject):
    spelled = data.draw(spelled_strings(st.just(value)))
    for place, made in PLACES.items():
        assert value not in everything(pseudonymise(made(value, spelled))), place


MESSAGES = st.tuples(HEADERS, BODIES)


@given(METHODS, PATHS, MESSAGES, MESSAGES)
def test_any_exchange_can_be_pseudonymised(method, path, sent, answered):
    (headers, body), answer = sent, response(200, headers=answered[0], body=answered[1])
    raw = exchange(method, path, headers=headers, body=body, response=answer)
    made = pseudonymise(raw)
    assert made == pseudonymise(raw)
    assert made.route.operation == raw.route.operation
    assert [name for name, _ in made.request.headers] == [name for name, _ in headers]
    assert (made.request.reading.problem is None) == (raw.request.reading.problem is None)
    assert _shape(made.request.reading.value) == _shape(raw.request.reading.value)


def _shape(value: Any) -> Any:
    if isinstance(value, dict):
        return [_shape(each) for each in value.values()]
    return [_shape(each) for each in value] if isinstance(value, list) else type(value)


@given(st.sampled_from([*personal.PARAMS, "visitor.customerIDs.crm", "media.id"]), JSON_TEXTS)
def test_the_rules_find_the_same_in_any_value(name: str, spelled: str):
    params = json.dumps({each: value for each, value in personal.PARAMS.items() if each != name})
    sent = f'{{"eventType":"sessionStart","playerTime":{{"ts":1,"playhead":0}},"params":{params[:-1]},"{name}":{spelled}}}}}'
    made = pseudonymise.request(request(body=sent.encode()))
    before, after = (judge_body(each, Operation.SESSIONS) for each in (sent.encode(), made.body))
    assert [(found.rule, found.severity) for found in before] == [(found.rule, found.severity) for found in after]


BROKEN_STRINGS = st.lists(
    st.sampled_from([b"\t", b"\n", b"\x01", b"\xe9", b"\xff", b"\xed\xa0\xbd", b"\xe2\x82"])
    | st.text(alphabet='abcdXYZ019@._-/ \u00e9"\\', max_size=12).map(lambda text: json.dumps(text)[1:-1].encode())
    | st.sampled_from(["\u00e9\u20ac\U0001f600".encode(), b"jane@shop.example", VALUE_OF_ANOTHER.encode(), b"/?uid=a&b"]),
    min_size=1,
    max_size=8,
).map(b"".join)  # fmt: skip


@given(BROKEN_STRINGS, st.sampled_from(["analytics.visitorId", "visitor.customerIDs", "media.name", "userId", "x"]))
def test_a_string_that_is_not_json_stays_so_at_the_same_place(inside: bytes, name: str):
    sent = event_dict("sessionStart", params={**START_PARAMS, name: "MARK"}, customMetadata={name: "MARK"})
    body = json.dumps(sent).encode().replace(b"MARK", inside)
    raw = start(body=body, headers=(("X-User-Id", VALUE_OF_ANOTHER),), response=response(400, body=body))
    made = pseudonymise(raw)
    assert made.request.reading.problem == raw.request.reading.problem
    before, after = (judge_exchange(each) for each in (raw, made))
    assert [(each.rule, each.severity, each.pointer) for each in before] == (
        [(each.rule, each.severity, each.pointer) for each in after]
    )
    assert made.response is not None
    assert (read_body(made.response.body).problem is None) == (read_body(body).problem is None)


def played() -> list[list[Exchange]]:
    """Return the SDK's playbacks and odd ones, each as exchanges."""
    sent: list[list[Exchange]] = [[], []]
    for number, each in enumerate(sdk_traffic.load()):
        path = each.path if each.session_id is None else each.with_session_id(f"{each.playback}" * 8).path
        headers = (*each.headers, *personal.HEADERS[2:])
        answer = response(201, location=f"/api/v1/sessions/{f'{each.playback}' * 8}") if each.opens else response()
        made = exchange(
            each.method, path, id=f"{number:03}", after_s=each.at_s, headers=headers, body=each.body, response=answer
        )
        sent[each.playback].append(made)
    downloaded = [
        event_dict("sessionStart", params=personal.PARAMS),
        event_dict("play", ts=10),
        event_dict("ping", ts=5),
    ]
    return [*sent, personal.playback(), [batch(downloaded)], [start(body=b'{"params": '), event("ping", after_s=70)]]


def found_in(held: HeldSession) -> list[tuple[Any, ...]]:
    judge = SessionJudge(facts_of(held.session, is_batch=False))
    found = [(seq, each) for seq, sent in enumerate(held.exchanges) for each in judge_exchange(sent)]
    for seq, sent in enumerate(held.exchanges, 1):
        for each in events_of(sent, seq):
            judge.add(each)
    return [
        (seq, each.rule, each.severity, each.pointer, each.count)
        for seq, each in [*found, *((each.seq, each) for each in judge.findings(is_over=True))]
    ]


@pytest.mark.parametrize("number", range(5))
def test_the_rules_find_the_same_in_sessions(number: int):
    sent = played()[number]
    raw, made = fold(sent), fold(pseudonymise(each) for each in sent)
    assert [found_in(each) for each in raw] == [found_in(each) for each in made]
    assert any(found_in(each) for each in raw) or number < 2
    assert [replace(each.session, start_sha256=None, client_address=None, id="") for each in raw] == (
        [replace(each.session, start_sha256=None, client_address=None, id="") for each in made]
    )


def test_the_function_reads_requests_alone_like_exchanges():
    for sent in played()[2]:
        made: Request = pseudonymise.request(sent.request)
        assert personal.found_in(repr(made)) == []
