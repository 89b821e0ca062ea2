"""What an audit shows of values that were sent, without those that tell who a viewer is."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Protocol

from proxy_addon.core import jsontext
from proxy_addon.core.audits.auditing import By
from proxy_addon.core.audits.coverage import LONGEST_NAME, Key, Section
from proxy_addon.core.audits.sketches import LONGEST
from proxy_addon.core.exchange import Headers, Request
from proxy_addon.core.pseudonyms.exchanges import Pseudonymiser
from proxy_addon.errors import ProtocolError

_TOO_LONG = "(too long to be shown without personal values)"
_HIDDEN = "(hidden)"
_PACKED = re.compile(r"[{\[]|%[57][Bb]|eyJ|eyA|W3s")
"""What may be JSON, whose personal values cannot be told if its end is missing."""
_LAST = re.compile(r"[^\s?&=/;,\"'<>()|]*\Z")
"""What may be the beginning of a value that tells what it is, such as an email address."""
_PARAMS = {
    By.PLAYER: "media.playerName",
    By.MEDIA: "media.id",
    By.APP_VERSION: "media.sdkVersion",
    By.CONTENT_TYPE: "media.contentType",
}
"""Where names of groups come from."""
_PROBE = "4915112345678"
_CUT = frozenset({LONGEST, LONGEST_NAME})
"""The lengths of texts that may be cut off."""


class Hide(Protocol):
    """Returns what is shown of what devices sent."""

    def __call__(self, key: Key, kind: str, text: str, /) -> str:
        """Return what is shown of a value.

        Args:
            kind: Its JSON type.
            text: A string itself, anything else as JSON.
        """

    def name(self, text: str) -> str:
        """Return what is shown of the name of a key or of a type of event, perhaps cut off."""

    def group(self, by: By, text: str) -> str:
        """Return what is shown of the name of a group."""

    def is_personal(self, key: Key) -> bool:
        """Whether all numbers of a key are personal, because of its name."""


class Raw:
    """Shows everything as it was sent."""

    def __call__(self, _key: Key, _kind: str, text: str) -> str:
        """Return the text."""
        return text

    def name(self, text: str) -> str:
        """Return the text."""
        return text

    def group(self, _by: By, text: str) -> str:
        """Return the text."""
        return text

    def is_personal(self, _key: Key) -> bool:
        """Return that none is."""
        return False


RAW = Raw()


class Hiding:
    """Shows values as an export does: a personal one as its token."""

    def __init__(self, change: Pseudonymiser) -> None:
        self._change = change
        self._known: dict[tuple[Key, str, str], str] = {}

    def __call__(self, key: Key, kind: str, text: str) -> str:
        """Return what is shown of a value.

        Args:
            kind: Its JSON type.
            text: A string itself, anything else as JSON, perhaps cut off.
        """
        found = self._known.get((key, kind, text))
        if found is None:
            found = self._known[key, kind, text] = self._shown(key, kind, text)
        return found

    def name(self, text: str) -> str:
        """Return what is shown of the name of a key or of a type of event, perhaps cut off."""
        return self._whole(text[:LONGEST_NAME], self._change.text)

    def group(self, by: By, text: str) -> str:
        """Return what is shown of the name of a group; settings may say that it is personal."""
        shown = text
        if by in _PARAMS:
            shown = self._masked(Key("sessionStart", Section.PARAMS, _PARAMS[by]), "string", text)
        elif by is By.USER_AGENT:
            ((_, shown),) = self._change.request(_request(headers=(("User-Agent", text),))).headers
        return self._change.text(text) if shown == text else shown

    def is_personal(self, key: Key) -> bool:
        """Whether all numbers of a key are personal, because of its name."""
        return self(key, "integer", _PROBE) != _PROBE

    def _shown(self, key: Key, kind: str, text: str) -> str:
        if key.is_cut:  # nobody can tell by the beginning of its name that it is personal
            return _HIDDEN
        if kind == "string":
            return self._whole(text, lambda whole: self._masked(key, kind, whole))
        return self._masked(key, kind, text) if len(text) < LONGEST else _TOO_LONG

    def _whole(self, text: str, mask: Callable[[str], str]) -> str:
        """Return what is shown of a text; if it may be cut off, without its last value, which tells no more what it is."""
        if len(text) not in _CUT:
            return mask(text)
        if _PACKED.search(text):
            return _TOO_LONG
        begin = _LAST.sub("", text)
        return f"{mask(begin)}…" if begin else _TOO_LONG

    def _masked(self, key: Key, kind: str, text: str) -> str:
        value = json.dumps(text) if kind == "string" else text
        body = f"{{{json.dumps(key.section)}:{{{json.dumps(key.name)}:{value}}}}}".encode("utf-8", "surrogatepass")
        masked = self._change.request(_request(body=body)).body
        try:
            (members,) = jsontext.loads(masked).values()
            (shown,) = members.values()
        except (ProtocolError, ValueError, AttributeError):  # it is no longer what it was: show nothing of it
            return _HIDDEN
        if isinstance(shown, str):
            return str(shown)
        return text if masked == body else json.dumps(shown)


def _request(*, headers: Headers = (), body: bytes = b"") -> Request:
    return Request(method="POST", path="/api/v1/sessions", headers=headers, body=body)
