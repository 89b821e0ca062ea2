"""Replaces the personal values in a comparison with tokens, so that it can be mailed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import replace
from itertools import chain
from typing import Any

from proxy_addon.core.exchange import Exchange, Request
from proxy_addon.core.pseudonyms.exchanges import Memory, Pseudonymiser
from proxy_addon.core.timelines.aligned import Aligned, Match, Unlike
from proxy_addon.core.wording import json_text

_HEADER = re.compile(r"(?:request\.)?header\.(?P<name>\S+)\Z")


def hidden(aligned: Aligned, pseudonymise: Pseudonymiser, *exchanges: Iterable[Exchange]) -> Aligned:
    """Return a comparison with tokens in place of the personal values in its differences.

    Args:
        exchanges: Those of each session, as they are: their personal values may be repeated anywhere.
    """
    hide = _Hiding(pseudonymise, pseudonymise.memory(chain.from_iterable(exchanges)))
    return replace(aligned, matches=tuple(hide.match(match) for match in aligned.matches))


class _Hiding:
    def __init__(self, pseudonymise: Pseudonymiser, memory: Memory) -> None:
        self._pseudonymise = pseudonymise
        self._memory = memory

    def match(self, match: Match) -> Match:
        """Return a match without personal values."""
        return replace(match, unlike=tuple(map(self._unlike, match.unlike))) if match.unlike else match

    def _unlike(self, unlike: Unlike) -> Unlike:
        a, b = (None if text is None else self._text(unlike.where, text) for text in (unlike.a, unlike.b))
        message = unlike.message and self._pseudonymise.text(unlike.message, self._memory)
        if message and (a, b) != (unlike.a, unlike.b):  # the message repeats them
            event, mark, _ = message.partition(": ")
            message = f"{event}: {unlike.where} differs" if mark else f"{unlike.where} differs"
        return replace(unlike, a=a, b=b, message=message)

    def _text(self, where: str, text: str) -> str:
        """Return a value as text, as it may be shown; where nothing in it is personal, it stays as it is."""
        header = _HEADER.match(where)
        if header is not None:
            return self._request(headers=((header["name"], text),)).headers[0][1]
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):  # it was cut, or is no JSON
            value = text
        shown = self._value([name for name in where.split("/") if name], value)
        if shown == value:
            return text
        return shown if isinstance(value, str) and value is text else json_text(shown)

    def _value(self, names: list[str], value: Any) -> Any:
        nested = value
        for name in reversed(names):
            nested = {name.replace("~1", "/").replace("~0", "~"): nested}
        shown = json.loads(self._request(body=json.dumps(nested).encode()).body)
        for _ in names:
            (shown,) = shown.values()
        return shown

    def _request(self, **values: Any) -> Request:
        return self._pseudonymise.request(Request(method="POST", path="/api/v1/sessions", **values), self._memory)
