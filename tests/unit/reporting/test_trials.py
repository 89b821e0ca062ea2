"""The result of a test command: its exit code, and its reports as JSON and JUnit XML."""

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from proxy_addon.core.expectations.tracking import compare_tracking
from proxy_addon.core.findings import Finding, Judgement, Severity
from proxy_addon.core.fixtures.held import fold
from proxy_addon.core.sessions import SessionState
from proxy_addon.errors import SettingsError
from proxy_addon.reporting import trials
from proxy_addon.reporting.judged import Subject
from proxy_addon.reporting.terminal import console
from proxy_addon.reporting.trials import Trial
from tests import builders

SESSION = builders.session()
(EXPECTED,) = fold([builders.start(), builders.event("play")])
(OTHER,) = fold([builders.start(), builders.event("pauseStart")])


def trial(*found: Severity, **overrides) -> Trial:
    findings = tuple(Finding(rule="a-rule", severity=each, message="it is wrong", seq=1) for each in found)
    subject = Subject(judgement=Judgement(of_exchanges=findings), session=SESSION, state=SessionState.ENDED)
    values: dict[str, Any] = {
        "command": ("npx", "playwright", "test"),
        "code": 0,
        "checked": [subject],
        "threshold": Severity.ERROR.weight,
        "recorded": 1,
        "compared": {},
        "unexpected": [],
    }
    return Trial(**(values | overrides))


SAME = {"a.json": compare_tracking(EXPECTED, EXPECTED)}
DIFFERENT = {"a.json": compare_tracking(OTHER, EXPECTED)}


@pytest.mark.parametrize(
    ("result", "code"),
    [
        (trial(), 0),
        (trial(Severity.WARNING), 0),
        (trial(Severity.WARNING, threshold=Severity.WARNING.weight), 1),
        (trial(Severity.ERROR), 1),
        (trial(Severity.ERROR, threshold=None), 0),
        (trial(Severity.ERROR, checked=None), 0),
        (trial(compared=SAME), 0),
        (trial(compared=DIFFERENT), 1),
        (trial(compared={"a.json": None}), 1),
        (trial(unexpected=[SESSION]), 1),
        (trial(recorded=0, checked=[], compared={"a.json": None}), 2),
        (trial(is_complete=False), 2),
        (trial(problem="nothing was updated"), 2),
        (trial(Severity.ERROR, code=7), 7),
        (trial(recorded=0, code=130), 130),
    ],
)
def test_the_exit_code_is_the_commands_own_then_what_was_found(result, code):
    assert result.exit_code == code
    report = json.loads(b"".join(trials.pieces(Path("r.json"), result)))
    assert (report["exit_code"], report["ok"]) == (code, code == 0)
    suites = ET.fromstring(b"".join(trials.pieces(Path("r.XML"), result)))
    bad = [
        each for each in suites.iter("testcase") if each.find("failure") is not None or each.find("error") is not None
    ]
    assert bool(bad) == (code != 0)
    assert suites.get("tests") == str(len(list(suites.iter("testcase"))))
    failed = sum(each.find("failure") is not None for each in suites.iter("testcase"))
    assert suites.get("failures") == str(failed)


@pytest.mark.parametrize(
    ("result", "reasons"),
    [
        (trial(), []),
        (trial(Severity.ERROR), []),
        (trial(Severity.WARNING, threshold=Severity.WARNING.weight), ["A finding of severity warning fails the run."]),
        (trial(compared=DIFFERENT), []),
        (trial(compared={"a.json": None}), ["a.json: no session was recorded that could be this one."]),
        (trial(unexpected=[SESSION]), [f"Session {SESSION.id} was recorded, and no expectation has it."]),
        (trial(recorded=0, checked=[]), ["Nothing was recorded."]),
        (trial(code=3), ["The command ended with exit code 3."]),
    ],
)
def test_the_page_is_told_what_sessions_do_not_say(result, reasons):
    assert result.verdict.is_failed == (result.exit_code != 0)
    assert [*result.verdict.reasons] == reasons


def test_a_report_names_the_command_the_findings_and_the_differences(capfd):
    result = trial(Severity.ERROR, compared={**DIFFERENT, "b.json": None}, unexpected=[SESSION])
    report = json.loads(b"".join(trials.pieces(Path("r.json"), result)))
    assert report["command"] == {"arguments": ["npx", "playwright", "test"], "exit_code": 0}
    assert [each["rule"] for each in report["sessions"][0]["findings"]] == ["a-rule"]
    named = {each["name"]: each["comparison"] for each in report["expectations"]}
    assert (named["a.json"]["same"], named["b.json"], report["unexpected"]) == (False, None, ["s1"])
    trials.print_trial(console(stderr=True), result)
    out, said = capfd.readouterr()
    assert out == ""
    for text in ("it is wrong", "pauseStart", "b.json: no session was recorded", "session s1 (A film) was recorded"):
        assert text in said


def test_a_report_needs_a_name_that_says_its_format(tmp_path):
    for path in (tmp_path / "r.txt", tmp_path / "none" / "r.json"):
        with pytest.raises(SettingsError, match=path.name if path.suffix == ".txt" else "no folder"):
            trials.check_path(path)
