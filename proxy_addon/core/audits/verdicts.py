"""The verdict of an audit: a level, and what was found and what changed in a few sentences, the gravest first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from proxy_addon.core.audits.changes import Changes, Compared, Comparison, Turn, What
from proxy_addon.core.audits.losses import Loss
from proxy_addon.core.audits.naming import baseline_words, subject_words
from proxy_addon.core.findings import Severity
from proxy_addon.core.rules.planned import KNOWN
from proxy_addon.core.wording import counted, visible

_TOLD = 3
"""How many rules, kinds of changes, and changes of a kind are named."""
_LONGEST = 80
"""Longer names are cut."""
_LARGE = 0.05
"""Of content time, a loss of this share or a larger one is told; docs/audits.md says so, too."""
_NOT_OPENED = {
    Loss.NOT_OPENED: "Upstream answered the start of {} without opening one.",
    Loss.START_UNANSWERED: "The start of {} has no answer.",
}
_NOT_TAKEN = {
    Loss.REFUSED: "Upstream refused events of {}.",
    Loss.UNANSWERED: "Events of {} have no answer.",
}
_LACKING = {
    Loss.NEVER_PLAYED: "in {} without a `play` that counts",
    Loss.STALLED: "in {} whose playhead stood still",
}
_FINDINGS, _LOSSES, _CHANGES = "findings", "losses", "changes"


class Level(StrEnum):
    """The verdict in a word, the gravest first."""

    FAIL = "fail"
    """Rules are broken whose findings are errors, or the start of a session opened none, or has no answer."""
    CHANGED = "changed"
    """Something changed from the baseline."""
    WARN = "warn"
    """There are warnings, or events were refused or not answered, or much content time is lost."""
    UNDECIDED = "undecided"
    """There are no sessions, or not enough to say whether something changed from the baseline."""
    PASS = "pass"  # noqa: S105  # a verdict


@dataclass(frozen=True, kw_only=True)
class Sentence:
    """A sentence of a verdict.

    Attributes:
        about: ``findings``, ``losses`` or ``changes``.
        text: Names of events, keys and rules are in backticks.
        rule: The rule whose findings it is about; None if it is about something else.
    """

    about: str
    text: str
    rule: str | None = None


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What an audit comes to.

    Attributes:
        level: See `Level`.
        sentences: The gravest first.
        changes: How many changes the baseline names, each once, without those beneath others; None if there is nothing to compare with.
        undecided: How many further differences may be chance; None in the same case.
    """

    level: str
    sentences: tuple[Sentence, ...]
    changes: int | None = None
    undecided: int | None = None

    @property
    def text(self) -> str:
        """The sentences as one text without backticks."""
        return " ".join(sentence.text for sentence in self.sentences).replace("`", "")


class Found(NamedTuple):
    """The findings of a rule, the worst rule first, or a loss: in how many sessions.

    Attributes:
        severity: Of findings.
        time_share: Which part of content time is lost, from 0 to 1.
    """

    name: str
    sessions: int
    severity: str = ""
    time_share: float = 0.0


