"""What changes requests before they are sent again, and leaves all else as it was."""

from __future__ import annotations

import gzip
import json
import pickle

import pytest

from proxy_addon.core.exchange import Request
from proxy_addon.core.findings import Severity
from proxy_addon.core.judging.exchanges import judge_body
from proxy_addon.core.pseudonyms.personal import PERSONAL
from proxy_addon.core.pseudonyms.tokens import pseudonym
from proxy_addon.core.replays import changing as changes
from proxy_addon.core.replays.changing import SAFE, Change, Changer
from proxy_addon.core.replays.comparing import MOST
from proxy_addon.core.replays.plans import Changed
from proxy_addon.core.replays.runs import PROFILE
from proxy_addon.core.routes import Operation
from proxy_addon.errors import ProtocolError, SettingsError
from tests.builders import START_PARAMS, body, event_dict

KEY = b"k" * 32


def changed(sent: bytes, *made: Change, key: bytes = KEY) -> bytes:
    return Changer(made, key=key)(Request(method="POST", path="/", body=sent)).request.body


def setting(text: str) -> Change:
    return changes.set_value(text)


@pytest.mark.parametrize(
    ("sent", "change", "expected"),
    [
        (b'{"a" : {"b":1 , "c": 2.50}}', "$.a.b=7", b'{"a" : {"b":7 , "c": 2.50}}'),
        (b'{"a":{"b":1}}', "$.a.b=text", b'{"a":{"b":"text"}}'),
        (b'{"a":{"b":1}}', '$.a.b="5"', b'{"a":{"b":"5"}}'),
        (b'{"a":{"b":1}}', '$.a["x.y"]={"z": [1]}', b'{"a":{"b":1,"x.y":{"z":[1]}}}'),
        (b'{"a":{ }}', "$.a.new=1", b'{"a":{"new":1 }}'),
        (b'{"a":{"b":1 }}', "$.a.new=null", b'{"a":{"b":1,"new":null }}'),
        (b'{"a":1,"a" :2}', "$.a=3", b'{"a":3,"a" :3}'),
        (b'[{"p":{"x":1}},{"p":{}},7]', "$[*].p.x=2", b'[{"p":{"x":2}},{"p":{"x":2}},7]'),
        (b'{"a":{"a":{"a":1}}}', "$..a=0", b'{"a":0}'),
        (b'{"a":"\\ud83c"}', "$.a=x=y", b'{"a":"x=y"}'),
        (b'{"\\u0061":1}', "$.a=2", b'{"\\u0061":2}'),
        (b'{"a":[1,2,3]}', "$.a[1:]=9", b'{"a":[1,9,9]}'),
        (b'{"a":[{"b":1},{"b":2}]}', "$.a[?@.b==2].b=5", b'{"a":[{"b":1},{"b":5}]}'),
        (b'{"a":1}', "$.b.c=1", b'{"a":1}'),
        (b"[]", "$.a=1", b"[]"),
    ],
)
def test_set_changes_the_bytes_of_the_value_and_no_others(sent, change, expected):
    assert changed(sent, setting(change)) == expected


@pytest.mark.parametrize(
    ("sent", "path", "expected"),
    [
        (b'{"a":1, "b":2 , "c":3}', "$.a", b'{"b":2 , "c":3}'),
        (b'{"a":1, "b":2 , "c":3}', "$.b", b'{"a":1 , "c":3}'),
        (b'{"a":1, "b":2 , "c":3}', "$.c", b'{"a":1, "b":2}'),
        (b'{"a":1, "b":2}', "$.*", b"{}"),
        (b'{"a":1,"b":2,"c":3}', "$['a','b']", b'{"c":3}'),
        (b'{"a":1,"b":2,"c":3}', "$['b','c']", b'{"a":1}'),
        (b'{"a":1,"b":2,"a":3}', "$.a", b'{"b":2}'),
        (b"[1, 2, 3]", "$[0]", b"[2, 3]"),
        (b"[1, 2, 3]", "$[-1]", b"[1, 2]"),
        (b'{"a":{"b":{"c":1}}}', "$..c", b'{"a":{"b":{}}}'),
        (b'{"a":1}', "$", b'{"a":1}'),
        (b'{"a":1}', "$.b", b'{"a":1}'),
    ],
)
def test_drop_takes_a_value_out_with_its_comma(sent, path, expected):
    assert changed(sent, changes.drop_value(path)) == expected


