"""Failures of judging: counted, and each kind logged once."""

from __future__ import annotations

import logging

from proxy_addon.core.judging.exchanges import judge_exchange
from proxy_addon.process.failures import Failures
from tests.breaking import failing
from tests.builders import event

ODD = event("ping", params={"media.customKey": 1})


def test_each_kind_of_failure_is_logged_once_and_all_are_counted(caplog):
    failures = Failures()
    with failing("param-type", "param-unknown"), caplog.at_level(logging.ERROR):
        for each in (ODD, ODD, event("ping", params={"media.id": 1}, id="\x1b")):
            failures.of_rules(judge_exchange(each), f"exchange {each.id}")
    failures.of_rules(judge_exchange(event("ping")), "one without a failure")
    assert failures.count == 6
    assert [record.getMessage().partition(" failed")[0] for record in caplog.records] == [
        "rule param-type",
        "rule param-unknown",
    ]
    assert caplog.records[0].getMessage().endswith(f"; first on exchange {ODD.id}")


def test_failures_beside_the_rules_are_counted_with_them_and_have_their_traceback_in_the_log(caplog):
    failures = Failures()
    for error in (ZeroDivisionError("a"), ZeroDivisionError("b"), KeyError("c")):
        failures.of_ours("judging a session", "s1", error)
    failures.of_ours("forgetting sessions", "s1", ZeroDivisionError("d"))
    assert failures.count == 4
    assert [
        (lines[0], lines[-1].strip()) for lines in (record.getMessage().split("\n") for record in caplog.records)
    ] == [
        ("judging a session failed, first on s1", "ZeroDivisionError: a"),
        ("judging a session failed, first on s1", "KeyError: 'c'"),
        ("forgetting sessions failed, first on s1", "ZeroDivisionError: d"),
    ]
