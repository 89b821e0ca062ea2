"""Changes to recorded requests before they are sent again: set, drop, or replace a value by a pseudonym.

A change is a value as in the file of ``--changes``: ``{"do": "set", "path": "$.params['media.id']", "value": "x"}``.
Paths are JSONPath (RFC 9535). Only the changed bytes of a body are rewritten: the rest stays as the device wrote it,
including spacing, escapes and the spelling of numbers.

>>> changer = Changer([set_value("$.params['media.id']=new"), drop_value("$.qoeData")])
>>> changed = changer(Request(method="POST", path="/", body=b'{"params": {"media.id" :"old"}, "qoeData": {}}'))
>>> changed.request.body
b'{"params": {"media.id" :"new"}}'
>>> changed.differences[0]
Difference(where='/params/media.id', a='"old"', b='"new"')
"""

from __future__ import annotations

import functools
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import jsonpath_rfc9535 as jsonpath

from proxy_addon.core import jsontext
from proxy_addon.core.exchange import Headers, Request
from proxy_addon.core.jsonspans import (
    Edit,
    Location,
    Span,
    additions,
    edited,
    find,
    leaves,
    removals,
    replacements,
    spans,
)
from proxy_addon.core.pseudonyms.exchanges import Pseudonymiser
from proxy_addon.core.pseudonyms.personal import CREDENTIAL_HEADERS, PERSONAL, Personal
from proxy_addon.core.pseudonyms.tokens import number_pseudonym, pseudonym
from proxy_addon.core.replays.altered import differences
from proxy_addon.core.replays.comparing import unlike
from proxy_addon.core.replays.plans import NOT_FORWARDED, Changed
from proxy_addon.core.replays.runs import PROFILE
from proxy_addon.core.urls import parse_host
from proxy_addon.core.wording import close_to
from proxy_addon.errors import ProtocolError, SettingsError

Change = Mapping[str, Any]
"""One change: ``do`` is its kind, ``option`` how the user asked for it, and `KINDS` lists the rest. Values are JSON."""
KINDS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "set": ("path", "value"),
        "drop": ("path",),
        "pseudonym": ("path",),
        "set-header": ("name", "value"),
        "drop-header": ("name",),
        "pseudonym-header": ("name",),
    }
)
"""The kinds of changes, with the members that each requires."""
_TIMES = frozenset({"eventType", "playerTime", "ts", "playhead"})
"""Members that say nothing about people, so that it is safe to have them twice."""
_UNSAFE = "so it cannot be made safe; --no-safe sends it as it is"
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
_VALUE = re.compile(r"[^\r\n\0]*\Z")
_LAST = re.compile(r"""(?P<above>.+?)(?:\.(?P<plain>[^\W\d]\w*)|\[(?P<quoted>"[^"\\]*"|'[^'\\]*')\])\Z""", re.DOTALL)
"""A path that ends with a name, and the path before it."""
_PLAIN_NAMES = re.compile(r"""\.([^\W\d]\w*)|\[["']([^"'\\]*)["']\]""")


_ROUTING: Mapping[str, str] = MappingProxyType(
    {
        "analytics.reportSuite": "sessiontape-replay",
        "analytics.trackingServer": "replay.invalid",
        "visitor.marketingCloudOrgId": "000000000000000000000000@AdobeOrg",
    }
)
"""The params that say whose reports a playback is in, and what the safe profile puts there."""


def _safe() -> tuple[Change, ...]:
    changes: list[Change] = []
    for event in ("$", "$[*]"):  # a live event, or each of a batch
        params = f"{event}.params"
        for name, value in _ROUTING.items():
            changes.append({"do": "set", "path": f"{params}['{name}']", "value": value, "only": "present"})
    changes += [{"do": "drop-header", "name": name} for name in CREDENTIAL_HEADERS]
    return tuple(changes)


_DROPPED = frozenset(name.lower() for name in CREDENTIAL_HEADERS)
SAFE = _safe()
"""Keep a replay away from real reports: report suite, org ID and tracking server are replaced, credentials are dropped. A
`Changer` that begins with these also replaces personal values. Source: Media Collection API, params of ``sessionStart``.
"""


