"""An audit as one HTML file, which needs no other file or host: `AuditPage` is what it opens with.

Each group is a part of the file that a browser unpacks when the group is chosen, and so is each session to look at, with its
page as `report` has it. Sessions come before the overview, so that they are read one after the other and only what is told
of them is kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from itertools import zip_longest
from typing import Any, Protocol

from proxy_addon import __version__
from proxy_addon.core.audits.coverage import Section
from proxy_addon.core.audits.naming import FURTHER, MEASURES, METRICS
from proxy_addon.core.audits.results import Audit, Group, as_json
from proxy_addon.core.findings import Severity
from proxy_addon.core.protocol import EVENTS, PARAMS
from proxy_addon.core.rules.planned import KNOWN
from proxy_addon.core.timelines.reported import Reported
from proxy_addon.core.wording import counted
from proxy_addon.reporting.audits.tables import LOSSES
from proxy_addon.reporting.pages import rendering
from proxy_addon.reporting.pages.session import session_page, traffic
from proxy_addon.reporting.words import moment

FORM = 1
"""Of the document: scripts of another version do not draw it."""
MOST_IN_FULL = 50
"""How many of the sessions to look at the file has in full."""
_ALL = ()


@dataclass(frozen=True, kw_only=True)
class AuditPage:
    """What the page of an audit opens with.

    Attributes:
        form: Of this document.
        audit: The audit as JSON, without its groups; what changed in all sessions is the member ``changes`` of ``all``.
        groups: A row for each group, in the order of the audit: ``name``, ``sessions``, ``events``, ``clean``, ``first``,
            ``last``, ``found`` (severity: findings), ``sent``, ``counted`` and ``content_s`` (per session). The whole group
            is the part ``group-N`` of the file; if the baseline has it, too, its member ``changes`` says what changed.
        matrix: By rule, in how many sessions of each group it is broken.
        turns: By rule, how that changed from the baseline, by the number of the group, or ``all``.
        within: The changes that groups have and all sessions together do not, each with its ``group``.
        sessions: Those in the file, by our id: ``part`` (N of ``session-N`` and ``traffic-N``), ``name``, ``level``,
            ``headline``, and ``messages`` (a message of each rule that found something).
        to_look_at: How many sessions the audit names; those that are not in the file are named without a page.
        rules: What is wrong, by rule.
        required: The keys that the protocol requires, by event.
        losses: What each loss is.
        metrics: The names of metrics, by heading and id.
        measures: The names of what is measured of the rhythm, by id.
        pseudonymised: Whether tokens stand for the personal values in it.
        version: Of sessiontape.
    """

    form: int = FORM
    audit: dict[str, Any]
    groups: list[dict[str, Any]]
    matrix: dict[str, list[int]]
    turns: dict[str, dict[str, str]]
    within: list[dict[str, Any]]
    sessions: dict[str, dict[str, Any]]
    to_look_at: int
    rules: dict[str, str]
    required: dict[str, list[str]]
    losses: Mapping[str, str]
    metrics: Mapping[str, Mapping[str, str]]
    measures: Mapping[str, str]
    pseudonymised: bool
    version: str = __version__

    def document(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def to_look_at(audit: Audit) -> list[str]:
    """Return our ids of the sessions that an audit names, each once, in the order in which a file takes them.

    Of what concerns all sessions, the worst session of each rule, plan and loss comes first, and the first of each change,
    then the second worst, and so on; then it is the turn of the groups, and of what may be chance.
    """
    found: dict[str, None] = {}
    for things in _in_turn(audit):
        for turn in zip_longest(*(each.look_at for each in things)):
            found.update((id, None) for id in turn if id is not None)
    return [*found]


class _Thing(Protocol):
    """What an audit names sessions for."""

    @property
    def look_at(self) -> tuple[str, ...]:
        """Our ids of these."""


def _in_turn(audit: Audit) -> Iterator[Iterable[_Thing]]:
    compared = audit.baseline
    of_groups = {} if compared is None else {changes.name: changes for changes in compared.groups}
    pairs = [
        (audit.all, None if compared is None else compared.all),
        *((group, of_groups.get(group.name)) for group in audit.groups),
    ]
    for group, changes in pairs:
        yield (*group.findings, *group.plan, *group.losses, *(() if changes is None else changes.changes))
    for _, changes in pairs:
        if changes is not None:
            yield (*changes.every(), *changes.may_be_chance)


def html(audit: Audit, sessions: Iterable[Reported], *, pseudonymised: bool, are_over: bool = False) -> Iterator[str]:
    """Yield the file in pieces; sessions are read as it is written.

    Args:
        sessions: Those to look at, of which the file has `MOST_IN_FULL` at most.
        pseudonymised: Whether tokens stand for personal values.
        are_over: Whether the sessions were judged as over.
    """
    made_at = moment(datetime.fromisoformat(audit.made_at))
    if_open = "left open" if are_over else f"open when this was made, {made_at} UTC"
    title = f"Audit of {counted(audit.all.sessions, 'session')}"
    parts = _parts(audit, sessions, pseudonymised=pseudonymised, if_open=if_open)
    return rendering.page(title=title, entry="audit_page.js", parts=parts)


def _parts(
    audit: Audit, sessions: Iterable[Reported], *, pseudonymised: bool, if_open: str
) -> Iterator[tuple[str, Any]]:
    document = audit.document()
    changes = _changes(document["baseline"])
    document["all"]["changes"] = changes.pop(_ALL, None)
    for number, group in enumerate(document.pop("groups")):
        yield f"group-{number}", {**group, "changes": changes.get((group["name"],))}
    told: dict[str, dict[str, Any]] = {}
    for number, each in zip(range(MOST_IN_FULL), sessions, strict=False):
        picture = each.picture()
        page = session_page(picture, if_open=if_open).document()
        yield f"session-{number}", page
        yield f"traffic-{number}", traffic(picture.exchanges)
        told[each.session.id] = {
            "part": number,
            "name": page["session"]["media_name"] or page["session"]["media_id"],
            "level": page["verdict"]["level"],
            "headline": page["verdict"]["headline"],
            "messages": {finding["rule"]: finding["message"] for finding in reversed(page["findings"])},
        }
    value = AuditPage(
        audit=document,
        groups=[_row(group) for group in audit.groups],
        matrix=_matrix(audit),
        turns=_turns(audit),
        within=_within(audit),
        sessions=told,
        to_look_at=len(to_look_at(audit)),
        rules={rule: KNOWN[rule].summary for rule in _rules(audit)},
        required=_required(),
        losses=LOSSES,
        metrics={**METRICS, "Further": FURTHER},
        measures=MEASURES,
        pseudonymised=pseudonymised,
    )
    yield "value", value.document()


def _row(group: Group) -> dict[str, Any]:
    content = next(each for each in group.metrics if each.metric == "content_time_spent_s")
    return {
        "name": group.name,
        "sessions": group.sessions,
        "events": group.events,
        "clean": group.clean,
        "first": group.first,
        "last": group.last,
        "found": {
            severity.value: sum(broken.severities[severity.value] for broken in group.findings) for severity in Severity
        },
        "sent": group.funnel.sent,
        "counted": group.funnel.counted,
        "content_s": content.per_session,
    }


def _matrix(audit: Audit) -> dict[str, list[int]]:
    rows = {broken.rule: [0] * len(audit.groups) for broken in audit.all.findings}
    for number, group in enumerate(audit.groups):
        for broken in group.findings:
            rows[broken.rule][number] = broken.sessions
    return rows


def _rules(audit: Audit) -> list[str]:
    before = () if audit.baseline is None else audit.baseline.all.findings
    return list(dict.fromkeys([*(broken.rule for broken in audit.all.findings), *(each.name for each in before)]))


def _turns(audit: Audit) -> dict[str, dict[str, str]]:
    turns: dict[str, dict[str, str]] = {}
    if audit.baseline is None:
        return turns
    numbers = {group.name: str(number) for number, group in enumerate(audit.groups)}
    for place, changes in (
        ("all", audit.baseline.all),
        *((numbers[changes.name], changes) for changes in audit.baseline.groups),
    ):
        for each in changes.findings:
            if each.change is not None:
                turns.setdefault(each.name, {})[place] = each.change
    return turns


def _within(audit: Audit) -> list[dict[str, Any]]:
    comparison = audit.baseline
    if comparison is None:
        return []
    named = [(of, each) for of, each in comparison.named() if of is not comparison.all]
    return [{"group": of.name, **as_json(each)} for of, each in named]


def _changes(baseline: dict[str, Any] | None) -> dict[tuple[str | None, ...], dict[str, Any]]:
    """Take out of a baseline what changed, by the name of the group."""
    if baseline is None:
        return {}
    return {_ALL: baseline.pop("all"), **{(changes["name"],): changes for changes in baseline.pop("groups")}}


def _required() -> dict[str, list[str]]:
    return {
        event: [f"{Section.PARAMS.value}/{name}" for name, key in PARAMS.items() if event in key.required]
        for event in EVENTS
    }
