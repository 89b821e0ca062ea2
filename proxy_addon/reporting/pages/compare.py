"""The page of a comparison: two sessions, a session and its replay, or a session and what a test expects of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from enum import StrEnum
from typing import Any

from proxy_addon.core.exchange import Exchange
from proxy_addon.core.expectations.comparison import Comparison
from proxy_addon.core.findings import Judgement
from proxy_addon.core.jsonforms import iso
from proxy_addon.core.judging.policy import DEFAULT, Policy
from proxy_addon.core.judging.sessions import as_of
from proxy_addon.core.pseudonyms.exchanges import Pseudonymiser
from proxy_addon.core.replays.aligning import Kind, align, entries, replayed
from proxy_addon.core.replays.runs import SessionRun
from proxy_addon.core.timelines.aligned import (
    Aligned,
    beside_expected,
    beside_replay,
    drifts_ms,
    sent_in,
    shift_by_playhead_s,
    side_by_side,
)
from proxy_addon.core.timelines.hiding import hidden
from proxy_addon.core.timelines.pictures import Picture, picture_of
from proxy_addon.core.timelines.reported import of_held
from proxy_addon.core.timelines.spans import Place
from proxy_addon.core.wording import counted
from proxy_addon.reporting.pages import rendering
from proxy_addon.reporting.pages.session import SessionPage, session_page

FORM = 1
"""The version of the document; scripts draw no other version."""


class Comparing(StrEnum):
    """What is compared."""

    SESSIONS = "sessions"
    REPLAY = "replay"
    EXPECTATION = "expectation"


_SIDES: Mapping[Comparing, tuple[str, str]] = {
    Comparing.SESSIONS: ("A", "B"),
    Comparing.REPLAY: ("recorded", "replayed"),
    Comparing.EXPECTATION: ("expected", "actual"),
}
_ALONE: Mapping[Comparing, tuple[str, str]] = {
    Comparing.SESSIONS: ("only in A", "only in B"),
    Comparing.REPLAY: ("not sent", "only sent"),
    Comparing.EXPECTATION: ("missing", "not expected"),
}
_IGNORED: Mapping[Comparing, tuple[str, str]] = {
    Comparing.SESSIONS: ("ignored", "does not count"),
    Comparing.REPLAY: ("changed by the run", "the run was told to change"),
    Comparing.EXPECTATION: ("ignored", "does not count"),
}
"""Rows that are neither the same nor a difference: as a number and in a sentence."""


@dataclass(frozen=True, kw_only=True)
class Side:
    """One of the two sessions.

    Attributes:
        name: As the user named it, such as a file; if empty, the page shows the session's id.
    """

    picture: Picture
    name: str = ""


@dataclass(frozen=True, kw_only=True)
class ComparePage:
    """What the page of a comparison shows. Nothing is compared in the browser.

    Attributes:
        form: The version of this document.
        kind: ``sessions``, ``replay`` or ``expectation``.
        sides: The two sessions: ``label``, ``name``, ``is_judged`` and ``page``, the document of `SessionPage`. What a replay
            sent is not judged, because its times are those of the replay.
        verdict: ``level`` (pass, warn, fail), ``word``, ``headline``, ``counts`` (name, number, tone).
        rows: Events that belong together: number in the first session or None, number in the second or None, kind (same,
            changed, moved, only-a, only-b), whether it is a difference, and what differs, each as place, value in the
            first, value in the second, and a sentence, which may be empty.
        passed_over: What differs, or may differ, and does not count: ``what``, ``why``, ``count`` or None.
        remarks: Sentences on what could not be compared.
        shift_s: By how many seconds to move the second session to align the playheads; None if that makes no difference.
            Without it, both sessions begin at their first event.
        drift: For a replay: numbers of events in the second session, each with how late it was sent, in milliseconds.
        made_at: When this was made.
    """

    form: int = FORM
    kind: str
    sides: list[dict[str, Any]]
    verdict: Mapping[str, Any]
    rows: list[tuple[int | None, int | None, str, bool, list[tuple[str, str | None, str | None, str]]]]
    passed_over: list[dict[str, Any]]
    remarks: list[str]
    shift_s: float | None
    drift: list[tuple[int, float]]
    made_at: str

    def document(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @property
    def title(self) -> str:
        """The title of the page."""
        return f"{self.verdict['word']}: {' and '.join(side['name'] for side in self.sides)}"


def compare_page(
    kind: Comparing, a: Side, b: Side, aligned: Aligned, drifts: Mapping[int, float] | None = None
) -> ComparePage:
    """Return what the page of a comparison shows.

    Args:
        drifts: How late the requests of the second session were sent, in milliseconds, by ``seq``.
    """
    pages = session_page(a.picture), session_page(b.picture)
    numbers = [_numbers(page) for page in pages]
    return ComparePage(
        kind=kind.value,
        sides=[
            {
                "label": label,
                "name": side.name or side.picture.session.id,
                "is_judged": kind is not Comparing.REPLAY or side is a,
                "page": page.document(),
            }
            for label, side, page in zip(_SIDES[kind], (a, b), pages, strict=True)
        ],
        verdict=_verdict(kind, aligned),
        rows=[
            (
                None if match.a is None else numbers[0].get(match.a),
                None if match.b is None else numbers[1].get(match.b),
                match.kind.value,
                match.counts,
                [(each.where, each.a, each.b, each.message) for each in match.unlike],
            )
            for match in aligned.matches
        ],
        passed_over=[{"what": each.what, "why": each.why, "count": each.count} for each in aligned.passed_over],
        remarks=[*aligned.remarks],
        shift_s=shift_by_playhead_s(aligned.matches, a.picture.marks, b.picture.marks),
        drift=_drift(numbers[1], drifts or {}),
        made_at=iso(b.picture.as_of.now),
    )


def sessions_page(a: Side, b: Side, *, answers: bool = True) -> ComparePage:
    """Return the page of two sessions, as ``diff`` compares them.

    Args:
        answers: Whether to compare statuses; False if one of the two has no answers.
    """
    pairs = align(entries(a.picture.exchanges, answers=answers), entries(b.picture.exchanges, answers=answers))
    return compare_page(Comparing.SESSIONS, a, b, side_by_side(pairs, answers=answers))


def replay_page(
    a: Side,
    run: SessionRun,
    *,
    name: str,
    pseudonymise: Pseudonymiser | None = None,
    recorded: Iterable[Exchange] = (),
) -> ComparePage:
    """Return the page of a session and what a replay run sent for it.

    Args:
        name: Of the run.
        pseudonymise: Replaces personal values in the differences of the run; in the picture they are replaced already.
        recorded: The exchanges with these values, which differences may repeat anywhere.
    """
    picture = a.picture
    session, sent = sent_in(picture.session, picture.exchanges, run)
    aligned = beside_replay(replayed(entries(picture.exchanges), run), run)
    if pseudonymise is not None:
        aligned = hidden(aligned, pseudonymise, recorded)
    other = Side(picture=picture_of(session, sent, {}, Judgement(), picture.as_of), name=name)
    return compare_page(Comparing.REPLAY, a, other, aligned, drifts_ms(run))


def expectation_page(
    comparison: Comparison,
    *,
    expected: str,
    actual: str,
    now: datetime,
    policy: Policy = DEFAULT,
    pseudonymise: Pseudonymiser | None = None,
) -> ComparePage:
    """Return the page of a test's comparison.

    Args:
        expected: Name of the expectation, such as its file.
        actual: Name of the session that was compared with it.
        policy: Which findings count towards the verdicts on the two sessions.
        pseudonymise: Replaces personal values by tokens; None to show them.
    """
    at = as_of(now, policy)
    one, other = (
        Side(picture=of_held(held, at, policy, pseudonymise).picture(), name=name)
        for held, name in ((comparison.expected, expected), (comparison.actual, actual))
    )
    aligned = beside_expected(comparison, one.picture.marks, other.picture.marks)
    if pseudonymise is not None:
        sessions = (comparison.expected, comparison.actual)
        said = (held.exchanges for held in sessions if not held.session.pseudonymised)
        aligned = hidden(aligned, pseudonymise, *said)
    return compare_page(Comparing.EXPECTATION, one, other, aligned)


def html(page: ComparePage, *, sessions: str | None = None, sides: tuple[str, str] | None = None) -> Iterator[str]:
    """Yield the page in pieces.

    Args:
        sessions: The address of the list of sessions; None if there is none to link to.
        sides: The addresses of the two sessions, likewise.
    """
    links = {"sessions": sessions, "sides": sides}
    return rendering.page(title=page.title, entry="compare_page.js", parts={"value": page.document(), "links": links})


def _numbers(page: SessionPage) -> Mapping[Place, int]:
    """Return the number of each event by its place."""
    events = page.events
    places = zip(events["n"], events["q"], events["e"], strict=True)
    return {(seq, f"/{element - 1}" if element else ""): number for number, seq, element in places}


def _drift(numbers: Mapping[Place, int], drifts: Mapping[int, float]) -> list[tuple[int, float]]:
    """Return drifts by the number of an event; those of a batch are sent at once, and its first event stands for them."""
    first: dict[int, int] = {}
    for (seq, _), number in numbers.items():
        first.setdefault(seq, number)
    return [(number, round(drifts[seq], 1)) for seq, number in first.items() if seq in drifts]


def _verdict(kind: Comparing, aligned: Aligned) -> dict[str, Any]:
    differ = aligned.count(Kind.CHANGED) + aligned.count(Kind.MOVED)
    alone = aligned.count(Kind.ONLY_A), aligned.count(Kind.ONLY_B)
    names, all = _ALONE[kind], len(aligned.matches)
    same = sum(match.kind is Kind.SAME for match in aligned.matches)
    ignored = all - same - differ - sum(alone)
    told = [f"{differ} of {counted(all, 'event')} {'differs' if differ == 1 else 'differ'}"] if differ else []
    told += [f"{number} {name}" for number, name in zip(alone, names, strict=True) if number]
    if told:
        headline = f"{', '.join(told)}."
    elif ignored:
        headline = f"Nothing differs but what {_IGNORED[kind][1]}."
    else:
        headline = (
            f"{'The event is' if all == 1 else f'All {all} events are'} the same."
            if all
            else "Neither session has events."
        )
    differing = "warn" if kind is Comparing.SESSIONS else "fail"
    return {
        "level": "pass" if aligned.is_same else differing,
        "word": "Same" if aligned.is_same else "Different",
        "headline": headline,
        "counts": [
            ("event" if all == 1 else "events", all, ""),
            ("the same", same, ""),
            ("differ", differ, "odd"),
            *((name, number, "odd") for name, number in zip(names, alone, strict=True)),
            *([(_IGNORED[kind][0], ignored, "")] if ignored else []),
        ],
    }