def set_value(text: str) -> Change:
    """Return the change that ``--set JSONPATH=VALUE`` means; a value that is not JSON is a string.

    Raises:
        SettingsError: The text has no ``=``, or the change is invalid.
    """
    path, value = _split(text, "JSONPATH=VALUE, like $.params['media.id']=abc")
    try:
        decoded = json.loads(value, parse_constant=_refuse)
    except ValueError:
        decoded = value
    return checked({"do": "set", "path": path, "value": decoded})


def drop_value(text: str) -> Change:
    """Return the change that ``--drop JSONPATH`` means.

    Raises:
        SettingsError: The change is invalid.
    """
    return checked({"do": "drop", "path": text})


def set_header(text: str) -> Change:
    """Return the change that ``--set-header NAME=VALUE`` means.

    Raises:
        SettingsError: The text has no ``=``, or the change is invalid.
    """
    name, _, value = text.partition("=")
    if "=" not in text:
        raise SettingsError(f"{text!r} does not set a header", hint="write --set-header NAME=VALUE")
    return checked({"do": "set-header", "name": name, "value": value})


def drop_header(text: str) -> Change:
    """Return the change that ``--drop-header NAME`` means.

    Raises:
        SettingsError: The change is invalid.
    """
    return checked({"do": "drop-header", "name": text})


class ChangeError(SettingsError):
    """A change is invalid; ``key`` names its wrong member, or is empty if a member is missing."""

    def __init__(self, message: str, *, key: str = "", hint: str) -> None:
        super().__init__(message, hint=hint)
        self.key = key


def checked(change: Change) -> Change:
    """Return a change if it is valid.

    Raises:
        ChangeError: The change is invalid.
    """
    kind = change.get("do")
    if "do" not in change:
        raise ChangeError("do is missing", hint=f"write do = and one of {', '.join(KINDS)}")
    if not isinstance(kind, str) or kind not in KINDS:
        raise ChangeError(f"unknown change {kind!r}", key="do", hint=f"known changes are {', '.join(KINDS)}")
    takes = f"it takes {' and '.join(KINDS[kind])}"
    for name in KINDS[kind]:
        if name not in change:
            raise ChangeError(f"{kind} needs {name}", hint=takes)
    for name in change.keys() - {"do", *KINDS[kind], *({"only"} if kind == "set" else ())}:
        near = close_to(name, (*KINDS[kind], "only") if kind == "set" else KINDS[kind])
        raise ChangeError(f"{kind} has no {name!r}", key=name, hint=f"did you mean {near}?" if near else takes)
    if change.get("only", "present") != "present":
        raise ChangeError(
            f"unknown only {change['only']!r}", key="only", hint='write only = "present", which adds the value nowhere'
        )
    if "path" in change:
        _check_path(change["path"])
        try:
            jsontext.text_of(change.get("value"))
        except (TypeError, ValueError) as e:
            raise ChangeError(
                f"the value cannot be written as JSON: {e}", key="value", hint="write dates in quotes"
            ) from e
    else:
        _check_header(kind, change["name"], change.get("value", ""))
    return change


def _check_path(path: object) -> None:
    if not isinstance(path, str):
        raise ChangeError(
            f"the path is not a string: {path!r}", key="path", hint="write it in quotes, like \"$.params['media.id']\""
        )
    _compiled(path)


def _check_header(kind: str, name: object, value: object) -> None:
    for key, text in (("name", name), ("value", value)):
        if not isinstance(text, str):
            raise ChangeError(f"a header's {key} must be a string, not {text!r}", key=key, hint="write it in quotes")
    assert isinstance(name, str)
    assert isinstance(value, str)
    if not _NAME.match(name):
        raise ChangeError(
            f"{name!r} is not a header name", key="name", hint="header names consist of letters, digits and dashes"
        )
    if name.lower() in NOT_FORWARDED and not (kind == "set-header" and name.lower() == "host"):
        raise ChangeError(
            f"{name} cannot be changed: it says how a request is sent",
            key="name",
            hint="a replay sets it itself, or leaves it out",
        )
    if not _VALUE.match(value) or (not value.isascii() and not _is_latin(value)):
        raise ChangeError(
            f"the value of {name} has a line end, NUL or a character that no header can have in it",
            key="value",
            hint="leave it out",
        )
    if name.lower() == "host":
        try:
            parse_host(value, "http")
        except SettingsError as e:
            raise ChangeError(str(e), key="value", hint=e.hint) from e


