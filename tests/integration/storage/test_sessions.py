"""Sessions in the store are listed, found and removed; so are exchanges outside of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from sqlalchemy import String, cast, delete, func, insert, literal, select, true

from proxy_addon.core.exchange import Exchange
from proxy_addon.core.judging.policy import DEFAULT
from proxy_addon.core.judging.sessions import as_of
from proxy_addon.core.sessions import IDLE_TIMEOUT, PLAYHEAD_TIMEOUT, AsOf, Session, SessionState
from proxy_addon.errors import NotFound, StorageUnavailable
from storage import exchanges, findings, saving, sessions
from storage.engine import Store
from storage.filters import Filters
from storage.models import ExchangeRow, FindingRow, Recording, SessionRow
from storage.opening import reading
from storage.saving import Judged, RecordingRun, Touched
from tests.builders import BEGIN, SESSION_ID, UPSTREAM, at, event, exchange, preflight, start, unjudged
from tests.builders import session as a_session

RECORDING = RecordingRun(id="r1", name="smoke", started_at=BEGIN, version="1")
NOW = at(60)


def put(store: Store, *values: Session) -> None:
    """Store sessions without exchanges."""
    with store.write() as db:
        for name in {value.recording for value in values}:
            db.execute(insert(Recording).values(id=f"r-{name}", name=name, started_at=BEGIN, version="1"))
        for number, value in enumerate(values):
            row = sessions.to_row(value) | {"occurrence": number, "recording_id": f"r-{value.recording}"}
            db.execute(insert(SessionRow).values(row))


def save(store: Store, *values: Exchange, recording: RecordingRun = RECORDING) -> None:
    with store.write() as db:
        saving.save(db, recording, unjudged(values))


def listed(
    store: Store, filters: Filters | None = None, *, now: datetime = NOW, limit: int | None = None
) -> list[Session]:
    with store.read() as db:
        return list(sessions.newest(db, filters or Filters(), now=now, limit=limit))


def ids(values: Sequence[Session]) -> list[str]:
    return [value.id for value in values]


# List


def test_a_store_that_is_read_cannot_be_changed(store):
    save(store, start())
    with pytest.raises(StorageUnavailable), reading(store.url) as db:
        db.execute(delete(SessionRow))
    assert len(listed(store)) == 1


def test_a_list_that_outlives_its_transaction_is_closed_without_a_word(store, caplog):
    save(store, *(start(id=f"e{number}", session_id=f"{number:064x}") for number in range(300)))
    with reading(store.url) as db:
        found, recorded = (
            sessions.newest(db, Filters(), now=NOW),
            exchanges.of_session(db, next(iter(listed(store))).id),
        )
        next(found)
        next(recorded)
    del found, recorded
    assert not caplog.records


def test_a_session_is_listed_as_it_was_stored(store):
    from proxy_addon.core.sessions import FindingCounts

    value = a_session(recording="smoke", retry_of="s0", findings=FindingCounts(error=1, warning=2, info=3))
    put(store, value)
    assert listed(store) == [value]


def test_sessions_come_newest_first_and_by_id_where_they_began_together(store):
    times = {"a": 1, "b": 3, "c": 2, "d": 2}
    put(store, *(a_session(id=name, session_id=name, started_at=at(after_s)) for name, after_s in times.items()))
    assert ids(listed(store)) == ["b", "d", "c", "a"]
    assert ids(listed(store, limit=2)) == ["b", "d"]
    assert ids(listed(store, limit=9)) == ["b", "d", "c", "a"]
    with store.read() as db:
        assert ids(list(sessions.newest(db, Filters(), now=NOW, oldest_first=True, limit=3))) == ["a", "c", "d"]


def test_an_empty_store_lists_nothing_whatever_is_asked_for(store):
    for filters in (Filters(), Filters(name="x"), Filters(player="x"), Filters(states=frozenset(SessionState))):
        assert listed(store, filters) == []


def test_a_long_list_is_read_as_it_is_consumed(store):
    put(store, *(a_session(id=f"s{n:03}", session_id=None, started_at=at(n)) for n in range(450)))
    assert ids(listed(store)) == [f"s{n:03}" for n in reversed(range(450))]
    assert len(listed(store, limit=401)) == 401


def three(store: Store) -> None:
    """Store three sessions that differ in all that filters ask for."""
    put(
        store,
        a_session(
            id="a",
            recording="smoke",
            player_name="HTML5 Player",
            media_id="clip-1",
            media_name="A film",
            user_agent="Mozilla/5.0 Chrome/120",
            started_at=at(1),
        ),
        a_session(
            id="b",
            recording="Smoke",
            player_name="Android-Player",
            media_id="clip-10",
            media_name="Another FILM",
            user_agent="Dalvik/2.1",
            started_at=at(2),
            ended=True,
        ),
        a_session(
            id="c",
            recording=None,
            player_name="html5 player",
            media_id="Straße_100%",
            media_name="clip-1",
            user_agent=None,
            started_at=at(3),
            start_seen=False,
        ),
    )


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        (Filters(), "abc"),
        (Filters(name="smoke"), "a"),
        (Filters(name="Smoke"), "b"),
        (Filters(name="smok"), ""),
        (Filters(name=""), ""),
        (Filters(since=at(2)), "bc"),
        (Filters(until=at(2)), "a"),
        (Filters(since=at(2), until=at(3)), "b"),
        (Filters(since=at(2) + timedelta(microseconds=1)), "c"),
        (Filters(since=at(4)), ""),
        (Filters(since=at(3), until=at(2)), ""),
        (Filters(states=frozenset({SessionState.OPEN})), "a"),
        (Filters(states=frozenset({SessionState.ENDED, SessionState.PARTIAL})), "bc"),
        (Filters(states=frozenset({SessionState.EXPIRED, SessionState.FAILED, SessionState.COMPLETED})), ""),
        (Filters(states=frozenset(SessionState)), "abc"),
        (Filters(player="HTML5 PLAYER"), "ac"),
        (Filters(player="player"), "abc"),
        (Filters(player="Android-Player"), "b"),
        (Filters(player="roku"), ""),
        (Filters(media="clip-1"), "ac"),
        (Filters(media="clip-10"), "b"),
        (Filters(media="clip"), "abc"),
        (Filters(media="film"), "ab"),
        (Filters(media="another film"), "b"),
        (Filters(media="STRASSE"), "c"),
        (Filters(media="%"), "c"),
        (Filters(media="_"), "c"),
        (Filters(media="e_1"), "c"),
        (Filters(user_agent="chrome"), "a"),
        (Filters(user_agent="dalvik/2.1"), "b"),
        (Filters(user_agent="/"), "ab"),
        (Filters(user_agent=""), "ab"),
        (Filters(player="player", media="film", user_agent="/"), "ab"),
        (Filters(player="player", media="film", states=frozenset({SessionState.ENDED, SessionState.OPEN})), "ab"),
        (Filters(name="smoke", media="clip"), "a"),
        (Filters(name="smoke", player="android"), ""),
        (Filters(with_findings=True), ""),
        (Filters(player="\0"), ""),
        (Filters(media="\ud800"), ""),
        (Filters(name="\0"), ""),
        (Filters(name="\ud800"), ""),
        (Filters(user_agent="x" * 100_000), ""),
    ],
)
def test_filters_leave_what_passes_all_of_them(store, filters, found):
    three(store)
    everything = "".join(sorted(ids(listed(store, filters))))
    assert everything == found
    newest_first = "".join(sorted(found, reverse=True))
    assert "".join(ids(listed(store, filters))) == newest_first
    assert "".join(ids(listed(store, filters, limit=2))) == newest_first[:2]
    with store.read() as db:
        oldest_first = list(sessions.newest(db, filters, now=NOW, oldest_first=True, limit=2))
    assert "".join(ids(oldest_first)) == found[:2]


def test_sessions_with_findings_are_those_with_any(store):
    from proxy_addon.core.sessions import FindingCounts

    counts = [FindingCounts(), FindingCounts(error=1), FindingCounts(warning=1), FindingCounts(info=1)]
    put(store, *(a_session(id=f"s{n}", started_at=at(n), findings=value) for n, value in enumerate(counts)))
    assert ids(listed(store, Filters(with_findings=True))) == ["s3", "s2", "s1"]


def test_sessions_that_ran_out_have_a_finding_unless_what_is_missing_may_have_closed_them(store):
    put(store, a_session(id="whole"), a_session(id="holes", has_holes=True))
    later = as_of(at(86_400), DEFAULT)
    with store.read() as db:
        found = list(sessions.newest(db, Filters(with_findings=True), now=later.now))
        everything = list(sessions.newest(db, Filters(), now=later.now))
    assert ids(found) == ["whole"]
    assert {each.id: bool(each.finding_counts(later)) for each in everything} == {"whole": True, "holes": False}


def test_recordings_of_the_same_name_are_listed_together(store):
    for number in range(3):
        values = [start(id=f"x{number}", session_id=f"id-{number}", after_s=number, ts=number)]
        save(store, *values, recording=RecordingRun(id=f"r{number}", name="nightly", started_at=BEGIN, version="1"))
    other = RecordingRun(id="r9", name="other", started_at=BEGIN, version="1")
    save(store, start(id="x9", session_id="id-9", ts=9), recording=other)
    found = listed(store, Filters(name="nightly"), limit=2)
    assert [session.session_id for session in found] == ["id-2", "id-1"]
    assert len(listed(store, Filters(name="nightly"))) == 3


@pytest.mark.parametrize(
    ("after", "state"),
    [
        ({}, "open"),
        ({"last_event_at": NOW - IDLE_TIMEOUT}, "expired"),
        ({"last_event_at": NOW - IDLE_TIMEOUT + timedelta(microseconds=1)}, "open"),
        ({"playhead_moved_at": NOW - PLAYHEAD_TIMEOUT}, "expired"),
        ({"playhead_moved_at": NOW - PLAYHEAD_TIMEOUT + timedelta(microseconds=1)}, "open"),
        ({"last_event_at": at(-9e6), "playhead_moved_at": at(-9e6), "completed": True}, "completed"),
        ({"last_event_at": at(-9e6), "start_seen": False}, "partial"),
        ({"last_event_at": at(-9e6), "failed": True, "ended": True}, "failed"),
        ({"last_event_at": at(-9e6), "ended": True, "completed": True}, "ended"),
    ],
)
def test_the_filter_by_state_agrees_with_the_session(store, after, state):
    value = a_session(**({"last_event_at": NOW, "playhead_moved_at": NOW} | after))
    put(store, value)
    assert value.state(AsOf(now=NOW)).value == state
    for asked in SessionState:
        for also in SessionState:
            found = listed(store, Filters(states=frozenset({asked, also})), limit=5)
            assert found == ([value] if state in (asked, also) else [])


def test_a_filter_may_match_more_values_than_a_statement_has_room_for(store):
    """Some streams have an ID of their own for each day, some apps a `User-Agent` of their own for each device."""
    count = 40_000
    row = sessions.to_row(a_session()) | {"recording_id": "r1", "session_key": None, "occurrence": 0}
    newest = [row | {"id": f"newest-{n}", "media_id": f"day-{n}", "started_at": at(n)} for n in (1, 2)]
    columns = SessionRow.__table__.columns
    n = select(literal(3).label("n")).cte("numbers", recursive=True)
    n = n.union_all(select(n.c.n + 1).where(n.c.n < count))
    own = {"id": literal("old-") + cast(n.c.n, String), "media_id": literal("day-") + cast(n.c.n, String)}
    with store.write() as db:
        db.execute(insert(Recording).values(id="r1", name=None, started_at=BEGIN, version="1"))
        db.execute(insert(SessionRow), [row | {"id": "first", "media_id": "day-0", "started_at": at(0)}])
        like_the_first = select(*(own.get(column.name, column) for column in columns))
        like_the_first = like_the_first.join_from(SessionRow, n, true()).where(columns.id == "first")
        db.execute(insert(SessionRow).from_select([column.name for column in columns], like_the_first))
        db.execute(insert(SessionRow), newest)
    found = listed(store, Filters(media="day"), limit=2)
    assert [session.media_id for session in found] == ["day-2", "day-1"]


# Find


def named(store: Store, name: str) -> Session:
    with store.read() as db:
        return sessions.find(db, name)


def some(store: Store) -> None:
    put(
        store,
        a_session(id="aaaa1111", session_id="beef0001", started_at=at(1)),
        a_session(id="aaaa2222", session_id="beef0002", started_at=at(2)),
        a_session(id="cccc3333", session_id=None, started_at=at(3)),
        a_session(id="dddd4444", session_id="a_b%c", started_at=at(4)),
        a_session(id="eeee5555", session_id="x" * 64 + "1", started_at=at(5)),
        a_session(id="ffff6666", session_id="x" * 64 + "2", started_at=at(6)),
        a_session(id="beef", session_id="q" * 10, started_at=at(7)),
    )


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("aaaa1111", "aaaa1111"),
        ("aaaa1", "aaaa1111"),
        ("c", "cccc3333"),
        ("beef0002", "aaaa2222"),
        ("a_b%c", "dddd4444"),
        ("a_", "dddd4444"),
        ("x" * 64 + "2", "ffff6666"),
        ("qq", "beef"),
        ("beef", "beef"),
        ("last", "beef"),
    ],
)
def test_a_session_is_found_by_its_id_its_back_end_id_or_a_prefix_that_only_it_has(store, name, found):
    some(store)
    assert named(store, name).id == found


@pytest.mark.parametrize(
    ("name", "close"),
    [
        ("a", ["aaaa1111", "aaaa2222", "dddd4444"]),
        ("aaaa", ["aaaa1111", "aaaa2222"]),
        ("beef000", ["aaaa1111", "aaaa2222"]),
        ("x" * 64, ["eeee5555", "ffff6666"]),
        ("x", ["eeee5555", "ffff6666"]),
    ],
)
def test_a_prefix_that_several_have_is_an_error_that_lists_them(store, name, close):
    some(store)
    with pytest.raises(NotFound, match="several sessions match") as caught:
        named(store, name)
    assert sorted(line.split()[0] for line in caught.value.hint.splitlines()[1:]) == close


def test_the_same_id_of_two_upstreams_is_ambiguous(store):
    put(store, a_session(id="s1"), a_session(id="s2", upstream="https://other.example"))
    with pytest.raises(NotFound, match="several") as caught:
        named(store, SESSION_ID)
    assert "s1" in caught.value.hint
    assert "s2" in caught.value.hint


@pytest.mark.parametrize(
    ("name", "close"),
    [
        ("aaaa3", ["aaaa1111", "aaaa2222"]),
        ("aaaa1111x", ["aaaa1111"]),
        ("beef00019", ["aaaa1111", "aaaa2222"]),
        ("cccc4", ["cccc3333"]),
        ("fff6666", ["ffff6666"]),
        ("EEEE555", ["eeee5555"]),
        ("zaaa1111", ["aaaa1111"]),
    ],
)
def test_an_unknown_name_is_an_error_that_lists_the_close_ones(store, name, close):
    some(store)
    with pytest.raises(NotFound, match="no session matches") as caught:
        named(store, name)
    assert sorted(line.split()[0] for line in caught.value.hint.splitlines()[1:]) == close


WEIRD = {
    "nothing": "",
    "NUL": "\0",
    "NUL at the end": "aaaa1111\0",
    "a wildcard": "%",
    "another wildcard": "aaaa____",
    "a wildcard behind": "aaaa%",
    "long": "aaaa" * 1000,
    "very long": "x" * 5_000,
    "the last character": "\U0010ffff",
    "before the surrogates": "\ud7ff",
    "a surrogate": "\udcff",
    "a surrogate behind": "aaaa\ud800",
    "a quote": "'; DROP TABLE sessions; --",
    "a line": "aaaa\n",
    "a backslash": "\\",
    "replaced": "\N{REPLACEMENT CHARACTER}",
    "space": " ",
    "capitals": "AAAA1111",
}


@pytest.mark.parametrize("name", WEIRD)
def test_a_weird_name_matches_no_session(store, name):
    some(store)
    with pytest.raises(NotFound, match="no session matches") as caught:
        named(store, WEIRD[name])
    close = "similar ones are:" in caught.value.hint
    assert close == name.startswith(("NUL at the end", "a wildcard behind", "a surrogate behind", "a line", "capitals"))
    assert close or caught.value.hint == "'sessiontape sessions' lists all sessions"
    assert len(listed(store)) == 7


@pytest.mark.parametrize("name", [*WEIRD.values(), "abc"])
def test_an_empty_store_says_so(store, name):
    with pytest.raises(NotFound) as caught:
        named(store, name)
    assert caught.value.hint == "the store has no sessions"


@pytest.mark.parametrize(
    "session_id", ["\U0010ffff", "\ud7ffa", "a\0b", "\\0", "\xff" * 70, "\N{REPLACEMENT CHARACTER}"]
)
def test_a_weird_back_end_id_is_found_by_each_of_its_prefixes(store, session_id):
    put(store, a_session(id="s1", session_id=session_id))
    for length in range(1, len(session_id) + 1):
        assert named(store, session_id[:length]).id == "s1"


def test_a_character_that_stands_for_another_does_not_find_it(store):
    put(store, a_session(id="s1", session_id="a\0b"))
    with pytest.raises(NotFound):
        named(store, "a\N{REPLACEMENT CHARACTER}")


def test_a_batch_that_is_saved_again_is_not_stored_again_and_still_returns_what_it_has_changed(store):
    """The connection may break after a commit, before the recorder hears of it."""
    outside = exchange(id="o", path="/api/v1/schemas/ping", method="GET")
    batch = [Judged(start(id="x1"), ()), Judged(event(id="x2"), None), Judged(outside, None)]

    def saved(judged: Sequence[Judged]) -> tuple[list[Touched], list[str]]:
        with store.write() as db:
            done = saving.save(db, RECORDING, judged, findings_due=True)
        return list(done.touched), list(done.unjudged)

    first = saved(batch)
    assert [(len(each.exchanges), each.session.exchanges) for each in first[0]] == [(2, 2)]
    assert first[1] == ["x2", "o"]
    assert saved(batch) == first
    touched, waiting = saved([*batch, Judged(event(id="x3"), None)])
    assert [[each.id for each in it.exchanges] for it in touched] == [["x1", "x2", "x3"]]
    assert [each.session for each in touched] == listed(store)
    assert waiting == ["x2", "o", "x3"]
    with store.write() as db:
        findings.replace_of_exchange(db, "o", [])
    assert saved(batch)[1] == ["x2"], "another recorder has judged the other one in the meantime"


def test_sessions_are_read_again_in_the_order_asked_for(store):
    some(store)
    with store.read() as db:
        assert ids(sessions.get(db, ["dddd4444", "gone", "aaaa1111"])) == ["dddd4444", "aaaa1111"]
        assert sessions.get(db, []) == []


# Remove


def test_removing_a_session_removes_its_exchanges_and_findings_and_nothing_else(store):
    save(store, start(id="x1"), event(id="x2", after_s=1), exchange("GET", "/api/v1/schemas/play", id="x3"))
    save(store, start(id="y1", session_id="other", after_s=2), event(id="y2", session_id="other", after_s=3))
    kept, gone = listed(store)
    findings = [
        {
            "session": session.id,
            "exchange_id": exchange_id,
            "rule": "r",
            "severity": "error",
            "message": "m",
            "count": 1,
        }
        for session, exchange_id in ((gone, None), (gone, "x2"), (kept, "y2"), (kept, None))
    ]
    with store.write() as db:
        db.execute(insert(FindingRow), findings)
    with store.write() as db:
        assert sessions.remove(db, [gone.id, "unknown"]) == 1
    assert listed(store) == [kept]
    with store.read() as db:
        assert db.execute(select(ExchangeRow.id).order_by(ExchangeRow.id)).scalars().all() == ["x3", "y1", "y2"]
        assert db.execute(select(FindingRow.session)).scalars().all() == [kept.id] * 2
        assert list(exchanges.of_session(db, gone.id)) == []
        with pytest.raises(NotFound):
            sessions.find(db, gone.id)


def test_attempts_after_a_removed_one_no_longer_name_it(store):
    put(store, a_session(id="s1"), a_session(id="s2", retry_of="s1", started_at=at(1)))
    with store.write() as db:
        assert sessions.remove(db, ["s1"]) == 1
    assert [(session.id, session.retry_of) for session in listed(store)] == [("s2", None)]


def test_removing_none_removes_none(store):
    put(store, a_session())
    with store.write() as db:
        assert sessions.remove(db, []) == 0
    assert len(listed(store)) == 1


def test_more_sessions_than_a_statement_has_room_for_can_be_removed(store):
    with store.write() as db:
        assert sessions.remove(db, [f"{number:016x}" for number in range(70_000)]) == 0


# Upstreams


def test_upstreams_are_those_of_all_exchanges_each_once(store):
    with store.read() as db:
        assert sessions.upstreams(db) == []
    save(
        store,
        start(id="x1"),
        start(id="x2", after_s=1, ts=1, session_id="b"),
        start(id="x3", upstream="http://a.example"),
        exchange("GET", "/api/v1/schemas/play", id="x4", upstream="http://b.example"),
        exchange("GET", "/api/v1/schemas/play", id="x5"),
    )
    with store.read() as db:
        assert sessions.upstreams(db) == ["http://a.example", "http://b.example", UPSTREAM]


# Exchanges of no session


def outside(store: Store, filters: Filters | None = None, limit: int | None = None) -> list[str]:
    with store.read() as db:
        return [value.id for value in exchanges.of_none(db, filters or Filters(), limit=limit)]


@pytest.mark.parametrize(
    ("filters", "limit", "found"),
    [
        (Filters(), None, ["x1", "x3", "y1"]),
        (Filters(), 2, ["x3", "y1"]),
        (Filters(), 0, []),
        (Filters(name="smoke"), None, ["x1", "x3"]),
        (Filters(name="smoke"), 1, ["x3"]),
        (Filters(name="none"), None, []),
        (Filters(name="\0"), None, []),
        (Filters(since=at(3)), None, ["x3", "y1"]),
        (Filters(until=at(3)), None, ["x1"]),
        (Filters(user_agent="testplayer"), None, ["x3", "y1"]),
        (Filters(user_agent="testplayer/1.0"), None, ["x3"]),  # as whole sessions are found
        (Filters(user_agent="test"), None, ["x1", "x3", "y1"]),
        (Filters(user_agent="\0"), None, []),
        (Filters(states=frozenset({SessionState.OPEN})), None, []),
        (Filters(player="x"), None, []),
        (Filters(media="x"), None, []),
        (Filters(with_findings=True), None, []),
    ],
)
def test_exchanges_of_no_session_come_by_time_and_pass_the_filters_that_concern_them(store, filters, limit, found):
    agent, tv = (("User-Agent", "Tested/1"),), (("User-Agent", "TestPlayer/1.0 (TV)"),)
    save(
        store,
        start(id="x0"),
        preflight(id="x2", after_s=2),
        exchange("GET", "/api/v1/schemas/play", id="x3", after_s=3),
        exchange("GET", "/api/v1/schemas/play", id="x1", after_s=1, headers=agent),
    )
    other = RecordingRun(id="r2", name=None, started_at=BEGIN, version="1")
    save(store, exchange("POST", "/api/v1/other", id="y1", after_s=4, headers=tv), recording=other)
    assert outside(store, filters, limit) == found


def test_the_newest_exchanges_count_where_times_are_equal(store):
    save(store, *(exchange("GET", "/api/v1/schemas/play", id=f"x{n}", after_s=1) for n in range(5)))
    assert outside(store, limit=2) == ["x3", "x4"]


def test_a_session_and_all_exchanges_outside_can_be_read_while_more_are_saved(store):
    save(store, start(id="x0000"), *(event(id=f"x{n:04}", after_s=n) for n in range(1, 500)))
    [session] = listed(store)
    with store.read() as db:
        values = exchanges.of_session(db, session.id)
        first = next(values)
        save(store, event(id="y", after_s=600))
        assert [first.id, *(value.id for value in values)] == [f"x{n:04}" for n in range(500)]
    with store.read() as db:
        assert db.scalar(select(func.count()).select_from(ExchangeRow)) == 501


# Opened beside one another


def beside(store: Store, id: str) -> str | None:
    with store.read() as db:
        return sessions.opened_beside(db, sessions.find(db, id))


def opened(id: str, after_s: float = 0, **changes: object) -> Session:
    values = {"start_sha256": id, "events": 1, "client_address": "10.0.0.1", "user_agent": "TV", **changes}
    return a_session(id=id, session_id=f"back-end-{id}", started_at=at(after_s), last_event_at=at(after_s), **values)


@pytest.mark.parametrize("after_s", [0, 5])
def test_sessions_that_a_device_opens_within_five_seconds_lie_beside_each_other(store, after_s):
    put(store, opened("s1"), opened("s2", after_s), opened("far", 60))
    assert (beside(store, "s1"), beside(store, "s2"), beside(store, "far")) == ("s2", "s1", None)


def test_a_session_that_got_events_was_opened_once(store):
    put(store, opened("s1"), opened("s2", 1, events=7))
    assert (beside(store, "s1"), beside(store, "s2")) == ("s2", None)


@pytest.mark.parametrize(
    "other",
    [
        {"start_sha256": "s1"},
        {"client_address": "10.0.0.2"},
        {"user_agent": None},
        {"media_id": "another"},
        {"failed": True},
        {"upstream": "https://elsewhere.example"},
        {"started_at": at(5.001)},
    ],
    ids=lambda other: next(iter(other)),
)
def test_another_playback_is_not_opened_beside(store, other):
    put(store, opened("s1"), replace(opened("s2", 1), **other))
    assert (beside(store, "s1"), beside(store, "s2")) == (None, None)


def test_a_session_is_pseudonymised_only_if_all_its_recorders_did_so(store):
    tokens = RecordingRun(id="r2", name="tokens", started_at=BEGIN, version="1", pseudonymised=True)
    for number, runs in enumerate([(tokens, tokens), (tokens, RECORDING), (RECORDING, tokens), (RECORDING, RECORDING)]):
        sid = f"{number}" * 8
        save(store, start(id=f"{number}a", session_id=sid, after_s=100 * number), recording=runs[0])
        save(store, event(id=f"{number}b", session_id=sid, after_s=100 * number + 1), recording=runs[1])
    found = listed(store, now=at(1000))
    assert [session.pseudonymised for session in found] == [False, False, False, True]
