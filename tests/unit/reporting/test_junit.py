"""JUnit XML of what was judged."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from proxy_addon.core.findings import Finding, Holes, Judgement, Severity
from proxy_addon.reporting.judged import Subject
from proxy_addon.reporting.junit import JUnitReport
from tests.builders import session


def suite(*findings: Finding, threshold: int | None = Severity.ERROR.weight, holes: Holes | None = None) -> ET.Element:
    written: list[str] = []
    report = JUnitReport(written.append, threshold)
    report.begin()
    assert written == [], "the counts come first and are known last"
    report.add(Subject(judgement=Judgement(of_exchanges=findings, holes=holes), file="f.json"))
    report.end(ok=not findings)
    return ET.fromstring("".join(written))[0]


def test_findings_from_the_threshold_on_are_failures_and_the_others_output():
    error = Finding(rule="ts-type", severity=Severity.ERROR, message="no number", pointer="/ts", seq=2)
    info = Finding(rule="param-empty", severity=Severity.INFO, message="empty", count=3)
    found = suite(error, info)
    assert (found.get("tests"), found.get("failures"), found.get("skipped")) == ("1", "1", "0")
    (case,) = found
    failure, output = case
    assert (failure.get("type"), failure.get("message")) == ("ts-type", "no number")
    assert failure.text == "#2 error ts-type: no number at /ts"
    assert output.text == "info param-empty: empty (and 2 more)"


def test_a_case_has_one_failure_that_says_all():
    findings = [Finding(rule=rule, severity=Severity.ERROR, message=f"no {rule}") for rule in ("first", "second")]
    found = suite(*findings)
    assert found.get("failures") == "1"
    (failure,) = found[0]
    assert (failure.get("type"), failure.get("message")) == ("first", "no first (and 1 more)")
    assert failure.text == "error first: no first\nerror second: no second"


def test_without_a_threshold_nothing_fails():
    found = suite(Finding(rule="r", severity=Severity.ERROR, message="m"), threshold=None)
    assert found.get("failures") == "0"
    assert [child.tag for child in found[0]] == ["system-out"]


def test_a_device_begins_no_line_of_its_own():
    evil = "/params/a\n::error title=forged::\x1b[2K"
    found = suite(*[Finding(rule="r", severity=severity, message="m", pointer=evil) for severity in Severity])
    texts = [child.text or "" for child in found[0]]
    assert [len(text.splitlines()) for text in texts] == [1, 2]
    assert not any(line.startswith("::") for text in texts for line in text.splitlines())


def test_media_and_player_stand_beside_the_id_and_forge_nothing():
    written: list[str] = []
    report = JUnitReport(written.append, None)
    report.add(Subject(judgement=Judgement(), session=session(media_name="a\nb", player_name="\x1b[2K")))
    report.end(ok=True)
    assert ET.fromstring("".join(written))[0][0].get("name") == f"{session().id} a\\nb · \\x1b[2K"


def test_rules_that_were_not_applied_are_output_of_a_case_that_passes():
    found = suite(holes=Holes(bodies=0, requests=3, rules=("ping-gap",)))
    ((output,),) = found
    assert (found.get("failures"), output.tag) == ("0", "system-out")
    assert output.text == "not applied: rule ping-gap, because the file may lack requests"
