"""Looks at the store again and again while browsers watch: with one reader, however many browsers there are."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from weakref import WeakSet

from proxy_addon.core.judging.policy import Policy
from proxy_addon.core.judging.sessions import as_of
from proxy_addon.core.wording import visible
from proxy_addon.errors import SchemaOutOfDate, StorageUnavailable
from proxy_addon.process.failures import Failures
from proxy_addon.ui.reading import Reading
from proxy_addon.ui.threads import Ending, Threads
from proxy_addon.ui.topics import Look, Message, News, Seen, Subject, Topic
from storage import changes

EVERY_S = 0.2
"""How often to look whether anything has changed."""
SHARE = 2
"""After a look, wait at least this many times as long as it took, so that looking takes at most a third of the time."""
DUE_S = 5.0
"""How often to look for changes that time alone makes."""
AGAIN_S = 1.0
"""How long to wait before trying again to read a store that could not be read."""
MOST = 48
"""How many browsers may watch at once."""
_FAILED = "an error in sessiontape; its log says which"
"""What browsers show about a subject that cannot be drawn."""


class Crowded(Exception):
    """As many browsers watch as are allowed."""


class Watching:
    """The subjects that are watched."""

    def __init__(self, reading: Reading, policy: Policy) -> None:
        """Prepare to look; `run` does the work.

        Args:
            reading: Not shared with anything else, because its marks are compared.
        """
        self._reading = reading
        self._policy = policy
        self._topics: dict[Hashable, Topic] = {}
        self._wanted = asyncio.Event()
        self._mark: tuple[int, str] | None = None
        self._due_s = 0.0
        self._failures = Failures()
        self._failed = WeakSet[Topic]()
        self._threads = Threads()

    @property
    def watchers(self) -> int:
        """How many browsers watch."""
        return sum(topic.watchers for topic in self._topics.values())

    def require_room(self) -> None:
        """Check that one more may watch.

        Raises:
            Crowded: Too many do.
        """
        if self.watchers >= MOST:
            raise Crowded

    @asynccontextmanager
    async def watching(self, key: Hashable, make: Callable[[], Subject]) -> AsyncIterator[AsyncIterator[Message]]:
        """Yield the messages about a subject, without end.

        Args:
            key: The same for all who watch the same.
            make: Makes the subject for the first of them.

        Raises:
            Crowded: Too many watch.
        """
        self.require_room()
        topic = self._topics.get(key)
        if topic is None:
            topic = self._topics[key] = Topic(make())
        topic.watchers += 1
        self._wanted.set()
        try:
            yield _messages(topic)
        finally:
            topic.watchers -= 1
            if not topic.watchers:
                del self._topics[key]

    def end(self) -> None:
        """End the messages of all watchers."""
        self._threads.end()
        for topic in self._topics.values():
            topic.end()

    async def run(self) -> None:
        """Look at the store while browsers watch, until this is cancelled."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            while self._topics:
                began_s = time.monotonic()
                is_read = await self._look()
                took_s = time.monotonic() - began_s
                pause_s = max(EVERY_S, SHARE * took_s) if is_read else AGAIN_S
                try:
                    await asyncio.wait_for(self._wanted.wait(), pause_s)
                    self._wanted.clear()
                except TimeoutError:
                    pass

    async def _look(self) -> bool:
        """Look once and pass on what is new; return whether the store could be read."""
        topics = list(self._topics.values())
        try:
            told = await self._threads.do(partial(self._read, topics))
        except Ending:
            return False
        except (StorageUnavailable, SchemaOutOfDate) as e:
            self._mark = None
            for topic in topics:
                topic.tell_trouble(visible(f"{e}; {e.hint}" if e.hint else str(e)))
            return False
        except Exception as e:  # noqa: BLE001  # the pages stay open, and the log says why they stand still
            self._mark = None
            self._failures.of_ours("reading for the pages", self._reading.label, e)
            return False
        for topic in topics:
            topic.tell_trouble(_FAILED if topic in self._failed else None)
        for topic, news in told:
            topic.tell(news)
        return True

    def _read(self, topics: list[Topic]) -> list[tuple[Topic, News]]:
        now_s = time.monotonic()
        is_due = now_s >= self._due_s
        with self._reading.open() as db:
            mark = (self._reading.opened, changes.mark(db))
            has_changed = mark != self._mark
            look = Look(db=db, as_of=as_of(datetime.now(UTC), self._policy), is_due=is_due)
            fresh = {topic for topic in topics if topic.is_fresh and topic not in self._failed}
            wanted = [topic for topic in topics if has_changed or is_due or topic in fresh]
            self._failed.clear()
            read = [(topic, self._alone(topic, partial(topic.subject.look, look))) for topic in wanted]
        # The transaction has ended: as long as one goes on, SQLite cannot use the space of its -wal file again.
        told = [(topic, self._alone(topic, tell)) for topic, tell in read if tell is not None]
        if is_due:
            self._due_s = now_s + DUE_S
        self._mark = mark
        return [(topic, news) for topic, news in told if news is not None]

    def _alone[T](self, topic: Topic, work: Callable[[], T]) -> T | None:
        """Return the result of work for one subject, or None; if it fails, other subjects are still shown."""
        try:
            return work()
        except (StorageUnavailable, SchemaOutOfDate):
            raise
        except Exception as e:  # noqa: BLE001  # a fault of ours, which the log tells
            self._failed.add(topic)
            self._failures.of_ours("drawing for the pages", self._reading.label, e)
            return None


async def _messages(topic: Topic) -> AsyncIterator[Message]:
    seen = Seen()
    while (message := await topic.next(seen)) is not None:
        yield message
