"""The journal: what was answered for is in it, whatever ends the writer or fails below it; and what is read of it."""

from __future__ import annotations

import errno
import json
import os
import queue
import random
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

import pytest

from proxy_addon.errors import SettingsError
from proxy_addon.journal import channel, folders, messages, segments
from proxy_addon.journal.client import Client, await_filed
from proxy_addon.journal.entries import About, Counted, Dropped, Entry, Exchanged
from proxy_addon.journal.reading import Folder, is_alive, waiting
from proxy_addon.journal.writing import Journal, Refused, Unmade

SOON_S = 30

WRITER = """
import os, sys
from pathlib import Path
from proxy_addon.journal.entries import About, Exchanged
from proxy_addon.journal.writing import Journal

folder, askers, segment_bytes = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
about = About(run="r", started_us=1, program="1", engine="lane")
journal = Journal(folder, about, durable=True, call=lambda tell, *args: tell(*args), segment_bytes=segment_bytes)
last = 0

def ask():
    global last
    last += 1
    mine = last
    journal.saw()
    body = os.urandom(20000 if mine % 50 == 0 else mine * 7919 % 3000)
    journal.put(Exchanged(id=str(mine), received_us=mine, outcome="answered", request=b"", request_body=body), lambda error: done(mine))

def done(mine):
    os.write(1, b"%d\\n" % mine)
    ask()

for _ in range(askers):
    ask()
sys.stdin.read()
"""
"""Tells on stdout what was committed."""

OUTAGE = """
import json, logging, queue, resource, sys, time
from pathlib import Path
from proxy_addon.journal.entries import About, Exchanged
from proxy_addon.journal.writing import Journal

lines, told = [], []
handler = logging.Handler()
handler.emit = lambda record: lines.append(record.getMessage())
logging.getLogger().addHandler(handler)
about = About(run="r", started_us=1, program="1", engine="lane")
journal = Journal(Path(sys.argv[1]), about, durable=True, call=lambda tell, *args: tell(*args), segment_bytes=2**20,
                  memory_bytes=100_000, on_trouble=told.append, on_loss=lambda: told.append("loss"))
unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
last = 0

def put(count):
    global last
    answers = queue.SimpleQueue()
    for _ in range(count):
        last += 1
        journal.saw()
        head = b"POST /%d HTTP/1.1\\r\\n\\r\\n" % last
        journal.put(Exchanged(id=str(last), received_us=last, outcome="answered", request=head, request_body=bytes(2000)), answers.put)
    return [answers.get(timeout=30) is None for _ in range(count)]

def limit(bytes):
    resource.setrlimit(resource.RLIMIT_FSIZE, (bytes, unlimited[1]))

whole = put(10)
limit(200_000)  # of each file: a segment fails when it is longer, and the next one does not
whole += [each for _ in range(100) for each in put(1)]
limit(0)
without = [each for _ in range(100) for each in put(1)]
counts = journal.counts()
resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
while None not in told:
    time.sleep(0.02)
again = put(5)
end = journal.close(30)
print(json.dumps({"whole": whole, "without": without, "again": again, "told": told, "lines": lines,
                  "waiting": counts.waiting, "dropped": counts.dropped, "end": [end.seen, end.journaled, end.dropped, end.waiting]}))
"""
"""Writes while the system lets files grow, while it lets them grow a little, while it does not, and again."""


TOO_MANY = """
import json, os, resource, socket, sys, time
from pathlib import Path
from proxy_addon.journal.channel import Server

server = Server(Path(sys.argv[1]))
address = "127.0.0.1", json.loads((Path(sys.argv[1]) / "ingest.json").read_bytes())["port"]
client = socket.socket()
allowed = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (client.fileno() + 1, allowed[1]))
client.connect(address)
began_s = time.process_time()
time.sleep(0.7)
busy_s = time.process_time() - began_s
resource.setrlimit(resource.RLIMIT_NOFILE, allowed)
until_s = time.monotonic() + 30
while not server._peers and time.monotonic() < until_s:
    time.sleep(0.02)
print(json.dumps([busy_s, bool(server._peers)]))
"""
"""Has a client connect while no file can be opened, and tells how long the processor was busy, and whether it is let in."""


