"""What a recorder appends to before it answers a device.

Each exchange that was put is committed to a segment, in order, or it is dropped, counted and named in the log. If a
segment cannot be written, its batch goes into a new one. If that fails too, answers no longer wait, and exchanges are kept
in memory, up to a bound, until the disk takes them again.
"""

from __future__ import annotations

import errno
import queue
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

import msgspec
from filelock import FileLock, Timeout

from proxy_addon.errors import SettingsError
from proxy_addon.journal import folders, segments
from proxy_addon.journal.entries import About, Counted, Dropped, Entry, Exchanged, encoded
from proxy_addon.journal.last_words import LastWords
from proxy_addon.journal.rotation import Rotation, plain
from proxy_addon.process import logs

logger = logs.logger(__name__)

SEGMENT_BYTES = 32 * 2**20
"""How much is written to a segment before the next one is begun."""
MEMORY_BYTES = 64 * 2**20
"""How much may wait in memory to be written, and as much again while the journal cannot be written."""

BATCH = 1000
"""How many exchanges one commit has at most."""
RETRY_S = 0.5
"""Pause between attempts while the journal cannot be written."""
SIGN_OF_LIFE_S = 30.0
"""After how long the counts are written although they have not changed, so that an idle recorder is not taken for dead."""
COUNT_S = 1.0
"""How often the counts are written at most."""
NAMES = 100_000
"""How many dropped exchanges are remembered, to be noted in the journal when it can be written again."""
_OVERHEAD_BYTES = 1024
"""Approximate memory of an exchange beside its bytes."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Done = Callable[[BaseException | None], object]


@dataclass(frozen=True, slots=True)
class Unmade:
    """An exchange that the journal's thread has to make, because that takes long.

    Attributes:
        make: Makes it, or returns None if there is nothing to journal. If it raises `Refused` or anything else, the exchange
            is dropped.
        named: Returns its name if it is dropped for a reason, without what must not be told.
        size: Its bytes, about.
    """

    make: Callable[[], Exchanged | None]
    named: Callable[[str], Dropped]
    size: int


class Stopped(Exception):
    """Given to those who wait for an exchange that came in when the journal was closed already."""


class Refused(Exception):
    """Raised by a callable that was given to `Journal.put`: the exchange must not be journaled.

    Attributes:
        dropped: Its name, without what must not be told, and the reason.
    """

    def __init__(self, dropped: Dropped) -> None:
        super().__init__(dropped.reason)
        self.dropped = dropped


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """The books of a writer.

    Attributes:
        seen: Exchanges that came in, those in flight included.
        journaled: Exchanges in the journal.
        dropped: Exchanges that could not be journaled.
        waiting: Exchanges in memory, because the journal cannot be written.
        bytes: Approximate memory of these.
        oldest_us: When the first of these was received, in Unix microseconds; None if none waits.
    """

    seen: int
    journaled: int
    dropped: int
    waiting: int
    bytes: int
    oldest_us: int | None


class Journal:
    """Appends entries in a thread of its own, and commits many at a time."""

    def __init__(
        self,
        folder: Path,
        about: About,
        *,
        durable: bool,
        call: Callable[..., object],
        memory_bytes: int = MEMORY_BYTES,
        segment_bytes: int = SEGMENT_BYTES,
        on_trouble: Callable[[str | None], object] | None = None,
        on_loss: Callable[[], object] | None = None,
    ) -> None:
        """Make the first segment and start the thread.

        Args:
            folder: Is created if there is none.
            durable: Whether a commit waits until the disk has it. If not, a kill of the process loses nothing, but a
                loss of power may.
            call: Calls a function with arguments in the thread of those who put: ``loop.call_soon_threadsafe``.
            memory_bytes: How much may wait in memory while the journal cannot be written.
            segment_bytes: How much is written to a segment before the next one is begun.
            on_trouble: Called by way of ``call`` with the reason when the journal can no longer be written, and with
                None when it can again.
            on_loss: Called by way of ``call`` when the first exchange is dropped.

        Raises:
            SettingsError: The folder cannot be written.
        """
        folders.prepare(folder)
        self._folder = folder
        self._call = call
        self._memory_bytes = memory_bytes
        self._on_trouble = on_trouble
        self._on_loss = on_loss
        self._queue: queue.SimpleQueue[_Put | None] = queue.SimpleQueue()
        self._in_hand: Sequence[_Put] = ()
        # What was ever put, and ever taken out again: each is changed by one thread only, so that neither needs a lock.
        self._put_bytes = self._taken_bytes = 0
        self._is_closing = False
        self._is_abandoned = False
        self._seen = self._journaled = self._dropped = 0
        self._counted: tuple[int, int, int] | None = None
        self._count_at_s = 0.0
        self._kept: deque[Exchanged] = deque()
        self._kept_bytes = 0
        self._unnoted: deque[Dropped] = deque()
        self._dropping = threading.Lock()
        self._away: Exception | None = None
        self._away_since_s = self._retry_at_s = 0.0
        self._about = about
        self._lock = _lock(folder, about)
        self._alive = Path(self._lock.lock_file)
        self._rotation = Rotation(folder, about, durable=durable, segment_bytes=segment_bytes)
        try:
            self._rotation.write([self._count()])
        except (OSError, sqlite3.Error) as e:
            self._rotation.close()
            self._lock.release()
            raise SettingsError(
                f"cannot write the journal in {folder}: {plain(e)}", hint="name a folder on a local disk with --journal"
            ) from e
        self._last_words = LastWords(folder, about)
        # A daemon, so that a disk that hangs cannot keep the process alive; `close` waits for the thread.
        self._thread = threading.Thread(target=self._run, name="sessiontape-journal", daemon=True)
        self._thread.start()

    def saw(self, count: int = 1) -> None:
        """Count exchanges that came in. Called in one thread only."""
        self._seen += count

    def put(self, entry: Exchanged | Unmade, done: Done | None = None) -> None:
        """Append an exchange. Never blocks, never raises. Called in one thread only.

        If more than ``memory_bytes`` wait to be written already, as the disk hangs or is too slow, the exchange is dropped.

        Args:
            entry: What is dropped of it is counted and named.
            done: Called by way of ``call``, all of a commit in one call: with None when the exchange is committed,
                otherwise with the reason why it is not, or not yet: the answer need not wait any longer.
        """
        size = _size(entry) if isinstance(entry, Exchanged) else entry.size + _OVERHEAD_BYTES
        waiting = self._put_bytes - self._taken_bytes
        if self._is_closing:
            self._refuse((entry, done, size), "the recorder is stopping")
        elif waiting + size > self._memory_bytes and waiting:
            self._refuse((entry, done, size), f"{waiting / 2**20:,.1f} MiB wait to be written already")
        else:
            self._put_bytes += size
            self._queue.put((entry, done, size))

    def drop(self, dropped: Dropped, done: Done | None = None) -> None:
        """Count an exchange as lost that must not be journaled, and name it. Never blocks, never raises.

        Args:
            done: As of `put`, with a `Refused`.
        """
        self._drop(dropped)
        self._tell([done], Refused(dropped))

    def counts(self) -> Counts:
        """Return the counts so far."""
        try:
            oldest_us = self._kept[0].received_us
        except IndexError:
            oldest_us = None
        return Counts(
            seen=self._seen,
            journaled=self._journaled,
            dropped=self._dropped,
            waiting=len(self._kept),
            bytes=self._kept_bytes,
            oldest_us=oldest_us,
        )

    def close(self, timeout_s: float) -> Counts:
        """Commit what is waiting, write the last counts, and stop; what is left after the time-out is dropped."""
        self._is_closing = True
        self._queue.put(None)
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            self._is_abandoned = True  # the disk hangs; whatever the thread does now, it counts no more
            reason = "the recorder stopped before the journal was written"
            for put in self._in_hand:
                self._refuse(put, reason)
            with suppress(queue.Empty):
                while True:
                    if (left := self._queue.get_nowait()) is not None:
                        self._refuse(left, reason)
            self._queue.put(None)
            self._drop_kept(reason)
        return self.counts()

    def _run(self) -> None:
        take, take_now = self._queue.get, self._queue.get_nowait
        batch: list[_Put | None] = []
        while not batch or batch[-1] is not None:
            batch = []
            with suppress(queue.Empty):
                batch.append(take(timeout=RETRY_S))
                while len(batch) < BATCH and batch[-1] is not None:
                    batch.append(take_now())
            self._in_hand = puts = [put for put in batch if put is not None]
            if puts:
                self._commit(self._made(puts))
                self._taken_bytes += sum(size for _, _, size in puts)
                self._in_hand = ()
            self._look_after()
        self._end()

    def _made(self, puts: list[_Put]) -> list[tuple[Exchanged, Done | None]]:
        """Return what was put, with the results of what had to be called."""
        made: list[tuple[Exchanged, Done | None]] = []
        for entry, done, _ in puts:
            if isinstance(entry, Exchanged):
                made.append((entry, done))
                continue
            try:
                exchange = entry.make()
            except Refused as e:
                self._drop(e.dropped)
                self._tell([done], e)
            except Exception as e:  # noqa: BLE001  # whatever happens, the others are journaled
                self._drop(entry.named(type(e).__name__))
                self._tell([done], e)
            else:
                if exchange is not None:
                    made.append((exchange, done))
                else:
                    self._tell([done], None)
        return made

    def _commit(self, pairs: Sequence[tuple[Exchanged, Done | None]]) -> None:
        """Commit exchanges, or keep them, and tell those who wait for them."""
        is_written = 0

        def written(count: int) -> None:
            nonlocal is_written
            self._tell([done for _, done in pairs[is_written : is_written + count]], None)
            is_written += count

        try:
            if self._away is None and pairs:
                self._write([exchange for exchange, _ in pairs], written)
        except (OSError, sqlite3.Error) as e:
            self._begin_outage(e)
        except Exception as e:  # noqa: BLE001  # one that cannot be encoded must not take the others with it
            left = pairs[is_written:]
            if len(left) > 1:
                for pair in left:
                    self._commit([pair])
            else:
                for exchange, done in left:
                    self._drop(_named(exchange, f"it cannot be written: {e}"))
                    self._tell([done], e)
            return
        if left := pairs[is_written:]:
            self._keep([exchange for exchange, _ in left])
            self._tell([done for _, done in left], self._away)

    def _write(self, exchanges: Sequence[Exchanged], written: Callable[[int], object]) -> None:
        """Commit exchanges.

        Args:
            written: Called each time some are committed, in their order, with their number; those of which it was not told
                are not committed if this fails.
        """
        if not self._alive.exists():
            raise FileNotFoundError(errno.ENOENT, "its files were removed")
        entries: list[Entry] = [*exchanges]
        if time.monotonic() >= self._count_at_s:
            entries.append(self._count(len(exchanges)))
        left = len(exchanges)

        def committed(count: int) -> None:
            nonlocal left
            count = min(count, left)  # the counts come last
            left -= count
            if not self._is_abandoned:
                self._journaled += count
            written(count)

        self._rotation.write(entries, committed)

    def _tell(self, dones: Sequence[Done | None], error: BaseException | None) -> None:
        if waiting := [done for done in dones if done is not None]:
            self._call_back(_tell_all, waiting, error)

    def _call_back(self, function: Callable[..., object], *args: object) -> None:
        with suppress(RuntimeError):  # the loop is closed, and nobody waits any more
            self._call(function, *args)

    def _look_after(self) -> None:
        """Do what is due: try again, write the counts, look at the disk."""
        now_s = time.monotonic()
        if self._away is not None:
            if now_s >= self._retry_at_s:
                self._try_again()
        elif now_s >= self._count_at_s and (
            self._counted != (self._seen, self._journaled, self._dropped)
            or now_s >= self._count_at_s + SIGN_OF_LIFE_S - COUNT_S
        ):
            try:
                self._note_dropped()
                self._rotation.write([self._count()])
            except Exception as e:  # noqa: BLE001  # whatever it is, the thread has to go on
                self._begin_outage(e)
        self._rotation.look_at_disk()

    def _count(self, more: int = 0, *, is_end: bool = False) -> Counted:
        """Return the counts as an entry, as they will be when so many more have been committed."""
        self._counted = seen, journaled, dropped = self._seen, self._journaled + more, self._dropped
        self._count_at_s = time.monotonic() + COUNT_S
        at_us = time.time_ns() // 1000
        return Counted(at_us=at_us, seen=seen, journaled=journaled, dropped=dropped, is_end=is_end)

    def _begin_outage(self, error: Exception) -> None:
        self._away = error
        self._away_since_s = time.monotonic()
        self._retry_at_s = self._away_since_s + RETRY_S
        reason = plain(error)
        logger.error(f"the journal in {self._folder} cannot be written: {reason}; exchanges wait in memory")
        if self._on_trouble is not None:
            self._call_back(self._on_trouble, reason)

    def _try_again(self) -> None:
        """Write what was kept; if all of it could be written, the outage is over."""
        try:
            if not self._alive.exists():  # without it, what is written counts as finished
                folders.prepare(self._folder)
                self._lock.release()
                self._lock = _lock(self._folder, self._about)
                self._last_words = LastWords(self._folder, self._about)
            while self._kept:
                self._write(list(islice(self._kept, BATCH)), self._take_kept)
            self._note_dropped()
            self._rotation.write([self._count()])
        except Exception as e:  # noqa: BLE001  # as above
            self._away = e
            self._retry_at_s = time.monotonic() + RETRY_S
            return
        self._away = None
        logger.warning(f"the journal can be written again after {time.monotonic() - self._away_since_s:.1f} s")
        if self._on_trouble is not None:
            self._call_back(self._on_trouble, None)

    def _take_kept(self, count: int) -> None:
        for _ in range(count):
            self._kept_bytes -= _size(self._kept.popleft())

    def _write_what_fits(self) -> None:
        """Write of what was kept whatever the disk takes, and drop the rest; there will be no other attempt."""
        reason = f"the recorder stopped while the journal could not be written ({self._reason()})"
        too_much = self._memory_bytes
        with suppress(IndexError):  # `close` has dropped them, because it takes too long
            while not self._is_abandoned:
                exchange = self._kept[0]
                size = _size(exchange)
                if size < too_much:
                    try:
                        self._write([exchange], self._take_kept)
                    except Exception:  # noqa: BLE001  # whatever it is, smaller ones are tried
                        too_much = size
                    else:
                        continue
                self._take_kept(1)
                self._drop(_named(exchange, reason))
        self._drop_kept(reason)

    def _note_dropped(self) -> None:
        while self._unnoted:
            with self._dropping:
                notes = list(islice(self._unnoted, BATCH))
            self._rotation.write(notes)
            for _ in notes:
                self._unnoted.popleft()

    def _keep(self, exchanges: Sequence[Exchanged]) -> None:
        """Keep exchanges in memory until the disk takes them; drop those for which there is no room."""
        for exchange in exchanges:
            size = _size(exchange)
            if self._kept_bytes + size > self._memory_bytes:
                waiting = f"{len(self._kept)} exchanges wait in memory already"
                self._drop(_named(exchange, f"the journal cannot be written ({self._reason()}), and {waiting}"))
                continue
            try:
                encoded(exchange)
            except Exception as e:  # noqa: BLE001  # it would be tried again for ever
                self._drop(_named(exchange, f"it cannot be written: {e}"))
                continue
            self._kept.append(exchange)
            self._kept_bytes += size

    def _reason(self) -> str:
        return plain(self._away) if self._away is not None else ""

    def _refuse(self, put: _Put, reason: str) -> None:
        """Drop what was put without writing it."""
        entry, done, _ = put
        self._drop(_named(entry, reason) if isinstance(entry, Exchanged) else entry.named(reason))
        self._tell([done], Stopped(reason))

    def _drop(self, dropped: Dropped) -> None:
        if self._is_abandoned and threading.current_thread() is self._thread:
            return
        with self._dropping:
            is_first = not self._dropped
            self._dropped += 1
            if len(self._unnoted) < NAMES:
                self._unnoted.append(_writable(dropped))
        if is_first and self._on_loss is not None:
            self._call_back(self._on_loss)
        at = (_EPOCH + timedelta(microseconds=dropped.received_us)).isoformat()
        logger.error(f"lost: {dropped.method} {dropped.path} of {at}: {dropped.reason}")

    def _end(self) -> None:
        if self._away is not None:
            self._try_again()
        with suppress(queue.Empty):  # put while the journal was being closed
            while True:
                if (late := self._queue.get_nowait()) is not None:
                    self._commit(self._made([late]))
        self._write_what_fits()
        try:
            self._note_dropped()
            self._rotation.write([self._count(is_end=True)])
        except (OSError, sqlite3.Error):  # it has been told of
            with suppress(OSError):
                self._last_words.say(self._count(is_end=True), self._unnoted)
        else:
            self._last_words.keep_silent()
        self._rotation.close()
        with suppress(OSError):  # Windows does not delete what is open
            self._alive.unlink()
        self._lock.release()

    def _drop_kept(self, reason: str) -> None:
        with suppress(IndexError):
            while True:
                exchange = self._kept.popleft()
                self._kept_bytes -= _size(exchange)
                self._drop(_named(exchange, reason))


_Put = tuple[Exchanged | Unmade, Done | None, int]
"""What was put, who waits for it, and its size."""


def _tell_all(dones: Sequence[Done], error: BaseException | None) -> None:
    for done in dones:
        try:
            done(error)
        except Exception:  # the others wait all the same
            logger.exception("what waited for the journal could not be told")


def _lock(folder: Path, about: About) -> FileLock:
    """Return the lock that says that a writer lives."""
    path = folder / f"{segments.writer(about.run, about.worker)}{folders.ALIVE}"
    try:
        path.touch(mode=0o600)  # also if it is there: `Folder.look` deletes old ones
        lock = FileLock(path, timeout=1, mode=0o600, thread_local=False)
        lock.acquire()
    except Timeout:
        raise SettingsError(f"another process writes the journal of {path.stem} in {folder}") from None
    except OSError as e:
        raise SettingsError(
            f"cannot write the journal in {folder}: {plain(e)}", hint="name a folder on a local disk with --journal"
        ) from e
    return lock


def _size(exchange: Exchanged) -> int:
    bodies = len(exchange.request_body) + len(exchange.response_body)
    return _OVERHEAD_BYTES + len(exchange.request) + len(exchange.response or b"") + bodies


def _named(exchange: Exchanged, reason: str) -> Dropped:
    method, _, rest = exchange.request.partition(b"\r\n")[0].decode("latin-1").partition(" ")
    return Dropped(
        id=exchange.id,
        received_us=exchange.received_us,
        method=method,
        path=rest.rpartition(" ")[0] or rest,
        reason=reason,
        upstream=exchange.upstream,
    )


def _writable(dropped: Dropped) -> Dropped:
    """Return a name that can be journaled whatever bytes came in: one that cannot would keep all others waiting."""
    texts = {name: value for name, value in msgspec.structs.asdict(dropped).items() if isinstance(value, str)}
    return msgspec.structs.replace(
        dropped, **{name: text.encode(errors="replace").decode() for name, text in texts.items()}
    )