def verdict_of(
    sessions: int,
    findings: Sequence[Found],
    losses: Iterable[Found],
    *,
    comparison: Comparison | None = None,
    changes: Changes | None = None,
    unused: Sequence[str] = (),
    with_holes: int = 0,
) -> Verdict:
    """Return the verdict of all sessions, or of a group of them.

    Args:
        sessions: How many there are.
        comparison: With the baseline; None without one.
        changes: What changed in these sessions; None if the baseline has no such group.
        unused: The groups of the plan that none of the sessions is in.
        with_holes: Of how many sessions requests or bodies are not known.
    """
    since = None if comparison is None else _Since(comparison, changes)
    found_lost = [loss for loss in losses if loss.sessions]
    lost = {loss.name: loss.sessions for loss in found_lost}
    lacking = [*_lacking(found_lost)]
    grave = [found for found in findings if found.severity != Severity.INFO]
    if lost.keys() & _NOT_OPENED or any(found.severity == Severity.ERROR for found in grave):
        level = Level.FAIL
    elif since is not None and since.changed:
        level = Level.CHANGED
    elif grave or lacking or lost.keys() & _NOT_TAKEN:
        level = Level.WARN
    elif not sessions or (since is not None and not since.is_certain):
        level = Level.UNDECIDED
    else:
        level = Level.PASS
    if sessions:
        told = [*_told(grave, lost, notes=len(findings) - len(grave))]
        if unused:
            told.append(Sentence(about=_FINDINGS, text=_without_sessions(unused)))
        if with_holes:
            of = counted(with_holes, "session")
            text = f"Requests or bodies of {of} are not known, so that nobody can judge {'it' if with_holes == 1 else 'them'} as a whole."
            told.append(Sentence(about=_FINDINGS, text=text))
        told = [*told, *lacking] if level is Level.FAIL else [*lacking, *told]
        of_change = [] if since is None else [*since.sentences()]
        sentences = [*told, *of_change] if level in {Level.FAIL, Level.WARN} else [*of_change, *told]
    else:
        sentences = [Sentence(about=_FINDINGS, text="There are no sessions to audit.")]
    return Verdict(
        level=level,
        sentences=tuple(sentences),
        changes=None if since is None or changes is None else len(since.things),
        undecided=None if since is None or changes is None else since.undecided,
    )


def _told(grave: Sequence[Found], lost: dict[str, int], *, notes: int) -> Iterator[Sentence]:
    """Yield what was found; of notes, how many rules have them."""
    for found in grave[:_TOLD]:
        sessions = counted(found.sessions, "session")
        text = f"{KNOWN[found.name].summary.removesuffix('.')} (`{found.name}`, {sessions})."
        yield Sentence(about=_FINDINGS, text=text, rule=found.name)
    of_notes = f"notes of {counted(notes, 'rule')}" if notes else ""
    if not grave:
        yield Sentence(about=_FINDINGS, text=_without(lost, of_notes))
    elif len(grave) > _TOLD:
        text = f"There are errors or warnings of {counted(len(grave) - _TOLD, 'other rule')}"
        yield Sentence(about=_FINDINGS, text=f"{text}{of_notes and f', and {of_notes}'}.")
    elif notes:
        yield Sentence(about=_FINDINGS, text=f"There are also {of_notes}.")


def _without(lost: dict[str, int], of_notes: str) -> str:
    """Return what is said if no finding is grave."""
    for grave in (_NOT_OPENED, _NOT_TAKEN):
        if lost.keys() & grave:
            return " ".join(says.format(counted(lost[loss], "session")) for loss, says in grave.items() if loss in lost)
    return f"No errors or warnings, but {of_notes}." if of_notes else "No findings."


def _lacking(losses: Iterable[Found]) -> Iterator[Sentence]:
    """Yield how much content time reports lack, if it is much."""
    large = sorted((loss for loss in losses if loss.time_share >= _LARGE), key=lambda loss: -loss.time_share)
    parts = [
        f"{loss.time_share * 100:.0f} %{'' if number else ' of content time'} "
        + _LACKING[Loss(loss.name)].format(counted(loss.sessions, "session"))
        for number, loss in enumerate(large)
    ]
    if parts:
        yield Sentence(about=_LOSSES, text=f"Reports lack {', and '.join(parts)}.")


def _without_sessions(groups: Sequence[str]) -> str:
    """Return what is said of groups of the plan that no session is in: perhaps it misspells a name."""
    named = ", ".join(f"`{_plain(group)}`" for group in groups[:_TOLD])
    more = f" and {len(groups) - _TOLD} more" if len(groups) > _TOLD else ""
    return f"No session is in {'this group' if len(groups) == 1 else 'these groups'} of the plan: {named}{more}."