def about(run: str = "r", worker: int = 0, started_us: int = 1) -> About:
    return About(run=run, worker=worker, started_us=started_us, program="1", engine="lane")


def exchanged(number: int, body: bytes = b"") -> Exchanged:
    head = f"POST /{number} HTTP/1.1\r\n\r\n".encode()
    return Exchanged(id=str(number), received_us=number, outcome="answered", request=head, request_body=body)


def unmade(make: Callable[[], Exchanged | None], number: int, size: int = 0) -> Unmade:
    def named(reason: str) -> Dropped:
        return Dropped(id=str(number), received_us=number, method="POST", path=f"/{number}", reason=reason)

    return Unmade(make, named, size)


def direct(tell, *args) -> None:
    tell(*args)


@contextmanager
def writing(folder: Path, own: About | None = None, **options) -> Iterator[Journal]:
    journal = Journal(folder, own or about(), durable=True, call=direct, **options)
    try:
        yield journal
    finally:
        journal.close(SOON_S)


def put(journal: Journal, entry) -> BaseException | None:
    """Put and wait: each has a commit of its own."""
    answers: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()
    journal.saw()
    journal.put(entry, answers.put)
    return answers.get(timeout=SOON_S)


def read(folder: Folder) -> tuple[list[Entry], list[str]]:
    """Read and remove what is there, and return it with what was damaged."""
    entries: list[Entry] = []
    damage: list[str] = []
    for writer in folder.look():
        for segment in writer.segments:
            while found := segment.more():
                entries += [entry for _, entry in found]
                folder.filed(segment)
            if segment.is_final:
                folder.remove(segment)
                damage += [segment.damage] if segment.damage else []
    return entries, damage


@pytest.fixture
def look_into() -> Iterator[Callable[[Path], Folder]]:
    """Begins to read a folder, until the test is over."""
    opened: list[Folder] = []

    def look_into(path: Path) -> Folder:
        opened.append(Folder(path))
        return opened[-1]

    yield look_into
    for each in opened:
        each.close()


def numbers(entries: list[Entry]) -> list[int]:
    return [entry.received_us for entry in entries if isinstance(entry, Exchanged)]


def one_segment(folder: Path, count: int, body: bytes = bytes(1000)) -> Path:
    """Write a segment with a row for each exchange, as a dead writer leaves it."""
    with writing(folder) as journal:
        for number in range(count):
            put(journal, exchanged(number, body))
    (path,) = folder.glob("*.tape")
    return path


def test_a_reader_beside_the_writer_gets_everything_in_order(look_into, tmp_path):
    folder = tmp_path / "j"
    with writing(folder, segment_bytes=2**18) as journal:
        reader = look_into(folder)
        got: list[Entry] = []
        for number in range(400):
            assert put(journal, exchanged(number, bytes(3000))) is None
            if number % 10 == 0:
                got += read(reader)[0]
        names = {path.name for path in folder.iterdir()}
        assert journal.counts().journaled == 400
    assert len([name for name in names if name.endswith(".tape")]) <= 2, "read segments are gone"
    assert max(path.name for path in folder.glob("*.tape")) > "r.000.000005"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}

    last, damage = read(reader)
    assert numbers(got + last) == list(range(400))
    assert damage == []
    assert isinstance(last[-1], Counted)
    assert (last[-1].seen, last[-1].journaled, last[-1].dropped, last[-1].is_end) == (400, 400, 0, True)
    assert reader.look() == []
    assert [path.name for path in folder.iterdir()] == []


