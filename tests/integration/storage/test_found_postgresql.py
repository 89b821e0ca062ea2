"""PostgreSQL databases as others have set them up: their defaults, their encoding, and a pooler in front."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from proxy_addon.errors import StorageBusy, StorageUnavailable
from storage import exchanges, migrate, saving, sessions
from storage.engine import Store
from storage.filters import Filters
from tests import pgbouncer, postgres, processes
from tests.builders import BEGIN, START_PARAMS, body, event_dict, exchange, start, unjudged
from tests.processes import Answer, Server, printed, run

NAME = "Amélie … 東京 €"
OTHER_DEFAULTS = {
    "datestyle": "'German, DMY'",
    "timezone": "'America/New_York'",
    "search_path": "tape",
    "extra_float_digits": "'-5'",
    "default_transaction_isolation": "'serializable'",
    "synchronous_commit": "off",
    "idle_in_transaction_session_timeout": "'100ms'",
}


@contextmanager
def with_schema(server: postgres.Server, **settings: str) -> Iterator[str]:
    """Give the URL of a database that has a schema called ``tape`` beside the usual one."""
    with server.unlike_ours(**settings) as url:
        with psycopg.connect(url) as db:
            db.execute("CREATE SCHEMA tape")
        yield url


def begin(media_id: str) -> bytes:
    return body(event_dict("sessionStart", params={**START_PARAMS, "media.id": media_id, "media.name": NAME}))


def play(proxy: Server, media_id: str = "m") -> None:
    """Play a session of three exchanges."""
    started = proxy.ask("POST", "/api/v1/sessions", begin(media_id))
    assert started.status == 201
    events = f"{started.header('Location')}/events"
    for kind in ("play", "sessionEnd"):
        answer: Answer = proxy.ask("POST", events, body(event_dict(kind, playhead=12.345678901234567)))
        assert answer.status == 204


def recorded(store_url: str, tmp_path: Path) -> tuple[dict[str, Any], str]:
    """Record a session with the command; return what is shown of it, and what the recorder has said."""
    with processes.collector(tmp_path) as upstream, processes.recorder(tmp_path, upstream.url, store_url) as proxy:
        play(proxy)
    assert "3 exchanges stored, 0 lost" in proxy.process.output
    shown: dict[str, Any] = printed("show", "--store", store_url, printed("sessions", "--store", store_url)[0]["id"])
    return shown, proxy.process.output


@contextmanager
def opened(url: str) -> Iterator[Store]:
    with closing(Store(url)) as store:
        migrate.upgrade(store)
        yield store


def save(store: Store, *judged: Any) -> None:
    recording = saving.RecordingRun(id="r", name=None, started_at=BEGIN, version="0")
    saving.save_batch(store, recording, unjudged(list(judged)))


class TestDefaults:
    def test_defaults_of_the_database_change_nothing(self, postgres, tmp_path):
        with with_schema(postgres, **OTHER_DEFAULTS) as url:
            began = datetime.now(UTC)
            shown, _ = recorded(url, tmp_path)
            for each in shown["exchanges"]:
                assert began <= datetime.fromisoformat(each["received_at"]) <= datetime.now(UTC)
            with psycopg.connect(url) as db:
                tables = db.execute(
                    "SELECT DISTINCT schemaname FROM pg_tables WHERE tablename ~ 'exchanges'"
                ).fetchall()
                assert tables == [("tape",)], "the search path is as the database gives it"

    def test_every_transaction_has_what_it_relies_on(self, postgres):
        asked = (
            "client_encoding",
            "datestyle",
            "timezone",
            "search_path",
            "synchronous_commit",
            "transaction_isolation",
            "idle_in_transaction_session_timeout",
        )
        with with_schema(postgres, **OTHER_DEFAULTS) as url, opened(url) as store:
            save(store, exchange(id="e", path="/api/v1/sessions/x/events", body=body(event_dict(playhead=1 / 3))))
            for use, level in ((store.read, "repeatable read"), (store.write, "read committed")):
                with use() as db:
                    assert db.execute(text("SELECT playhead_s FROM exchanges")).scalar() == 1 / 3
                    found = [db.execute(text(f"SHOW {name}")).scalar() for name in asked]
                    assert found == ["UTF8", "ISO, DMY", "UTC", "tape", "on", level, "0"]

    def test_a_transaction_that_the_server_ends_is_an_error_that_the_next_attempt_may_not_meet(self, postgres_url):
        def idle_too_long(store: Store) -> None:
            with store.write() as db, psycopg.connect(postgres_url, autocommit=True) as admin:
                own = db.execute(text("SELECT pg_backend_pid()")).scalar()
                db.execute(text("SET LOCAL idle_in_transaction_session_timeout = '10ms'"))
                while admin.execute("SELECT 1 FROM pg_stat_activity WHERE pid = %s", [own]).fetchone():
                    pass
                db.execute(text("SELECT 1"))

        with opened(postgres_url) as store:
            with pytest.raises(StorageUnavailable, match="idle-in-transaction timeout"):
                idle_too_long(store)
            save(store, exchange(id="e"))

    @pytest.mark.parametrize("given", ["-csearch_path=tape", "-c search_path=tape,public", "--search_path=tape"])
    def test_the_search_path_of_the_url_is_kept(self, postgres, given):
        with with_schema(postgres) as url:
            options = given.replace(" ", "%20").replace("=", "%3D")
            with opened(f"{url}&options={options}") as store, store.read() as db:
                assert db.execute(text("SELECT 'tape.exchanges'::regclass = 'exchanges'::regclass")).scalar()

    def test_statements_are_not_prepared_on_the_server(self, postgres_url):
        with opened(postgres_url) as store:
            for number in range(8):
                save(store, start(id=f"s{number}"))
            with store.read() as db:
                assert db.execute(text("SELECT count(*) FROM pg_prepared_statements")).scalar() == 0


class TestEncodings:
    @pytest.mark.parametrize(
        ("encoding", "listed"),
        [("LATIN1", "Amélie ? ?? ?"), ("WIN1252", "Amélie … ?? €"), ("EUC_JP", "Amélie … 東京 ?"), ("SQL_ASCII", NAME)],
    )
    def test_what_an_encoding_lacks_is_a_question_mark_in_lists_and_nothing_is_lost(
        self, postgres, tmp_path, encoding, listed
    ):
        with postgres.unlike_ours(encoding) as url:
            shown, told = recorded(url, tmp_path)
            assert shown["session"]["media_name"] == listed
            assert shown["exchanges"][0]["request"]["body"] == {"text": begin("m").decode()}
            assert ("lists show ? for characters that it lacks" in told) == (encoding != "SQL_ASCII")
            for wanted in ("--media", "--player"):
                assert printed("sessions", wanted, "東京…", "--store", url) == []
            assert len(printed("sessions", "--media", shown["session"]["media_name"], "--store", url)) == 1
            assert run("show", "東京", "--store", url).returncode == 2

    @pytest.mark.parametrize("encoding", ["LATIN2", "EUC_JP", "SQL_ASCII"])
    def test_text_of_the_wire_comes_back_exactly(self, postgres, encoding):
        path = "/api/v1/sessions/ü\\x41ÿ\0\\/events"
        with postgres.unlike_ours(encoding) as url, opened(url) as store:
            save(store, exchange(id="e", path=path, body=b"\xff\0"))
            with store.read() as db:
                (found,) = exchanges.get(db, ["e"])
                (session,) = sessions.newest(db, Filters(), now=BEGIN)
                assert sessions.find(db, session.session_id or "").id == session.id
            assert (found.request.path, found.request.body) == (path, b"\xff\0")
            assert session.session_id == "ü\\x41ÿ\0\\"

    def test_an_encoding_that_counts_bytes_gets_a_label_that_fits(self, postgres, caplog):
        with postgres.unlike_ours("SQL_ASCII") as url, opened(url) as store:
            headers = (("User-Agent", "é" * 400),)
            save(store, exchange(id="e", headers=headers))
            with store.read() as db:
                (found,) = exchanges.get(db, ["e"])
                assert found.request.headers == headers
                assert db.execute(text("SELECT user_agent FROM exchanges")).scalar() == "?" * 400
        assert "stored with ? for non-ASCII characters: /api/v1/sessions: value too long" in caplog.text

    def test_a_row_that_the_database_refuses_for_one_text_is_stored_with_it_replaced(self, postgres_url):
        with opened(postgres_url) as store:
            with store.write() as db:
                db.execute(text("ALTER TABLE sessions ADD CHECK (media_name <> 'Amélie')"))
            sent = start(id="s", body=body(event_dict("sessionStart", params={**START_PARAMS, "media.name": "Amélie"})))
            save(store, sent)
            with store.read() as db:
                (session,) = sessions.newest(db, Filters(), now=BEGIN)
                (found,) = exchanges.get(db, ["s"])
            assert (session.media_name, found.request.body) == ("Am?lie", sent.request.body)

    def test_a_value_that_is_too_large_for_an_index_keeps_nothing_else_waiting(self, postgres_url):
        """The writer waits for a store that is unreachable; here, waiting would never end."""
        with opened(postgres_url) as store:
            with store.write() as db:
                db.execute(text("CREATE INDEX mine ON exchanges (path)"))
            path = "/api/v1/sessions/" + "".join(hashlib.sha256(bytes([n])).hexdigest() for n in range(200))
            with pytest.raises(OperationalError, match="index row requires"):
                save(store, exchange(id="e", path=path))

    def test_an_encoding_without_a_conversion_is_refused(self, postgres, tmp_path):
        with postgres.unlike_ours("MULE_INTERNAL") as url:
            done = run("record", "--upstream", "http://127.0.0.1:9", *processes.ANY_PORT, "--store", url, cwd=tmp_path)
        assert done.returncode == 2
        assert "conversion between UTF8 and MULE_INTERNAL is not supported" in done.stderr
        assert "make a database with ENCODING 'UTF8'" in done.stderr


@pytest.mark.skipif(pgbouncer.PROGRAM is None, reason="PgBouncer is not installed; Debian's package is 'pgbouncer'")
class TestPooler:
    """PgBouncer, which hands each transaction another connection than the one before."""

    def test_everything_is_stored_while_others_use_the_same_connections(self, postgres, postgres_url, tmp_path):
        with (
            pgbouncer.before(postgres, pool_mode="transaction", default_pool_size=3) as folder,
            processes.collector(tmp_path) as upstream,
            processes.collector(tmp_path, name="target") as target,
        ):
            url = pgbouncer.url(postgres_url, folder)
            with (
                processes.recorder(tmp_path, upstream.url, url) as proxy,
                spoiling(url),
                ThreadPoolExecutor(4) as players,
            ):
                list(players.map(lambda number: play(proxy, f"m{number}"), range(20)))
            assert "60 exchanges stored, 0 lost" in proxy.process.output
            assert "WARNING" not in proxy.process.output
            assert {each["exchanges"] for each in printed("sessions", "--store", url)} == {3}
            replayed = run("replay", "--all", "--target", target.url, "--speed", "max", "--store", url)
            assert replayed.returncode == 0, replayed.stderr
            assert len(target.received()) == 60
        with psycopg.connect(postgres_url) as db:
            assert db.execute(
                "SELECT count(*), max(received_at) - min(received_at) < '1h' FROM exchanges"
            ).fetchone() == (
                60,
                True,
            )

    def test_a_lock_of_one_process_holds_through_the_pooler(self, postgres, postgres_url):
        """The pooler would hand a lock of the connection, together with the connection, to the next program."""
        with pgbouncer.before(postgres, pool_mode="transaction", default_pool_size=2) as folder:
            url = pgbouncer.url(postgres_url, folder)
            with closing(Store(url)) as one, closing(Store(url)) as other, closing(Store(postgres_url)) as direct:
                with one.alone("run-1", "run 1"):
                    for store in (other, direct, other):
                        with pytest.raises(StorageBusy), store.alone("run-1", "run 1"):
                            pass
                        with store.alone("run-2", "run 2"):
                            pass
                for store in (other, direct):
                    with store.alone("run-1", "run 1"):
                        pass

    def test_a_pool_without_a_connection_for_the_lock_is_named(self, postgres, postgres_url):
        settings = {"pool_mode": "transaction", "default_pool_size": 1, "query_wait_timeout": 1}
        with (
            pgbouncer.before(postgres, **settings) as folder,
            closing(Store(pgbouncer.url(postgres_url, folder))) as one,
            closing(Store(one.url)) as other,
            one.alone("run-1", "run 1"),
            pytest.raises(StorageUnavailable, match="query_wait_timeout") as caught,
            other.write(),
        ):
            pass
        assert "default_pool_size" in caught.value.hint

    def test_a_search_path_is_kept_if_the_pooler_ignores_it_and_an_error_if_the_pooler_refuses_it(
        self, postgres, tmp_path
    ):
        options = "&options=-csearch_path%3Dtape"
        record = ("record", "--upstream", "http://127.0.0.1:9", *processes.ANY_PORT, "--store")
        with with_schema(postgres) as direct:
            with pgbouncer.before(postgres, pool_mode="transaction") as folder:
                refused = run(*record, pgbouncer.url(direct, folder) + options, cwd=tmp_path)
            with pgbouncer.before(postgres, pool_mode="transaction", ignore_startup_parameters="options") as folder:
                recorded(pgbouncer.url(direct, folder) + options, tmp_path)
            with psycopg.connect(direct) as db:
                assert db.execute("SELECT count(*) FROM tape.exchanges").fetchone() == (3,)
        assert refused.returncode == 2
        assert "unsupported startup parameter: options" in refused.stderr
        assert "ALTER ROLE" in refused.stderr

    def test_one_that_does_not_keep_a_transaction_together_is_refused(self, postgres, postgres_url, tmp_path):
        with pgbouncer.before(postgres, pool_mode="statement") as folder:
            url = pgbouncer.url(postgres_url, folder)
            done = run("record", "--upstream", "http://127.0.0.1:9", *processes.ANY_PORT, "--store", url, cwd=tmp_path)
        assert done.returncode == 2
        assert "pool_mode = transaction, or session" in done.stderr
        assert "Traceback" not in done.stderr


@contextmanager
def spoiling(url: str) -> Iterator[None]:
    """Act as another program that changes settings on the connections that the pooler hands to it."""
    over = threading.Event()

    def spoil() -> None:
        with psycopg.connect(url, autocommit=True, prepare_threshold=None) as db:
            while not over.wait(0.01):
                for setting in ("search_path = pg_catalog", "extra_float_digits = -5", "synchronous_commit = off"):
                    db.execute(f"SET {setting}".encode())

    thread = threading.Thread(target=spoil)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