def _is_latin(text: str) -> bool:
    return all(ord(character) < 256 for character in text)


def _split(text: str, form: str) -> tuple[str, str]:
    """Return the path and the value around the first ``=`` that is not part of the path."""
    depth, quote = 0, ""
    for place, character in enumerate(text):
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'":
            quote = character if depth else quote
        elif character in "[(":
            depth += 1
        elif character in "])":
            depth -= 1
        elif character == "=" and depth == 0:
            return text[:place], text[place + 1 :]
    raise SettingsError(f"{text!r} does not set a value", hint=f"write {form}")


def _refuse(name: str) -> object:
    raise ValueError(f"{name} is not a JSON value")


@functools.cache
def _compiled(path: str) -> jsonpath.JSONPathQuery:
    if not path.startswith("$"):
        raise ChangeError(
            f"{path!r} is not a JSONPath", key="path", hint="a path begins with $, like $.params['media.id']"
        )
    try:
        return jsonpath.compile(path)
    except jsonpath.JSONPathError as e:
        raise ChangeError(
            f"{path!r} is not a JSONPath: {str(e).splitlines()[0]}",
            key="path",
            hint=quoting_hint(path) or "see RFC 9535",
        ) from e


def quoting_hint(path: str) -> str:
    """Return how a path is written whose name with dots lacks its quotes; empty if it does not look like one.

    >>> quoting_hint("$.params.media.channel"), quoting_hint("$[*].qoeData[media.qoe.bitrate]")
    ("names with dots are quoted: $.params['media.channel']", "names with dots are quoted: $[*].qoeData['media.qoe.bitrate']")
    >>> quoting_hint("$.params['media.channel']"), quoting_hint("$.playerTime.ts")
    ('', '')
    """
    match = _UNQUOTED.match(path)
    return "" if match is None else f"names with dots are quoted: {match['above']}['{match['plain'] or match['bare']}']"


_UNQUOTED = re.compile(
    r"(?P<above>\$(?:\[\*\])?\.(?:params|customMetadata|qoeData))"
    r"(?:\.(?P<plain>\w+(?:\.\w+)+)|\[(?P<bare>[^\W\d]\w*(?:\.\w+)*)\])\Z"
)


def host_of(changes: Iterable[Change]) -> str | None:
    """Return the ``Host`` that changes set; None if they set none."""
    hosts = [change["value"] for change in changes if change.get("name", "").lower() == "host"]
    return hosts[-1] if hosts else None