def test_changes_follow_one_another():
    assert changed(b"{}", setting("$.a={}"), setting("$.a.b=1"), changes.drop_value("$.a.x")) == b'{"a":{"b":1}}'


@pytest.mark.parametrize("sent", [b"", b"\x1f\x8b\x08", b"{", b"[" * 100_000])
def test_a_body_that_is_no_json_is_left_as_it_is(sent):
    made = Changer([setting("$.a=1")])(Request(method="POST", path="/", body=sent))
    assert made.request.body == sent
    assert made.remark == (None if not sent else "its body is not JSON, so nothing was changed in it")


def test_headers_are_set_in_their_place_and_dropped():
    sent = Request(method="POST", path="/", headers=(("User-Agent", "a"), ("x-b", "1"), ("X-B", "2"), ("Cookie", "c")))
    made = [changes.set_header("X-b=n=w"), changes.drop_header("cookie"), changes.set_header("New=")]
    assert Changer(made)(sent).request.headers == (("User-Agent", "a"), ("x-b", "n=w"), ("New", ""))


@pytest.mark.parametrize(
    ("parse", "text", "says"),
    [
        (changes.set_value, "$.a", "does not set a value"),
        (changes.set_value, "a=1", "not a JSONPath"),
        (changes.set_value, "$.a[=1", "does not set a value"),
        (changes.set_value, "$[?=1", "does not set a value"),
        (changes.drop_value, "", "not a JSONPath"),
        (changes.drop_value, "$.a[", "not a JSONPath"),
        (changes.set_header, "X", "does not set a header"),
        (changes.set_header, "X=a\nb", "line end"),
        (changes.set_header, "X=\u2028", "no header can have"),
        (changes.set_header, "Host=", "is not a Host"),
        (changes.set_header, "host=a.example/b", "is not a Host"),
        (changes.set_header, "host=http://a.example", "is not a Host"),
        (changes.set_header, "Host=a.example:x", "is not a Host"),
        (changes.drop_header, "host", "cannot be changed"),
        (changes.drop_header, "content-length", "cannot be changed"),
        (changes.drop_header, "a b", "not a header name"),
    ],
)
def test_what_makes_no_sense_is_told(parse, text, says):
    with pytest.raises(SettingsError, match=says) as caught:
        parse(text)
    assert caught.value.hint


def told(made: Changed) -> list[tuple[str, str | int | None, str | int | None]]:
    return [(each.where, each.a, each.b) for each in made.differences]


def test_what_was_changed_is_counted_and_told_by_place():
    headers = (("Host", "old.example"), ("Referer", "r"), ("Cookie", "c"))
    sent = b'[{"p": {"x": 1, "y": [1, {"z": 2}]}, "q": {"a": 1}}, {"p": {"x": 2}}, {}]'
    changer = Changer(
        [
            setting("$[*].p.x=2"),
            changes.drop_value("$[*].p.y"),
            changes.drop_value("$[*].nothing"),
            changes.drop_header("Referer"),
            changes.drop_header("Cookie"),
            changes.set_header("host=new.example"),
        ]
    )
    made = changer(Request(method="POST", path="/", headers=headers, body=sent))
    assert made.places == {1: 1, 2: 1, 4: 1, 5: 1, 6: 1}
    assert made.host == "new.example"
    assert sorted(told(made)) == [
        ("/0/p/x", "1", "2"),
        ("/0/p/y", "a list of 2", None),
        ("request.header.Cookie", "(not shown)", None),
        ("request.header.Host", "old.example", "new.example"),
        ("request.header.Referer", "(not shown)", None),
    ]


def test_a_host_that_is_set_counts_where_it_is_the_recorded_one():
    changer = Changer([changes.set_header("Host=same.example")])
    made = changer(Request(method="POST", path="/", headers=(("Host", "same.example"),)))
    assert (made.host, made.places, made.differences) == ("same.example", {1: 1}, ())


