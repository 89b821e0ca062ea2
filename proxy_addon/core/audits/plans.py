"""Tracking plans: what a team has agreed that its players send, and whether a session does.

A plan says of each type of event which keys it must, may and must not have, and which values; how often it occurs in a
session; and how often players ping. Parts of it may hold only for some sessions. The file that it is written in is read by
`proxy_addon.files.plans`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from proxy_addon.core.audits.auditing import OF_START, By, start_is_known
from proxy_addon.core.audits.deviations import Checks, PlanJudge
from proxy_addon.core.audits.plan_parts import Part
from proxy_addon.core.findings import Severity
from proxy_addon.core.judging.policy import Policy
from proxy_addon.core.sessions import Session


@dataclass(frozen=True, kw_only=True)
class Wanted:
    r"""Which names a group takes: ``web-*`` takes all that begin so; ``\`` before a ``*`` takes the character itself.

    Attributes:
        names: None for sessions that do not say the name.
    """

    names: tuple[str | None, ...]

    def __str__(self) -> str:
        """Return the names as people read them."""
        return " or ".join("(not sent)" if name is None else name for name in self.names)

    def takes(self, name: str | None) -> bool:
        """Whether it takes a name."""
        return any(
            name is None if each is None else name is not None and _is_like(name, _pieces(each)) for each in self.names
        )


def _pieces(name: str) -> list[str]:
    """Return what stands before, between and after the stars of a name."""
    pieces, is_escaped = [""], False
    for character in name:
        if is_escaped or character not in "\\*":
            pieces[-1] += character
            is_escaped = False
        elif character == "*":
            pieces.append("")
        else:
            is_escaped = True
    return pieces


def _is_like(name: str, pieces: Sequence[str]) -> bool:
    first, *others = pieces
    if not others:
        return name == first
    if not name.startswith(first):
        return False
    place = len(first)
    for piece in others[:-1]:
        found = name.find(piece, place)
        if found < 0:
            return False
        place = found + len(piece)
    return name.endswith(others[-1]) and len(name) - len(others[-1]) >= place


@dataclass(frozen=True, kw_only=True)
class PlanGroup:
    """A part of a plan that holds only for some sessions.

    Attributes:
        where: What these sessions have; all of it.
    """

    where: Mapping[By, Wanted]
    part: Part

    def takes(self, session: Session) -> bool:
        """Whether it holds for a session: not if it asks what a start says, and that of the session was not recorded."""
        if not start_is_known(session) and not OF_START.keys().isdisjoint(self.where):
            return False
        return all(wanted.takes(getattr(session, by.field)) for by, wanted in self.where.items())

    def __str__(self) -> str:
        """Return for which sessions it holds, as people read it."""
        return ", ".join(f"{by} {wanted}" for by, wanted in self.where.items())


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A tracking plan; it can be sent to another process.

    Attributes:
        name: Of its file, for people.
        part: What holds for all sessions.
        groups: What holds for some; later ones win.
        severities: Changed severities by rule id; None switches a rule off.
        notes: What is probably a mistake in it, each with its place in the file.
    """

    name: str
    part: Part = field(default_factory=Part)
    groups: tuple[PlanGroup, ...] = ()
    severities: Mapping[str, Severity | None] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    _checks: dict[tuple[bool, ...], Checks] = field(default_factory=dict, compare=False, repr=False)

    def applied_to(self, policy: Policy) -> Policy:
        """Return a policy by which sessions are also held against this plan."""
        return replace(policy, plan=self, severities={**policy.severities, **self.severities})

    def with_more(self, more: Plan) -> Plan:
        """Return this with what another plan says; that one wins, and has its name."""
        return Plan(
            name=more.name,
            part=self.part.with_more(more.part),
            groups=(*self.groups, *more.groups),
            severities={**self.severities, **more.severities},
            notes=tuple(dict.fromkeys((*self.notes, *more.notes))),
        )

    def judge(self, session: Session | None, policy: Policy) -> PlanJudge:
        """Return what holds a session against the plan, exchange by exchange.

        Args:
            session: None for a request by itself; then the groups do not count.
            policy: Which of the findings count, and how severely.
        """
        taken = tuple(session is not None and group.takes(session) for group in self.groups)
        checks = self._checks.get(taken)
        if checks is None:
            part = self.part
            for group, is_taken in zip(self.groups, taken, strict=True):
                if is_taken:
                    part = part.with_more(group.part)
            checks = self._checks[taken] = Checks(part)
        return PlanJudge(checks, policy, session, tuple(place for place, is_taken in enumerate(taken) if is_taken))