@pytest.mark.parametrize("seed", range(8))
def test_what_was_answered_for_survives_kill_9(look_into, tmp_path, seed):
    chance = random.Random(seed)
    is_read_meanwhile = seed % 2 == 0
    command = [sys.executable, "-c", WRITER, tmp_path, str(chance.choice([1, 8, 32])), str(2**17)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        stdout = process.stdout
        assert stdout is not None
        answered = stdout.readline()
        reader = look_into(tmp_path)
        entries: list[Entry] = []
        rest: list[bytes] = []
        draining = threading.Thread(target=lambda: rest.append(stdout.read()))
        draining.start()
        until = time.monotonic() + chance.random() * 0.3
        while time.monotonic() < until:
            if is_read_meanwhile:
                entries += read(reader)[0]
        process.kill()
        draining.join()
    answered += rest[0]

    more, damage = read(reader)
    entries += more
    got = numbers(entries)
    assert {int(line) for line in answered.split(b"\n")[:-1]} <= set(got)
    assert got == sorted(set(got)), "in order, none twice"
    assert damage == []
    assert reader.look() == []
    assert {path.suffix for path in tmp_path.iterdir()} <= {folders.ALIVE}, "what was being made is deleted"


@pytest.mark.skipif(sys.platform == "win32", reason="the system has no limit of the size of files")
def test_exchanges_wait_in_memory_while_the_disk_takes_nothing_and_losses_are_named(look_into, tmp_path):
    done = subprocess.run([sys.executable, "-c", OUTAGE, tmp_path], capture_output=True, text=True, check=True)
    said = json.loads(done.stdout)
    lines = [line for line in said["lines"] if "nearly full" not in line]
    lost = [line for line in lines if line.startswith("lost: ")]

    assert all(said["whole"])
    assert sum("is given up: disk I/O error" in line for line in lines) >= 1
    assert not any(said["without"]), "nobody waits for a disk that does not work"
    assert said["waiting"] > 0
    assert said["waiting"] + said["dropped"] == 100
    assert all(said["again"])
    assert said["end"] == [215, 215 - said["dropped"], said["dropped"], 0]
    assert said["told"] == ["disk I/O error", "loss", None]
    assert [line for line in lines if "cannot be written:" in line and "lost" not in line] != []
    assert lines[-1].startswith("the journal can be written again after ")
    assert len(lost) == len(set(lost)) == said["dropped"]
    assert lost[0].startswith(f"lost: POST /{111 + said['waiting']} of 1970-01-01T00:00:00.")

    entries, damage = read(look_into(tmp_path))
    assert damage == []
    dropped = [entry.received_us for entry in entries if isinstance(entry, Dropped)]
    assert sorted(set(numbers(entries)) | set(dropped)) == list(range(1, 216))
    assert len(dropped) == said["dropped"]
    assert isinstance(entries[-1], Counted)
    assert (entries[-1].seen, entries[-1].journaled, entries[-1].dropped) == tuple(said["end"][:3])


def test_one_exchange_that_cannot_be_journaled_takes_no_other_with_it(look_into, tmp_path, caplog):
    def refuse() -> Exchanged:
        raise Refused(Dropped(id="4", received_us=4, method="POST", path="/x", reason="cannot be pseudonymised"))

    def fail() -> Exchanged:
        raise KeyError("a secret")

    answers: queue.SimpleQueue[tuple[int, BaseException | None]] = queue.SimpleQueue()
    go = threading.Event()

    def wait() -> None:
        go.wait()

    def unable(_: BaseException | None) -> None:
        raise ValueError("what waited is broken")

    with writing(tmp_path) as journal:
        journal.put(unmade(wait, 99), unable)  # the others come in one batch
        unwritable = Dropped(id="7", received_us=7, method="GET", path="/\udcff", reason="cannot be pseudonymised")

        def refuse_oddly() -> Exchanged:
            raise Refused(unwritable)

        odd = Exchanged(
            id="6", received_us=6, outcome="answered", request=b"GET /6 HTTP/1.1\r\n\r\n", reason="a guest\ud800"
        )
        entries: list[Exchanged | Unmade] = [
            exchanged(0),
            unmade(lambda: exchanged(1), 1),
            unmade(lambda: None, 2),
            exchanged(3),
            unmade(refuse, 4),
            unmade(fail, 5),
            odd,
            unmade(refuse_oddly, 7),
            unmade(fail, 8),
        ]
        for number, entry in enumerate(entries):
            journal.put(entry, partial(lambda number, error: answers.put((number, error)), number))
        go.set()
        errors = dict(answers.get(timeout=SOON_S) for _ in range(9))
    assert [number for number, error in sorted(errors.items()) if error is not None] == [4, 5, 6, 7, 8]
    assert any(line.startswith("what waited for the journal could not be told") for line in caplog.messages)
    lost = [record.getMessage() for record in caplog.records if "lost" in record.getMessage()]
    assert len(lost) == 5
    assert "POST /x of 1970" in lost[0]
    assert "a secret" not in "".join(lost)
    assert any("GET /6" in line and "a guest" not in line for line in lost)

    found, _ = read(look_into(tmp_path))
    assert numbers(found) == [0, 1, 3]
    dropped = {entry.id: entry for entry in found if isinstance(entry, Dropped)}
    assert dropped.keys() == {"4", "5", "6", "7", "8"}
    assert (dropped["5"].path, dropped["5"].reason) == ("/5", "KeyError")
    assert dropped["7"].path == "/?"


def test_a_writer_whose_disk_hangs_is_left_and_what_it_had_is_lost_by_name(tmp_path, monkeypatch, caplog):
    hangs, goes_on = threading.Event(), threading.Event()
    append = segments.Growing.append

    def hang(self, count: int, x: bytes) -> None:
        hangs.set()
        goes_on.wait()
        append(self, count, x)

    answers: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()
    journal = Journal(tmp_path, about(), durable=True, call=direct)
    monkeypatch.setattr(segments.Growing, "append", hang)
    journal.put(exchanged(1), answers.put)
    assert hangs.wait(SOON_S)
    journal.put(exchanged(2), answers.put)
    counts = journal.close(0.05)
    assert (counts.journaled, counts.dropped) == (0, 2)
    assert all(answers.get(timeout=SOON_S) for _ in range(2))
    journal.put(exchanged(3), answers.put)
    assert answers.get(timeout=SOON_S) is not None
    goes_on.set()
    journal._thread.join(SOON_S)
    assert not journal._thread.is_alive()
    assert journal.counts() == journal.counts()
    assert journal.counts().dropped == 3
    assert sum("lost: POST /" in record.getMessage() for record in caplog.records) == 3


def test_what_waits_for_a_disk_that_hangs_is_bounded(look_into, tmp_path, monkeypatch, caplog):
    hangs, goes_on = threading.Event(), threading.Event()
    append = segments.Growing.append

    def hang(self, count: int, x: bytes) -> None:
        hangs.set()
        goes_on.wait()
        append(self, count, x)

    lost: list[object] = []
    answers: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()
    with writing(tmp_path, memory_bytes=50_000, on_loss=lambda: lost.append(None)) as journal:
        monkeypatch.setattr(segments.Growing, "append", hang)
        for number in range(100):
            journal.saw()
            made = partial(exchanged, number, bytes(2000))
            journal.put(made() if number % 2 else unmade(made, number, 2000), answers.put)
        assert hangs.wait(SOON_S)
        dropped = journal.counts().dropped
        assert 80 <= dropped <= 85
        assert all("MiB wait to be written already" in str(answers.get(timeout=SOON_S)) for _ in range(dropped))
        assert [sum(f"lost: POST /{number} " in line for line in caplog.messages) for number in (98, 99)] == [1, 1]
        journal.saw()
        refused = Dropped(id="personal", received_us=1, method="POST", path="/named", reason="cannot be pseudonymised")
        journal.drop(refused, answers.put)
        assert isinstance(answers.get(timeout=SOON_S), Refused)
        goes_on.set()
        assert [answers.get(timeout=SOON_S) for _ in range(100 - dropped)] == [None] * (100 - dropped)
        assert put(journal, exchanged(100)) is None, "there is room again"
    entries, _ = read(look_into(tmp_path))
    assert numbers(entries) == [*range(100 - dropped), 100]
    assert len({entry.id for entry in entries if isinstance(entry, Dropped)}) == dropped + 1
    assert (journal.counts().seen, journal.counts().dropped, len(lost)) == (102, dropped + 1, 1)
    assert sum("lost: POST /named" in line for line in caplog.messages) == 1
    assert sum("lost: POST /99" in line for line in caplog.messages) == 1


def test_a_folder_that_is_removed_is_missed_and_what_was_in_it_is_written_again(look_into, tmp_path, caplog):
    told: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    folder = tmp_path / "journal"
    with writing(folder, on_trouble=told.put) as journal:
        for number in range(3):
            assert put(journal, exchanged(number)) is None
        shutil.rmtree(folder)
        assert isinstance(put(journal, exchanged(3)), FileNotFoundError), "its answer does not wait"
        assert told.get(timeout=SOON_S) == "its files were removed"
        assert told.get(timeout=SOON_S) is None
        assert put(journal, exchanged(4)) is None
        assert is_alive(folder, "r.000")
        for path in folder.glob("*.tape*"):
            path.unlink()
        assert put(journal, exchanged(5)) is None
        assert journal.counts().dropped == 0
    assert numbers(read(look_into(folder))[0]) == [0, 1, 2, 3, 4, 5]
    assert sum("is written again" in record.getMessage() for record in caplog.records) == 2


def test_nothing_is_added_to_a_segment_that_a_reader_may_take_for_finished(look_into, tmp_path, monkeypatch):
    publish = segments.publish

    def fails(path: Path, *, durable: bool) -> None:
        publish(path, durable=durable)
        raise OSError(errno.EMFILE, "too many open files")

    with writing(tmp_path, segment_bytes=2**16) as journal:
        folder = look_into(tmp_path)
        (writer,) = folder.look()
        (first,) = writer.segments
        with monkeypatch.context() as patched:
            patched.setattr(segments, "publish", fails)
            number = 0
            while put(journal, exchanged(number, bytes(1000))) is None:
                number += 1
        while first.more():
            pass
        for again in range(5):
            put(journal, exchanged(number + 1 + again))
        assert first.more() == []
    rest = numbers(read(folder)[0])
    assert rest == list(range(number, number + 6)), "the others are in the next one"


@pytest.mark.parametrize("is_in", ["file", "row", "log"])
def test_what_is_whole_of_a_damaged_segment_is_read_and_the_rest_set_aside(look_into, tmp_path, caplog, is_in):
    body = b"\x01" * 1000
    path = one_segment(tmp_path, 60, body)
    log = segments.beside(path, segments.LOG)
    if is_in == "log":  # as if the machine had been restarted: SQLite reads the log up to what is damaged
        segments.beside(path, segments.INDEX).unlink()
    else:
        segments.compact(path, durable=False)
    damaged = log if is_in == "log" else path
    content = bytearray(damaged.read_bytes())
    if is_in == "row":
        content[content.index(body, 10 * 4096) + 500] = 2
    else:
        at = len(content) // 2 // 4096 * 4096
        content[at : at + 4096] = b"\x5a" * 4096
    damaged.write_bytes(content)

    reader = look_into(tmp_path)
    entries, damage = read(reader)
    assert len(damage) == 1
    got = numbers(entries)
    assert got == sorted(set(got))
    assert set(got) < set(range(60))
    assert got[0] == 0
    if is_in == "log":
        assert "commits are behind a damaged place of its log" in damage[0]
    else:
        assert got[-1] == 59
        assert 60 - len(got) <= 8
        assert damage[0].startswith(f"{60 - len(got)} entries cannot be read: ")
    assert reader.look() == []
    assert path.name in {each.name for each in folders.aside(tmp_path).iterdir()}
    (line,) = [record.getMessage() for record in caplog.records if "is damaged" in record.getMessage()]
    assert str(folders.aside(tmp_path)) in line


def test_a_torn_last_commit_is_no_damage(look_into, tmp_path):
    path = one_segment(tmp_path, 20)
    segments.beside(path, segments.INDEX).unlink()
    log = segments.beside(path, segments.LOG)
    with log.open("r+b") as file:
        file.truncate(log.stat().st_size - 100)
    entries, damage = read(look_into(tmp_path))
    assert numbers(entries) == list(range(20)), "only the last counts were torn"
    assert damage == []


@pytest.mark.parametrize("content", [b"", b"no segment at all" * 1000])
def test_a_segment_that_is_none_is_set_aside(look_into, tmp_path, content):
    (tmp_path / "r.000.000001.tape").write_bytes(content)
    entries, damage = read(look_into(tmp_path))
    assert entries == []
    assert damage[0].startswith("nothing in it can be read: ")
    assert (folders.aside(tmp_path) / "r.000.000001.tape").read_bytes() == content


def test_what_a_newer_version_wrote_and_what_is_nobodys_is_left_alone_and_told_once(look_into, tmp_path, caplog):
    path = one_segment(tmp_path, 1)
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version=2")
        db.execute("DROP TABLE about")
    (tmp_path / "notes.txt").write_text("mine")
    with writing(tmp_path, about("s")) as journal:
        put(journal, exchanged(7))
        reader = look_into(tmp_path)
        assert [[segment.about.run for segment in writer.segments] for writer in reader.look()] == [["s"]]
        reader.look()
    told = [record.getMessage() for record in caplog.records if "left alone" in record.getMessage()]
    assert len(told) == 2
    assert numbers(read(reader)[0]) == [7]
    assert path.exists()
    assert (tmp_path / "notes.txt").exists()


def test_only_what_a_dead_writer_was_making_is_deleted(look_into, tmp_path):
    with writing(tmp_path, about("alive")) as journal:
        put(journal, exchanged(1))
        for run in "alive", "dead":
            for suffix in ("", "-wal", "-journal"):
                (tmp_path / f"{run}.000.000009.tape.new{suffix}").write_bytes(b"half")
        (tmp_path / "dead.000.000008.tape-wal").write_bytes(b"published before the segment itself")
        reader = look_into(tmp_path)
        reader.look()
        old = tmp_path / "dead.000.alive"
        old.touch()
        reader.look()
        assert old.exists(), "somebody may be about to lock it"
        os.utime(old, (1, 1))
        reader.look()
        names = {path.name for path in tmp_path.iterdir()}
        assert {name for name in names if name.startswith("dead")} == set()
        assert {"alive.000.alive", "alive.000.000009.tape.new", "alive.000.000009.tape.new-wal"} < names


def test_several_writers_share_a_folder_and_none_has_the_name_of_another(look_into, tmp_path):
    later, earlier = about("a", started_us=9), about("b", started_us=3)
    with (
        writing(tmp_path, later) as one,
        writing(tmp_path, earlier) as two,
        writing(tmp_path, about("b", 1, 3)) as third,
    ):
        for number in range(30):
            for offset, journal in enumerate([one, two, third]):
                assert put(journal, exchanged(3 * number + offset)) is None
        with pytest.raises(SettingsError, match=r"another process writes the journal of b\.001"):
            Journal(tmp_path, about("b", 1, 3), durable=False, call=direct)
        reader = look_into(tmp_path)
        writers = reader.look()
        assert [(writer.run, writer.worker, writer.is_alive) for writer in writers] == [
            ("b", 0, True),
            ("b", 1, True),
            ("a", 0, True),
        ]
        found = [numbers([entry for _, entry in writer.segments[0].more()]) for writer in writers]
    assert found == [list(range(1, 90, 3)), list(range(2, 90, 3)), list(range(0, 90, 3))]

    with writing(tmp_path, later) as again:  # a worker that was started again
        put(again, exchanged(90))
    names = sorted(path.name for path in tmp_path.glob("a.*.tape"))
    assert names == ["a.000.000001.tape", "a.000.000002.tape"]


def test_reading_starts_again_where_it_is_set_back_to(look_into, tmp_path):
    one_segment(tmp_path, 10)
    ((segment,),) = [writer.segments for writer in look_into(tmp_path).look()]
    first = segment.more(4)
    assert [n for n, _ in first] == [1, 2, 3, 4]
    at = segment.at
    rest = segment.more()
    segment.at = at
    assert segment.more() == rest
    assert segment.more() == []
    assert [n for n, _ in first + rest] == list(range(1, 13)), "with the first and the last counts"


def test_waiting_tells_what_has_not_been_filed(look_into, tmp_path):
    folder = tmp_path / "j"
    assert waiting(folder) is None
    with writing(folder) as journal:
        reader = look_into(folder)
        read(reader)
        assert waiting(folder) is None, "a recorder that has nothing to do keeps nobody waiting"
        put(journal, exchanged(5))
        put(journal, exchanged(6))
        found = waiting(folder)
        assert found is not None
        assert (found.exchanges, found.oldest_us) == (2, 5)
        assert found.bytes > 4096
        read(reader)
        assert waiting(folder) is None
        look_into(folder)
        assert waiting(folder) is not None, "what ingest begins anew has to be filed again"


def test_the_folder_of_a_store(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    beside = folders.default(Path("tape.db"), "sqlite:///tape.db")
    assert beside == tmp_path.resolve() / "tape.db.journal"
    assert folders.default(None, "postgresql://x/y").parent == tmp_path / "state" / "sessiontape" / "journal"
    store = (Path("tape.db"), "sqlite:///tape.db")
    assert folders.all_of(*store) == []
    other = tmp_path / "other"
    folders.prepare(other)
    for _ in range(2):
        folders.note_elsewhere(*store, other)
    assert folders.all_of(*store) == [beside, other]
    assert not folders.was_reached(beside)
    folders.mark_reached(beside, *store)
    assert folders.was_reached(beside)
    assert {path.stat().st_mode & 0o777 for path in beside.iterdir()} == {0o600}
    folders.mark_reached(other, *store)
    folders.require_of(other, tmp_path / "tape.db", "sqlite:////…")
    folders.mark_reached(other, tmp_path / "second.db", "sqlite:///second.db")
    assert folders.all_of(*store) == [beside]
    with pytest.raises(SettingsError, match=r"is the journal of sqlite:///.*/second.db, not of sqlite:///.*/tape.db"):
        folders.require_of(other, *store)
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match="cannot write the journal in"):
        Journal(tmp_path / "file" / "j", about(), durable=True, call=direct)


@contextmanager
def ingest(folder: Path, answer: messages.Flushed | messages.Away) -> Iterator[channel.Server]:
    """An ingest process that answers each flush."""
    server = channel.Server(folder)
    is_over = threading.Event()

    def run() -> None:
        while not is_over.is_set():
            server.woken.wait(SOON_S)
            server.woken.clear()
            for asked in server.asked():
                asked.answer(answer)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield server
    finally:
        is_over.set()
        server.woken.set()
        thread.join()
        server.close()


def test_ingest_tells_each_client_what_it_wants(tmp_path):
    told: queue.SimpleQueue[tuple[str, object]] = queue.SimpleQueue()

    def connect(name: str, **options) -> Client:
        on_closed = (lambda: told.put((name, "closed"))) if name == "b" else None
        return Client(tmp_path, on=lambda message: told.put((name, message)), on_closed=on_closed, **options)

    with ingest(tmp_path, messages.Flushed()) as server:
        assert (tmp_path / folders.INGEST).stat().st_mode & 0o777 == 0o600
        a, b, reader = connect("a", run="r1"), connect("b", run="r2", wants=["news"]), connect("reader")
        assert sorted(server.recorders()) == ["r1", "r2"]
        assert server.clients() == 3
        assert server.wants("news")
        assert not server.wants("marks")
        log, news = messages.Log(level="info", text="x"), messages.News(news={"kind": "start"})
        filed, marks = messages.Filed(count=3, run="r1"), messages.Marks(exchange="1", marks=[])
        server.tell(log)
        server.tell(news)
        server.tell(marks)
        server.tell(filed, run="r1")
        assert [client.flush(SOON_S) for client in (a, b, reader)] == [messages.Flushed(number=1)] * 3
        assert a.flush(SOON_S) == messages.Flushed(number=2)
        got = [told.get(timeout=SOON_S) for _ in range(4)]
        assert sorted(got, key=str) == sorted([("a", log), ("b", log), ("b", news), ("a", filed)], key=str)
        a.close()
        while server.clients() != 2:
            assert server.woken.wait(SOON_S)
    assert told.get(timeout=SOON_S) == ("b", "closed")
    assert told.empty()
    assert b.flush(SOON_S) is None, "at once: ingest is gone"
    b.close()
    reader.close()
    assert not (tmp_path / folders.INGEST).exists()
    with pytest.raises(ConnectionError):
        Client(tmp_path, on=print)


def test_ingest_hears_nobody_without_the_secret_and_waits_for_nobody(tmp_path):
    with ingest(tmp_path, messages.Flushed()) as server:
        note = json.loads((tmp_path / folders.INGEST).read_text())
        (tmp_path / "other").mkdir()
        for secret in ("guessed", "gu\u00e9ssed"):
            (tmp_path / "other" / folders.INGEST).write_text(json.dumps({**note, "secret": secret}))
            with pytest.raises(ConnectionError):
                Client(tmp_path / "other", on=print, run="r")
        assert server.recorders() == []

        stuck, gone = threading.Event(), threading.Event()
        sleepy = Client(tmp_path, on=lambda _: stuck.wait(), on_closed=gone.set, run="slow")
        quick = Client(tmp_path, on=lambda _: None, run="quick")
        text = "x" * 2**20
        while "slow" in server.recorders():
            server.tell(messages.Log(level="info", text=text), run="slow")
            assert quick.flush(SOON_S) is not None
        stuck.set()
        assert gone.wait(SOON_S)
        sleepy.close()
        quick.close()


def test_who_does_not_say_who_it_is_is_dropped(tmp_path, monkeypatch):
    with ingest(tmp_path, messages.Flushed()) as server, closing(Client(tmp_path, on=print)) as client:
        assert client.flush(SOON_S) is not None
        monkeypatch.setattr(channel, "_GREETING_S", 0.1)
        note = json.loads((tmp_path / folders.INGEST).read_text())
        with socket.create_connection(("127.0.0.1", note["port"])) as silent:
            silent.settimeout(SOON_S)
            assert silent.recv(1) == b""
        assert client.flush(SOON_S) is not None, "who has said it stays"
        assert server.clients() == 1


@pytest.mark.skipif(sys.platform == "win32", reason="the system has no limit of open files")
def test_too_many_open_files_are_waited_for_without_haste(tmp_path):
    done = subprocess.run([sys.executable, "-c", TOO_MANY, tmp_path], capture_output=True, text=True, check=True)
    busy_s, is_heard = json.loads(done.stdout)
    assert busy_s < 0.3
    assert is_heard


def test_a_command_that_reads_waits_for_what_was_answered(tmp_path):
    assert await_filed(tmp_path / "none") is None
    with writing(tmp_path) as journal:
        put(journal, exchanged(5))
        left = await_filed(tmp_path, 0.1)
        assert left is not None
        assert left.exchanges == 1
        with ingest(tmp_path, messages.Away(reason="refused", waiting=2)):
            assert await_filed(tmp_path) == left
        with ingest(tmp_path, messages.Flushed()):
            assert await_filed(tmp_path) is None


def test_a_command_that_reads_waits_for_ingest_that_is_started_again(tmp_path):
    with writing(tmp_path) as journal, ThreadPoolExecutor() as pool:
        put(journal, exchanged(5))
        reading = pool.submit(await_filed, tmp_path, 20.0)
        with pytest.raises(TimeoutError):
            reading.result(0.3)  # there is a recorder, so it goes on asking
        with ingest(tmp_path, messages.Flushed()):
            assert reading.result(20) is None


def test_a_stream_of_messages_may_be_cut_anywhere_and_has_some_from_another_version():
    frames = [messages.frame_of(messages.Flush(number=number)) for number in range(3)]
    data = b"".join(frames)
    for size in range(1, len(data)):
        stream = messages.Frames(100)
        got = [frame for at in range(0, len(data), size) for frame in stream.feed(data[at : at + size])]
        assert got == [frame[4:] for frame in frames]
    with pytest.raises(ValueError, match="a message of 101 bytes"):
        messages.Frames(100).feed((101).to_bytes(4))
