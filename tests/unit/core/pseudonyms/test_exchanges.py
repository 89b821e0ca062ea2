from __future__ import annotations

import base64
import gzip
import hashlib
import json
import zlib
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import pytest

from proxy_addon.core import protocol
from proxy_addon.core.events import read_body
from proxy_addon.core.exchange import BodyState, Whole, header
from proxy_addon.core.fixtures.held import fold
from proxy_addon.core.judging.exchanges import judge_exchange
from proxy_addon.core.pseudonyms.exchanges import MOST_REMEMBERED, Memory, Pseudonymiser
from proxy_addon.core.pseudonyms.personal import PERSONAL
from tests import personal
from tests.builders import batch, event, event_dict, exchange, request, response, start

DOCUMENTATION = r"(?:192\.0\.2|198\.51\.100|203\.0\.113)\.\d+"
KEY = b"a key of the tests"
pseudonymise = Pseudonymiser(KEY)


def body_of(sent: bytes, **overrides) -> bytes:
    return pseudonymise.request(request(body=sent, **overrides)).body


def one_of(name: str, value: str) -> str:
    return header(pseudonymise.request(request(headers=((name, value),))).headers, name) or ""


def path_of(path: str) -> str:
    return pseudonymise.request(request(path=path)).path


# Everything at once --------------------------------------------------------------------------------------------------


def test_no_personal_value_of_a_playback_that_has_all_of_them_is_left():
    for sent in personal.playback():
        assert personal.found_in(repr(sent))
        assert personal.found_in(repr(pseudonymise(sent))) == []


def test_one_value_has_one_token_in_bodies_headers_queries_and_answers():
    opening, ping, _ = (pseudonymise(each) for each in personal.playback())
    params = read_body(opening.request.body).events[0].params
    token = params["analytics.visitorId"]
    assert f"visitorId={token}&" in opening.request.path
    assert header(opening.request.headers, "x-visitor") == header(ping.request.headers, "x-visitor") == token
    assert token in json.loads(opening.request.body)["customMetadata"]["copy"]
    assert ping.response is not None
    assert json.loads(ping.response.body)["message"] == f"visitor {token} at {ping.client_address}"
    assert opening.request.path.endswith(f"&d_mid={params['visitor.marketingCloudUserId']}")
    assert (header(opening.request.headers, "x-forwarded-for") or "").startswith(f"{opening.client_address}, ")
    other = Pseudonymiser(b"another key")(personal.playback()[0])
    assert personal.found_in(repr(other)) == []
    assert token not in repr(other)


def test_of_a_body_that_is_not_whole_no_hash_tells_what_was_replaced_or_left_out():
    whole = Whole(20_000_000, "ab" * 32)
    cut = event(
        "play", body=b'{"params": {"visitor.marketingCloudUserId": "somebody", "x": "aa', response=response(200)
    )
    assert cut.response is not None
    asked = replace(cut.request, body_state=BodyState.TRUNCATED, whole=whole)
    done = pseudonymise(replace(cut, request=asked, response=replace(cut.response, body=b"clean", whole=whole)))
    assert b"somebody" not in done.request.body
    assert done.response is not None
    for message in (done.request, done.response):
        assert message.whole == Whole(20_000_000, hashlib.sha256(message.body).hexdigest())


def test_an_address_has_one_token_in_all_headers():
    address = "81.2.69.142"
    values = [address, f"for={address};host={address}", f"a {address}"]
    headers = tuple(zip(("X-Real-IP", "Forwarded", "X-Peer"), values, strict=True))
    made = dict(pseudonymise.request(request(headers=headers)).headers)
    token = made["X-Real-IP"]
    assert made == {"X-Real-IP": token, "Forwarded": f"for={token};host={token}", "X-Peer": f"a {token}"}


