"""What changed from one set of sessions to another, such as from one version of an app to the next.

Sessions are what is counted, because events of one session depend on each other: a player that forgets a key forgets it on
every ping. Nothing is called a change unless there are enough sessions to tell it from chance, and it is large enough to
matter; docs/audits.md says how much that is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import count

from proxy_addon.core.audits.causes import with_causes
from proxy_addon.core.audits.changes import Changes, Compared, Comparison, What
from proxy_addon.core.audits.coverage import Key
from proxy_addon.core.audits.differences import Difference, Showing, differences, keys_of_many_values
from proxy_addon.core.audits.significance import discoveries, fisher
from proxy_addon.core.audits.totals import Apart, ByGroup, GroupName, GroupTotals, all_of, in_order
from proxy_addon.core.findings import Severity

CHANCE = 0.01
"""The part of all that is called a change which may be chance (Benjamini and Hochberg)."""
FEWEST = 5
"""Both sides need so many sessions for anything to be called a change."""
MOST_DOUBTFUL = 20
"""How many differences that may be chance are kept of a group, or of all sessions."""


def compared(
    old: ByGroup,
    new: ByGroup,
    *,
    baseline: str,
    grouped: bool,
    shown: Callable[[str], str] = str,
    named: Callable[[GroupName], str | None] = lambda name: None if name is None else str(name),
    is_public: Callable[[Key, str, str], bool] = lambda _key, _kind, _text: True,
) -> Comparison:
    """Return what changed from one set of sessions to another.

    Args:
        old: The baseline, by group.
        baseline: What it is called.
        grouped: Whether groups are compared, too.
        shown: Returns what is shown of the name of a key.
        named: The same of a group.
        is_public: Returns whether a value of a key may be shown, by its JSON type and text; others are not compared.
    """
    both = [name for name in in_order(new) if name in old and name is not Apart.OTHERS] if grouped else []
    pairs = [(None, all_of(old), all_of(new)), *((name, old[name], new[name]) for name in both)]
    show = Showing(shown, is_public)
    found = [(name, before, after, list(differences(before.whole, after.whole, show))) for name, before, after in pairs]
    p_values = [each.compared.p for *_, tested in found for each in tested if each.can_differ]
    # The highest that counts; or the highest that would if there was only one, as then nothing is in between.
    limit = max(discoveries(p_values, CHANCE), CHANCE / max(1, len(p_values)))

    def only(some: ByGroup, others: ByGroup) -> tuple[str | None, ...]:
        names = in_order(some) if grouped else []
        return tuple(named(name) for name in names if name not in others and name is not Apart.OTHERS)

    whole, *groups = (
        replace(
            _changes(named(name), before, after, tested, limit),
            many_values=keys_of_many_values(before.whole, after.whole, show),
        )
        for name, before, after, tested in found
    )
    return Comparison(
        baseline=baseline,
        all=whole,
        groups=tuple(groups),
        only_before=only(old, new),
        only_after=only(new, old),
    )


def _changes(
    name: str | None, old: GroupTotals, new: GroupTotals, tested: Iterable[Difference], limit: float
) -> Changes:
    before, after = old.whole, new.whole
    enough = min(before.sessions, after.sessions) >= FEWEST
    found: list[Compared] = []
    doubtful: list[Difference] = []
    number = 0
    for each in tested:
        turn = each.turn if enough and each.compared.p <= limit else None
        number += each.can_differ
        if each.turn is not turn:
            doubtful.append(each)
        found.append(each.compared if turn is None else replace(each.compared, change=turn.value))
    changed = sorted((each for each in found if each.change is not None), key=_gravity)
    doubtful.sort(key=lambda each: (-each.size, _gravity(each.compared)))

    def of(*kinds: What) -> tuple[Compared, ...]:
        return tuple(each for each in found if each.what in kinds)

    return Changes(
        name=name,
        before=before.sessions,
        after=after.sessions,
        left_out_before=old.holed.sessions,
        left_out_after=new.holed.sessions,
        changes=with_causes(changed),
        compared=number,
        undecided=len(doubtful),
        may_be_chance=tuple(each.compared for each in doubtful[:MOST_DOUBTFUL]),
        is_enough=enough and fisher(before.sessions, before.sessions, 0, after.sessions) <= limit,
        enough=next(each for each in count(FEWEST) if fisher(each, each, 0, each) <= limit),
        findings=of(What.FINDING),
        losses=of(What.LOSS, What.SLOW),
        rhythm=of(What.RHYTHM),
        metrics=of(What.METRIC),
    )


_ORDER = (
    *((What.FINDING.value, severity.value) for severity in Severity if severity is not Severity.INFO),
    *((what.value, None) for what in What if what is not What.FINDING),
    (What.FINDING.value, Severity.INFO.value),
)


def _gravity(compared: Compared) -> int:
    return _ORDER.index((compared.what, compared.severity))
