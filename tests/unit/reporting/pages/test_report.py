"""A report of many sessions: which are in full, how they are linked, and how much memory it takes."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator

import pytest

from proxy_addon.core.findings import Finding, Judgement, Severity
from proxy_addon.core.sessions import AsOf, FindingCounts
from proxy_addon.core.timelines.pictures import Picture
from proxy_addon.core.timelines.reported import Reported, judged_picture, worst
from proxy_addon.reporting.pages.report import MOST_IN_FULL, TrialVerdict, report
from tests.builders import at, event, session, start
from tests.reports import parts_of

AS_OF = AsOf(now=at(20))
LARGE = 1_000_000


def reported(number: int, *, body: bytes = b"", **values: object) -> Reported:
    """A session that is read when it is drawn."""
    of = session(
        id=f"s{number}", session_id=f"{number:064x}", started_at=at(number), last_event_at=at(number + 9), **values
    )

    def picture() -> Picture:
        # A large body of its own, so that what is kept of it is seen.
        exchanges = [
            start(id="a", after_s=number),
            event("ping", id="b", after_s=number + 1, body=body * LARGE or None),
        ]
        finding = Finding(rule="param-type", severity=Severity.ERROR, message="no", seq=1, pointer="/params")
        return judged_picture(of, exchanges, Judgement(of_exchanges=(finding,)), AS_OF)

    return Reported(session=of, as_of=AS_OF, told=lambda: of, picture=picture)


def test_the_worst_come_first_and_of_equals_the_newest():
    sessions = [
        reported(0, ended=True, findings=FindingCounts(warning=3)),
        reported(1, failed=True),
        reported(2, ended=True, findings=FindingCounts(error=1)),
        reported(3, ended=True),
        reported(4, ended=True),
        reported(5, ended=True, findings=FindingCounts(info=1)),
    ]
    order = [[*worst(sessions, most)] for most in range(1, 7)]
    new = [({*more} - {*less}).pop() for less, more in zip([[], *order], order, strict=False)]
    assert new == ["s2", "s1", "s0", "s5", "s4", "s3"]


@pytest.mark.parametrize(
    ("states", "trial", "level", "remarks"),
    [
        ([{}], None, "fail", []),
        ([], None, None, []),
        ([], TrialVerdict(is_failed=True, reasons=("Nothing was recorded.",)), "fail", ["Nothing was recorded."]),
        ([], TrialVerdict(is_failed=False), None, []),
        ([{}], TrialVerdict(is_failed=True), "fail", []),
        ([{}], TrialVerdict(is_failed=False), "warn", ["The test run passed."]),
    ],
    ids=["sessions alone", "nothing", "nothing recorded", "nothing wanted", "failed", "passed all the same"],
)
def test_the_verdict_is_that_of_the_test_run_or_else_the_worst(states, trial, level, remarks):
    sessions = [reported(number, **values) for number, values in enumerate(states)]
    value = parts_of("".join(report(sessions, made_at=at(0), pseudonymised=True, trial=trial)))["value"]
    assert (value["level"], value["remarks"]) == (level, remarks)


def test_only_one_session_is_in_memory_at_a_time():
    number = MOST_IN_FULL + 10

    def lengths() -> Iterator[int]:
        sessions = [reported(each, body=b"x") for each in range(number)]
        yield from map(len, report(sessions, made_at=at(0), pseudonymised=True))

    sum(map(len, report([reported(0)], made_at=at(0), pseudonymised=True)))  # what is read once is not counted
    tracemalloc.start()
    written = sum(lengths())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert written > 0
    assert peak < 15 * LARGE, f"{peak} bytes for {MOST_IN_FULL} sessions of {LARGE}"


def test_sessions_of_one_device_and_retries_are_linked():
    sessions = [
        reported(1, client_address="192.0.2.1"),
        reported(2, client_address="192.0.2.9"),
        reported(3, client_address="192.0.2.1", retry_of="s1"),
        reported(4, client_address=None, user_agent=None, retry_of="s0"),
    ]
    parts = parts_of("".join(report(sessions, made_at=at(0), pseudonymised=False)))
    rows = {row["id"]: row["part"] for row in parts["value"]["rows"]}
    links = {id: parts[f"session-{part}"]["links"] for id, part in rows.items()}
    assert links["s1"] == [["next", "s3"], ["retried_by", "s3"]]
    assert links["s3"] == [["previous", "s1"], ["retry_of", "s1"]]
    assert links["s2"] == links["s4"] == []
    more = [reported(number, client_address="192.0.2.1") for number in range(3)]
    three = parts_of("".join(report(more, made_at=at(0), pseudonymised=False)))
    (both,) = [part["links"] for part in three.values() if len(part.get("links", ())) == 2]
    assert both == [["previous", "s0"], ["next", "s2"]], "in the order of the live pages"
    assert parts["value"]["rules"] == [["param-type", "error", 4]]
    assert parts["value"]["rows"][0]["rules"] == ["param-type"]


def test_what_was_open_when_a_file_was_made_is_left_open_if_it_was_judged_as_over():
    def ended(*, are_over: bool) -> str:
        made = "".join(report([reported(0)], made_at=at(20), pseudonymised=True, are_over=are_over))
        return str(parts_of(made)["session-0"]["verdict"]["ended"])

    assert ended(are_over=False) == "open when this was made, 2026-03-01 12:00:20 UTC"
    assert ended(are_over=True) == "left open"