def test_private_values_are_hidden_whichever_change_replaced_them():
    known = {
        "visitor.marketingCloudUserId": "secret-1",
        "visitor.customerIDs": {"crm": {"id": "secret-2"}},
        "analytics.aid": "secret-3",
        "name": "secret-4",
        "ids": ["secret-5", "secret-6", "secret-7"],
        "kept": {"secret-8": 1},
        "channel": "told",
    }
    headers = (("Authorization", "secret-9"), ("X-Forwarded-For", "secret-10"), ("X-Who", "secret-11"))
    request = Request(method="POST", path="/", headers=headers, body=json.dumps([{"params": known}]).encode())
    changer = Changer(
        [
            changes.drop_value("$[*].params['visitor.marketingCloudUserId']"),
            changes.drop_value("$[*].params['visitor.customerIDs'].crm.id"),
            setting("$[*].params['analytics.aid']=mine"),
            {"do": "pseudonym", "path": "$[*].params.name"},
            changes.drop_value("$[*].params.ids[0]"),  # those behind it move up
            {"do": "pseudonym", "path": "$[*].params.ids[*]"},
            setting("$[*].params.kept=1"),  # nobody knows what is in it
            setting("$[*].params.channel=new"),
            {"do": "pseudonym-header", "name": "x-who"},
            changes.set_header("Authorization=secret-12"),
            changes.drop_header("X-Forwarded-For"),
        ],
        key=KEY,
    )
    found = {where: (a, b) for where, a, b in told(changer(request))}
    assert "secret" not in repr(found)
    assert len(found) == 12
    assert found["/0/params/analytics.aid"] == ("(not shown)", '"mine"')
    assert found["/0/params/kept"] == ("an object of 1", "1")
    assert found["/0/params/channel"] == ('"told"', '"new"')
    assert found["request.header.Authorization"] == ("(not shown)", "(not shown)")


def test_recorded_metadata_and_unknown_headers_are_hidden_but_not_what_the_user_sets():
    events = [
        {"eventType": "sessionStart", "customMetadata": {"user": "secret-1", "plan": "secret-2"}},
        {"eventType": "play", "customMetadata": {"user": "secret-3"}},
        {"eventType": "ping", "params": {"analytics.aid": "secret-4"}, "customMetadata": {"user": "secret-5"}},
    ]
    headers = (("X-Api-Key", "secret-6"), ("X-Who", "secret-7"), ("User-Agent", "told"), ("Content-Type", "a"))
    request = Request(method="POST", path="/", headers=headers, body=json.dumps(events).encode())
    made = Changer(
        [
            setting("$[0].customMetadata.plan=mine"),
            setting("$[0].customMetadata.user=mine"),
            changes.set_header("X-Api-Key=secret-8"),
            changes.set_header("X-Who=me"),
            changes.set_header("User-Agent=new"),
            changes.drop_header("Content-Type"),
        ]
    )(request)
    assert "secret" not in repr(told(made))
    assert sorted(told(made)) == [
        ("/0/customMetadata/plan", "(not shown)", '"mine"'),
        ("/0/customMetadata/user", "(not shown)", '"mine"'),
        ("request.header.Content-Type", "a", None),
        ("request.header.User-Agent", "told", "new"),
        ("request.header.X-Api-Key", "(not shown)", "(not shown)"),
        ("request.header.X-Who", "(not shown)", "me"),
    ]
    moved = Changer([changes.drop_value("$[0]")])(request)  # the others take its place
    assert "secret" not in repr(told(moved))
    assert ("/0/eventType", '"sessionStart"', '"play"') in told(moved)


def test_of_many_changed_places_the_first_are_listed_and_the_others_counted():
    request = Request(method="POST", path="/", body=json.dumps({f"m{n}": 0 for n in range(100)}).encode())
    made = Changer([setting("$.*=1")])(request)
    assert made.places == {1: 100}
    assert len(made.differences) == MOST
    assert told(made)[-1] == ("…", "81 more places", "81 more places")


# Pseudonyms ----------------------------------------------------------------------------------------------------------


def test_values_inside_become_pseudonyms_and_keep_their_types():
    sent = b'{"ids": {"crm": {"id": "me", "authState": 1}, "n": 12345, "t": true, "e": ""}, "who": "me"}'
    made: list[Change] = [{"do": "pseudonym", "path": "$.ids"}, {"do": "pseudonym", "path": "$.who"}]
    found = json.loads(changed(sent, *made))
    assert found["who"] == found["ids"]["crm"]["id"] == pseudonym("me", KEY)
    assert (type(found["ids"]["n"]), found["ids"]["n"] != 12345, len(str(found["ids"]["n"]))) == (int, True, 5)
    assert (found["ids"]["t"], found["ids"]["e"]) == (True, "")


