"""Batches of exchanges are stored as if each exchange came alone and SQLAlchemy wrote every row, on each database."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, delete

from proxy_addon.core.books import Loss
from proxy_addon.core.exchange import BodyState, Exchange, Outcome, Request, Response, Whole
from proxy_addon.core.findings import Finding, Place, Severity
from storage import findings, folding, losses, migrate, saving
from storage.engine import Store
from storage.models import Base
from storage.saving import Judged, RecordingRun
from tests import postgres as postgresql
from tests.builders import BEGIN, body, event_dict, start
from tests.property import plainly

TABLES = [table for table in Base.metadata.sorted_tables if not table.name.startswith("run")]
ENGINES = ["sqlite", "postgresql", "postgresql in LATIN1"]

ODD = ["a", "b", "\0", "\\0", "caf\xe9\x80", "z" * 500]
UPSTREAMS = ["https://one.example", "https://two.example"]
NAMES = ["A film", None, "东京 \0 \ud83c", "n" * 450, "\\"]
HEADERS = st.lists(
    st.sampled_from(
        [("User-Agent", "One/1"), ("user-agent", "T\xe9l\xe9"), ("X", '\0\\\xff"'), ("Y", "y" * 1100), ("X", "")]
    ),
    max_size=4,
).map(tuple)
SCHEMA = b'{"$schema":"http://json-schema.org/draft-07/schema#","type":"object","properties":{"eventType":{"enum":["play"]}}}'

PATHS = [
    ("POST", "/api/v1/sessions"),
    ("POST", "/api/v1/sessions"),
    *(("POST", f"/api/v1/sessions/{id}/events") for id in ODD * 2),
    ("OPTIONS", f"/api/v1/sessions/{ODD[0]}/events"),
    ("POST", "/tv\\\xe9/api/v1/downloaded"),
    ("GET", "/api/v1/schemas/play"),
    ("PUT", "/api/v1/\0other?\xe9"),
]

BODIES = st.one_of(
    st.builds(
        lambda kind, playhead, ts, name: body(
            event_dict(kind, playhead=playhead, ts=ts, params={"media.name": name, "media.id": "m"})
        ),
        st.sampled_from(["sessionStart", "sessionStart", "play", "ping", "sessionEnd", "sessionComplete", "\0"]),
        st.sampled_from([0, 1.5, 7, 2**70]),
        st.sampled_from([1, 2**40]),
        st.sampled_from(NAMES),
    ),
    st.just(body([event_dict("sessionStart"), event_dict("sessionEnd")])),
    st.sampled_from([b"", b"\xff\x00", b"{", SCHEMA]),
)


@st.composite
def requests(draw: st.DrawFn) -> Request:
    method, path = draw(st.sampled_from(PATHS))
    content = draw(BODIES)
    whole = draw(st.sampled_from([None, None, None, Whole(10**9, "a" * 64)]))
    state = BodyState.TRUNCATED if whole else draw(st.sampled_from([BodyState.EXACT] * 4 + [BodyState.MISSING]))
    headers = draw(HEADERS)
    return Request(method=method, path=path, headers=headers, body=content, body_state=state, whole=whole)


@st.composite
def responses(draw: st.DrawFn) -> Response:
    location = draw(st.sampled_from([None, *ODD]))
    headers = draw(HEADERS) + (() if location is None else (("Location", f"/api/v1/sessions/{location}"),))
    return Response(
        status=draw(st.sampled_from([200, 201, 201, 204, 404])),
        reason=draw(st.sampled_from(["", "OK", "\0\\\xe9"])),
        headers=headers,
        body=draw(st.sampled_from([b"", SCHEMA])),
        whole=draw(st.sampled_from([None, None, Whole(2**40, "b" * 64)])),
    )


FINDINGS = st.builds(
    Finding,
    rule=st.just("a-rule"),
    severity=st.sampled_from(Severity),
    message=st.sampled_from([name or "" for name in NAMES]),
    pointer=st.sampled_from([None, "/a\0\ud83c"]),
    seq=st.sampled_from([None, 3]),
    count=st.integers(1, 3),
    others=st.sampled_from([(), (Place(4, "/\xe9"), Place(5))]),
    until_seq=st.sampled_from([None, 9]),
)
FOUND = [Finding(rule="a-rule", severity=severity, message="") for severity in Severity]
VERDICTS = st.none() | st.lists(FINDINGS, max_size=2)

RUNS = [
    RecordingRun(id="r1", name="one", started_at=BEGIN, version="1"),
    RecordingRun(id="r2", name="two \ud83c\0", started_at=BEGIN, version="1", pseudonymised=True, checks=False),
    RecordingRun(id="i1", name=None, started_at=BEGIN, version="1", imported_from="a.har", file_sha256="c" * 64),
    RecordingRun(
        id="i2", name=None, started_at=BEGIN, version="1", imported_from="b\0", file_sha256="d", has_holes=True
    ),
]


@dataclass(frozen=True)
class Batch:
    """What one transaction stores."""

    run: RecordingRun
    judged: tuple[Judged, ...]
    findings_due: bool
    in_ascii: bool
    lost: tuple[Loss, ...]


@st.composite
def batches(draw: st.DrawFn) -> list[Batch]:
    """Return what is stored one after the other; some exchanges come twice, and a few are at the same time."""
    number = count(1)
    at = BEGIN
    in_ascii = draw(st.integers(0, 5)) == 0
    found: list[Batch] = []
    before: list[Judged] = []
    for _ in range(draw(st.integers(1, 4))):
        judged: list[Judged] = []
        for _ in range(draw(st.integers(1, 6))):
            if before and draw(st.integers(0, 9)) == 0:
                judged.append(draw(st.sampled_from(before)))
                continue
            at += timedelta(microseconds=draw(st.sampled_from([0, 1, 500_000, -3_000_000, 40_000_000])))
            has_answer = draw(st.integers(0, 4)) > 0
            exchange = Exchange(
                id=f"{next(number):08x}",
                upstream=draw(st.sampled_from(UPSTREAMS)),
                received_at=at,
                duration_us=draw(st.sampled_from([None, 2**40])),
                client_address=draw(st.sampled_from(["192.0.2.1", "192.0.2.1", "192.0.2.2", None])),
                server_address=draw(st.sampled_from([None, ("127.0.0.1", 80), ("127.0.0.2", 80)])),
                outcome=Outcome.ANSWERED if has_answer else draw(st.sampled_from(Outcome)),
                reason=draw(st.sampled_from([None, "\0\ud83c"])),
                request=draw(requests()),
                response=draw(responses()) if has_answer else None,
            )
            judged.append(Judged(exchange, draw(VERDICTS)))
        unique = {each.exchange.id: each for each in judged}
        before += judged
        lost = [
            Loss(
                id=f"{next(number):08x}",
                recorder="r1",
                upstream=UPSTREAMS[0],
                received_at=at,
                method="POST",
                path=f"/api/v1/sessions/{draw(st.sampled_from(ODD))}/events",
                is_refused=False,
                reason="disk full",
            )
            for _ in range(draw(st.sampled_from([0, 0, 1, 2])))
        ]
        found.append(
            Batch(
                run=draw(st.sampled_from(RUNS)),
                judged=tuple(unique.values()),
                findings_due=draw(st.booleans()),
                in_ascii=in_ascii,
                lost=tuple(lost),
            )
        )
    return found


@pytest.fixture(scope="module", params=ENGINES)
def any_store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A store that examples empty before they use it."""
    if request.param == "sqlite":
        with closing(Store(f"sqlite:///{tmp_path_factory.mktemp('saving') / 'tape.db'}", durable=False)) as store:
            migrate.upgrade(store)
            yield store
        return
    server: postgresql.Server = request.getfixturevalue("postgres")
    encoding = "LATIN1" if "LATIN1" in request.param else "UTF8"
    with server.unlike_ours(encoding) as url, closing(Store(url, durable=False)) as store:
        migrate.upgrade(store)
        yield store


