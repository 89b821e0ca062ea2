"""What devices send comes back from either engine as it was."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Column, Integer, LargeBinary, MetaData, Table, insert, select, text
from sqlalchemy.exc import StatementError

from proxy_addon.core.events import read_body
from proxy_addon.core.exchange import Exchange, Headers, Outcome, Request, Response
from storage import exchanges, saving, sessions
from storage.engine import Store
from storage.filters import Filters
from storage.saving import RecordingRun
from storage.types import LABEL_LENGTH, HeaderList, Label, UtcDateTime, WireText
from tests.builders import BEGIN, at, body, event, event_dict, exchange, response, start, unjudged

REUSED = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
"""The store is the same for all examples of a test; each undoes what it wrote."""

VALUES = Table(
    "type_values",
    MetaData(),
    Column("id", Integer, primary_key=True),
    Column("label", Label),
    Column("wire", WireText),
    Column("headers", HeaderList),
    Column("time", UtcDateTime),
    Column("bytes", LargeBinary),
)


@pytest.fixture
def empty_store(store_url: str) -> Iterator[Store]:
    """A store with one table that has a column of each type."""
    store = Store(store_url)
    store.create_file()
    with store.write() as db:
        VALUES.create(db)
    yield store
    store.close()


def kept(store: Store, column: str, value: Any) -> Any:
    """Return what a value is after a round trip through a column."""
    with store.write() as db:
        db.execute(insert(VALUES), [{column: value}])
        found = db.execute(select(VALUES.c[column])).scalar_one()
        db.execute(VALUES.delete())
    return found


LATIN_1 = st.characters(max_codepoint=255)
ANY_CHARACTER = st.characters(exclude_categories=())
"""Lone surrogates included."""


@REUSED
@given(value=st.none() | st.text(LATIN_1) | st.text("\\0\0n", max_size=12))
def test_text_of_the_wire_comes_back(empty_store, value):
    assert kept(empty_store, "wire", value) == value


@REUSED
@given(value=st.none() | st.lists(st.tuples(st.text(ANY_CHARACTER), st.text(ANY_CHARACTER))).map(tuple))
def test_headers_come_back(empty_store, value):
    assert kept(empty_store, "headers", value) == value


@REUSED
@given(value=st.none() | st.binary())
def test_bytes_come_back(empty_store, value):
    assert kept(empty_store, "bytes", value) == value


@REUSED
@given(
    value=st.datetimes(
        datetime(1, 1, 2),
        datetime(9999, 12, 30),
        timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=45)), timezone(timedelta(hours=-12))]),
    )
)
def test_times_come_back_to_the_microsecond_and_in_utc(empty_store, value):
    found = kept(empty_store, "time", value)
    assert found == value
    assert found.tzinfo is UTC or found.utcoffset() == timedelta(0)


def test_a_time_without_zone_is_refused(empty_store):
    with pytest.raises(StatementError, match="naive datetime"):
        kept(empty_store, "time", datetime(2026, 3, 1))


@REUSED
@given(value=st.text(ANY_CHARACTER, max_size=2 * LABEL_LENGTH))
def test_any_text_can_be_a_label(empty_store, value):
    found = kept(empty_store, "label", value)
    assert len(found) == len(value[:LABEL_LENGTH])
    assert "\0" not in found
    assert kept(empty_store, "label", found) == found, "what came out once comes out again"
    if value.isprintable():
        assert found == value[:LABEL_LENGTH]


def test_the_longest_label_fits_an_index(store):
    """PostgreSQL refuses index entries of more than 2,704 bytes; random text cannot be compressed below it."""
    widest = "".join(chr(0x10000 + 7919 * number % 0x2000) for number in range(LABEL_LENGTH))
    params = {"media.id": widest, "media.name": widest, "media.playerName": widest}
    value = start(id="x1", params=params, upstream=f"http://{widest}")
    session = sessions_of(store, [value])[0]
    assert (session.media_id, session.player_name) == (widest, widest)


@REUSED
@given(times=st.lists(st.datetimes(timezones=st.just(UTC)), min_size=2, max_size=6))
def test_times_sort_as_they_are(empty_store, times):
    with empty_store.write() as db:
        db.execute(insert(VALUES), [{"time": time} for time in times])
        assert list(db.execute(select(VALUES.c.time).order_by(VALUES.c.time)).scalars()) == sorted(times)
        db.execute(VALUES.delete())


# Whole exchanges

RECORDING = RecordingRun(id="r1", name=None, started_at=BEGIN, version="1")


def save(store: Store, values: list[Exchange]) -> None:
    with store.write() as db:
        saving.save(db, RECORDING, unjudged(values))


def sessions_of(store: Store, values: list[Exchange]) -> list[Any]:
    save(store, values)
    with store.read() as db:
        return list(sessions.newest(db, Filters(), now=at()))


def stored(store: Store, value: Exchange) -> Exchange:
    """Return an exchange that belongs to no session after a round trip."""
    save(store, [value])
    with store.read() as db:
        return exchanges.of_none(db, Filters())[0]


HEADERS: Headers = (
    ("x-lower", "1"),
    ("X-UPPER", "2"),
    ("Set-Cookie", "a=1"),
    ("set-cookie", "b=2"),
    ("Set-Cookie", "a=1"),
    ("X-Latin", "caf\xe9 \xff\x80"),
    ("X-Surrogate", "\ud83c and \udcff"),
    ("X-Nul", "a\0b"),
    ("", ""),
    ("X-Quote", '"\\"'),
)

BODIES = {
    "empty": b"",
    "NUL": b'{"eventType":"pl\0ay"}\0',
    "escaped NUL": b'{"eventType":"pl\\u0000ay"}',
    "invalid UTF-8": b'{"eventType":"\xff\xfe\x80"}',
    "lone surrogate, escaped": b'{"eventType":"\\ud83c","params":{"media.id":"\\udfff"}}',
    "lone surrogate, in UTF-8": b'{"eventType":"\xed\xa0\xbc"}',
    "byte order mark": b"\xef\xbb\xbf{}",
    "every byte": bytes(range(256)),
    "line ends": b"{\r\n}\n\r\x0b\x0c\x85",
    "big integer": b'{"playerTime":{"playhead":1' + b"0" * 400 + b',"ts":123456789012345678901234567890}}',
    "64 bits": b'{"playerTime":{"ts":9223372036854775807}}',
    "-64 bits": b'{"playerTime":{"ts":-9223372036854775808}}',
    "NaN": b'{"playerTime":{"playhead":NaN,"ts":Infinity}}',
    "deep": b"[" * 5000 + b"]" * 5000,
    "large": b'{"x":"' + b"x" * 1_000_000 + b'"}',
}


@pytest.mark.parametrize("name", BODIES)
def test_a_body_comes_back_whatever_is_in_it(store, name):
    value = exchange("POST", "/api/v1/other", body=BODIES[name], response=response(200, body=BODIES[name][::-1]))
    assert stored(store, value) == value


@pytest.mark.parametrize("name", BODIES)
def test_a_session_may_begin_and_go_on_with_any_body(store, name):
    values = [start(id="x1", body=BODIES[name]), event(id="x2", body=BODIES[name])]
    session = sessions_of(store, values)[0]
    with store.read() as db:
        assert list(exchanges.of_session(db, session.id)) == values


def test_headers_keep_order_case_repeats_and_bytes(store):
    value = exchange("POST", "/api/v1/other", headers=HEADERS, response=response(200, headers=HEADERS[::-1]))
    found = stored(store, value)
    assert found.request.headers == HEADERS
    assert found.response is not None
    assert found.response.headers == HEADERS[::-1]


def test_all_that_an_exchange_has_comes_back(store):
    value = Exchange(
        id="x1",
        upstream="https://upstream.example/tv\\0\\",
        received_at=datetime(2026, 3, 1, 12, 0, 0, 123457, tzinfo=UTC),
        duration_us=2**40,
        client_address="2001:db8::7%eth0",
        outcome=Outcome.CLIENT_GONE,
        request=Request(
            method="PO\\0ST",
            path="/api/v1/x\0\\0\xff?q=%00\\",
            http_version="HTTP/2",
            headers=HEADERS,
            body=b"\0",
            complete=False,
        ),
        response=Response(status=299, reason="Fa\0st \\ \xe9", http_version="HTTP/1.0", headers=HEADERS, body=b"\xff"),
    )
    assert stored(store, value) == value


@pytest.mark.parametrize("outcome", [o for o in Outcome if o is not Outcome.ANSWERED])
def test_an_exchange_without_answer_has_none_afterwards(store, outcome):
    value = exchange("POST", "/api/v1/other", response=None, outcome=outcome, client_address=None)
    assert stored(store, value) == value


WIRE_HEADERS = st.lists(st.tuples(st.text(LATIN_1, max_size=8), st.text(LATIN_1, max_size=8)), max_size=4).map(tuple)
BODY = st.binary(max_size=60) | st.sampled_from(sorted(BODIES.values()))
PATHS = st.text(LATIN_1, max_size=12).map("/api/v1/x".__add__)


@REUSED
@given(
    request=st.builds(Request, method=st.text(LATIN_1), path=PATHS, headers=WIRE_HEADERS, body=BODY),
    answer=st.none() | st.builds(Response, status=st.integers(100, 999), reason=st.text(LATIN_1), body=BODY),
    at_time=st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)),
    duration_us=st.none() | st.integers(0, 2**62),
)
def test_any_exchange_comes_back(store, request, answer, at_time, duration_us):
    value = Exchange(
        id="x1", upstream="u", received_at=at_time, request=request, response=answer, duration_us=duration_us
    )
    try:
        assert stored(store, value) == value
    finally:
        with store.write() as db:
            db.execute(text("DELETE FROM exchanges"))


@pytest.mark.parametrize(
    "session_id", ["a\0b", "\\0", "caf\xe9\xff", "%00%ff", "A" * 5000, "'; DROP TABLE sessions; --", "\x80" * 100, " "]
)
def test_a_back_end_id_comes_back_and_finds_its_session(store, session_id):
    values = [event("play", session_id=session_id, id="x1"), event("ping", session_id=session_id, id="x2", after_s=2)]
    found = sessions_of(store, values)
    assert [(session.session_id, session.exchanges) for session in found] == [(session_id, 2)]
    with store.read() as db:
        assert sessions.find(db, session_id) == found[0]


@pytest.mark.parametrize("playhead", [60.39333333333333, 0.1 + 0.2, 5e-324, 1.7976931348623157e308, -0.5, 1 / 3])
def test_a_playhead_keeps_every_digit(store, playhead):
    session = sessions_of(store, [start(id="x1", playhead=playhead)])[0]
    assert session.playhead_s == playhead
    with store.read() as db:
        assert db.execute(text("SELECT playhead_s FROM exchanges")).scalar() == playhead
        assert read_body(next(iter(exchanges.of_session(db, session.id))).request.body).events[0].playhead_s == playhead


@pytest.mark.parametrize("playhead", [0, 60, 2**53 + 1, 10**300, -1])
def test_a_playhead_without_a_point_comes_back_without_one(store, playhead):
    session = sessions_of(store, [start(id="x1", playhead=playhead)])[0]
    assert session.playhead_s == float(playhead)
    with store.read() as db:
        found = read_body(next(iter(exchanges.of_session(db, session.id))).request.body).events[0].playhead_s
    assert found == playhead
    assert isinstance(found, int)


@pytest.mark.parametrize(
    ("ts", "kept_ts"),
    [(1_772_366_400_000, 1_772_366_400_000), (2**63 - 1, 2**63 - 1), (-(2**63), -(2**63)), (2**63, None), (None, None)],
)
def test_the_column_for_a_time_has_an_integer_of_64_bits_or_nothing(store, ts, kept_ts):
    save(store, [start(id="x1", body=body(event_dict("sessionStart", ts=ts)))])
    with store.read() as db:
        found = db.execute(text("SELECT ts_ms FROM exchanges")).scalar()
        assert found == kept_ts
        assert found is None or type(found) is int


def test_a_playhead_beyond_any_float_is_none_in_the_columns(store):
    session = sessions_of(store, [start(id="x1", body=BODIES["big integer"])])[0]
    assert session.playhead_s is None
    with store.read() as db:
        assert db.execute(text("SELECT playhead_s, ts_ms FROM exchanges")).one() == (None, None)


@pytest.mark.parametrize("label", ["a\0b", "\ud83c", "x" * 1000, "", "\U0001f600" * 500, "'\"\\%_"])
def test_a_label_of_any_text_makes_no_exchange_fail(store, label):
    params = dict.fromkeys(
        ["media.id", "media.name", "media.playerName", "media.contentType", "media.sdkVersion", "media.libraryVersion"],
        label,
    )
    value = start(id="x1", body=body(event_dict("sessionStart", params=params)))
    session = sessions_of(store, [value])[0]
    assert json.loads(value.request.body)["params"]["media.id"] == label
    assert session.media_id is not None
    with store.read() as db:
        assert list(exchanges.of_session(db, session.id)) == [value]
        listed = list(sessions.newest(db, Filters(media=session.media_id, player=session.player_name), now=at()))
    assert listed == [session]