def test_the_safe_profile_leaves_no_value_that_identifies_people_or_a_report_suite():
    secret = {
        "analytics.reportSuite": "secret-suite",
        "analytics.trackingServer": "secret.example.com",
        "visitor.marketingCloudOrgId": "SECRETSECRETSECRETSECRET@AdobeOrg",
        "visitor.marketingCloudUserId": "12345678901234567890123456789012345678",
        "analytics.visitorId": "secret-visitor",
        "analytics.aid": "SECRETAID",
        "appInstallationId": "secret-installation",
        "visitor.customerIDs": {"crm": {"id": "secret-customer", "authState": 1}},
    }
    start = event_dict("sessionStart", params={**START_PARAMS, **secret})
    headers = (("Cookie", "secret"), ("Authorization", "secret"), ("X-Forwarded-For", "192.0.2.77"), ("Accept", "*/*"))
    for sent in (body(start), body([start, event_dict("ping")])):
        request = Request(method="POST", path="/", headers=headers, body=sent)
        made = Changer(SAFE, key=KEY, profile=len(SAFE))(request)
        safe = made.request
        everything = safe.body + repr((safe.headers, made.differences)).encode()
        assert made.remark is None
        assert (set(made.places), made.places[PROFILE]) == ({PROFILE}, 11)
        for word in (b"ecret", b"SECRET", b"1234567890", b"192.0.2.77"):
            assert word not in everything
        assert [name for name, _ in safe.headers] == ["X-Forwarded-For", "Accept"]
    found = judge_body(changed(body(start), *SAFE), Operation.SESSIONS)
    assert [finding.rule for finding in found if finding.severity is Severity.ERROR] == []


def test_the_safe_profile_leaves_nothing_that_the_settings_call_personal():
    params = {**START_PARAMS, "loyalty": "secret-1"}
    sent = body(event_dict("sessionStart", params=params, customMetadata={"user_id": "secret-2", "plan": "told"}))
    headers = (("X-Tenant", "secret-3"), ("X-Api-Key", "secret-4"), ("Content-Length", str(len(sent))))
    request = Request(method="POST", path="/?uid=secret-5", headers=headers, body=sent)
    personal = PERSONAL.with_more(members=["loyalty"], headers=["X-Tenant"])
    made = Changer(SAFE, key=KEY, profile=len(SAFE), personal=personal)(request)
    assert "secret" not in repr((made.request, made.differences))
    assert made.places == {PROFILE: 8}
    again = pickle.loads(pickle.dumps(Changer(SAFE, key=KEY, profile=len(SAFE), personal=personal)))
    assert again(request).request == made.request


@pytest.mark.parametrize("sent", [gzip.compress(body(event_dict("play")), mtime=0), b'{"params": {', b"\xff", b"a=b"])
def test_what_cannot_be_made_safe_must_not_be_sent(sent):
    request = Request(method="POST", path="/", body=sent)
    with pytest.raises(ProtocolError, match="not JSON, so it cannot be made safe"):
        Changer(SAFE, key=KEY, profile=len(SAFE))(request)


@pytest.mark.parametrize(
    ("sent", "is_safe"),
    [
        (b'{"params":{"analytics.reportSuite":"mine"},"params":{"media.id":"x"}}', False),
        (b'[{"params":{"visitor.customerIDs":{"a":{"id":"me"},"a":{}}}}]', False),
        (b'{"playerTime":{"ts":1,"ts":2},"params":{}}', True),
    ],
)
def test_a_body_that_names_a_member_twice_is_not_safe(sent, is_safe):
    request = Request(method="POST", path="/", body=sent)
    changer = Changer(SAFE, key=KEY, profile=len(SAFE))
    if is_safe:
        assert changer(request).request == request
        return
    with pytest.raises(ProtocolError, match="has the same member twice, so it cannot be made safe"):
        changer(request)


@pytest.mark.parametrize("name", ["TE", "Keep-Alive", "Expect", "Upgrade", "Content-Length"])
def test_headers_of_the_connection_cannot_be_changed(name):
    with pytest.raises(SettingsError, match="cannot be changed"):
        changes.set_header(f"{name}=x")


def test_a_body_nested_too_deep_for_a_path_is_told():
    sent = b'{"a":' * 400 + b"1" + b"}" * 400
    request = Request(method="POST", path="/", body=sent)
    deep = [{"do": "drop", "path": "$..a"}]
    made = Changer(deep)(request)
    assert (made.request, made.remark) == (request, "its body is nested too deeply to be changed")
    with pytest.raises(ProtocolError, match="too deeply, so it cannot be made safe"):
        Changer(deep, profile=1)(request)


def test_the_safe_profile_adds_nothing():
    sent = body(event_dict("ping", params={"media.id": "x"}))
    assert changed(sent, *SAFE) == sent
