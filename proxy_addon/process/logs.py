"""The log of a process: one line for each record, written without blocking, with control characters made visible.

Our modules log with `logger`, which makes text from devices harmless even if mitmproxy writes the log, as inside
mitmdump. `to_lines` writes the log of a process of our own.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from proxy_addon.core.jsonforms import iso
from proxy_addon.core.wording import visible
from proxy_addon.process.lines import Lines

FORMATS = ("text", "json")
_VISIBLE = "sessiontape_visible"
TOLD = "sessiontape_told"
"""An attribute of records that are reported in another way and therefore not logged."""
_PARAGRAPHS = ("mitmproxy.proxy.mode_servers", "mitmproxy.addons.tlsconfig")
"""Loggers whose messages have several lines, like the profile for WireGuard, and no text from devices."""


_FLUSH_S = 0.5


class _Visible(logging.LoggerAdapter[logging.Logger]):
    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        lines = [visible(str(msg)), *_traceback(kwargs.pop("exc_info", None))]
        return "\n".join(lines), {**kwargs, "extra": {_VISIBLE: True}}


def logger(name: str) -> logging.LoggerAdapter[logging.Logger]:
    """Return a logger whose messages are one line each, with an indented traceback below if there is one.

    Pass whole messages, not a format with arguments.
    """
    return _Visible(logging.getLogger(name), {})


def _traceback(exc_info: Any) -> list[str]:
    if not exc_info:
        return []
    error = exc_info if isinstance(exc_info, BaseException) else (sys.exc_info() if exc_info is True else exc_info)[1]
    return [f"  {visible(line)}" for part in traceback.format_exception(error) for line in part.splitlines()]


def _message(record: logging.LogRecord) -> str:
    text = record.getMessage()
    if getattr(record, _VISIBLE, False):
        return text
    lines = text.split("\n") if record.name in _PARAGRAPHS else [text]
    return "\n".join([*map(visible, lines), *_traceback(record.exc_info)])


def text_line(record: logging.LogRecord) -> str:
    """Return a record as text: time of day in UTC, level and message."""
    return f"{_at(record):%H:%M:%S}Z {record.levelname} {_message(record)}"


def json_line(record: logging.LogRecord) -> str:
    """Return a record as a JSON object: ``at``, ``level``, ``logger`` and ``message``."""
    level = record.levelname.lower()
    return json.dumps({"at": iso(_at(record)), "level": level, "logger": record.name, "message": _message(record)})


def missed_text(count: int) -> str:
    """Return the line of text that says how many lines were left out."""
    return f"{datetime.now(UTC):%H:%M:%S}Z WARNING {_missed(count)}"


def missed_json(count: int) -> str:
    """Return the same line as a JSON object."""
    message = _missed(count)
    return json.dumps({"at": iso(datetime.now(UTC)), "level": "warning", "logger": __name__, "message": message})


def _missed(count: int) -> str:
    return f"{count} {'line was' if count == 1 else 'lines were'} left out here: nobody was reading"


def _at(record: logging.LogRecord) -> datetime:
    return datetime.fromtimestamp(record.created, UTC)


class _Handler(logging.Handler):
    def __init__(self, lines: Lines, line: Callable[[logging.LogRecord], str], level: int) -> None:
        super().__init__(level)
        self._lines = lines
        self._line = line

    def emit(self, record: logging.LogRecord) -> None:
        if getattr(record, TOLD, False):
            return
        try:
            line = self._line(record)
        except Exception as e:  # noqa: BLE001  # a faulty log message must not stop the code that logs it
            line = f"a message of {record.name} cannot be shown: {e!r}"
        self._lines.put(line)

    def flush(self) -> None:
        """Wait for a moment until what was logged is written."""
        self._lines.flush(_FLUSH_S)


@contextmanager
def to_lines(lines: Lines, *, as_json: bool, level: int = logging.INFO) -> Iterator[None]:
    """Log to a queue of lines until the block ends, including Python's warnings and threads that die."""
    handler = _Handler(lines, json_line if as_json else text_line, level)
    root = logging.getLogger()
    before, hook = root.level, threading.excepthook
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    logging.captureWarnings(True)  # noqa: FBT003  # the standard library's signature
    threading.excepthook = _thread_died
    try:
        yield
    finally:
        threading.excepthook = hook
        logging.captureWarnings(False)  # noqa: FBT003  # as above
        root.setLevel(before)
        root.removeHandler(handler)


def _thread_died(died: threading.ExceptHookArgs) -> None:
    name = died.thread.name if died.thread is not None else "?"
    _log.error(f"thread {name} has died", exc_info=died.exc_value)


_log = logger(__name__)