def _first_up(text: str) -> str:
    return text[:1].upper() + text[1:]


class _Since:
    """What changed from the baseline in all sessions, or in a group.

    Attributes:
        changed: The changes, each with where it is: for all sessions, also those that only groups have.
        things: What there is to look at: each of these once, however many groups have it.
        undecided: How many other differences may be chance.
    """

    def __init__(self, comparison: Comparison, own: Changes | None) -> None:
        self._baseline = baseline_words(f"`{_plain(comparison.baseline)}`")
        self._own = own
        sets = [] if own is None else [own, *(comparison.groups if own is comparison.all else ())]
        is_all = own is comparison.all
        self.changed = comparison.named() if is_all else [(of, each) for of in sets for each in of.changes]
        self.things = [*_each_once(each for _, each in self.changed)]
        self.undecided = sum(of.undecided for of in sets)
        self._gone: dict[tuple[str | None, ...], list[tuple[Changes, Compared]]] = {}
        for group in sets[1:]:
            for each in group.every():
                if each.change == Turn.VANISHED:
                    self._gone.setdefault(each.same(), []).append((group, each))

    @property
    def is_certain(self) -> bool:
        """Whether what is no change is none, as far as can be seen."""
        return self._own is not None and self._own.is_enough and not self.undecided

    def sentences(self) -> Iterator[Sentence]:
        """Yield what changed, or why that cannot be said."""
        if self._own is None:
            yield Sentence(
                about=_CHANGES, text=f"{_first_up(self._baseline)} has no sessions of this group to compare with."
            )
            return
        may_be = f"{counted(self.undecided, 'difference')} may be chance" if self.undecided else ""
        if self.changed:
            since = f"{counted(len(self.things), 'change')} since {self._baseline}"
            yield Sentence(about=_CHANGES, text=f"{since}{may_be and f', and {may_be}'}.")
            yield from self._kinds()
        elif self._own.is_enough:
            yield Sentence(about=_CHANGES, text=f"No certain change since {self._baseline}{may_be and f'; {may_be}'}.")
        else:
            yield Sentence(about=_CHANGES, text=f"{self._too_few(self._own)}{may_be and f'; {may_be}'}.")
        before, after = self._own.left_out_before, self._own.left_out_after
        if (before or after) and not self.changed:
            text = f"Sessions of which requests or bodies are not known are not compared: {before:,} before, {after:,} after."
            yield Sentence(about=_CHANGES, text=text)

    def _too_few(self, own: Changes) -> str:
        short, baseline = [own.before < own.enough, own.after < own.enough], self._baseline
        if all(short):
            text = f"There are not enough sessions on either side to compare with {baseline}"
        elif short[0]:
            text = f"{_first_up(baseline)} has not enough sessions to compare with"
        else:
            text = f"There are not enough sessions to compare with {baseline}"
        return f"{text}: {own.before:,} before, {own.after:,} after, where {own.enough} each are enough"

    def _kinds(self) -> Iterator[Sentence]:
        """Yield the gravest kinds of changes, each with the first of its kind, and how many others there are."""
        said: set[tuple[str | None, ...]] = set()
        told = 0
        as_told = [self._as_told(*found) for found in self.changed]
        for heading, pairs in _GRAVEST:
            of_kind = [(sets, each) for sets, each in as_told if (each.what, each.change) in pairs]
            if not of_kind or told == _TOLD:
                continue
            named: dict[str, list[Changes]] = {}
            for sets, each in of_kind:
                named.setdefault(_name(each), []).extend(sets)
            names = [f"{name}{self._within(sets)}" for name, sets in named.items()]
            more = f" and {len(names) - _TOLD} more" if len(names) > _TOLD else ""
            yield Sentence(about=_CHANGES, text=f"{heading}: {', '.join(names[:_TOLD])}{more}.")
            said |= {each.same() for _, each in of_kind}
            told += 1
        if left := sum(each.same() not in said for each in self.things):
            yield Sentence(about=_CHANGES, text=f"And {counted(left, 'other change')}.")

    def _as_told(self, of: Changes, each: Compared) -> tuple[list[Changes], Compared]:
        """Return a change and where it is: of what fewer sessions have, the groups in which none has it say more."""
        gone = self._gone.get(each.same(), []) if each.change == Turn.LESS else []
        return ([group for group, _ in gone], gone[0][1]) if gone else ([of], each)

    def _within(self, sets: Sequence[Changes]) -> str:
        """Return in which groups something changed; nothing if it did in all sessions together, or in the group itself."""
        if sets[0] is self._own:
            return ""
        names = {of.name for of in sets}
        if len(names) > 1:
            return f" in {counted(len(names), 'group')}"
        (name,) = names
        return " in sessions that do not say their group" if name is None else f" in `{_plain(name)}`"


