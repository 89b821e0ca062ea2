"""The log: one line for each message, whatever is in it."""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from proxy_addon.process import logs
from proxy_addon.process.lines import Lines

EVIL = "a\x1b[31m\nb\u202e"
SHOWN = r"a\x1b[31m\nb\u202e"


@dataclass
class Logged:
    """What was logged; known once all is over."""

    text: str = ""


@contextmanager
def logging_to(*, as_json: bool = False, level: int = logging.INFO) -> Iterator[Logged]:
    """Log to a pipe."""
    logged = Logged()
    read, write = os.pipe()
    with os.fdopen(read, encoding="utf-8") as reader:
        with os.fdopen(write, "w", encoding="utf-8") as stream:
            lines = Lines(stream, logs.missed_text)
            with logs.to_lines(lines, as_json=as_json, level=level):
                yield logged
            lines.close(10)
        logged.text = reader.read()


@pytest.mark.parametrize("logger", [logs.logger("ours"), logging.getLogger("foreign")], ids=["ours", "foreign"])
def test_what_a_device_sent_makes_no_line_and_acts_on_none(logger):
    with logging_to() as logged:
        logger.warning(f"lost: {EVIL}")
    assert re.fullmatch(rf"[0-9:]{{8}}Z WARNING lost: {re.escape(SHOWN)}\n", logged.text)


@pytest.mark.parametrize("logger", [logs.logger("ours"), logging.getLogger("foreign")], ids=["ours", "foreign"])
def test_a_traceback_is_indented_and_visible_too(logger):
    with logging_to() as logged:
        try:
            int(f"{EVIL}")
        except ValueError as e:
            e.add_note(EVIL)
            logger.exception("it failed")
    first, *traceback, last = logged.text.splitlines()
    assert first.endswith("ERROR it failed")
    assert last.startswith("  ")
    assert [line for line in traceback if not line.startswith("  ")] == []
    assert "\x1b" not in "".join([*traceback, last])


def test_what_mitmproxy_logs_is_visible_inside_mitmdump_too(caplog):
    logs.logger("ours").error(f"lost: {EVIL}")
    assert caplog.messages == [f"lost: {SHOWN}"]


def test_json_has_an_object_for_each_message():
    with logging_to(as_json=True) as logged:
        logs.logger("ours").warning("one")
        logging.getLogger("foreign").error(EVIL)
    one, other = map(json.loads, logged.text.splitlines())
    assert (one["level"], one["logger"], one["message"]) == ("warning", "ours", "one")
    assert re.fullmatch(r"[0-9]{4}-[0-9-]{5}T[0-9:.]+Z", one["at"])
    assert other["message"] == SHOWN


def test_a_profile_of_several_lines_stays_one_to_be_copied():
    with logging_to() as logged:
        logging.getLogger("mitmproxy.proxy.mode_servers").warning("[Interface]\nAddress = 10.0.0.1")
    assert logged.text.endswith("WARNING [Interface]\nAddress = 10.0.0.1\n")


def test_what_is_below_the_level_or_told_elsewhere_is_not_logged():
    with logging_to(level=logging.ERROR) as logged:
        logs.logger("ours").warning("a warning")
        logging.getLogger("foreign").error("told", extra={logs.TOLD: True})
    assert logged.text == ""