def test_what_identifies_nobody_stays_as_it_is():
    opening = pseudonymise(personal.playback()[0])
    sent = json.loads(opening.request.body)
    for name in ("media.id", "media.name", "analytics.reportSuite", "analytics.trackingServer"):
        assert sent["params"][name] == personal.PARAMS[name]
    states = [each["authState"] for each in sent["params"]["visitor.customerIDs"].values()]
    assert states == [1, 2, 0]
    assert header(opening.request.headers, "user-agent") == "TestPlayer/1.0 (Living Room)"
    assert header(opening.request.headers, "origin") == "https://site.example"
    assert opening.request.path.startswith("/api/v1/sessions?visitorId=")
    assert "&debug=1&" in opening.request.path
    assert opening.response is not None
    assert header(opening.response.headers, "access-control-allow-headers") == "Content-Type, Authorization"
    assert opening.route == personal.playback()[0].route
    assert header(opening.request.headers, "COOKIE") != header(personal.HEADERS, "cookie")
    assert [name for name, _ in opening.request.headers] == [name for name, _ in personal.HEADERS]


def test_sessions_are_folded_from_tokens_as_from_what_they_stand_for():
    raw, told = fold(personal.playback()), fold(pseudonymise(each) for each in personal.playback())
    assert len(raw) == len(told) == 1
    assert told[0].session.session_id == raw[0].session.session_id
    assert told[0].session.start_sha256 != raw[0].session.start_sha256
    assert told[0].session.client_address == pseudonymise.address(personal.CLIENT)
    retried = [start(id=f"x{n}", after_s=n, ts=1, session_id=None, body=personal.start_body()) for n in range(2)]
    first, second = fold(pseudonymise(each) for each in retried)
    assert second.session.retry_of == first.session.id


def test_no_param_of_the_protocol_is_taken_for_a_personal_one():
    taken = {name for name in (*protocol.PARAMS, *protocol.QUALITY, *protocol.MEMBERS) if PERSONAL.is_member(name)}
    visitor = {name for name in protocol.PARAMS if name.startswith("visitor.")}
    assert taken == visitor | {"analytics.visitorId", "analytics.aid", "appInstallationId"}


def test_what_has_no_personal_value_is_the_same_object():
    sent = event("ping")
    assert pseudonymise(sent).request is sent.request
    assert pseudonymise(sent).response is sent.response


# Bodies --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "pattern"),
    [
        (
            b'{ "params":{"analytics.aid" : "me","media.id":"\\u0041" }}',
            rb'{ "params":{"analytics.aid" : "T","media.id":"\u0041" }}',
        ),
        (
            b'{"params": {"visitor.\\u006darketingCloudUserId": "me"}}',
            rb'{"params": {"visitor.\u006darketingCloudUserId": "T"}}',
        ),
        (b'{"aid": "me", "analytics": {"aid": "me", "x": 1}}', rb'{"aid": "me", "analytics": {"aid": "T", "x": 1}}'),
        (
            b'[{"uid": "me"}, {"a": {"b": [{"user-id": ["me", {"x": "me"}]}]}}]',
            rb'[{"uid": "T"}, {"a": {"b": [{"user-id": ["T", {"x": "T"}]}]}}]',
        ),
        (b'{"uid": "me", "uid": "you"}', rb'{"uid": "T", "uid": "U"}'),
        (b'{"uid": null, "UID": true, "Uid": "", "ecid": "N/A", "idfa": "00000000-0000-0000-0000-000000000000"}', None),
        (b'{"x": "visitor.aid", "ip": {}, "email": []}', None),
        (b'{"a":' * 5000 + b'{"uid":"me"}' + b"}" * 5000, b'{"a":' * 5000 + b'{"uid":"T"}' + b"}" * 5000),
        (b'\xef\xbb\xbf{"uid": "me", "x": "y"}', b'\xef\xbb\xbf{"uid": "T", "x": "y"}'),
        (b'{"uid": "me", "t": NaN, "x": "y",}', b'{"uid": "T", "t": NaN, "x": "y",}'),
        (b'{"uid": "me", "ex": "J\xfcrgen"}', b'{"uid": "T", "ex": "J\xfcrgen"}'),
    ],
)
def test_only_the_bytes_of_personal_values_are_rewritten(sent, pattern):
    me, you = (json.loads(body_of(json.dumps({"uid": who}).encode()))["uid"].encode() for who in ("me", "you"))
    wanted = sent if pattern is None else pattern.replace(b'"T"', b'"%b"' % me).replace(b'"U"', b'"%b"' % you)
    assert body_of(sent) == wanted


