"""What an audit shows of values that were sent, without those that tell who a viewer is."""

from __future__ import annotations

import json

from proxy_addon.core import jsontext
from proxy_addon.core.audits.coverage import Key
from proxy_addon.core.audits.sketches import LONGEST
from proxy_addon.core.exchange import Request
from proxy_addon.core.pseudonyms.exchanges import Pseudonymiser
from proxy_addon.errors import ProtocolError

_CUT = frozenset({"object", "array"})


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
        """Return what is shown of the name of a key, of a type of event or of a group."""
        return self._change.text(text)

    def _shown(self, key: Key, kind: str, text: str) -> str:
        if kind in _CUT and len(text) >= LONGEST:
            return "(too long to be shown without personal values)"
        value = json.dumps(text) if kind == "string" else text
        body = f"{{{json.dumps(key.section)}:{{{json.dumps(key.name)}:{value}}}}}".encode("utf-8", "surrogatepass")
        masked = self._change.request(Request(method="POST", path="/api/v1/sessions", body=body)).body
        try:
            (members,) = jsontext.loads(masked).values()
            (shown,) = members.values()
        except (ProtocolError, ValueError, AttributeError):  # it is no longer what it was: show nothing of it
            return "(hidden)"
        if isinstance(shown, str):
            return str(shown)
        return text if masked == body else json.dumps(shown)
