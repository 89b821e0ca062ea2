"""Frozen values, made and copied in less time."""

from __future__ import annotations

from typing import Any


def made[Value](kind: type[Value], **members: Any) -> Value:
    """Return a new frozen dataclass with these members, all of which have to be named.

    It takes a quarter of the time of the constructor, and like `changed` it is for classes without slots; what they check
    and derive has to hold already, as it does for values that come out of a store.

    >>> from proxy_addon.core.sessions import FindingCounts
    >>> made(FindingCounts, error=1, warning=0, info=2) == FindingCounts(error=1, info=2)
    True
    """
    new = object.__new__(kind)
    object.__setattr__(new, "__dict__", members)
    return new


def changed[Value](value: Value, **members: Any) -> Value:
    """Return a copy of a frozen dataclass with some members changed.

    It does what `dataclasses.replace` does in a tenth of the time, because it does not call the constructor, which sets
    each member of a frozen value with a call of its own. So it is only for classes that check and derive nothing: with
    neither ``__post_init__``, slots nor cached properties.

    >>> from proxy_addon.core.sessions import FindingCounts
    >>> changed(FindingCounts(error=1, info=2), info=3)
    FindingCounts(error=1, warning=0, info=3)
    """
    copy = object.__new__(type(value))
    copy.__dict__.update(value.__dict__, **members)
    return copy
