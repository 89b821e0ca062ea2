"""Many sessions as one HTML file, which needs no other file or host: `ReportPage` is the list; each session has its own page.

The pages are parts of the file that a browser unpacks when they are opened. They come before the list, so that writing reads
one session at a time and keeps only its row.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any

from proxy_addon import __version__
from proxy_addon.core.findings import Severity
from proxy_addon.core.jsonforms import iso
from proxy_addon.core.sessions import Session
from proxy_addon.core.timelines.pictures import Picture
from proxy_addon.core.timelines.reported import Reported, worst
from proxy_addon.core.timelines.strips import strip_of
from proxy_addon.core.timelines.verdicts import Level
from proxy_addon.core.wording import counted
from proxy_addon.reporting.pages import rendering
from proxy_addon.reporting.pages.session import session_page, traffic
from proxy_addon.reporting.pages.sessions import row_of
from proxy_addon.reporting.words import moment

FORM = 1
"""The version of the document; scripts draw no other version."""
MOST_IN_FULL = 50
"""How many sessions a report has in full; if there are more sessions, it has the worst of them."""


@dataclass(frozen=True, kw_only=True)
class TrialVerdict:
    """What the test run came to in which sessions were recorded.

    Attributes:
        reasons: Why it failed, in sentences, as far as the sessions and their comparisons do not say it.
    """

    is_failed: bool
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ReportPage:
    """What the list of a report shows.

    Attributes:
        form: The version of this document.
        pseudonymised: Whether tokens stand for the personal values in it.
        names_recordings: Whether rows and comparisons say of which recording they are.
        total: How many sessions are listed.
        in_full: How many of them can be opened: all, or the worst.
        level: The verdict on all of it: ``fail``, ``warn`` or ``pass``; None if there is nothing to judge.
        remarks: What the test run came to, in sentences, as far as the sessions do not say it.
        verdicts: How many sessions have each verdict: ``fail``, ``warn``, ``pass``.
        rows: The sessions, newest first, as of `pages.sessions.row_of`, each also with ``headline``, ``part`` (the number of
            its part in the file) and ``rules`` (those that it breaks). Sessions that are not in full have none of these.
        comparisons: Comparisons with expectations: ``names`` of the two sessions, ``recording`` of the second, ``verdict`` as of `ComparePage`, and
            ``part``, the number of its part in the file.
        rules: The rules that sessions in full break: rule, severity and number of sessions; by severity, and the most
            frequent first.
        version: The version of sessiontape.
        made_at: When it was made.
    """

    form: int = FORM
    pseudonymised: bool
    names_recordings: bool
    total: int
    in_full: int
    level: str | None
    remarks: list[str]
    verdicts: dict[str, int]
    rows: list[dict[str, Any]]
    comparisons: list[dict[str, Any]]
    rules: list[tuple[str, str, int]]
    version: str = __version__
    made_at: str

    def document(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def report(
    sessions: Sequence[Reported],
    *,
    made_at: datetime,
    pseudonymised: bool,
    are_over: bool = False,
    names_recordings: bool = False,
    comparisons: Iterable[Mapping[str, Any]] = (),
    trial: TrialVerdict | None = None,
) -> Iterator[str]:
    """Yield the file in pieces; sessions are read as it is written.

    Args:
        pseudonymised: Whether tokens stand for personal values.
        are_over: Whether the sessions were judged as over.
        names_recordings: Whether the list says of which recording each session is, as each test has one of its own.
        comparisons: Comparisons of sessions with expectations: documents of `ComparePage`, consumed as the file is written.
        trial: What the test run came to; None if there was none.
    """
    title = counted(len(sessions), "session")
    parts = _Parts(
        sessions,
        comparisons,
        trial,
        made_at=made_at,
        pseudonymised=pseudonymised,
        are_over=are_over,
        names_recordings=names_recordings,
    )
    return rendering.page(title=title, entry="report_page.js", parts=parts.items())


def told(number: int, where: str, size: int) -> str:
    """Return a line that says what was written.

    >>> told(3, "a.html", 123_456), told(60, "b.html", 2_345_678)
    ('3 sessions written to a.html, 123 kB', '60 sessions written to b.html, 2.3 MB: a list of all, and the worst 50 in full')
    """
    kilobytes = size / 1000
    sized = f"{kilobytes:.0f} kB" if kilobytes < 1000 else f"{kilobytes / 1000:.1f} MB"
    more = f": a list of all, and the worst {MOST_IN_FULL} in full" if number > MOST_IN_FULL else ""
    return f"{counted(number, 'session')} written to {where}, {sized}{more}"


class _Parts:
    """The parts of a report: the pages of comparisons and of sessions, these with their traffic, and at last the list."""

    def __init__(
        self,
        sessions: Sequence[Reported],
        comparisons: Iterable[Mapping[str, Any]],
        trial: TrialVerdict | None,
        *,
        made_at: datetime,
        pseudonymised: bool,
        are_over: bool,
        names_recordings: bool,
    ) -> None:
        self._comparisons = comparisons
        self._trial = trial
        self._names_recordings = names_recordings
        self._compared: list[dict[str, Any]] = []
        self._sessions = sorted(sessions, key=lambda each: (each.session.started_at, each.session.id), reverse=True)
        self._in_full = worst(sessions, MOST_IN_FULL)
        self._made_at = made_at
        self._pseudonymised = pseudonymised
        self._if_open = "left open" if are_over else f"open when this was made, {moment(made_at)} UTC"
        self._rows: list[dict[str, Any]] = []
        self._found: Counter[tuple[str, str]] = Counter()
        self._links = _Links([each.session for each in self._sessions if each.session.id in self._in_full])

    def items(self) -> Iterator[tuple[str, Any]]:
        """Yield the parts with their names."""
        for number, comparison in enumerate(self._comparisons):
            names = [side["name"] for side in comparison["sides"]]
            recording = comparison["sides"][1]["page"]["session"]["recording"]
            self._compared.append(
                {"names": names, "recording": recording, "verdict": comparison["verdict"], "part": number}
            )
            yield f"comparison-{number}", comparison
        number = 0
        for each in self._sessions:
            if each.session.id not in self._in_full:
                self._rows.append(_listed(each))
                continue
            picture = each.picture()
            page = session_page(picture, self._links.of(each.session), if_open=self._if_open).document()
            yield f"session-{number}", page
            yield f"traffic-{number}", traffic(picture.exchanges)
            self._rows.append(drawn_row(picture, page, number))
            self._found.update({(finding["rule"], finding["severity"]) for finding in page["findings"]})
            number += 1
        yield "value", self._list().document()

    def _list(self) -> ReportPage:
        verdicts = Counter(row["verdict"] for row in self._rows)
        level, remarks = self._verdict()
        order = [severity.value for severity in Severity]
        return ReportPage(
            pseudonymised=self._pseudonymised,
            names_recordings=self._names_recordings,
            total=len(self._rows),
            in_full=len(self._in_full),
            level=None if level is None else level.value,
            remarks=remarks,
            verdicts={level.value: verdicts[level.value] for level in Level},
            rows=self._rows,
            comparisons=self._compared,
            rules=[
                (rule, severity, number)
                for (rule, severity), number in sorted(
                    self._found.items(), key=lambda each: (order.index(each[0][1]), -each[1], each[0])
                )
            ],
            made_at=iso(self._made_at),
        )

    def _verdict(self) -> tuple[Level | None, list[str]]:
        """Return the verdict on everything, and remarks: that of the test run, otherwise the worst there is."""
        levels = {row["verdict"] for row in self._rows} | {each["verdict"]["level"] for each in self._compared}
        worst = next((level for level in Level if level in levels), None)
        if self._trial is None:
            return worst, []
        if self._trial.is_failed:
            return Level.FAIL, [*self._trial.reasons]
        # Not every session has to be right for a run to pass: a fault that the test ordered can fail a start.
        return (Level.WARN, ["The test run passed."]) if worst is Level.FAIL else (worst, [])


_LINKED = ("previous", "next", "retry_of", "retried_by")


class _Links:
    """Which sessions of a report belong together."""

    def __init__(self, sessions: Sequence[Session]) -> None:
        """Take the sessions that can be opened, newest first."""
        self._ids = {session.id for session in sessions}
        self._beside: dict[str, list[tuple[str, str]]] = {id: [] for id in self._ids}
        newer: dict[tuple[str | None, str | None], str] = {}
        for session in sessions:
            device = session.client_address, session.user_agent
            if device in newer:
                self._beside[session.id].append(("next", newer[device]))
                self._beside[newer[device]].append(("previous", session.id))
            if any(device):
                newer[device] = session.id
            if session.retry_of in self._ids:
                self._beside[session.id].append(("retry_of", session.retry_of))
                self._beside[session.retry_of].append(("retried_by", session.id))

    def of(self, session: Session) -> list[tuple[str, str]]:
        return sorted(self._beside[session.id], key=lambda link: _LINKED.index(link[0]))


def _listed(each: Reported) -> dict[str, Any]:
    """Return the row of a session that is not read: its verdict is that of its stored findings."""
    return {**row_of(each.told(), each.as_of), "headline": None, "part": None, "rules": []}


def drawn_row(picture: Picture, page: dict[str, Any], number: int) -> dict[str, Any]:
    """Return the row of a session that is in a file in full; see `ReportPage.rows`.

    Args:
        page: What its page draws, as of `session_page`.
        number: Of its part in the file.
    """
    return {
        **row_of(replace(picture.session, strip=strip_of(picture).text), picture.as_of, picture.gaps),
        "verdict": page["verdict"]["level"],
        "headline": page["verdict"]["headline"],
        "part": number,
        "rules": sorted({finding["rule"] for finding in page["findings"]}),
    }