@pytest.mark.parametrize(
    ("sent", "left"),
    [
        (b'{"uid": "alice-1", "name": "Ali', b'", "name": "xxx'),
        (b'{"uid": "ali', b'{"uid": "xxx'),
        (b'{"n": "film", "u', b'{"n": "film", "x'),
        (b"{'eventType': 'play', 'uid': 'alice-1'}", b"{'eventType': 'play', 'xxx': 'xxxxx-0'}"),
        (b'play", "uid": "alice-1"}', b'play", "xxx": "xxxxx-0"}'),
        (b'{"a": 1} {"uid": "alice-1", "media.id": 5}', b'{"a": 1} {"xxx": "xxxxx-0", "media.id": 0}'),
        (base64.b64encode(b'{"uid": "alice-1"}'), b"xxx0xxxxxxxxxxxxx0xxxxx0"),
        (base64.b64encode(b'{"uid": "alice-1" }'), b"="),
        (b"<event><uid>alice-1</uid></event>", b"<xxxxx><xxx>xxxxx-0</xxx></xxxxx>"),
        (b'{"a": "bad \\escape alice-1", "uid": "x"}', b'{"a": "xxx \\xxxxxx xxxxx-0", "xxx": "x"}'),
        ('Zoë ist "hier'.encode(), b'xxxx xxx "xxxx'),
        (b"\x00\x01\x02alice-1\xff\xfe", b"(12 bytes that sessiontape cannot read were left out)"),
        ('{"uid": "alice-1"}'.encode("utf-16"), b"(38 bytes that sessiontape cannot read were left out)"),
    ],
)
def test_of_what_is_not_json_only_its_shape_is_left(sent, left):
    made = body_of(sent)
    assert made.endswith(left)
    assert b"ali" not in made.lower()
    assert base64.b64encode(b'{"uid": "alice')[:12] not in made
    before, after = read_body(sent).problem, read_body(made).problem
    assert (before is None) == (after is None)


def test_a_form_is_read_as_one():
    token = path_of("/?uid=alice-1").partition("=")[2]
    form = body_of(b"event=play&uid=alice-1&user[email]=a%40b.example&json=%7B%22uid%22%3A%22alice-1%22%7D")
    assert form.startswith(b"event=play&uid=%b&user[email]=" % token.encode())
    assert b"example.invalid&json=" in form
    assert form.endswith(token.encode() + b"%22%7D")


@pytest.mark.parametrize(("coding", "window"), [("gzip", 31), ("deflate", 15), ("deflate", -15)])
def test_a_compressed_body_is_compressed_again(coding, window):
    def pack(plain: bytes) -> bytes:
        return zlib.compress(plain, wbits=window)

    plain = personal.start_body()
    packed = pack(plain)
    headers = (("Content-Encoding", coding), ("content-length", str(len(packed))))
    made = pseudonymise.request(request(body=packed, headers=headers))
    assert zlib.decompress(made.body, window) == body_of(plain)
    assert header(made.headers, "content-length") == str(len(made.body))
    untouched = pack(b'{"eventType": "ping"}')
    assert body_of(untouched, headers=headers) == untouched