@dataclass
class Changer:
    """Applies changes in order to requests.

    Attributes:
        changes: Changes as `checked` returns them.
        key: Key of pseudonyms: with the same key, the same value gets the same pseudonym.
        profile: How many of the first changes belong to the safe profile rather than to what the user asked for. With
            a profile, personal values become pseudonyms before any change is made.
        personal: What is personal.
    """

    changes: Sequence[Change]
    key: bytes = b""
    profile: int = 0
    personal: Personal = PERSONAL

    def __post_init__(self) -> None:
        numbered = list(enumerate(self.changes))
        self._of_bodies = [(n, _BodyChange(change)) for n, change in numbered if "path" in change]
        self._of_headers = [(n, change) for n, change in numbered if "path" not in change]
        self._host = host_of(self.changes)
        self._pseudonymise = Pseudonymiser(self.key, self.personal)

    def __call__(self, request: Request) -> Changed:
        """Return the request to send, with what was changed in it and a remark, if any.

        Raises:
            ProtocolError: The safe profile cannot be applied to the body, so the request must not be sent.
        """
        if not self.changes:
            return Changed(request=request)
        made = _Made()
        sent = self._with_pseudonyms(request, made) if self.profile else request
        sent = self._with_headers(sent, made)
        sent, remark = self._with_body(sent, made)
        places: Counter[int] = Counter()
        for number, count in made.places.items():
            places[PROFILE if number < self.profile else number - self.profile + 1] += count
        return Changed(
            request=sent,
            remark=remark,
            host=self._host,
            places=dict(places),
            differences=differences(
                request, sent, hidden=made.hidden, hidden_places=made.hidden_places, hidden_headers=made.hidden_headers
            )
            if places
            else (),
        )

    def _with_pseudonyms(self, request: Request, made: _Made) -> Request:
        """Return a request without personal values.

        Raises:
            ProtocolError: Its body cannot be read, so nobody knows what is personal in it.
        """
        self._require_readable(request)
        told = self._pseudonymise.request(request)
        if told is request:
            return request
        for (name, before), (_, after) in zip(request.headers, told.headers, strict=True):
            if before != after and name.lower() not in NOT_FORWARDED | _DROPPED:
                made.places[PROFILE] += 1
                made.hidden_headers.add(name.lower())
        made.places[PROFILE] += told.path != request.path
        for place, _, _ in unlike("", request.reading.value, told.reading.value):
            made.places[PROFILE] += place.rpartition("/")[2] not in _ROUTING  # those are set, too
            made.hidden_places.append(place)
        return told

    def _require_readable(self, request: Request) -> None:
        if not request.body:
            return
        if request.reading.problem is not None:
            raise ProtocolError(f"its body is not JSON, {_UNSAFE}")
        if any(name not in _TIMES for _, name in jsontext.repeated_members(request.reading.value, 0)):
            # Paths lead to the last of them, but a server may read the first.
            raise ProtocolError(f"its body has the same member twice, {_UNSAFE}")

    def _with_headers(self, request: Request, made: _Made) -> Request:
        headers = request.headers
        for number, change in self._of_headers:
            wanted = change["name"].lower()
            changed = _changed_headers(headers, change, self.key)
            if changed != headers or (wanted == "host" and self._host is not None):
                # Setting Host has an effect even if it equals the recorded one: without it, the target's is sent.
                made.places[number] += sum(name.lower() == wanted for name, _ in (headers or changed)) or 1
                if number < self.profile or change["do"] == "pseudonym-header":
                    made.hidden_headers.add(wanted)
                headers = changed
        return request if headers == request.headers else replace(request, headers=headers)

    def _with_body(self, request: Request, made: _Made) -> tuple[Request, str | None]:
        if not self._of_bodies or not request.body:
            return request, None
        if request.reading.problem is not None:
            return request, "its body is not JSON, so nothing was changed in it"
        remark = None
        for number, change in self._of_bodies:
            if not change.may_be_in(request.body):
                continue
            try:
                edits, locations = change.edits(request, self.key)
            except RecursionError as e:
                if number < self.profile:
                    raise ProtocolError(f"its body is nested too deeply, {_UNSAFE}") from e
                remark = "its body is nested too deeply to be changed"
                continue
            body = request.body
            count = sum(body[start:stop] != new for start, stop, new in edits)
            if count:
                made.places[number] += count
                if number < self.profile or change.hides:
                    made.hidden += locations
                request = replace(request, body=edited(body, edits))
        return request, remark

    def __reduce__(self) -> tuple[Any, ...]:
        return Changer, (list(self.changes), self.key, self.profile, self.personal)


@dataclass(slots=True)
class _Made:
    """What was changed in one request.

    Attributes:
        places: Number of changed places, by the index of the change.
        hidden: Places in the body whose recorded values must be hidden.
        hidden_places: More of them, as JSON Pointers.
        hidden_headers: Names, in lower case, of headers whose recorded values must be hidden.
    """

    places: Counter[int] = field(default_factory=Counter)
    hidden: list[Location] = field(default_factory=list)
    hidden_places: list[str] = field(default_factory=list)
    hidden_headers: set[str] = field(default_factory=set)


