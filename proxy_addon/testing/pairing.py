"""Which recorded session is compared with which expectation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from proxy_addon.core.expectations.compare import Compare
from proxy_addon.core.expectations.comparison import Comparison
from proxy_addon.core.expectations.tracking import compare_tracking
from proxy_addon.core.fixtures.held import HeldSession
from proxy_addon.core.pseudonyms.personal import PERSONAL, Personal


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """A recorded session.

    Attributes:
        case: Number of the case that it belongs to.
    """

    held: HeldSession
    case: int = 0


@dataclass(frozen=True, kw_only=True)
class Pairing:
    """Expectations with what was recorded.

    Attributes:
        compared: The comparison of each expectation, by name; None where no session was recorded for it.
        unexpected: Sessions that no expectation has, of cases in which another session has one.
        aside: The other sessions that no expectation has.
    """

    compared: Mapping[str, Comparison | None]
    unexpected: Sequence[HeldSession]
    aside: Sequence[HeldSession]


def paired(expected: Mapping[str, HeldSession], recorded: Sequence[Recorded], personal: Personal = PERSONAL) -> Pairing:
    """Match recorded sessions with expectations.

    A session belongs to an expectation with the same media id; of several, the one with the fewest differences, then the
    first. If as many expectations as sessions remain, they belong together in order, because then a media id has changed.
    In a case in which one session has an expectation, every session needs one. Other cases are left out: their tests ask
    what they want to know themselves.

    Args:
        expected: By name.
        personal: Which members tell who watches, so that their values do not count.

    Raises:
        SettingsError: An expectation says how to compare in a way that makes no sense.
    """
    compare = {name: Compare.parsed(held.compare, name, personal) for name, held in expected.items()}

    def comparison(name: str, number: int) -> Comparison:
        return compare_tracking(recorded[number].held, expected[name], compare[name])

    alike = [
        (comparison(name, number), name, number)
        for name, held in expected.items()
        for number, each in enumerate(recorded)
        if each.held.session.media_id == held.session.media_id
    ]
    found: dict[str, tuple[int, Comparison]] = {}
    taken: set[int] = set()
    for made, name, number in sorted(alike, key=lambda each: len(each[0].differences)):
        if name not in found and number not in taken:
            found[name] = (number, made)
            taken.add(number)
    names = [name for name in expected if name not in found]
    numbers = [number for number in range(len(recorded)) if number not in taken]
    if len(names) == len(numbers):
        found |= {name: (number, comparison(name, number)) for name, number in zip(names, numbers, strict=True)}
        taken |= set(numbers)
    cases = {recorded[number].case for number in taken}
    left = [each for number, each in enumerate(recorded) if number not in taken]
    return Pairing(
        compared={name: found[name][1] if name in found else None for name in expected},
        unexpected=[each.held for each in left if each.case in cases],
        aside=[each.held for each in left if each.case not in cases],
    )