@pytest.mark.parametrize("coding", ["br", "zstd", "gzip", "deflate"])
def test_a_body_that_cannot_be_unpacked_is_left_out(coding):
    sent = b"\x1b\x8f alice-1 \xff\xfe\x00"
    made = body_of(sent, headers=(("Content-Encoding", coding),))
    assert made == b"(14 bytes that sessiontape cannot read were left out)"
    cut = gzip.compress(personal.start_body())[:-40]
    assert b"cannot read" in body_of(cut, headers=(("Content-Encoding", "gzip"),))


def test_answers_that_are_no_json_keep_their_text():
    sent = exchange(
        headers=(("X-User-Id", "alice-1"),),
        client_address="198.18.0.9",
        response=response(502, body=b"<h1>No user alice-1</h1> at 198.18.0.9, ask ops@shop.example; alice-10"),
    )
    made = pseudonymise(sent)
    user = header(made.request.headers, "x-user-id")
    assert made.response is not None
    text = made.response.body.decode()
    assert text.startswith(f"<h1>No user {user}</h1> at {made.client_address}, ask ")
    assert text.endswith("@example.invalid; alice-10")


def test_a_schema_keeps_the_names_of_personal_members():
    schema = json.dumps(
        {"properties": {"visitor.customerIDs": {"type": "object"}, "analytics.aid": {"type": "string"}}}
    )
    answer = response(200, body=schema.encode())
    made = pseudonymise(exchange("GET", "/api/v1/schemas/sessionStart", response=answer))
    assert made.response == answer


def _metadata(text: str) -> str:
    sent = json.dumps({"customMetadata": {"x": text}}).encode()
    return str(json.loads(body_of(sent))["customMetadata"]["x"])


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("https://joe:pw@h/p", r"https://T@h/p"),
        ("https://h/p#uid=joe", r"https://h/p#uid=T"),
        ("/x#!/p/uid=joe?uid=joe", r"/x#!/p/uid=T\?uid=T"),
        ("https://h/userId/joe-4711/v", r"https://h/userId/T/v"),
        ("https://h/token/v1/film", None),
        ("uid=joe&film=7", r"uid=T&film=7"),
        ("<userId>joe</userId> <b>7</b>", r"<userId>T</userId> <b>7</b>"),
        ('{"userId": "joe", "x"', r'{"userId": "T", "x"'),
        ("token: joe-4711, login: joe", r"token: T, login: joe"),
        (json.dumps('{"uid":"joe"}'), r'"{\\"uid\\":\\"T\\"}"'),
        (quote('{"uid":"joe"}'), r"%7B%22uid%22%3A%22T%22%7D"),
        ("Who? What=That & film=fun", None),
    ],
)
def test_what_has_a_personal_name_is_found_in_all_forms(text, pattern):
    import re

    made = _metadata(text)
    form = re.escape(text) if pattern is None else pattern.replace("T", "[0-9a-f]{16}")
    assert re.fullmatch(form, made), made
    assert (made == text) == (pattern is None)
    answer = response(400, body=text.encode())
    if pattern and "uid=joe&" not in text and "%7B" not in text and "//" not in text and "/x#" not in text:
        told = pseudonymise(event("ping", response=answer)).response
        assert told is not None
        assert b"joe" not in told.body.replace(b"login: joe", b"")


def test_base64_is_read_as_json_if_it_is():
    coded = base64.b64encode(b'{"uid":"joe","film":7}').decode()
    assert json.loads(base64.b64decode(_metadata(coded)))["uid"] != "joe"
    kept = base64.b64encode(b'{"film":7,"x":"abcdef"}').decode()
    assert _metadata(kept) == kept


