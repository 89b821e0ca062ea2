"""The schema is created, removed and created again, only once however many ask for it, and equals the models."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import inspect, text

from proxy_addon.core.findings import Finding, Severity
from proxy_addon.core.replays.runs import ReplayRun, RunOptions, Step, StepOutcome
from proxy_addon.errors import SchemaOutOfDate, SettingsError, StorageUnavailable
from storage import findings, migrate, revision, runs, saving
from storage.engine import Store
from storage.models import Base
from tests import builders


@pytest.fixture
def new_store(store_url: str) -> Iterator[Store]:
    """A store without a schema."""
    store = Store(store_url)
    yield store
    store.close()


def tables(store: Store) -> set[str]:
    with store.read() as db:
        return set(inspect(db).get_table_names())


def revision_of(store: Store) -> str | None:
    with store.read() as db:
        return revision.found(db)


def deviations(store: Store) -> list[str]:
    with store.read() as db:
        return migrate.deviations(db)


def set_revision(store: Store, name: str) -> None:
    with store.write() as db:
        db.execute(text("UPDATE alembic_version SET version_num = :name"), {"name": name})


def test_the_revision_known_without_alembic_is_the_newest():
    assert migrate.known_revisions()[-1] == revision.REVISION


@pytest.mark.every_version
def test_the_schema_comes_goes_and_comes_again(new_store):
    assert migrate.upgrade(new_store) == (None, revision.REVISION)
    assert tables(new_store) == {*Base.metadata.tables, "alembic_version"}
    assert migrate.upgrade(new_store) == (revision.REVISION, revision.REVISION)

    assert migrate.downgrade(new_store, "base") == (revision.REVISION, None)
    assert tables(new_store) == {"alembic_version"}
    assert migrate.downgrade(new_store, "base") == (None, None)

    assert migrate.upgrade(new_store) == (None, revision.REVISION)
    assert revision_of(new_store) == revision.REVISION
    assert deviations(new_store) == []


@pytest.mark.every_version
def test_what_an_older_schema_has_a_place_for_stays_when_it_goes_down_and_up_again(new_store):
    migrate.upgrade(new_store)
    recording = saving.RecordingRun(id="r", name="kept", started_at=builders.at(), version="0")
    run = ReplayRun(
        id="aaaa", target="http://a", started_at=builders.at(), finished_at=None, speed="1", timestamps="keep"
    )
    step = Step(seq=1, event_type="sessionStart", outcome=StepOutcome.SAME)
    with new_store.write() as db:
        saving.save(db, recording, builders.unjudged([builders.start(id="x1"), builders.event(id="x2")]))
        runs.begin(db, run, RunOptions())
        runs.choose(db, run.id, [("s", None)])
        runs.note(db, run.id, runs.LedgerEntries(steps=[(0, step)], ended={0: None}))
    before = rows(new_store)
    assert {"exchanges": 2, "sessions": 1, "run_sessions": 1, "run_steps": 1}.items() <= before.items()
    for name in reversed(migrate.known_revisions()[:-1]):
        migrate.downgrade(new_store, name)
        assert {table: n for table, n in rows(new_store).items() if n} == {t: n for t, n in before.items() if n}
    migrate.upgrade(new_store)
    assert rows(new_store) == before
    assert deviations(new_store) == []


def test_large_bodies_that_an_older_recorder_had_not_judged_are_marked(new_store):
    migrate.upgrade(new_store)
    recording = saving.RecordingRun(id="r", name=None, started_at=builders.at(), version="0")
    found = Finding(rule="http-path-unknown", severity=Severity.INFO, message="no such path")
    judged = [
        saving.Judged(builders.start(id="small"), ()),
        saving.Judged(builders.event(id="large", body=b" " * 65_537), ()),
        saving.Judged(builders.event(id="not-large", after_s=2, body=b" " * 65_536), ()),
        saving.Judged(builders.exchange(id="outside", path="/api/v1/other", body=b" " * 65_537), ()),
        saving.Judged(builders.exchange(id="small-outside", path="/api/v1/other", body=b" "), ()),
        saving.Judged(builders.exchange(id="judged", path="/api/v1/other", body=b" " * 65_537), [found]),
    ]
    with new_store.write() as db:
        saving.save(db, recording, judged, findings_due=True)
        assert findings.unjudged(db) == []
    migrate.downgrade(new_store, "0007")
    migrate.upgrade(new_store)
    with new_store.read() as db:
        assert findings.unjudged(db) == ["large", "outside"]


def rows(store: Store) -> dict[str, int]:
    with store.read() as db:
        counted = {
            table: text(f"SELECT count(*) FROM {table}") for table in inspect(db).get_table_names()
        }  # our own names
        return {table: int(db.execute(query).scalar_one()) for table, query in counted.items()}


def test_a_downgrade_leaves_no_index_constraint_or_sequence_behind(new_store):
    migrate.upgrade(new_store)
    migrate.downgrade(new_store, "base")
    with new_store.read() as db:
        if new_store.is_sqlite:
            left = db.execute(text("SELECT name FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'"))
            assert set(left.scalars()) == {"alembic_version"}
        else:
            left = db.execute(text("SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"))
            assert set(left.scalars()) == {"alembic_version", "alembic_version_pkc"}


@pytest.mark.every_version
def test_every_revision_goes_down_and_up_again(new_store):
    migrate.upgrade(new_store)
    for name in [*reversed(migrate.known_revisions()[:-1]), "base"]:
        migrate.downgrade(new_store, name)
        assert revision_of(new_store) == (None if name == "base" else name)
    migrate.upgrade(new_store)
    assert deviations(new_store) == []


def test_models_and_migrations_make_the_same_schema(store):
    assert deviations(store) == []


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ("DROP INDEX ix_sessions_upstream", "ix_sessions_upstream"),
        ("CREATE INDEX ix_more ON sessions (client_address)", "ix_more"),
        ("ALTER TABLE sessions ADD COLUMN more INTEGER", "more"),
        ("ALTER TABLE exchanges DROP COLUMN playhead_s", "playhead_s"),
        ("ALTER TABLE findings RENAME TO mistakes", "mistakes"),
        ("CREATE TABLE more (number INTEGER)", "more"),
    ],
)
def test_a_schema_that_someone_has_changed_is_reported(store, statement, named):
    with store.write() as db:
        db.execute(text(statement))
    found = deviations(store)
    assert found
    assert named in "\n".join(found)


def test_a_changed_column_type_is_reported_where_columns_have_types(postgres_url):
    store = Store(postgres_url)
    migrate.upgrade(store)
    with store.write() as db:
        db.execute(text("ALTER TABLE sessions ALTER COLUMN exchanges TYPE TEXT"))
    assert "exchanges" in "\n".join(deviations(store))
    store.close()


UPGRADE = """
import sys
from storage import migrate
from storage.engine import Store
store = Store(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
print(*migrate.upgrade(store))
store.close()
"""


def test_processes_that_upgrade_a_fresh_store_at_the_same_time_migrate_it_once(new_store):
    processes = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", UPGRADE, new_store.url],
            cwd=Path(__file__).parents[3],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    ended = [(*process.communicate(timeout=60), process.returncode) for process in processes]
    assert [error for _, error, code in ended if error or code] == []
    newest = revision.REVISION
    assert sorted(printed for printed, *_ in ended) == sorted([f"None {newest}\n", *[f"{newest} {newest}\n"] * 3])
    assert deviations(new_store) == []


def test_an_upgrade_that_fails_leaves_nothing_behind(new_store):
    new_store.create_file()
    with new_store.write() as db:
        db.execute(text("CREATE TABLE findings (mine INTEGER)"))
    with pytest.raises(Exception, match="findings"):
        migrate.upgrade(new_store)
    assert tables(new_store) == {"findings"}


# Other revisions


def test_a_store_of_this_revision_is_right(store):
    with store.read() as db:
        revision.require(db, store)


def test_a_store_without_schema_is_refused_with_the_command_that_makes_it(new_store):
    new_store.create_file()
    with new_store.read() as db, pytest.raises(SchemaOutOfDate) as caught:
        revision.require(db, new_store)
    assert str(caught.value) == f"{new_store.label} has no schema yet; this version needs revision {revision.REVISION}"
    assert caught.value.hint == f"run: sessiontape db upgrade --store '{new_store.label}'"


def test_an_emptied_store_counts_as_one_without_schema(new_store):
    migrate.upgrade(new_store)
    migrate.downgrade(new_store, "base")
    with new_store.read() as db, pytest.raises(SchemaOutOfDate, match="has no schema yet"):
        revision.require(db, new_store)


def test_an_older_store_is_refused_with_the_command_that_upgrades_it(store):
    set_revision(store, "0000")
    with store.read() as db, pytest.raises(SchemaOutOfDate) as caught:
        revision.require(db, store)
    assert str(caught.value) == f"{store.label} is at revision 0000; this version needs {revision.REVISION}"
    assert caught.value.hint == f"run: sessiontape db upgrade --store '{store.label}'"


def test_a_newer_store_is_refused_and_left_as_it_is(store):
    set_revision(store, "9999")
    with store.read() as db, pytest.raises(SchemaOutOfDate) as caught:
        revision.require(db, store)
    assert str(caught.value) == f"{store.label} is at revision 9999; this version works with {revision.REVISION}"
    assert "pip install --upgrade sessiontape" in caught.value.hint
    for change in (migrate.upgrade, lambda store: migrate.downgrade(store, "base")):
        with pytest.raises(SchemaOutOfDate, match="9999"):
            change(store)
    assert revision_of(store) == "9999"
    assert "sessions" in tables(store)


@pytest.mark.parametrize("name", ["", "0000", "head", "-1", "base; DROP TABLE sessions", "\0"])
def test_an_unknown_revision_to_go_down_to_is_an_error_that_names_the_known_ones(store, name):
    with pytest.raises(SettingsError, match="unknown revision") as caught:
        migrate.downgrade(store, name)
    assert caught.value.hint.startswith("known are: base, 0001")
    assert revision_of(store) == revision.REVISION


def test_a_store_that_is_not_there_cannot_go_down(sqlite_url, tmp_path):
    store = Store(sqlite_url)
    with pytest.raises(StorageUnavailable, match="there is no store"):
        migrate.downgrade(store, "base")
    store.close()
    assert list(tmp_path.iterdir()) == []


# A SQLite file


def test_upgrading_makes_the_file_for_its_owner_alone_and_in_wal_mode(sqlite_url, tmp_path):
    store = Store(sqlite_url)
    migrate.upgrade(store)
    with store.read() as db:
        assert db.execute(text("PRAGMA journal_mode")).scalar() == "wal"
        modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    store.close()
    assert modes == {"tape.db": 0o600, "tape.db-wal": 0o600, "tape.db-shm": 0o600}
