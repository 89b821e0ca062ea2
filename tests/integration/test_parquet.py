"""Events as Parquet files: readable elsewhere, without personal values, and of the documented columns."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from proxy_addon.cli import cli
from proxy_addon.cli.parquet import write
from proxy_addon.core.fixtures.event_rows import COLUMNS
from storage.engine import Store
from storage.saving import Judged, RecordingRun, save_batch
from tests.builders import BEGIN, batch, event, event_dict, response, start

duckdb = pytest.importorskip("duckdb", reason="the extra 'scale' is installed with Python 3.13 and newer alone")
ROOT = Path(__file__).resolve().parents[2]
DAY_S = 86_400
STRANGE = 'a "quoted"\r\n\\ line, \0, ä and \ud800'
AD = {
    "media.ad.id": "spot",
    "media.ad.podPosition": 2,
    "media.ad.length": "long",
    "visitor.customerIDs": {"crm": "c-77"},
}
SENT = [
    start(id="a1", session_id="aaaa1111"),
    event("adStart", id="a2", session_id="aaaa1111", params=AD, after_s=1, duration_us=1_500),
    event(STRANGE, id="a3", session_id="aaaa1111", playhead=2**60, after_s=DAY_S, params={"x": STRANGE}),
    event("ping", id="a4", session_id="aaaa1111", after_s=DAY_S + 1, body=b'{"eventType":"ping","params":{"x":1e999}}'),
    event("ping", id="a5", session_id="aaaa1111", after_s=DAY_S + 2, body=b"no JSON", response=response(400)),
    batch(id="b1", events=[event_dict("sessionStart"), event_dict("sessionEnd")], after_s=5),
]


@pytest.fixture
def folder(sqlite_url: str, migrated_file: Path, tmp_path: Path) -> Path:
    shutil.copy(migrated_file, sqlite_url.removeprefix("sqlite:///"))
    run = RecordingRun(id="0" * 32, name="of jo.doe@mail.example", started_at=BEGIN, version="0")
    with closing(Store(sqlite_url)) as store:
        save_batch(store, run, [Judged(exchange, ()) for exchange in SENT])
    return tmp_path / "made"


def export(folder: Path, *more: str, names: tuple[str, ...] = ("--all",)) -> Any:
    url = f"sqlite:///{folder.parent / 'tape.db'}"
    command = ["export", *names, "--store", url, "--format", "parquet", "-o", str(folder), *more]
    return CliRunner().invoke(cli, command, standalone_mode=False)


def rows(folder: Path) -> list[dict[str, Any]]:
    query = f"SELECT * EXCLUDE (started_at, received_at), epoch_us(received_at) AS received_us FROM read_parquet('{folder}/*/*.parquet')"
    found = duckdb.sql(f"{query} ORDER BY received_at, pointer")
    return [dict(zip(found.columns, row, strict=True)) for row in found.fetchall()]


def test_each_event_is_a_row_in_the_folder_of_its_day(folder):
    assert export(folder).exception is None
    assert sorted(path.parent.name for path in folder.rglob("*.parquet")) == ["day=2026-03-01", "day=2026-03-02"]
    found = rows(folder)

    assert [row["exchange"] for row in found] == ["a1", "a2", "b1", "b1", "a3", "a4"]
    assert [row["pointer"] for row in found] == ["", "", "/0", "/1", "", ""]
    started, ad, _, _, strange, huge = found
    assert (started["media_id"], started["status"], started["seq"]) == ("video-123", 201, 1)
    assert ad["received_us"] == (BEGIN.timestamp() + 1) * 1_000_000
    assert (ad["ad_id"], ad["ad_position"], ad["ad_length_s"], ad["duration_ms"]) == ("spot", 2.0, None, 1.5)
    assert ad["player_name"] == "HTML5 Player"
    assert json.loads(ad["params"])["media.ad.length"] == "long"
    assert "param-type" in ad["findings"]
    readable = STRANGE.replace("\ud800", "?")
    assert (strange["event_type"], strange["playhead_s"]) == (readable, 2.0**60)
    of_params = duckdb.sql(f"SELECT params ->> '$.x' FROM read_parquet('{folder}/*/*.parquet') WHERE exchange = 'a3'")
    assert of_params.fetchall() == [(readable,)]
    assert json.loads(huge["params"]) == {"x": "1e999"}


def test_personal_values_are_replaced_unless_raw_is_given(folder):
    assert export(folder).exception is None
    assert export(folder.with_name("raw"), "--raw").exception is None
    hidden, raw = rows(folder), rows(folder.with_name("raw"))

    assert "c-77" in raw[1]["params"]
    assert "jo.doe" in raw[0]["recording"]
    assert "c-77" not in str(hidden)
    assert "jo.doe" not in str(hidden)
    assert folder.with_name("raw").stat().st_mode & 0o077 == 0


def test_named_sessions_are_written_like_all(folder):
    one = folder.with_name("one")
    assert export(one, "--raw", names=("aaaa1111",)).exception is None
    assert export(folder, "--raw").exception is None

    assert rows(one) == [row for row in rows(folder) if row["session_id"] == "aaaa1111"]


def test_the_folder_is_whole_or_not_there(folder, monkeypatch):
    folder.mkdir()
    (folder / "mine").touch()
    assert "not empty" in str(export(folder).exception)
    (folder / "mine").unlink()

    from proxy_addon.files import parquet

    def full(self: parquet.EventTable) -> Any:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(parquet.EventTable, "files", full)
        assert export(folder).exception is not None
    with monkeypatch.context() as little:
        little.setitem(parquet._SETTINGS, "memory_limit", "100kB")
        assert "Out of Memory" in str(export(folder).exception)
    assert [path.name for path in folder.parent.iterdir() if "part" in path.name] == []
    assert list(folder.iterdir()) == []
    assert export(folder).exception is None
    assert len(rows(folder)) == 6


def test_large_events_become_several_files_of_a_day(folder, monkeypatch):
    from proxy_addon.files import parquet

    whole = folder.with_name("whole")
    assert export(whole, "--raw").exception is None
    monkeypatch.setattr(parquet, "_BYTES_AT_ONCE", 500)
    monkeypatch.setattr(parquet, "_BYTES_IN_ALL", 1_000)
    assert export(folder, "--raw").exception is None

    assert rows(folder) == rows(whole)
    assert sorted(path.name for path in (folder / "day=2026-03-01").iterdir()) == [
        "part-00000.parquet",
        "part-00001.parquet",
    ]


def test_while_files_are_written_nobody_takes_them_for_events(tmp_path):
    seen: list[Path] = []

    def parts() -> Iterator[list[tuple[str, bytes]]]:
        for day in ("2026-03-01", "2026-03-02"):
            yield [(day, b"")]
            seen.extend(tmp_path.rglob("*.parquet"))

    names = write(tmp_path / "made", parts(), raw=False)
    assert seen == []
    assert [str(path) for path in sorted(tmp_path.rglob("*.*"))] == names


def test_the_columns_are_those_of_the_document(folder):
    assert export(folder).exception is None
    described = duckdb.sql(f"DESCRIBE SELECT * FROM read_parquet('{folder}/*/*.parquet', hive_partitioning = false)")
    listed = re.findall(r"^\| `(\w+)` \| ([A-Z\[\] ]+) \| (.+) \|$", (ROOT / "docs/scale.md").read_text(), re.MULTILINE)

    assert listed == [(column.name, column.kind.value, column.meaning) for column in COLUMNS]
    assert [(name, kind) for name, kind, _ in listed] == [row[:2] for row in described.fetchall()]


def test_the_queries_of_the_document_work(folder, monkeypatch):
    assert export(folder.with_name("events")).exception is None
    monkeypatch.chdir(folder.parent)
    queries = re.findall(r"^```sql\n(.*?)^```", (ROOT / "docs/scale.md").read_text(), re.DOTALL | re.MULTILINE)

    assert len(queries) == 2
    assert [duckdb.sql(query).fetchall() for query in queries] == [[("HTML5 Player", 1, 12.0)], [("js-3.1.0", 2)]]
