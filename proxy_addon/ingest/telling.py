"""What those who record are told: news, marks, counts, and lines for their log."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Mapping, Sequence

from proxy_addon.core.findings import Finding
from proxy_addon.core.news import News
from proxy_addon.core.wording import visible
from proxy_addon.journal import messages
from proxy_addon.journal import news as documents
from proxy_addon.journal.channel import Server

_MOST_LINES = 1000
"""How many lines of the log wait for the first recorder; the oldest are dropped first."""


class Telling:
    """Tells clients what was filed, once it is committed; without a server, nobody."""

    def __init__(self, server: Server | None = None) -> None:
        self._server = server
        self._counts: messages.Counts | None = None

    @property
    def wants_news(self) -> bool:
        """Whether anybody wants news."""
        return self._server is not None and self._server.wants("news")

    def news(self, news: Iterable[News]) -> None:
        """Tell news."""
        if self._server is not None:
            for each in news:
                self._server.tell(messages.News(news=documents.to_document(each)))

    def of_session(self, findings: Mapping[str, Sequence[Finding]]) -> None:
        """Tell a session's findings that name exchanges, by exchange id, for those where they have changed."""
        if self._server is not None and self._server.wants("marks"):
            for id, found in findings.items():
                self._server.tell(messages.Marks(exchange=id, marks=documents.findings_to_documents(found)))

    def filed(self, run: str, count: int) -> None:
        """Tell how many exchanges of a run were stored."""
        if self._server is not None and count:
            self._server.tell(messages.Filed(count=count, run=run), run)

    def schemas(self, upstream: str) -> None:
        """Tell that an upstream gave a schema."""
        if self._server is not None:
            self._server.tell(messages.Schemas(upstream=upstream))

    def counts(self, counts: messages.Counts) -> None:
        """Tell the books, if they have changed."""
        if self._server is not None and counts != self._counts:
            self._counts = counts
            self._server.tell(counts)


class ToRecorders(logging.Handler):
    """Hands lines of the log to the recorders, which write them; they wait until there is one."""

    def __init__(self, server: Server) -> None:
        super().__init__(logging.INFO)
        self._server = server
        self._waiting: deque[messages.Log] = deque(maxlen=_MOST_LINES)

    def emit(self, record: logging.LogRecord) -> None:
        """Hand a line over."""
        text = "\n".join(visible(line) for line in record.getMessage().split("\n"))
        self._waiting.append(messages.Log(level=record.levelname, text=text))
        self.hand_over()

    def hand_over(self) -> None:
        """Hand over what waits, if there is a recorder."""
        while self._waiting and self._server.recorders():
            self._server.tell(self._waiting.popleft())