def test_repetitions_are_found_as_numbers_and_percent_encoded_and_of_what_was_broken():
    sent = b'{"params": {"visitor.n": 9988776655, "visitor.x": "joe-4711-a"}}'
    answer = response(400, body=b'{"seen": 9988776655, "ts": 9988776655, "url": "/?a=jo%65-4711-a&b=1"}')
    made = pseudonymise(event("ping", body=sent, response=answer))
    params = json.loads(made.request.body)["params"]
    assert made.response is not None
    assert json.loads(made.response.body) == {
        "seen": params["visitor.n"],
        "ts": 9988776655,
        "url": f"/?a={params['visitor.x']}&b=1",
    }
    quoted = response(400, body=b'{"message": "cannot parse joe-4711-a in media.id"}')
    for broken in (b'{"userId":"joe-4711-a', b"{userId: joe-4711-a, media.id: 5}", b"<u>joe-4711-a</u>"):
        made = pseudonymise(event("ping", body=broken, response=quoted))
        assert made.response is not None
        assert b"joe" not in made.response.body
        assert made.response.body.endswith(b' in media.id"}')


def test_an_ecid_is_found_as_a_number_too():
    ecid = personal.ECID
    body = f'{{"customMetadata": {{"a": {ecid}, "b": [{ecid}, "{ecid}"], "c": 3.829103829103829e+37, "d": {ecid}.0}}, '
    body += (
        f'"params": {{"media.id": {ecid}, "visitor.x": {ecid}, "mcid": 3.8e37}}, "n": [12345678901234567890, 3.8e36]}}'
    )
    left = body_of(body.encode()).decode()
    token = pseudonymise.tokens.text(ecid)
    values = f'{{"a": {token}, "b": [{token}, "{token}"], "c": '
    assert left.startswith(f'{{"customMetadata": {values}')
    assert f'"media.id": {ecid}, "visitor.x": {token}' in left
    assert left.count(ecid) == 1, "the content's ID"
    assert "3.829" not in left
    assert '"mcid": 3.8e37' not in left
    assert left.endswith('"n": [12345678901234567890, 3.8e36]}')
    assert [type(each) for each in json.loads(left)["customMetadata"].values()] == [int, list, float, float]


def test_what_only_looks_personal_stays():
    digits = "1" * 38
    sent = {
        "params": {"media.id": digits, "media.name": "token=fun"},
        "customMetadata": {"phone": "iPhone", "ip": "Marvel"},
    }
    assert json.loads(body_of(json.dumps(sent).encode())) == sent
    for name in ("X-Author", "X-Monkey", "X-Media-Keywords", "X-Key-Frame", "X-Hotkey"):
        assert one_of(name, "some words") == "some words"
    for name in (
        "X-Api-Key",
        "apikey",
        "X-Key",
        "X-Auth",
        "X-Authorization",
        "Ocp-Apim-Subscription-Key",
        "X_Access_Key",
    ):
        assert one_of(name, "some words") != "some words"


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("https://cdn.example/banner@2x.png", None),
        ("player@4.2.1, video.js@8.6.1, lib@2.0.js", None),
        ("News@10.30", None),
        ("by jane@shop.example.", r"by [0-9a-f]{16}@example\.invalid\."),
        ("o'brien+tv@mail.shop.example", r"[0-9a-f]{16}@example\.invalid"),
        ("'jane@xn--mnchen-3ya.xn--p1ai'", r"'[0-9a-f]{16}@example\.invalid'"),
        ("to=jane%40shop.example&x", r"to=[0-9a-f]{16}%40example\.invalid&x"),
        (f"MCMID%7C{personal.ECID}%7CMCAID", r"MCMID%7C[0-9]{38}%7CMCAID"),
        ("ACCE55C0DE1234567890ABCD%40AdobeOrg", r"[0-9A-F]{24}%40AdobeOrg"),
    ],
)
def test_what_tells_by_itself_is_found_and_what_looks_like_it_is_not(text, pattern):
    import re

    made = json.loads(body_of(json.dumps({"customMetadata": {"x": text}}).encode()))["customMetadata"]["x"]
    assert re.fullmatch(pattern or re.escape(text), made), made
    assert (made == text) == (pattern is None)


