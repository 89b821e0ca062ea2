"""Whether sessions are what a scenario must lead to: the checklist, line by line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace

from proxy_addon.core.audits.naming import metric_name
from proxy_addon.core.devices import device_of
from proxy_addon.core.findings import Finding, Severity, element_of
from proxy_addon.core.scenarios.played import Played, played
from proxy_addon.core.scenarios.scenario import After, Count, End, Expectation, Playback, Scenario
from proxy_addon.core.scenarios.sequences import broken
from proxy_addon.core.scenarios.wanted import ABSENT
from proxy_addon.core.sessions import Session
from proxy_addon.core.timelines.pictures import Picture
from proxy_addon.core.wording import alternatives, counted, shown
from proxy_addon.core.wording import number as written

MOST_TOLD = 5
"""How many failures of one line are told."""
MOST_SESSIONS = 100
"""How many sessions of one scenario are looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why an expectation does not hold.

    Attributes:
        message: What was seen and what was expected, in words.
        number: The event to look at, as the page of its session calls it; None if it concerns no event.
    """

    message: str
    number: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of the checklist.

    Attributes:
        that: What should hold, as a sentence.
        session: Which of the scenario's sessions it concerns, from 1; None for all of them.
        kind: Name of the kind of expectation, such as ``sequence``; ``sessions``, ``start``, ``protocol`` and ``whole`` for
            those that every scenario has, ``command`` for that of a command that plays it.
        failures: Why it does not hold; empty if it does.
    """

    that: str
    session: int | None
    kind: str
    failures: tuple[Failure, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether it holds."""
        return not self.failures


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What a scenario asked for, and what sessions have of it.

    Attributes:
        pictures: The sessions, the oldest first; those beyond what the scenario leads to are among them.
        lines: The checklist.
    """

    scenario: Scenario
    pictures: Sequence[Picture]
    lines: Sequence[Line]

    @property
    def is_passed(self) -> bool:
        """Whether all of the checklist holds."""
        return all(line.holds for line in self.lines)


def judge(
    scenario: Scenario,
    pictures: Iterable[Picture],
    fail_on: Severity | None = Severity.ERROR,
    *,
    exit_code: int | None = None,
) -> Evidence:
    """Return the evidence for a scenario.

    Args:
        pictures: The sessions that were recorded for it, the oldest first, each judged as over. Attempts to start a
            session that were repeated with success are left out.
        fail_on: Findings of this severity or above fail it; None if none do, but those that it names.
        exit_code: Of the command that played it, which fails it unless it is 0; None if no command did.
    """
    kept = _without_attempts([*pictures])
    sessions = [played(picture) for picture in kept[:MOST_SESSIONS]]
    lines = [*_of_command(exit_code), _as_many(scenario, kept)]
    for number, wanted in enumerate(scenario.sessions, 1):
        if number <= len(sessions):
            before = sessions[number - 2] if number > 1 else None
            lines += _Judging(wanted, number, sessions[number - 1], before, fail_on).lines()
    return Evidence(scenario=scenario, pictures=kept, lines=lines)


def told_with(evidence: Evidence, hidden: Evidence) -> Evidence:
    """Return evidence with the words and pictures of sessions in which tokens stand for personal values.

    What holds is what holds of the sessions as they were sent.

    Args:
        evidence: Of those.
        hidden: Of the same sessions with tokens.
    """
    unsaid = (Failure(message="it holds only with tokens for personal values; --raw says why it does not"),)
    lines = [
        line if line.holds else replace(line, failures=told.failures or unsaid)
        for line, told in zip(evidence.lines, hidden.lines, strict=True)
    ]
    return replace(hidden, lines=lines)


def _without_attempts(pictures: Sequence[Picture]) -> list[Picture]:
    """Return sessions without the starts that failed and were repeated with success, as SDKs do."""

    def playback(session: Session) -> str:
        return session.retry_of or session.id

    begun = {playback(each.session) for each in pictures if not each.session.failed}
    return [each for each in pictures if not each.session.failed or playback(each.session) not in begun]


def _of_command(exit_code: int | None) -> Iterator[Line]:
    if exit_code is not None:
        failures = (Failure(message=f"it ended with exit code {exit_code}"),) if exit_code else ()
        yield Line(that="The command that plays it succeeds.", session=None, kind="command", failures=failures)


def _as_many(scenario: Scenario, pictures: Sequence[Picture]) -> Line:
    wanted, seen = len(scenario.sessions), len(pictures)
    that = f"The player opens {counted(wanted, 'session')}."
    told = f"{counted(seen, 'session')} recorded, expected {wanted}" if seen else "no session was recorded"
    missing = [f"“{each.name}”" for each in scenario.sessions[seen:]]
    if seen and missing:
        told += f"; not recorded, so not judged: {', '.join(missing)}"
    devices = {
        device_of(each.session.user_agent) or "one without User-Agent": None for each in pictures[:MOST_SESSIONS]
    }
    if seen > wanted and len(devices) > 1:
        told += f"; they come from several devices: {', '.join(devices)}"
    return Line(that=that, session=None, kind="sessions", failures=() if wanted == seen else (Failure(message=told),))


def _kind_of(expectation: Expectation) -> str:
    return next(field.name for field in fields(expectation)[1:] if getattr(expectation, field.name))


class _Judging:
    """Holds one session against what a scenario wants of it."""

    def __init__(
        self, wanted: Playback, number: int, session: Played, before: Played | None, fail_on: Severity | None
    ) -> None:
        self._wanted = wanted
        self._number = number
        self._session = session
        self._before = before
        self._fail_on = fail_on
        self._findings = [told.finding for told in session.picture.findings]

    def lines(self) -> Iterator[Line]:
        yield self._line("The server accepts the start.", "start", self._start())
        yield self._line("No request is missing in the recording.", "whole", self._missing())
        for each in self._wanted.expect:
            yield self._line(each.that, _kind_of(each), self._failures(each))
        yield self._line("The rules of the protocol are kept.", "protocol", self._broken_rules())

    def _line(self, that: str, kind: str, failures: Iterable[Failure]) -> Line:
        told = [*failures]
        more = len(told) - MOST_TOLD
        if more > 0:
            told[MOST_TOLD:] = [Failure(message=f"and {more} more")]
        return Line(that=that, session=self._number, kind=kind, failures=tuple(told))

    def _start(self) -> Iterator[Failure]:
        session = self._session.picture.session
        if session.failed:
            yield Failure(message="its start was not answered with 2xx and a session ID", number=1)
        elif self._session.start is None:
            yield Failure(message="its start was not recorded")

    def _missing(self) -> Iterator[Failure]:
        session, holes = self._session.picture.session, self._session.picture.judgement.holes
        if session.lost:
            yield Failure(message=f"{counted(session.lost, 'request')} could not be stored")
        elif holes is not None or session.has_holes:
            yield Failure(message="requests are missing, or bodies of them")

    def _broken_rules(self) -> Iterator[Failure]:
        elsewhere = {*self._wanted.allows, *(rule for each in self._wanted.expect for rule in each.rules)}
        for finding in self._findings:
            if finding.rule not in elsewhere and self._is_grave(finding):
                yield self._of_finding(finding)

    def _is_grave(self, finding: Finding) -> bool:
        return self._fail_on is not None and finding.severity.weight >= self._fail_on.weight

    def _of_finding(self, finding: Finding) -> Failure:
        number = None if finding.seq is None else self._event_at(finding.seq, finding.pointer)
        where = "" if number is None else f"#{number}: "
        return Failure(message=f"{where}{finding.message} ({finding.severity.value} {finding.rule})", number=number)

    def _event_at(self, seq: int, pointer: str | None) -> int | None:
        numbers, element = self._session.picture.numbers, element_of(pointer)
        found = numbers.get((seq, "" if element is None else f"/{element - 1}"))
        return found or next((number for (at, _), number in numbers.items() if at == seq), None)

    def _failures(self, expectation: Expectation) -> Iterator[Failure]:
        events = self._session.events
        if expectation.sequence:
            found = broken(expectation.sequence, events)
            if found is not None:
                yield Failure(message=found.message, number=found.number)
        elif expectation.count is not None:
            yield from self._count(expectation.count)
        elif expectation.each is not None:
            for event in events:
                lacks = event.lacks(expectation.each) if event.type in expectation.each.event else None
                if lacks is not None:
                    yield Failure(message=f"{event}: {lacks}", number=event.number)
        elif expectation.never:
            for event in events:
                if event.type in expectation.never:
                    yield Failure(message=f"{event} was sent", number=event.number)
        elif expectation.end:
            yield from self._end(expectation.end)
        elif expectation.metrics:
            for name, wanted in expectation.metrics.items():
                value = self._session.metric(name)
                if not wanted.holds(value):
                    unit = "s" if name.endswith("_s") else ""
                    counts = "nothing" if value is ABSENT else f"{_value(value)} {unit}".rstrip()
                    yield Failure(message=f"{metric_name(name)}: {counts}, expected {wanted.said(unit)}")
        elif expectation.rules:
            for finding in self._findings:
                if finding.rule in expectation.rules:
                    yield self._of_finding(finding)
        elif expectation.after is not None:
            yield from self._after(expectation.after)

    def _count(self, count: Count) -> Iterator[Failure]:
        found = [event for event in self._session.events if event.is_of(count)]
        if count.number.holds(len(found)):
            return
        wanted = f"expected {count.number}"
        what = alternatives(count.event)
        if found:
            last = found[-1]
            there = f"there {'is' if len(found) == 1 else 'are'} {counted(len(found), f'{what} event')}"
            yield Failure(message=f"{there}, the last is {last}, {wanted}", number=last.number)
            return
        of_type = [event for event in self._session.events if event.type in count.event]
        near = min(of_type, key=lambda event: event.distance(count), default=None)
        if near is None:
            yield Failure(message=f"there is no {what}, {wanted}")
        else:
            yield Failure(message=f"no such {what}, {wanted}; {near}: {near.lacks(count)}", number=near.number)

    def _end(self, wanted: Sequence[End]) -> Iterator[Failure]:
        end = self._session.end
        if end in wanted:
            return
        last = self._session.events[-1] if self._session.events else None
        told = "" if last is None else f"; the last event is {last}"
        yield Failure(
            message=f"{_HOW_ENDED[end]}{told}, expected {alternatives([_ENDS[each] for each in wanted])}",
            number=None if last is None else last.number,
        )

    def _after(self, after: After) -> Iterator[Failure]:
        if self._before is None:
            yield Failure(message="there is no session before this one")
            return
        start, before = self._session.start, self._before.start
        if start is None or before is None:
            yield Failure(message="the start of this session, or of the one before, was not recorded")
            return
        for key in (*after.same, *after.different):
            value, prior = start.param(key), before.param(key)
            if (value == prior) != (key in after.same):
                told = " and ".join(_value(each) for each in (prior, value)) if value != prior else _value(value)
                what = "differ" if key in after.same else "are the same"
                yield Failure(message=f"the values of {key} {what}: {told}", number=start.number)
        times = (("last", after.gap_s, self._before.ended_at_ms), ("first", after.start_s, self._before.begin_ms))
        for which, wanted, at_ms in times:
            if wanted is None or at_ms is None:
                continue
            passed_s = (self._session.begin_ms - at_ms) / 1000
            if not wanted.holds(passed_s):
                side = "after" if passed_s >= 0 else "before"
                yield Failure(
                    message=f"{start} comes {written(abs(passed_s))} s {side} the {which} event of the session before, "
                    f"expected {wanted.said('s')} after it",
                    number=start.number,
                )


_HOW_ENDED: Mapping[End, str] = {
    End.COMPLETED: "sessionComplete came",
    End.ENDED: "sessionEnd alone came",
    End.UNCLOSED: "neither sessionComplete nor sessionEnd came",
}
_ENDS: Mapping[End, str] = {
    End.COMPLETED: "sessionComplete",
    End.ENDED: "sessionEnd alone",
    End.UNCLOSED: "neither",
}


def _value(value: object) -> str:
    return "nothing" if value is ABSENT else shown(value).removeprefix("the string ").removeprefix("the number ")
