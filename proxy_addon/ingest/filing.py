"""From the journal to the store: batches of entries, each in one transaction with its findings and books.

An exchange has its id from its recorder, and is stored once however often it is read. What was read stays in memory until
it is stored, so that a store that comes and goes gets all of it in order. A segment is removed when what was in it is on
the store's disk. What the store refuses is set aside, and the rest goes on.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from proxy_addon.core.books import Loss, Recorder
from proxy_addon.core.exchange import Exchange
from proxy_addon.core.findings import Finding, Verdict
from proxy_addon.core.judging import policy as policies
from proxy_addon.core.judging.inspecting import Inspector
from proxy_addon.core.judging.policy import Policy
from proxy_addon.core.routes import Operation
from proxy_addon.errors import StorageUnavailable
from proxy_addon.ingest import probing
from proxy_addon.ingest.live import Heard, LiveJudge
from proxy_addon.ingest.reaching import Reaching
from proxy_addon.ingest.telling import Telling
from proxy_addon.ingest.watching import Watcher, of_session
from proxy_addon.journal import aside, last_words
from proxy_addon.journal.entries import About, Counted, Dropped, Entry, Exchanged
from proxy_addon.journal.exchanges import exchange_of, origin_form, time_of
from proxy_addon.journal.reading import MOST, MOST_BYTES, Folder, Segment, Unreadable, Writer
from proxy_addon.process import logs
from proxy_addon.process.failures import Failures
from storage import exchanges, findings, losses, recorders, saving, schemas, sessions
from storage.engine import Store, fault

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Connection

logger = logs.logger(__name__)

JUDGED_AT_ONCE = 64 * 1024
"""Largest body, in bytes, that is judged before it is stored; larger ones would keep the others waiting."""
LATE = timedelta(seconds=10)
"""An exchange is late if it is stored so long after its recorder has ended."""


ALIKE = 10
"""How many entries in a row are set aside at most for the same error of the store that has nothing to do with them."""


class _Process:
    """A process of a recorder run: how what it wrote is stored and judged."""

    def __init__(self, about: About, inspector: Inspector) -> None:
        self.about = about
        self.inspector = inspector
        self.recording = saving.RecordingRun(
            id=about.run,
            name=about.name,
            started_at=_time_near(about.started_us),
            version=about.program,
            checks=about.checks,
            pseudonymised=about.pseudonymised,
        )
        self.recorder = Recorder(
            id=about.run,
            worker=about.worker,
            name=about.name,
            started_at=_time_near(about.started_us),
            version=about.program,
            engine=about.engine,
            upstream=about.upstream,
        )


@dataclass(slots=True)
class _Item:
    """An entry on its way into the store.

    Attributes:
        exchange: What it is, if it is an exchange.
        findings: Those of the exchange; None if it is judged later, or not at all.
        error: Why it cannot be stored; None if it can, as far as is known.
        is_of_refused: Whether a store has refused it before.
    """

    process: _Process
    entry: Entry
    exchange: Exchange | None = None
    findings: Verdict = None
    error: Exception | None = None
    is_late: bool = False
    is_of_refused: bool = False


@dataclass(slots=True)
class _Batch:
    items: list[_Item] = field(default_factory=list)
    segments: list[Segment] = field(default_factory=list)


@dataclass(slots=True)
class _Done:
    """What a transaction has changed."""

    saved: list[tuple[_Process, list[_Item], saving.Saved]] = field(default_factory=list)
    heard: Heard = field(default_factory=Heard)


class Filer:
    """Files what is in a folder into a store, a batch at a time.

    Attributes:
        path: Where the folder is.
        reaching: The store.
        telling: Those who are told.
        filed: How many exchanges were stored.
        refused: How many the store would not take.
        found: How many findings there were, by severity.
        failures: All failures of judging.
        has_writers: Whether, as of the last batch, somebody may write more.
        has_read_all: Whether the last batch had all that there was when it was read.
    """

    def __init__(self, path: Path, folder: Folder, reaching: Reaching, telling: Telling) -> None:
        """Make a filer; the store is first used by `file`."""
        self.failures = Failures()
        self.filed = self.refused = 0
        self.found: dict[str, int] = {}
        self.has_writers = True
        self.has_read_all = False
        self.path = path
        self._folder = folder
        self.reaching = reaching
        self.telling = telling
        self._watcher = Watcher()
        self._processes: dict[tuple[str, int], _Process] = {}
        self._inspectors: dict[str, Inspector] = {}
        self._judge = self._new_judge()
        self._batch: _Batch | None = None
        self._number = reaching.number
        self._turn = 0
        self._schemas: set[str] | None = None
        self._alike = ("", 0)

    # What the loop calls -----------------------------------------------------------------------------------------------

    def file(self) -> int:
        """File one batch.

        Returns:
            How many entries it had, and segments were removed; 0 if there was nothing to do.

        Raises:
            StorageUnavailable: The store cannot be used; what was read is kept for the next call.
            OSError: The journal cannot be read or written.
        """
        self._look_at_store()
        removed = 0
        if self._batch is None:
            self._batch, removed = self._read()
            removed += self._file_last_words()
        if not self._batch.items:
            self._batch = None
            return removed
        count = len(self._batch.items)
        self._file(self._batch.items)
        for segment in self._batch.segments:
            self._folder.filed(segment)
        self._batch = None
        return count + removed

    def _file_last_words(self) -> int:
        """File what writers said last that could not write a segment any more; return how many files that were."""
        said = list(self._folder.last_words)
        for path in said:
            try:
                about, entries = last_words.said_in(path)
            except ValueError as e:
                logger.warning(f"the last counts of a recorder in {path} cannot be read: {e}")
            else:
                process = self._process(about)
                self._file([_Item(process, entry) for entry in entries])
                self._store.settle()
            path.unlink(missing_ok=True)
        return len(said)

    @property
    def is_behind(self) -> bool:
        """Whether the next batch is one that was read before, when the store could not be used."""
        return self._batch is not None

    def end(self) -> Mapping[Path, int]:
        """Return up to where the journal is written now, for `is_past`."""
        return self._folder.end()

    def is_past(self, end: Mapping[Path, int]) -> bool:
        """Whether all is filed up to there."""
        return self._batch is None and self._folder.is_past(end)

    def bring_up_to_date(self, *, is_settling: bool = False, is_closing: bool = False) -> None:
        """Write findings of sessions that have become due since the last batch; the arguments are those of `LiveJudge.judge`.

        Raises:
            StorageUnavailable: The store cannot be used.
        """
        due_s = self._judge.until_due_s()
        is_due = due_s is not None and due_s <= 0
        if not (is_closing or is_due or (is_settling and self._judge.has_something_to_settle())):
            return
        self._look_at_store()
        try:
            with self._store.write() as db:
                heard = self._judge.judge(db, datetime.now(UTC), is_settling=is_settling, is_closing=is_closing)
        except Exception as e:  # noqa: BLE001  # see there
            self._survive(e, "writing findings")
            return
        self._tell(_Done(heard=heard))

    def work_off_one(self) -> bool:
        """Do a piece of work that can wait, such as judging a large body; return whether there is more.

        Raises:
            StorageUnavailable: The store cannot be used; the work is left for later.
        """
        if not self._judge.has_more:
            return False
        self._look_at_store()
        try:
            late = self._judge.work_off_one(self._store)
        except Exception as e:  # noqa: BLE001  # see there
            self._survive(e, "judging what was stored")
            return False
        if late is not None:
            self.failures.of_rules(late.findings, f"{late.exchange.request.method} {late.exchange.request.path}")
            self._count([late.findings])
            self.telling.news(self._watcher.of_late(late.exchange, late.findings))
        return self._judge.has_more

    def _survive(self, error: Exception, what: str) -> None:
        """Go on after an error of what can wait; it stays marked in the store, for the next process.

        Raises:
            StorageUnavailable: The store is at fault.
        """
        reason = self.reaching.reason_of(error)
        if reason is not None:
            self._judge = self._new_judge()
            raise error if isinstance(error, StorageUnavailable) else StorageUnavailable(reason) from error
        self._judge = LiveJudge(self.failures, self._inspect, looks_behind=False)
        self.failures.of_ours(what, "several sessions", error)

    # Reading -----------------------------------------------------------------------------------------------------------

    @property
    def _store(self) -> Store:
        return self.reaching.store

    def _look_at_store(self) -> None:
        """Take note of a store in the place of the other, and of new schemas.

        Raises:
            StorageUnavailable: The store cannot be used.
        """
        self.reaching.look_again()
        if self.reaching.number != self._number:
            # It has nothing of what was filed into the other one, as far as the journal still has that.
            self._batch, self._schemas = None, None
            self._judge = self._new_judge()
            for writer in self._folder.look():
                for segment in writer.segments:
                    segment.at = 0
            self._number = self.reaching.number
        if self._schemas is None or self._schemas:
            self._learn()

    def _learn(self) -> None:
        """Read the schemas of upstreams, so that even the first request is judged by them."""
        with self._store.read() as db:
            upstreams = {each.upstream for each in schemas.versions(db)} if self._schemas is None else self._schemas
            for inspector in self._inspectors.values():
                for upstream in upstreams:
                    inspector.learn(upstream, schemas.vocabulary(db, upstream, inspector.policy.params))
        self._schemas = set()

    def _read(self) -> tuple[_Batch, int]:
        """Return the next entries of all writers, and how many segments were removed because there are no more in them.

        If it fails, what was read will be read again.
        """
        writers = self._folder.look()
        before = [(writer.segments[0], writer.segments[0].at) for writer in writers]
        try:
            batch, spent = self._next(writers)
            if spent:
                self._store.settle()
            for segment in spent:
                self._folder.remove(segment)
        except BaseException:
            for segment, at in before:
                segment.at = at
            raise
        return batch, len(spent)

    def _next(self, writers: Sequence[Writer]) -> tuple[_Batch, list[Segment]]:
        """Return the next entries of writers, and the segments that have no more."""
        batch, spent = _Batch(), []
        parts: list[list[_Item]] = []
        size = 0
        self.has_read_all = self._folder.is_whole
        for place in range(len(writers)):
            writer = writers[(place + self._turn) % len(writers)]
            segment = writer.segments[0]
            try:
                entries = segment.more(MOST)
            except Unreadable as e:  # those of the others do not wait for it
                self._folder.cannot_read(segment.path, e)
                self.has_read_all = False
                continue
            self.has_read_all = self.has_read_all and not segment.has_more and len(writer.segments) == 1
            if entries:
                batch.segments.append(segment)
                parts.append(self._items(writer, segment, [entry for _, entry in entries]))
                size += segment.size
            elif segment.is_final:
                spent.append(segment)
            if sum(map(len, parts)) >= MOST or size >= MOST_BYTES:
                self._turn += place + 1
                self.has_read_all = self.has_read_all and place + 1 == len(writers)
                break
        # The events of a session may have come through several processes. What one has written stays in its order.
        batch.items = [*heapq.merge(*parts, key=_came_at)]
        self.has_writers = len(spent) < len(writers) or not self._folder.is_whole
        return batch, spent

    def _items(self, writer: Writer, segment: Segment, entries: Sequence[Entry]) -> list[_Item]:
        process = self._process(segment.about)
        is_over = not writer.is_alive
        now = datetime.now(UTC)
        items = [self._item(process, entry) for entry in entries]
        for item in items if segment.name.is_of_refused else ():
            item.is_of_refused = True
        if is_over:
            for item in items:
                item.is_late = item.exchange is not None and now - item.exchange.received_at > LATE
        return items

    def _item(self, process: _Process, entry: Entry) -> _Item:
        if not isinstance(entry, Exchanged):
            return _Item(process, entry)
        try:
            exchange = exchange_of(entry, process.about)
            found = None
            if process.about.checks and len(exchange.request.body) <= JUDGED_AT_ONCE:
                found = process.inspector.of_exchange(exchange)
        except Exception as e:  # noqa: BLE001  # whatever is wrong with it, the others are filed
            return _Item(process, entry, error=e)
        return _Item(process, entry, exchange, found)

    def _process(self, about: About) -> _Process:
        key = (about.run, about.worker)
        process = self._processes.get(key)
        if process is None:
            settings = repr(about.policy)
            inspector = self._inspectors.get(settings)
            if inspector is None:
                inspector = self._inspectors[settings] = Inspector(self._policy(about))
                self._schemas = None
                self._learn()
            process = self._processes[key] = _Process(about, inspector)
        return process

    def _policy(self, about: About) -> Policy:
        """Return how strictly to judge what a recorder has recorded; by our own settings if its cannot be understood."""
        try:
            return policies.from_document(about.policy)
        except Exception as e:  # noqa: BLE001  # a recorder of another version wrote it
            self.failures.of_ours("reading a recorder's settings", f"run {about.run}", e)
            return policies.DEFAULT

    # Storing -----------------------------------------------------------------------------------------------------------

    def _new_judge(self) -> LiveJudge:
        return LiveJudge(self.failures, self._inspect)

    def _inspect(self, exchange: Exchange) -> list[Finding]:
        """Judge an exchange of an earlier time: by the settings of the recorder that began last."""
        process = next(reversed(self._processes.values()), None)
        inspector = process.inspector if process is not None else Inspector(policies.DEFAULT)
        return inspector.of_exchange(exchange)

    def _file(self, items: list[_Item]) -> None:
        """Store items, and take out of the list what is stored."""
        most = len(items) if self.reaching.away is None else 1
        while items:
            some = _until_schema(items[:most])
            try:
                self._store_all(some)
            except Exception as e:
                self._judge = self._new_judge()  # it knows what was rolled back
                reason = self.reaching.reason_of(e)
                if reason is not None:
                    raise StorageUnavailable(reason) from e
                if len(some) > 1:
                    most = max(1, len(some) // 2)  # to find the one at fault
                    continue
                self._store_alone(some[0], e)
            else:
                most = max(2 * most, MOST)
            del items[: len(some)]
            if self._schemas:
                self._judge_anew(items, self._schemas)

    def _judge_anew(self, items: Sequence[_Item], upstreams: set[str]) -> None:
        """Judge what came behind the schemas of upstreams by these schemas."""
        self._learn()
        for item in items:
            exchange = item.exchange
            if exchange is not None and exchange.upstream in upstreams and item.findings is not None:
                item.findings = item.process.inspector.of_exchange(exchange)

    def _store_alone(self, item: _Item, error: Exception) -> None:
        """Store an item with its text in ASCII: it should not be lost for a character. If that fails, set it aside."""
        try:
            self._store_all([item], in_ascii=True)
        except StorageUnavailable:
            raise
        except Exception:  # noqa: BLE001  # the first error says more
            self._judge = self._new_judge()
            if item.error is None:
                self._look_for_fault(error)
            self._refuse(item, error)
        else:
            if item.exchange is not None:
                path = item.exchange.request.path
                logger.warning(f"stored with ? for non-ASCII characters: {path}: {_text(error)}")

    def _look_for_fault(self, error: Exception) -> None:
        """Look whether the store is at fault for refusing an entry, and would refuse the next ones as well.

        Raises:
            StorageUnavailable: It is.
        """
        refusal = probing.refusal(self._store)
        if refusal is not None:
            raise StorageUnavailable(f"{self._store.label} refuses everything: {_text(refusal)}") from error
        kind = fault(error)
        if kind is None:
            return
        self._alike = (kind, self._alike[1] + 1 if kind == self._alike[0] else 1)
        if self._alike[1] > ALIKE:
            raise StorageUnavailable(f"{self._store.label} refuses one entry after another: {_text(error)}") from error

    def _store_all(self, items: Sequence[_Item], *, in_ascii: bool = False) -> None:
        for item in items:
            if item.error is not None:
                raise item.error
        with self._store.write(in_ascii=in_ascii) as db:
            done = self._in_transaction(db, items)
        self._alike = ("", 0)
        self.reaching.worked()
        self._tell(done)

    def _in_transaction(self, db: Connection, items: Sequence[_Item]) -> _Done:
        done = _Done()
        runs: dict[str, list[_Item]] = {}
        others: list[_Item] = []
        ids: set[str] = set()
        for item in items:
            if item.exchange is None:
                others.append(item)
            elif item.exchange.id not in ids:  # no recorder means to write one twice; the first is the one that counts
                ids.add(item.exchange.id)
                runs.setdefault(item.process.about.run, []).append(item)
        taken_back = losses.take_back(db, [id for item in items if item.is_of_refused and (id := _id(item)) in ids])
        for mine in runs.values():
            done.saved.append((mine[0].process, mine, self._save(db, mine[0].process, mine)))
        self._note_losses(
            db, [_dropped(each.process, each.entry) for each in others if isinstance(each.entry, Dropped)]
        )
        came = [item.exchange.received_at for item in items if item.exchange is not None]
        now = datetime.now(UTC)
        done.heard = self._judge.judge(db, min(now, max(came, default=now)))
        self._keep_books(db, done, others, taken_back)
        return done

    def _save(self, db: Connection, process: _Process, items: Sequence[_Item]) -> saving.Saved:
        judged = [saving.Judged(item.exchange, item.findings) for item in items if item.exchange is not None]
        if not process.about.checks:
            return saving.save(db, process.recording, judged)
        unjudged = [each.exchange.id for each in judged if each.findings is None]
        before = {each.id for each in exchanges.get(db, unjudged)} if unjudged else set()
        saved = saving.save(db, process.recording, judged)
        unjudged = [id for id in unjudged if id not in before]
        findings.mark_unjudged(db, unjudged)
        found = {each.exchange.id: each.findings for each in judged if each.findings}
        self._judge.see(saved.touched, unjudged, process.inspector.policy, found)
        return saved

    def _note_losses(self, db: Connection, lost: Sequence[Loss]) -> int:
        if not lost:
            return 0
        noted = losses.note(db, lost)
        changed = sessions.get(db, noted.sessions)
        touched = [saving.Touched(session=each, exchanges=[]) for each in changed]
        self._judge.see(touched, (), policies.DEFAULT)
        return noted.new

    def _keep_books(self, db: Connection, done: _Done, others: Iterable[_Item], taken_back: Collection[str]) -> None:
        filed: dict[_Process, list[int]] = {}
        for _, items, saved in done.saved:
            for item in items:
                assert item.exchange is not None
                counts = filed.setdefault(item.process, [0, 0, 0])
                if item.exchange.id not in saved.known:
                    counts[0] += 1
                    counts[1] += item.is_late
                counts[2] -= item.exchange.id in taken_back
        told: dict[_Process, recorders.Told] = {}
        for item in others:
            if isinstance(item.entry, Counted):
                told[item.process] = _told(item.entry)
                filed.setdefault(item.process, [0, 0, 0])
        for process, (count, late, refused) in filed.items():
            recorders.keep(db, process.recorder, told.get(process), filed=count, late=late, refused=refused)

    def _refuse(self, item: _Item, error: Exception) -> None:
        """Set an entry aside that cannot be stored, and note the loss."""
        process, entry = item.process, item.entry
        if not isinstance(entry, Exchanged):  # it has no content; the books are not worth stopping for
            self.failures.of_ours("keeping the books", f"run {process.about.run}", error)
            return
        reason = f"the store refuses it: {_text(error)}"
        place = aside.keep(self.path, process.about, entry, reason)
        loss = _refused(process, entry, reason)
        try:
            with self._store.write(in_ascii=True) as db:
                is_new = self._note_losses(db, [loss])
                recorders.keep(db, process.recorder, refused=is_new)
        except StorageUnavailable:
            raise
        except Exception as e:  # noqa: BLE001  # it is set aside all the same
            self.failures.of_ours("noting what is lost", f"run {process.about.run}", e)
        self._judge = self._new_judge()
        self.refused += 1
        at = loss.received_at.isoformat()
        logger.error(f"refused: {loss.method} {loss.path} of {at}: {reason}; it is kept in {place}")

    # Telling -----------------------------------------------------------------------------------------------------------

    def _tell(self, done: _Done) -> None:
        """Tell those who record what was stored; a failure is counted, as the batch is stored already."""
        try:
            for process, items, saved in done.saved:
                self._tell_of(process, items, saved)
            for session, found in done.heard.found:
                self.failures.of_rules(found, f"session {session.id}")
                self._count([found])
                if self.telling.wants_news:
                    self.telling.news(of_session(session, found))
            if done.heard.named:
                self.telling.of_session(done.heard.named)
        except Exception as e:  # noqa: BLE001
            self.failures.of_ours("telling what was stored", "a batch", e)

    def _tell_of(self, process: _Process, items: Sequence[_Item], saved: saving.Saved) -> None:
        new = [
            (item.exchange, item.findings)
            for item in items
            if item.exchange is not None and item.exchange.id not in saved.known
        ]
        self.filed += len(new)
        self.telling.filed(process.about.run, len(new))
        for exchange, found in new:
            if found:
                self.failures.of_rules(found, f"{exchange.request.method} {exchange.request.path}")
                self._count([found])
            if exchange.route.operation is Operation.SCHEMAS and exchange.is_accepted:
                self._schemas = (self._schemas or set()) | {exchange.upstream}
                self.telling.schemas(exchange.upstream)
        if self.telling.wants_news:
            ids = {exchange.id for exchange, _ in new}
            self.telling.news(self._watcher.of_stored(new, _only(saved.touched, ids)))

    def _count(self, verdicts: Iterable[Sequence[Finding]]) -> None:
        for found in verdicts:
            for finding in found:
                severity = finding.severity.value
                self.found[severity] = self.found.get(severity, 0) + 1


def _until_schema(items: list[_Item]) -> list[_Item]:
    """Return the first items, up to one that has a schema by which the next ones have to be judged."""
    for number, item in enumerate(items, 1):
        exchange = item.exchange
        if exchange is not None and exchange.route.operation is Operation.SCHEMAS and exchange.is_accepted:
            return items[:number]
    return items


def _only(touched: Iterable[saving.Touched], ids: set[str]) -> list[saving.Touched]:
    """Return what has changed with those exchanges alone that are new."""
    found = []
    for each in touched:
        mine = [exchange for exchange in each.exchanges if exchange.id in ids]
        if mine:
            found.append(saving.Touched(session=each.session, exchanges=mine))
    return found


def _id(item: _Item) -> str | None:
    return None if item.exchange is None else item.exchange.id


def _came_at(item: _Item) -> int:
    """Return when an entry was written, as nearly as can be told, in Unix microseconds."""
    entry = item.entry
    if isinstance(entry, Counted):
        return entry.at_us
    return entry.received_us + ((entry.duration_us or 0) if isinstance(entry, Exchanged) else 0)


def _time_near(at_us: int) -> datetime:
    """Return the time of a journal; now, if it is none that can be."""
    try:
        return time_of(at_us)
    except OverflowError:
        return datetime.now(UTC)


def _told(entry: Counted) -> recorders.Told:
    return recorders.Told(
        at=_time_near(entry.at_us),
        seen=entry.seen,
        journaled=entry.journaled,
        dropped=entry.dropped,
        is_end=entry.is_end,
    )


def _dropped(process: _Process, entry: Dropped) -> Loss:
    return Loss(
        id=entry.id,
        recorder=process.about.run,
        upstream=entry.upstream or process.about.upstream or "",
        received_at=_time_near(entry.received_us),
        method=entry.method,
        path=entry.path,
        is_refused=False,
        reason=entry.reason,
    )


def _refused(process: _Process, entry: Exchanged, reason: str) -> Loss:
    method, _, rest = entry.request.partition(b"\r\n")[0].decode("latin-1").partition(" ")
    return Loss(
        id=entry.id,
        recorder=process.about.run,
        upstream=entry.upstream or process.about.upstream or "",
        received_at=_time_near(entry.received_us),
        method=method,
        path=origin_form(rest.rpartition(" ")[0] or rest),
        is_refused=True,
        reason=reason,
    )


def _text(error: Any) -> str:
    """Return an error as one line; of the driver's alone, as SQLAlchemy's quotes the statement with all its values."""
    lines = str(getattr(error, "orig", None) or error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