# Headers, queries and paths ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "form"),
    [
        ("authorization", "Bearer abc", r"Bearer [0-9a-f]{16}"),
        ("Authorization", "abc", r"[0-9a-f]{16}"),
        ("Cookie", "a=1; token=abc; flag", r"a=[0-9]; token=[0-9a-f]{16}; [0-9a-f]{16}"),
        ("Set-Cookie", 'a="abc"; Path=/; Secure', r'a="[0-9a-f]{16}"; Path=/; Secure'),
        (
            "X-Forwarded-For",
            "198.18.0.1, 2001:470::1,unknown",
            r"(192\.0\.2|198\.51\.100|203\.0\.113)\.\d+, 2001:db8:[0-9a-f:]+,unknown",
        ),
        ("X-Real-Ip", "198.18.0.1:443", r"(192\.0\.2|198\.51\.100|203\.0\.113)\.\d+:443"),
        ("X-Forwarded-Proto", "https", "https"),
        ("Referer", "https://site.example/watch/film", "https://site.example/watch/film"),
        (
            "Referer",
            "https://site.example/?a=b;c#d",
            r"https://site\.example/\?a=[0-9a-f]{16};[0-9a-f]{16}#[0-9a-f]{16}",
        ),
        ("Origin", "https://me:pw@site.example", r"https://[0-9a-f]{16}@site\.example"),
        ("X-Env", "stage", "stage"),
        ("X-Env", "stage of ops@shop.example", r"stage of [0-9a-f]{16}@example\.invalid"),
        ("X-Trace", "v1 0af7651916cd43dd8448eb211c80319c", r"v1 [0-9a-f]{16}"),
        ("X-Modem", "490154203237518", r"[1-9][0-9]{14}"),
        ("Cookie", "a=b;c=d", r"a=[0-9a-f]{16};c=[0-9a-f]{16}"),
        ("Digest", "sha-256=abc", r"[0-9a-f]{16}"),
        ("Accept-Language", "de-DE", "de-DE"),
        ("X-MSISDN", "491701234567", r"[1-9][0-9]{11}"),
        ("X_Forwarded_For", "81.2.69.142", DOCUMENTATION),
        ("X-Acme-Client-IP", "81.2.69.142:80", rf"{DOCUMENTATION}:80"),
        ("Forwarded", "81.2.69.142", DOCUMENTATION),
        ("X-Peer", "from 81.2.69.142, 2a02:8108::5", rf"from {DOCUMENTATION}, 2001:db8:[0-9a-f:]+"),
        ("X-Player-Version", "1.2.3.4", "1.2.3.4"),
        ("X-Time", "12:30:45", "12:30:45"),
        ("X-Forwarded-Host", "81.2.69.142", "81.2.69.142"),
        ("Host", "tv-4711.example:443", "tv-4711.example:443"),
        ("Host", "joe:pw@tv.example", r"[0-9a-f]{16}@tv\.example"),
        ("X-Acme-User-Id", "joe", r"[0-9a-f]{16}"),
        ("x_device_model", "tv", r"[0-9a-f]{16}"),
        ("Baggage", "userId=joe", r"[0-9a-f]{16}"),
        (
            "Set-Cookie",
            "a=b; Path=/; Expires=Wed, 21 Oct 2015 07:28:00 GMT, c=d; secure; x=y",
            r"a=[0-9a-f]{16}; Path=/; Expires=Wed, 21 Oct 2015 07:28:00 GMT, c=[0-9a-f]{16}; secure; x=[0-9a-f]{16}",
        ),
        ("Set-Cookie", "a=b\nc=d; Path=/", r"a=[0-9a-f]{16}\nc=[0-9a-f]{16}; Path=/"),
        ("Cookie", "joe=; =joe; joe", r"[0-9a-f]{16}=; =[0-9a-f]{16}; [0-9a-f]{16}"),
        ("X-Name", "J\xc3\xb6rg joerg@shop.example", r"J\xc3\xb6rg [0-9a-f]{16}@example\.invalid"),
    ],
)
def test_a_header_keeps_its_form(name, value, form):
    import re

    made = one_of(name, value)
    assert re.fullmatch(form, made), made
    assert (made == value) == (form == value)