def _each_once(changes: Iterable[Compared]) -> Iterator[Compared]:
    """Yield those that are not the same as one before, or as what is beneath that."""
    known: set[tuple[str | None, ...]] = set()
    for each in changes:
        if each.same() not in known:
            yield each
        known.update(other.same() for other in (each, *each.beneath))


def _pairs(whats: Iterable[What], turns: Iterable[Turn]) -> frozenset[tuple[str, str | None]]:
    return frozenset((what, turn) for what in whats for turn in turns)


_RISEN = Turn.APPEARED, Turn.MORE
_FALLEN = Turn.LESS, Turn.VANISHED
_GRAVEST = (
    ("Events no longer sent", _pairs([What.EVENT], [Turn.VANISHED])),
    ("Keys no longer sent", _pairs([What.KEY], [Turn.VANISHED])),
    ("Broken for the first time", _pairs([What.FINDING], [Turn.APPEARED])),
    ("Broken more often", _pairs([What.FINDING], [Turn.MORE])),
    ("Not as planned for the first time", _pairs([What.PLAN], [Turn.APPEARED])),
    ("Not as planned more often", _pairs([What.PLAN], [Turn.MORE])),
    ("Lost for the first time", _pairs([What.LOSS, What.SLOW], [Turn.APPEARED])),
    ("Lost more often", _pairs([What.LOSS, What.SLOW], [Turn.MORE])),
    ("Events sent by fewer sessions", _pairs([What.EVENT], [Turn.LESS])),
    ("Keys sent less often", _pairs([What.KEY], [Turn.LESS]) | _pairs([What.THROUGHOUT], _FALLEN)),
    ("Keys with other types", _pairs([What.TYPE], Turn)),
    ("Keys with other values", _pairs([What.VALUE], Turn)),
    ("New events", _pairs([What.EVENT], [Turn.APPEARED])),
    ("Events sent by more sessions", _pairs([What.EVENT], [Turn.MORE])),
    ("New keys", _pairs([What.KEY], [Turn.APPEARED])),
    ("Keys sent more often", _pairs([What.KEY], [Turn.MORE]) | _pairs([What.THROUGHOUT], _RISEN)),
    ("Numbers that differ", _pairs([What.NUMBER, What.METRIC, What.RHYTHM], Turn)),
    ("Less often than before", _pairs([What.FINDING, What.PLAN, What.LOSS, What.SLOW], _FALLEN)),
)
"""Kinds of changes, the gravest first: what they are called, and what was compared and how it changed."""


def _name(each: Compared) -> str:
    key = each.what, each.section, each.name
    events = {other.event for other in each.beneath if (other.what, other.section, other.name) == key} - {each.event}
    more = f" and {counted(len(events), 'other event')}" if each.section and events else ""
    return subject_words(each, lambda name: f"`{_plain(name)}`") + more


def _plain(text: str) -> str:
    """Return a text of somebody else for between backticks."""
    text = visible(text).replace("`", "'")
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
