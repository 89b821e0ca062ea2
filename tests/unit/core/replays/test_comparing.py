from __future__ import annotations

import gzip
import json
import zlib

import pytest

from proxy_addon.core.exchange import Outcome, Response
from proxy_addon.core.replays.comparing import MOST, Noise, compare, learn
from proxy_addon.core.replays.runs import Difference
from proxy_addon.errors import SettingsError
from tests.builders import response

RELATIVE = "/api/v1/sessions/{sid}"


def created(location: str | None):
    return response(201, location=location)


@pytest.mark.parametrize(
    ("recorded", "replayed"),
    [
        (response(204), response(204, headers=(("Server", "x"),), body=b"other")),
        (created("/api/v1/sessions/a"), created("/api/v1/sessions/b")),
        (response(201, headers=(("location", "/api/v1/sessions/a"),)), created(" /api/v1/sessions/b ")),
        (created("http://a/api/v1/sessions/a"), created("https://b:8443/api/v1/sessions/b")),
    ],
)
def test_answers_are_alike_when_status_and_shape_of_location_are(recorded, replayed):
    assert compare(recorded, Outcome.ANSWERED, replayed) == ()


@pytest.mark.parametrize(
    ("recorded", "replayed", "differences"),
    [
        (response(204), response(200), [("status", 204, 200)]),
        (created("/api/v1/sessions/a"), created(None), [("header.Location", RELATIVE, None)]),
        (created(None), created("/api/v1/sessions/a"), [("header.Location", None, RELATIVE)]),
        (created(""), created(None), [("header.Location", "", None)]),
        (
            created("/api/v1/sessions/a"),
            created("https://h/api/v1/sessions/a"),
            [("header.Location", RELATIVE, "{scheme}://{host}/api/v1/sessions/{sid}")],
        ),
        (
            created("/api/v1/sessions/a"),
            response(302, location="/login"),
            [("status", 201, 302), ("header.Location", RELATIVE, "/login")],
        ),
    ],
)
def test_each_difference_says_where_and_has_both_sides(recorded, replayed, differences):
    assert compare(recorded, Outcome.ANSWERED, replayed) == tuple(
        Difference(where=where, a=before, b=after) for where, before, after in differences
    )


@pytest.mark.parametrize("outcome", [Outcome.UPSTREAM_TIMEOUT, Outcome.UPSTREAM_UNREACHABLE, Outcome.UPSTREAM_CLOSED])
def test_any_answer_differs_from_a_recorded_failure(outcome):
    assert compare(None, outcome, response(204)) == (Difference(where="status", a=outcome.value, b=204),)


def test_a_device_that_left_says_nothing_about_upstream():
    assert compare(None, Outcome.CLIENT_GONE, response(500)) == ()


# Headers, bodies, and what may differ --------------------------------------------------------------------------------


def answer(status: int = 400, body: bytes = b"", **headers: str) -> Response:
    return Response(
        status=status, headers=tuple((name.replace("_", "-"), value) for name, value in headers.items()), body=body
    )


def wheres(recorded: Response, replayed: Response, *ignored: str, **more) -> list[str]:
    found = compare(recorded, Outcome.ANSWERED, replayed, noise=Noise.parse(ignored), **more)
    return [each.where for each in found]


def test_headers_that_were_recorded_have_to_come_again():
    recorded = answer(204, Date="a", Server="b", X_Request_Id="c", Content_Type="text/plain", Allow="POST")
    assert wheres(recorded, answer(204, content_type="text/plain", ALLOW="POST", New="is fine")) == []
    assert wheres(recorded, answer(204, Content_Type="text/html")) == ["header.Content-Type", "header.Allow"]
    assert wheres(recorded, answer(204), "header.content-*", "header.Allow") == []


def test_repeated_headers_are_one_list():
    twice = Response(status=204, headers=(("Allow", "GET"), ("allow", "POST")))
    assert wheres(twice, answer(204, Allow="GET, POST")) == []
    assert wheres(twice, answer(204, Allow="GET")) == ["header.Allow"]


def test_cors_headers_are_compared_by_what_they_allow():
    by_name = answer(204, Access_Control_Allow_Origin="https://a.example", Access_Control_Allow_Methods="POST, PUT")
    any_one = answer(204, Access_Control_Allow_Origin="*", access_control_allow_methods="put,POST")
    assert wheres(by_name, any_one, asked=(("Origin", "https://a.example"),)) == []
    assert wheres(any_one, by_name, asked=(("Origin", "https://a.example"),)) == []
    assert wheres(by_name, any_one) == ["header.Access-Control-Allow-Origin"]
    assert wheres(by_name, answer(204)) == ["header.Access-Control-Allow-Origin", "header.Access-Control-Allow-Methods"]


