"""What browsers watch, and the messages that they get: always the newest state, however slowly a browser reads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from proxy_addon.core.sessions import AsOf
from proxy_addon.reporting.pages.embedding import json_text

if TYPE_CHECKING:
    from sqlalchemy import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """A look at the store.

    Attributes:
        db: A transaction.
        is_due: Whether to look also for changes that time alone makes: open sessions expire.
    """

    db: Connection
    as_of: AsOf
    is_due: bool


@dataclass(frozen=True, slots=True)
class News:
    """What a look has found.

    Attributes:
        event: The name of the server-sent event.
        whole: The whole state as JSON, for browsers that have missed something.
        change: What has changed since the last news; None if there is only the whole state.
    """

    event: str
    whole: dict[str, Any]
    change: dict[str, Any] | None = None


class Subject(Protocol):
    """Something in the store that browsers watch."""

    def look(self, look: Look) -> Callable[[], News] | None:
        """Look at it; return what tells the news, for which the store is not needed; None if nothing has changed.

        Both are called in a thread, and no two at the same time.
        """


@dataclass(frozen=True, slots=True)
class Message:
    """A server-sent event: its name, and its data, JSON in one line."""

    event: str
    data: str


class Topic:
    """A subject with those who watch it.

    Nothing is queued. A browser that has seen all but the latest news gets the change; one that has missed more gets the whole
    state. So a slow browser costs no memory, and many changes become one.
    """

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self.watchers = 0
        self._number = 0
        self._news: News | None = None
        self._trouble: str | None = None
        self._whole: Message | None = None
        self._change: Message | None = None
        self._changed = asyncio.Event()
        self._is_over = False

    @property
    def is_fresh(self) -> bool:
        """Whether it has not been looked at yet."""
        return self._number == 0

    def tell(self, news: News) -> None:
        """Take news."""
        self._number += 1
        self._news, self._whole = news, None
        self._change = None if news.change is None else Message(news.event, json_text(news.change))
        self._wake()

    def tell_trouble(self, why: str | None) -> None:
        """Take the reason why the store cannot be read; None once it can be read again."""
        if why != self._trouble:
            self._trouble = why
            self._wake()

    def end(self) -> None:
        """End the messages of all watchers."""
        self._is_over = True
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def _all(self) -> Message:
        assert self._news is not None
        if self._whole is None:
            self._whole = Message(self._news.event, json_text(self._news.whole))
        return self._whole

    async def next(self, seen: Seen) -> Message | None:
        """Return the next message for a watcher, as soon as there is one; None at the end."""
        while not self._is_over:
            changed = self._changed
            if seen.trouble != self._trouble:
                seen.trouble = self._trouble
                return Message("store", json_text({"trouble": self._trouble}))
            if seen.number != self._number:
                is_next = seen.number == self._number - 1 and seen.number > 0
                seen.number = self._number
                return self._change if is_next and self._change is not None else self._all()
            await changed.wait()
        return None


@dataclass(slots=True)
class Seen:
    """What a watcher has seen: the number of the news, and what is wrong with the store."""

    number: int = 0
    trouble: str | None = None
