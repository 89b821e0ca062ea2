"""The filters of a list of sessions, as an address has them in its query: the same as those of the commands.

>>> asked = Asked.parse([("state", "open"), ("state", "expired"), ("media", "clip"), ("q", "")])
>>> asked.pairs
(('media', 'clip'), ('state', 'open'), ('state', 'expired'))
>>> Asked.parse([("medium", "clip")])
Traceback (most recent call last):
    ...
proxy_addon.errors.SettingsError: unknown filter 'medium'
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from proxy_addon.core.durations import parse_time
from proxy_addon.core.sessions import AsOf, SessionState
from proxy_addon.errors import SettingsError
from storage.filters import Filters

NAMES = ("name", "since", "until", "player", "media", "user-agent", "with-findings", "state", "q")
"""The filters, named as in the commands; ``q`` is the text of the search."""
_LONGEST = 500
_MOST = 20
_LATER = datetime(2100, 1, 1, tzinfo=UTC)
"""A time from which every relative time, such as 7d, can be subtracted."""


@dataclass(frozen=True, slots=True)
class Asked:
    """The filters of a list.

    Attributes:
        pairs: Name and value of each, in a fixed order; ``state`` may occur several times. Relative times such as 2h stay
            relative, so that they move on while a list is open.
    """

    pairs: tuple[tuple[str, str], ...] = ()

    @classmethod
    def parse(cls, query: Iterable[tuple[str, str]]) -> Asked:
        """Return the filters in a query, without those that have no value.

        Raises:
            SettingsError: A filter is unknown, or its value is not valid.
        """
        given = [pair for pair in dict.fromkeys(query) if pair[1]]
        if len(given) > _MOST:
            raise SettingsError(f"too many filters: at most {_MOST} can be combined")
        for name, value in given:
            if name not in NAMES:
                raise SettingsError(f"unknown filter {name[:_LONGEST]!r}", hint=f"filters are: {', '.join(NAMES)}")
            if len(value) > _LONGEST:
                raise SettingsError(f"the value of {name} is too long: at most {_LONGEST} characters")
            if name != "state" and sum(each == name for each, _ in given) > 1:
                raise SettingsError(f"{name} is given twice")
        asked = cls(tuple(sorted(given, key=lambda pair: NAMES.index(pair[0]))))
        asked.filters(AsOf(now=_LATER))  # raises what is wrong with their values
        return asked

    def filters(self, as_of: AsOf) -> Filters:
        """Return them for the store, with relative times resolved.

        Raises:
            SettingsError: A value is not valid.
        """
        given = dict(self.pairs)
        flag = given.get("with-findings", "")
        if flag not in {"", "1"}:
            raise SettingsError(f"with-findings={flag!r} is not understood: write with-findings=1 or leave it out")
        filters = Filters(
            name=given.get("name"),
            since=parse_time(given["since"], now=as_of.now) if "since" in given else None,
            until=parse_time(given["until"], now=as_of.now) if "until" in given else None,
            states=frozenset(_state(value) for name, value in self.pairs if name == "state"),
            player=given.get("player"),
            media=given.get("media"),
            user_agent=given.get("user-agent"),
            with_findings=bool(flag),
            text=given.get("q"),
        )
        return replace(filters, idle_timeout=as_of.idle_timeout, unclosed_is_found=bool(as_of.unclosed))


def _state(value: str) -> SessionState:
    try:
        return SessionState(value)
    except ValueError:
        raise SettingsError(f"{value!r} is not a state", hint=f"states are: {', '.join(SessionState)}") from None