def stored(store: Store, batches: Sequence[Batch], save: Any) -> dict[str, list[tuple[Any, ...]]]:
    """Store batches in an empty store and return all rows as the driver reads them."""
    with store.write() as db:
        for table in reversed(TABLES):
            db.execute(delete(table))
    numbers = count(1)
    for batch in batches:
        with store.write(in_ascii=batch.in_ascii) as db:
            save(db, batch, lambda: f"{next(numbers):016x}")
            losses.note(db, batch.lost)
    with store.read() as db:
        return {table.name: rows(db, table.name) for table in TABLES}


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rounds=st.lists(
        st.dictionaries(st.sampled_from(["s0", "s1", "s2", "gone"]), st.lists(FINDINGS, max_size=3)), max_size=4
    )
)
def test_findings_of_many_sessions_are_replaced_as_those_of_each_would_be(any_store, monkeypatch, rounds):
    judged = [Judged(start(id=f"{n}", session_id=f"{n}"), [found] if n else []) for n, found in enumerate(FOUND)]
    batch = Batch(RUNS[0], tuple(judged), findings_due=False, in_ascii=False, lost=())

    def each(db: Connection, batch: Batch, _: Any, *, at_once: bool = False) -> None:
        numbers = count(0)
        monkeypatch.setattr(folding, "new_id", lambda: f"s{next(numbers)}")
        saving.save(db, batch.run, batch.judged)
        for found in rounds:
            if at_once:
                assert findings.replace_of_sessions(db, found) == found.keys() - {"gone"}
            else:
                for id, new in found.items():
                    assert findings.replace_of_session(db, id, new) == (id != "gone")

    assert stored(any_store, [batch], partial(each, at_once=True)) == stored(any_store, [batch], each)


def rows(db: Connection, table: str) -> list[tuple[Any, ...]]:
    found = [tuple(row) for row in db.exec_driver_sql(f"SELECT * FROM {table}")]
    if table == "findings":  # numbered in the order of storing
        found = [row[1:] for row in sorted(found, key=lambda row: row[0])]
        return sorted(found, key=lambda row: (str(row[0]), str(row[1])))
    return sorted(found, key=repr)


@settings(
    max_examples=25,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # to shrink takes minutes, and failures are told well without
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(batches=batches(), cut=st.booleans())
def test_a_batch_is_stored_as_its_exchanges_would_be_one_by_one(any_store, monkeypatch, batches, cut):
    def lean(db: Connection, batch: Batch, new_id: Any) -> None:
        monkeypatch.setattr(folding, "new_id", new_id)
        middle = len(batch.judged) // 2 if cut else 0
        for part in (batch.judged[:middle], batch.judged[middle:]):
            saving.save(db, batch.run, part, findings_due=batch.findings_due)

    def plain(db: Connection, batch: Batch, new_id: Any) -> None:
        plainly.save(db, batch.run, batch.judged, new_id, findings_due=batch.findings_due)

    assert stored(any_store, batches, lean) == stored(any_store, batches, plain)