def _changed_headers(headers: Headers, change: Change, key: bytes) -> Headers:
    wanted = change["name"].lower()
    if change["do"] == "drop-header":
        return tuple(header for header in headers if header[0].lower() != wanted)
    if change["do"] == "pseudonym-header":
        return tuple(
            (name, pseudonym(value, key)) if name.lower() == wanted else (name, value) for name, value in headers
        )
    made: list[tuple[str, str]] = []
    is_set = False
    for name, value in headers:
        if name.lower() != wanted:
            made.append((name, value))
        elif not is_set:
            made.append((name, change["value"]))
            is_set = True
    return tuple(made if is_set else [*made, (change["name"], change["value"])])


class _BodyChange:
    """One change of bodies, with its path compiled."""

    def __init__(self, change: Change) -> None:
        self._do = change["do"]
        path = change["path"]
        self._query = _compiled(path)
        self._value = jsontext.text_of(change.get("value"))
        self._above: jsonpath.JSONPathQuery | None = None
        self._name = ""
        last = _LAST.match(path)
        if last is not None and not last["above"].endswith("."):  # as $..name does
            self._name = last["plain"] or last["quoted"][1:-1]
            if self._do == "set" and change.get("only") != "present":
                self._above = _compiled(last["above"])
        # Names that a body must contain for the path to match, unless it contains escapes.
        names = [
            plain or quoted for plain, quoted in _PLAIN_NAMES.findall(last["above"] if self._above and last else path)
        ]
        self._names = [name.encode() for name in names if name.isascii() and "?" not in path]

    def may_be_in(self, body: bytes) -> bool:
        """Whether the path may match in a body; a quick test that rules out most bodies."""
        return b"\\" in body or all(name in body for name in self._names)

    @property
    def hides(self) -> bool:
        """Whether the values that the change replaces must be hidden."""
        return bool(self._do == "pseudonym")

    def edits(self, request: Request, key: bytes) -> tuple[list[Edit], list[Location]]:
        """Return the edits of the body, and the places that the path matches.

        Raises:
            RecursionError: The body is nested too deeply.
        """
        value = request.reading.value
        try:
            locations = _locations(self._query, value)
            missing = [] if self._above is None else self._missing(_locations(self._above, value), value)
        except jsonpath.JSONPathError as e:  # here the library raises it only for deep nesting
            raise RecursionError(str(e)) from e
        if not locations and not missing:
            return [], []
        text = request.body
        root = spans(text)
        return [*self._edits(text, root, locations, key), *self._more(text, root, missing)], locations

    def _missing(self, above: Iterable[Location], value: Any) -> list[Location]:
        return [location for location in above if isinstance(at := _at(value, location), dict) and self._name not in at]

    def _more(self, text: bytes, root: Span, missing: Iterable[Location]) -> list[Edit]:
        return [edit for at in missing for edit in additions(text, root, at, self._name, self._value)]

    def _edits(self, text: bytes, root: Span, locations: Sequence[Location], key: bytes) -> list[Edit]:
        if self._do == "set":
            return list(replacements(root, dict.fromkeys(locations, self._value)))
        if self._do == "drop":
            return list(removals(root, locations))
        return [
            (leaf.start, leaf.stop, token)
            for location in locations
            for span in find(root, location)
            for leaf in leaves(span)
            if (token := _token(text[leaf.start : leaf.stop], key)) is not None
        ]


def _locations(query: jsonpath.JSONPathQuery, value: Any) -> list[Location]:
    return [tuple(node.location) for node in query.finditer(value)]


def _at(value: Any, location: Location) -> Any:
    for name in location:
        value = value[name]
    return value


def _token(text: bytes, key: bytes) -> bytes | None:
    """Return a pseudonym, of the same type, for a value in JSON text; None for a value that identifies nobody."""
    value = jsontext.loads(text)
    if isinstance(value, str):
        return jsontext.text_of(pseudonym(value, key)) if value else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return number_pseudonym(text.decode(), key).encode()
