"""An audit as facts, one per line, for spreadsheets; and as test cases, for build servers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from proxy_addon.core.audits.changes import FISHER, Changes, Compared, What
from proxy_addon.core.audits.naming import what_words
from proxy_addon.core.audits.results import Audit, Distribution, Group, LossSeen, PlanBroken, RuleBroken
from proxy_addon.core.findings import Severity
from proxy_addon.core.fixtures.events_csv import line
from proxy_addon.core.wording import counted, pasted, visible
from proxy_addon.reporting.audits.tables import left_out_words, middle, share, side_words
from proxy_addon.reporting.junit import SUITE_END, Problem, as_one, case, suite_begin

COLUMNS = (
    *("group", "kind", "event", "section", "name", "severity", "types", "expected", "text"),
    *("measure", "value", "of", "share", "what", "change", "test", "p", "beneath", "look_at"),
)
"""The columns of the CSV file, in order. docs/audits.md says what each kind of fact has in them."""
ALL = "(all)"
"""The group of all sessions; an empty group is that of sessions which do not say theirs."""


def lines(audit: Audit) -> Iterator[str]:
    """Yield the lines of a CSV file: the names of the columns, and then a fact per line, all sessions first."""
    yield line(COLUMNS)
    groups = [(ALL, audit.all), *((group.name, group) for group in audit.groups)]
    for name, group in groups:
        for fact in _facts(group):
            yield _line(name, fact)
    if audit.baseline is not None:
        compared = [(ALL, audit.baseline.all), *((changes.name, changes) for changes in audit.baseline.groups)]
        for name, changes in compared:
            for fact in _changes(changes):
                yield _line(name, fact)


type _Fact = dict[str, Any]
"""What a line has in its columns."""


def _line(group: str | None, fact: _Fact) -> str:
    return line([group, *(fact.get(column) for column in COLUMNS[1:])])


def _number(measure: str, value: float | None, of: int | None = None) -> _Fact:
    share = round(value / of, 6) if of and value is not None else None
    return {"measure": measure, "value": value, "of": of, "share": share}


def _changes(changes: Changes) -> Iterator[_Fact]:
    """Yield the facts of each change, and of those beneath it."""
    for head in changes.changes:
        yield from _compared(head)
        subject = " ".join(filter(None, (head.what, head.event, head.section, head.name, head.detail)))
        for each in head.beneath:
            yield from ({**fact, "beneath": subject} for fact in _compared(each))


def _compared(each: Compared) -> Iterator[_Fact]:
    """Yield two facts of a change: what is now, and what was before."""
    about = {
        "event": each.event,
        "section": each.section,
        "name": each.name,
        "severity": each.severity,
        "text": each.detail,
        "what": each.what,
        "change": each.change,
        "test": each.test,
        "p": each.p,
    }
    for kind, side in (("change", each.after), ("before", each.before)):
        if each.test == FISHER:
            number = _number("sessions", side.sessions, side.of)
        else:
            number = _number("p50" if each.what == What.RHYTHM else "mean", middle(each, side))
        look_at = each.look_at if each.is_of_baseline == (kind == "before") else ()
        yield {"kind": kind, **about, **number, "look_at": named(look_at)}


def _facts(group: Group) -> Iterator[_Fact]:
    yield {"kind": "verdict", "name": group.verdict.level, "text": group.verdict.text}
    for what in ("sessions", "exchanges", "events"):
        yield {"kind": "total", "name": what, **_number(what, getattr(group, what))}
    yield {"kind": "total", "name": "clean", **_number("sessions", group.clean, group.sessions)}
    for state, number in group.states.items():
        yield {"kind": "state", "name": state, **_number("sessions", number, group.sessions)}
    for event, number in group.event_types.items():
        yield {"kind": "event", "event": event, **_number("events", number, group.events)}
    for key in group.keys:
        of_key = {"event": key.event, "section": key.section, "name": key.key}
        yield {"kind": "key", **of_key, "types": " ".join(key.types), **_number("events", key.sent, key.of)}
        for seen in key.examples:
            times = _number("times", seen.count, key.sent)
            yield {"kind": "value", **of_key, "types": seen.type, "text": seen.text, **times}
    for absent in group.absent:
        expected = "required" if absent.is_required else "optional"
        place = {"event": absent.event, "section": absent.section, "name": absent.key}
        yield {"kind": "absent", **place, "expected": expected}
    yield {"kind": "total", "name": "with_holes", **_number("sessions", group.with_holes, group.sessions)}
    for about, concerned, *further in _concerned(group):
        of = group.sessions - (concerned.left_out if isinstance(concerned, LossSeen) else 0)
        yield {**about, **_number("sessions", concerned.sessions, of), "look_at": named(concerned.look_at)}
        for number_of in further:
            yield {**about, **number_of}
    for what in ("sent", "answered", "accepted", "may_have_arrived", "not_arrived", "dropped", "counted"):
        yield {"kind": "funnel", "name": what, **_number("events", getattr(group.funnel, what), group.funnel.sent)}
    for name, distribution in _distributions(group):
        for measure in ("number", "mean", "lowest", "p5", "p50", "p95", "highest"):
            yield {"kind": "rhythm", "name": name, **_number(measure, getattr(distribution, measure))}
    for metric in group.metrics:
        yield {"kind": "metric", "name": metric.metric, **_number("sum", metric.total)}
        yield {"kind": "metric", "name": metric.metric, **_number("mean", metric.per_session)}
        for measure in ("sessions", "left_out"):
            yield {"kind": "metric", "name": metric.metric, **_number(measure, getattr(metric, measure))}


def _concerned(group: Group) -> Iterator[tuple[_Fact, RuleBroken | PlanBroken | LossSeen, *tuple[_Fact, ...]]]:
    """Yield what concerns sessions: what it is, the sessions, and what else was counted of it."""
    for rule in group.findings:
        about = {"kind": "finding", "name": rule.rule, "severity": rule.severity}
        yield about, rule, _number("exchanges", rule.exchanges), _number("places", rule.places)
    for broken in group.plan:
        place = {"event": broken.event, "section": broken.section, "name": broken.key}
        yield {"kind": broken.rule, **place, "expected": broken.expected}, broken, _number("times", broken.times)
    for loss in group.losses:
        about = {"kind": "loss", "name": loss.loss}
        further = [_number("times", loss.times), _number("left_out", loss.left_out)]
        if loss.time_s is not None:
            further.append({**_number("content_s", loss.time_s), "share": loss.time_share})
        yield about, loss, *further


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
    may_be = f"{counted(changes.undecided, 'difference')} may be chance; " if changes.undecided else ""
    return (
        f"undecided: {may_be}{counted(changes.before, 'session')} before "
        f"and {changes.after:,} after are not enough to say, but {changes.enough} each are{left_out_words(changes)}"
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
            if each.beneath:
                text += (
                    f"; with it: {', '.join(f'{visible(what_words(other))} {other.change}' for other in each.beneath)}"
                )
            yield _Told(f"{each.change}-{each.what}", text, fails=fails, is_note=each.severity == Severity.INFO)


def _compared_words(each: Compared) -> str:
    sides = f"before {side_words(each, each.before)}, after {side_words(each, each.after)}"
    return visible(f"{what_words(each)}, {sides}")


def _failure(told: _Told) -> Problem:
    message, _, more = told.text.partition("\n")
    return Problem(element="failure", kind=told.kind, message=message, text=told.text if more else "")