@pytest.mark.parametrize(
    ("path", "form"),
    [
        ("/api/v1/sessions", "/api/v1/sessions"),
        ("/tv//api/v1/sessions/4a0f/events?x=1&y", r"/tv//api/v1/sessions/4a0f/events\?x=1&y"),
        ("/login/api/v1/sessions", "/login/api/v1/sessions"),
        ("/u/joe@shop.example/api/v1/sessions", r"/u/[0-9a-f]{16}@example\.invalid/api/v1/sessions"),
        ("/user-id/joe-4711/api/v1/sessions", r"/user-id/[0-9a-f]{16}/api/v1/sessions"),
        ("/collect/token/v1/api/v1/sessions", "/collect/token/v1/api/v1/sessions"),
        ("/api/v1/sessions?%75id=j%6fe&b=%3D", r"/api/v1/sessions\?%75id=[0-9a-f]{16}&b=%3D"),
        ("/api/v1/sessions?a=1;uid=joe+x;b=2", r"/api/v1/sessions\?a=1;uid=[0-9a-f]{16};b=2"),
        (
            "/api/v1/sessions?next=https%3A%2F%2Fh%2F%3Fuid%3Djoe",
            r"/api/v1/sessions\?next=https://h/\?uid%3D[0-9a-f]{16}",
        ),
        (
            "/api/v1/sessions?x=0af7651916cd43dd8448eb211c80319c&v=js-3.1.0",
            r"/api/v1/sessions\?x=[0-9a-f]{16}&v=js-3\.1\.0",
        ),
        (
            "/api/v1/sessions?mid=joe&vid=joe&clientId=joe",
            r"/api/v1/sessions\?mid=([0-9a-f]{16})&vid=\1&clientId=\1",
        ),
        ("/api/v1/sessions?joe@shop.example", r"/api/v1/sessions\?[0-9a-f]{16}@example\.invalid"),
    ],
)
def test_a_path_keeps_what_it_means(path, form):
    import re

    made = path_of(path)
    assert re.fullmatch(form, made), made
    assert (made == path) == (form.replace("\\", "") == path)


def test_a_session_id_stays_even_where_a_header_repeats_it():
    sent = event("ping", session_id="session-0815", headers=(("X-Session-Id", "session-0815"),))
    made = pseudonymise(sent)
    assert made.route.session_id == "session-0815"
    opening = start(session_id="session-0815", headers=(("X-Session-Id", "session-0815"),))
    assert fold([pseudonymise(opening), made])[0].session.events == 2


def test_later_exchanges_of_a_session_repeat_values_of_earlier_ones():
    opening = start(body=b'{"params": {"visitor.x": "alice-1"}}')
    answer = response(404, body=b"no alice-1 here")
    ping = event("ping", response=answer)
    one, two = pseudonymise.session([opening, ping])
    assert (one, pseudonymise(ping).response) == (pseudonymise(opening), answer)
    token = json.loads(one.request.body)["params"]["visitor.x"]
    assert two.response is not None
    assert two.response.body == f"no {token} here".encode()
    many = start(
        client_address=None, body=json.dumps({"visitor": [f"person-{number}" for number in range(200)]}).encode()
    )
    memory = Memory()
    pseudonymise(many, memory)
    assert list(memory.values) == [f"person-{number}" for number in range(MOST_REMEMBERED)]


