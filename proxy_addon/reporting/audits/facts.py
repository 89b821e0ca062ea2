"""An audit as facts, one per line, for spreadsheets; and as test cases, for build servers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from proxy_addon.core.audits.changes import FISHER, Changes, Compared, What
from proxy_addon.core.audits.results import Audit, Distribution, Group
from proxy_addon.core.findings import Severity
from proxy_addon.core.fixtures.events_csv import line
from proxy_addon.core.wording import counted, pasted, visible
from proxy_addon.reporting.audits.tables import middle, share, side_words, what_words
from proxy_addon.reporting.junit import SUITE_END, Problem, as_one, case, suite_begin

COLUMNS = ("group", "kind", "event", "section", "name", "detail", "value", "of", "share", "sessions", "look_at")
"""The columns of the CSV file, in order. docs/audits.md says what each kind of fact has in them."""
ALL = "(all)"
"""The group of all sessions; an empty group is that of sessions which do not say theirs."""


def lines(audit: Audit) -> Iterator[str]:
    """Yield the lines of a CSV file: the names of the columns, and then a fact per line, all sessions first."""
    yield line(COLUMNS)
    yield from _facts(ALL, audit.all)
    for group in audit.groups:
        yield from _facts(group.name, group)
    if audit.baseline is not None:
        yield from _changes(ALL, audit.baseline.all)
        for changes in audit.baseline.groups:
            yield from _changes(changes.name, changes)


def _changes(name: str | None, changes: Changes) -> Iterator[str]:
    """Yield two facts for each change: what is now, and what was before."""
    for each in changes.changes:
        what = " ".join(filter(None, (each.change, each.what, each.detail)))
        look_at = named(each.look_at)
        for kind, side, detail, sessions in (
            ("change", each.after, f"{what}, {each.test} p={each.p}", "" if each.is_of_baseline else look_at),
            ("before", each.before, what, look_at if each.is_of_baseline else ""),
        ):
            values: dict[str, Any] = {
                "group": name,
                "kind": kind,
                "event": each.event,
                "section": each.section,
                "name": each.name,
                "detail": detail,
                "value": side.sessions if each.test == FISHER else middle(each, side),
                "of": side.of,
                "share": side.share,
                "sessions": side.sessions,
                "look_at": sessions,
            }
            yield line([values.get(column) for column in COLUMNS])


def _facts(name: str | None, group: Group) -> Iterator[str]:
    def fact(kind: str, **values: Any) -> str:
        return line([name, kind, *(values.get(column) for column in COLUMNS[2:])])

    yield fact("verdict", name=group.verdict.level, detail=group.verdict.text)
    for what in ("sessions", "exchanges", "events", "clean"):
        yield fact("total", name=what, value=getattr(group, what))
    for state, number in group.states.items():
        yield fact("state", name=state, value=number, of=group.sessions)
    for event, number in group.event_types.items():
        yield fact("event", event=event, value=number, of=group.events)
    for key in group.keys:
        of_key = {"event": key.event, "section": key.section, "name": key.key}
        yield fact("key", **of_key, detail=" ".join(key.types), value=key.sent, of=key.of, share=key.share)
        for value in key.examples:
            yield fact("value", **of_key, detail=value.text, value=value.count, of=key.sent)
    for absent in group.absent:
        detail = "required" if absent.is_required else "optional"
        yield fact("absent", event=absent.event, section=absent.section, name=absent.key, detail=detail)
    for rule in group.findings:
        yield fact(
            "finding",
            name=rule.rule,
            detail=rule.severity,
            value=rule.places,
            share=rule.share,
            sessions=rule.sessions,
            of=group.sessions,
            look_at=named(rule.look_at),
        )
    for broken in group.plan:
        yield fact(
            broken.rule,
            event=broken.event,
            section=broken.section,
            name=broken.key,
            detail=broken.expected,
            value=broken.times,
            share=broken.share,
            sessions=broken.sessions,
            of=group.sessions,
            look_at=named(broken.look_at),
        )
    for loss in group.losses:
        yield fact(
            "loss",
            name=loss.loss,
            detail=loss.time_s,
            value=loss.times,
            share=loss.share,
            sessions=loss.sessions,
            of=group.sessions,
            look_at=named(loss.look_at),
        )
    for what in ("sent", "answered", "accepted", "counted"):
        yield fact("funnel", name=what, value=getattr(group.funnel, what), of=group.funnel.sent)
    for of_rhythm, distribution in _distributions(group):
        for detail in ("number", "mean", "lowest", "p5", "p50", "p95", "highest"):
            yield fact("rhythm", name=of_rhythm, detail=detail, value=getattr(distribution, detail))
    for metric in group.metrics:
        yield fact(
            "metric", name=metric.metric, detail=metric.per_session, value=metric.total, sessions=metric.sessions
        )


def named(ids: Sequence[str]) -> str:
    """Return sessions in one text, apart as a shell tells words apart."""
    return " ".join(map(pasted, ids))


def _distributions(group: Group) -> Iterator[tuple[str, Distribution]]:
    rhythm = group.rhythm
    for state, gaps in rhythm.ping_gaps_ms.items():
        yield f"ping_gaps_ms.{state}", gaps
    for name in ("playhead_speed", "clock_skew_ms", "latency_ms", "batch_events"):
        yield name, getattr(rhythm, name)


def suite(audit: Audit, fail_on: str, *, changes_fail: bool = False) -> Iterator[str]:
    """Yield an audit as JUnit XML: a test case for each group, which fails if rules are broken in it.

    Beside a baseline, there is also a test case for all sessions. Each case says its verdict.

    Args:
        fail_on: The severity from which a broken rule is a failure, or ``never``; the others are the output of the case.
        changes_fail: Whether changes from the baseline are a failure, too, and too few sessions to tell them from chance.
    """
    threshold = None if fail_on == "never" else Severity(fail_on).weight
    baseline = audit.baseline
    groups = [*audit.groups] or [audit.all]
    if baseline is not None and audit.groups:
        groups = [audit.all, *groups]
    compared = {} if baseline is None else {changes.name: changes for changes in baseline.groups}
    cases = []
    failures = 0
    for group in groups:
        is_all = group is audit.all
        changes = None if baseline is None else baseline.all if is_all else compared.get(group.name)
        told = [*_findings(group, changes, threshold)]
        if changes is not None:
            failed = {each.kind for each in told if each.fails}
            told += _changed(changes, failed, fails=changes_fail)
            if is_all and changes_fail and changes.is_undecided:
                text = "\n".join([undecided_words(changes), *(_compared_words(each) for each in changes.may_be_chance)])
                told.append(_Told("undecided", text, fails=True))
        told.sort(key=lambda each: each.is_note)
        problems = [_failure(each) for each in told if each.fails]
        others = [each.text for each in told if not each.fails]
        failures += bool(problems)
        name = "all sessions" if is_all else visible("(not sent)" if group.name is None else group.name)
        out = "\n".join([f"{group.verdict.level.capitalize()}: {group.verdict.text}", *others])
        cases.append(case("sessiontape audit", name, as_one(problems), out=out))
    yield suite_begin("sessiontape audit", tests=len(groups), failures=failures)
    yield from cases
    yield SUITE_END


def undecided_words(changes: Changes) -> str:
    """Return why nobody can say whether something changed, and what it takes."""
    return (
        f"undecided: {counted(changes.undecided, 'difference')} may be chance; {counted(changes.before, 'session')} before "
        f"and {changes.after:,} after are not enough to say, but {changes.enough} each are"
    )


@dataclass(frozen=True, slots=True)
class _Told:
    """What is told of a group in a test case.

    Attributes:
        kind: The rule, or how something changed.
        fails: Whether it is a failure, and not just output.
        is_note: Whether it comes last.
    """

    kind: str
    text: str
    fails: bool
    is_note: bool = False


def _findings(group: Group, changes: Changes | None, threshold: int | None) -> Iterator[_Told]:
    compared = {} if changes is None else {each.name: each for each in changes.findings}
    for rule in group.findings:
        text = (
            f"{rule.severity} {rule.rule}: {counted(rule.sessions, 'session')} ({share(rule.share)}), "
            f"{counted(rule.places, 'place')}; look at {named(rule.look_at)}"
        )
        if rule.rule in compared:
            before = compared[rule.rule].before
            text += f"; before, {before.sessions:,} of {counted(before.of, 'session')} ({share(before.share)})"
        severity = Severity(rule.severity)
        fails = threshold is not None and severity.weight >= threshold
        yield _Told(rule.rule, text, fails=fails, is_note=severity is Severity.INFO)


def _changed(changes: Changes, failed: set[str], *, fails: bool) -> Iterator[_Told]:
    """Yield all changes but those of rules that have failed, which say so themselves."""
    for each in changes.changes:
        if each.what != What.FINDING or each.name not in failed:
            text = f"{each.change}: {_compared_words(each)}; look at {named(each.look_at)}"
            yield _Told(f"{each.change}-{each.what}", text, fails=fails, is_note=each.severity == Severity.INFO)


def _compared_words(each: Compared) -> str:
    sides = f"before {side_words(each, each.before)}, after {side_words(each, each.after)}"
    return visible(f"{what_words(each)}, {sides}")


def _failure(told: _Told) -> Problem:
    message, _, more = told.text.partition("\n")
    return Problem(element="failure", kind=told.kind, message=message, text=told.text if more else "")
