"""The news of what was stored, and its lines."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace

from proxy_addon.core import sessions as folding
from proxy_addon.core.exchange import Exchange
from proxy_addon.core.findings import Finding, Severity
from proxy_addon.core.news import Found, News
from proxy_addon.core.sessions import Session
from proxy_addon.ingest.watching import Watcher, of_session
from proxy_addon.reporting.news import TextNews, json_line
from storage.saving import Touched
from tests.builders import BEGIN, batch, event, event_dict, exchange, session, start

WRONG = Finding(rule="ts-type", severity=Severity.ERROR, message="ts is a string", pointer="/playerTime/ts")


def folded(first: Exchange, *others: Exchange) -> Session:
    found = folding.opened(first, id="s1")
    for each in others:
        found = folding.joined(found, each)
    return found


class Heard(list[str]):
    """The lines of what a watcher tells."""

    def __init__(self) -> None:
        self.watcher = Watcher()
        self._text = TextNews()

    def hear(self, news: Iterable[News]) -> None:
        self += filter(None, map(self._text.line, news))

    def stored(self, session: Session, *exchanges: Exchange, findings: tuple[Finding, ...] = ()) -> None:
        touched = [Touched(session=session, exchanges=list(exchanges))]
        self.hear(self.watcher.of_stored([(each, findings) for each in exchanges], touched))


def test_a_session_starts_once_and_its_end_is_told_again_only_in_a_new_state():
    heard = Heard()
    arrived = [start()]
    heard.stored(folded(*arrived), *arrived)
    for number, type in enumerate(["play", "sessionComplete", "sessionComplete", "sessionEnd", "sessionEnd", "ping"]):
        arrived.append(event(type, id=f"x{number}", after_s=64 + number))
        heard.stored(folded(*arrived), arrived[-1])
    assert heard == [
        "12:00:00Z  s1                HTML5 Player   start      A film",
        "12:01:05Z  s1                HTML5 Player   completed  3 events in 1:05",
        "12:01:07Z  s1                HTML5 Player   ended      5 events in 1:07",
    ]


def test_all_of_it_in_one_transaction_comes_in_its_order():
    heard = Heard()
    first, end = start(), event("sessionEnd", id="x2", after_s=2)
    heard.stored(folded(first, end), first, end, findings=(WRONG,))
    assert [line[44:].split()[0] for line in heard] == ["start", "error", "ended"]


def test_a_batch_starts_and_ends_in_one():
    heard = Heard()
    downloaded = batch([event_dict("sessionStart"), event_dict("sessionComplete")])
    heard.stored(folding.opened(downloaded, id="s1"), downloaded)
    assert [line[44:].split()[0] for line in heard] == ["start", "completed"]


def test_a_start_that_opened_nothing_and_one_that_was_not_seen_say_so():
    heard = Heard()
    failed = start(session_id=None)
    heard.stored(folding.opened(failed, id="s1"), failed)
    late = event("ping", session_id="bbbb")
    heard.stored(folding.begun_late(late, id="s2"), late)
    assert [line[28:] for line in heard] == [
        " HTML5 Player   failed     no session was opened for A film",
        " -              partial    its start was not seen",
    ]


def test_a_mistake_is_told_once_in_a_session_to_people_and_each_time_to_programs():
    heard, told = Heard(), list[News]()
    ping = event("ping", id="x2", after_s=1)
    touched = [Touched(session=session(exchanges=9), exchanges=[ping])]
    for _ in range(3):
        told += heard.watcher.of_stored([(ping, [WRONG])], touched)
    told += of_session(session(), [replace(WRONG, rule="ping-gap", seq=7, pointer=None)])
    told += heard.watcher.of_stored([(exchange(path="/api/v1/other"), [WRONG])], [])
    heard.hear(told)
    assert heard == [
        "12:00:01Z  s1                HTML5 Player   error      ts-type ping: ts is a string at /playerTime/ts",
        "12:00:00Z  s1                HTML5 Player   error      ping-gap #7: ts is a string",
        "12:00:00Z  -                 -              error      ts-type: ts is a string at /playerTime/ts",
    ]
    assert len(told) == 5


def test_a_finding_has_the_number_of_its_exchange_where_it_is_known_and_comes_before_its_consequence():
    heard = Heard()
    refused = Finding(rule="upstream-refused", severity=Severity.ERROR, message="status 400")
    first, late = start(), event("adStart", id="late", after_s=1)
    play, ping, end = (event(type, id=type, after_s=s) for type, s in (("play", 2), ("ping", 3), ("sessionEnd", 4)))
    heard.stored(folded(first), first)
    heard.stored(folded(first, play, ping), ping, play, findings=(refused, WRONG))
    heard.stored(folded(first, play, ping, late), late, findings=(replace(WRONG, rule="ts-missing"),))
    heard.stored(folded(first, play, ping, late, end), end, findings=(replace(WRONG, rule="ts-order"),))
    heard.stored(session(id="s2", exchanges=8), event("ping", id="x8"))
    late = event("play", id="x9", after_s=9)
    heard.stored(session(id="s2", exchanges=9), late, findings=(WRONG,))
    assert [line.split(": ")[0].split("  ")[-1].strip() for line in heard if "error" in line] == [
        "ts-type #3 ping",
        "upstream-refused #3 ping",
        "ts-missing adStart",
        "ts-order #5 sessionEnd",
        "ts-type #9 play",
    ]


def test_what_a_device_sent_is_one_line():
    evil = replace(WRONG, message="a\x1b[31m\nb")
    news = Found(at=BEGIN, session=session(player_name="\u202eevil"), finding=evil, event_type="\x9bping")
    line = TextNews().line(news)
    assert line is not None
    assert line.isprintable()
    assert r"\u202eevil" in line
    assert r"a\x1b[31m\nb" in line
    document = json.loads(json_line(news))
    assert (document["kind"], document["event_type"]) == ("finding", "\x9bping")
    assert document["session"]["player_name"] == "\u202eevil"
    assert document["finding"]["rule"] == "ts-type"


def test_what_is_judged_late_is_told_late_with_its_session():
    heard = Heard()
    ping = event("ping", id="x2", after_s=1)
    heard.hear(heard.watcher.of_stored([(ping, None)], [Touched(session=session(exchanges=9), exchanges=[ping])]))
    assert heard == []
    heard.hear(heard.watcher.of_late(ping, [WRONG]))
    heard.hear(heard.watcher.of_late(replace(ping, id="of an earlier recorder"), [WRONG]))
    assert [line[11:13] for line in heard] == ["s1"]