def test_repetitions_of_words_and_what_describes_the_content_stay():
    session_id = "5e5510aa" * 8
    sent: dict[str, Any] = {
        "eventType": "play",
        "params": {
            "media.name": "visitor-4711-ab guest premium",
            "media.id": "123456",
            "analytics.trackingServer": "proxy.example.com",
            "analytics.reportSuite": "rsid-prod-2",
            "analytics.visitorId": "visitor-4711-ab",
            "visitor.x": "123456",
        },
        "customMetadata": {"login": "guest", "plan": "premium guest", "s": session_id, "by": "visitor-4711-ab"},
    }
    headers = (
        ("Via", "1.1 proxy.example.com"),
        ("X-Api-Key", "rsid-prod-2"),
        ("Cookie", "token=premium; session=proxy.example.com"),
        ("X-Session-Id", session_id),
        ("Origin", "https://rsid-prod-2"),
        ("X-Host", "proxy.example.com"),
    )
    made = pseudonymise(event("play", session_id=session_id, body=json.dumps(sent).encode(), headers=headers))
    left = json.loads(made.request.body)
    token = left["params"].pop("analytics.visitorId")
    number = left["params"].pop("visitor.x")
    assert left["params"] == {name: sent["params"][name] for name in left["params"]}
    assert left["customMetadata"] == {**sent["customMetadata"], "login": left["customMetadata"]["login"], "by": token}
    assert left["customMetadata"]["login"] != "guest"
    assert number != "123456"
    assert header(made.request.headers, "origin") == "https://rsid-prod-2"
    assert header(made.request.headers, "x-host") == "proxy.example.com"


def test_the_settings_add_members_and_headers():
    more = Pseudonymiser(KEY, PERSONAL.with_more(members=["loyalty", "shop.*"], headers=["X-Tenant"]))
    sent = request(
        headers=(("x-tenant", "acme"), ("x-other", "acme")), body=b'{"Loyalty": "gold", "shop.id": "a", "shop": "b"}'
    )
    made = more.request(sent)
    assert header(made.headers, "x-tenant") != "acme" == header(made.headers, "x-other")
    assert {k: len(v) for k, v in json.loads(made.body).items()} == {"Loyalty": 16, "shop.id": 16, "shop": 16}


# Rules ---------------------------------------------------------------------------------------------------------------


def test_rules_find_the_same_in_what_was_replaced():
    odd = {
        **personal.PARAMS,
        "visitor.aamLocationHint": 7.0,
        "analytics.visitorId": "N/A",
        "analytics.aid": "<aid of Joe>",
        "visitor.marketingCloudUserId": 38291038,
        "visitor.customerIDs": {"a": "joe", "b": {"id": 5, "authState": 1}, "c": {"id": "${joe}", "authState": 7}},
        "appInstallationId": "",
    }
    for params in (personal.PARAMS, odd):
        sent = start(body=json.dumps(event_dict("sessionStart", params=params)).encode())
        before, after = judge_exchange(sent), judge_exchange(pseudonymise(sent))
        assert [(f.rule, f.severity, f.pointer) for f in before] == [(f.rule, f.severity, f.pointer) for f in after]
        assert "joe" not in repr(after).lower()
    whole = batch([event_dict("sessionStart", params=odd), event_dict("ping", ts=10, playhead=10)])
    assert [f.rule for f in judge_exchange(whole)] == [f.rule for f in judge_exchange(pseudonymise(whole))]
    refused = replace(whole, response=response(400, body=b'{"message": "no"}'))
    assert [f.message for f in judge_exchange(refused)][-1] == [
        f.message for f in judge_exchange(pseudonymise(refused))
    ][-1]


@pytest.mark.parametrize("shape", ["a", "a ", "1.1 a,", ",", " ", "a\t"])
def test_a_long_via_takes_no_longer_than_its_length(shape):
    from proxy_addon.core.exchange import Request

    value = shape * (60_000 // len(shape))
    request = Request(method="GET", path="/", headers=(("Via", value),))
    assert len(Pseudonymiser(b"key").request(request).headers) == 1  # this took half a minute
