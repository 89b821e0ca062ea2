"""Annotations of a GitHub workflow run."""

from __future__ import annotations

from proxy_addon.core.findings import Finding, Holes, Judgement, Severity
from proxy_addon.reporting.github import GitHubReport
from proxy_addon.reporting.judged import Subject
from tests.builders import session


def lines_of(*findings: Finding, file: str | None = None, holes: Holes | None = None) -> list[str]:
    written: list[str] = []
    report = GitHubReport(written.append)
    report.begin()
    report.add(Subject(judgement=Judgement(of_exchanges=findings, holes=holes), file=file))
    report.end(ok=not findings)
    return "".join(written).splitlines()


def test_a_finding_is_one_line_with_its_level_rule_and_place():
    finding = Finding(rule="ts-type", severity=Severity.ERROR, message="100% wrong", pointer="/a", seq=3)
    assert lines_of(finding, file="a,b:c.json") == [
        "::error file=a%2Cb%3Ac.json,title=ts-type::100%25 wrong (a,b:c.json #3 /a)"
    ]


def test_severities_are_levels():
    findings = [Finding(rule="r", severity=severity, message="m") for severity in Severity]
    assert [line.partition(" ")[0] for line in lines_of(*findings)] == ["::error", "::warning", "::notice"]


def test_media_and_player_stand_before_the_place_if_there_is_one():
    written: list[str] = []
    findings = tuple(Finding(rule="r", severity=Severity.ERROR, message="m", seq=seq) for seq in (None, 3))
    subject = Subject(judgement=Judgement(of_exchanges=findings), session=session(media_name="Sea", player_name="TV"))
    GitHubReport(written.append).add(subject)
    id = session().id
    assert written == [f"::error title=r::m ({id} Sea · TV, #3)\n", f"::error title=r::m ({id} Sea · TV)\n"]


def test_what_a_device_sent_acts_on_no_terminal_and_makes_no_line():
    evil = "a\x1b[31m\u202eb\r\nc\n::error::d"
    (line,) = lines_of(Finding(rule="r", severity=Severity.INFO, message="m", pointer=evil))
    assert "\x1b" not in line
    assert "\u202e" not in line
    assert line.endswith(r"(stdin a\x1b[31m\u202eb\r\nc\n::error::d)")


def test_a_finding_on_many_exchanges_is_one_annotation():
    findings = [Finding(rule="r", severity=Severity.ERROR, message="m", seq=seq) for seq in range(1, 97)]
    assert lines_of(*findings) == ["::error title=r::m (stdin #1; 96 times: #1, #2, #3, #4, #5, …)"]


def test_rules_that_were_not_applied_are_a_notice():
    holes = Holes(bodies=1, requests=3, rules=("ping-gap",))
    assert lines_of(holes=holes) == [
        "::notice title=not applied::stdin: rule ping-gap, because the file lacks 1 of 3 bodies"
    ]