@pytest.mark.parametrize(
    ("recorded", "replayed", "expected"),
    [
        (b'{"a":1,"b":[1,2]}', b'{ "b": [1, 2], "a": 1.0 }', []),
        (b'{"a":1}', b'{"a":2}', [("body/a", "1", "2")]),
        (b'{"a":1}', b"{}", [("body/a", "1", None)]),
        (b"{}", b'{"a/b~":null}', [("body/a~1b~0", None, "null")]),
        (b"[1,2]", b"[1,3,4]", [("body/1", "2", "3"), ("body/2", None, "4")]),
        (b'{"a":true}', b'{"a":1}', [("body/a", "true", "1")]),
        (b'{"a":{}}', b'{"a":[]}', [("body/a", "{}", "[]")]),
        (b"oops", b"sorry", [("body", "oops", "sorry")]),
        (b"\x00\xff", b"{}", [("body", "2 bytes", "{}")]),
        (b'{"a":1e999}', b'{"a":2}', [("body/a", "inf", "2")]),
        (b'{"a":"\\ud83c"}', b'{"a":1}', [("body/a", '"\\ud83c"', "1")]),
    ],
)
def test_bodies_of_errors_are_compared_json_as_json(recorded, replayed, expected):
    found = compare(answer(400, recorded), Outcome.ANSWERED, answer(400, replayed))
    assert [(each.where, each.a, each.b) for each in found] == expected


def test_bodies_of_other_answers_are_not_compared():
    assert wheres(answer(200, b"a"), answer(200, b"b")) == []
    assert wheres(answer(400, b"a"), answer(500, b"b")) == ["status"]


def test_the_ids_of_the_session_count_as_the_same():
    recorded, replayed = answer(410, b'{"message":"old is gone"}'), answer(410, b'{"message":"new is gone"}')
    assert wheres(recorded, replayed) == ["body/message"]
    assert wheres(recorded, replayed, ids=("old", "new")) == []


@pytest.mark.parametrize(
    ("rule", "left"),
    [
        ("body", []),
        ("body/items/*/id", ["body/items/0/name", "body/other"]),
        ("body/items", ["body/other"]),
        ("body/o*", ["body/items/0/id", "body/items/0/name"]),
        ("body/x", ["body/items/0/id", "body/items/0/name", "body/other"]),
    ],
)
def test_rules_say_what_may_differ(rule, left):
    recorded = answer(400, b'{"items":[{"id":1,"name":"a"}],"other":1}')
    replayed = answer(400, b'{"items":[{"id":2,"name":"b"}],"other":2}')
    assert sorted(wheres(recorded, replayed, rule)) == left
    assert wheres(answer(200), answer(500), "status") == []


@pytest.mark.parametrize("rule", ["", "Status", "header", "header.", "header.a b", "bodyx", "cookie"])
def test_a_rule_names_a_place(rule):
    with pytest.raises(SettingsError, match="not a place"):
        Noise.parse([rule])


def test_very_many_differences_are_counted():
    many, none = b"[" + b",".join([b"1"] * 1000) + b"]", b"[" + b",".join([b"2"] * 1000) + b"]"
    found = compare(answer(400, many), Outcome.ANSWERED, answer(400, none))
    assert len(found) == MOST
    assert found[-1].a == "981 more differences"


@pytest.mark.parametrize("name", ["a[b]", "q?x", "*", "[!a]", "it's; $(id)", "a/b~c", "[", "é\ud800"])
def test_what_is_learned_covers_what_differed_and_no_more(name):
    def error(value: int, other: int = 0) -> Response:
        return answer(400, json.dumps({name: value, "qax": other, "ab": other, "b": other}).encode())

    (rule,) = learn([(error(1), error(2))])
    assert wheres(error(1), error(2), rule) == []
    assert len(wheres(error(1), error(2, 1), rule)) == 3


@pytest.mark.parametrize("encoding", ["gzip", "X-GZIP", "deflate"])
def test_compressed_errors_are_compared_by_what_they_say(encoding):
    def error(value: int, stamp: int) -> Response:
        said = b'{"message":"bad","code":%d}' % value
        packed = zlib.compress(said, stamp) if encoding == "deflate" else gzip.compress(said, mtime=stamp)
        return answer(400, packed, Content_Encoding=encoding)

    assert error(1, 1).body != error(1, 9).body
    assert wheres(error(1, 1), error(1, 9)) == []
    assert wheres(error(1, 1), error(2, 9)) == ["body/code"]
    assert wheres(answer(400, b'{"code":1,"message":"bad"}'), error(1, 9)) == []


def test_compression_that_is_broken_or_has_no_end_is_compared_as_it_is():
    cut = gzip.compress(b'{"code":1}')[:-4]
    bomb = gzip.compress(bytes(20 * 2**20))
    for one in (cut, b"no gzip", bomb):
        assert wheres(answer(400, one, Content_Encoding="gzip"), answer(400, one + b"x", Content_Encoding="gzip")) == [
            "body"
        ]


def test_noise_is_learned_from_two_answers_to_the_same():
    one = answer(400, b'{"id":1,"items":[{"at":1}],"same":0}', Date="a", X_Trace="1", Retry_After="1")
    two = answer(400, b'{"id":2,"items":[{"at":2}],"same":0}', Date="b", X_Trace="2", Retry_After="2", Warning="x")
    learned = learn([(one, two), (answer(200), answer(500))])
    assert learned == ("body/id", "body/items/*/at", "header.Retry-After", "header.Warning")
    assert wheres(one, two, *learned) == []
