"""Compare a new answer with the recorded one, ignoring what may differ.

The status, the shape of ``Location``, every other recorded header, and the bodies of errors are compared, JSON as JSON.
Rules name the places that may differ: ``status``, ``header.NAME``, ``body`` or ``body/a/b`` (a JSON Pointer), in which
``*`` stands for any text within a name. A header that was not recorded is not a difference: another server may add it.

>>> recorded = Response(status=404, headers=(("Date", "Mon"),), body=b'{"message": "gone", "id": 1}')
>>> replayed = Response(status=404, headers=(("Date", "Tue"),), body=b'{"id":2,"message":"gone"}')
>>> compare(recorded, Outcome.ANSWERED, replayed)
(Difference(where='body/id', a='1', b='2'),)
>>> compare(recorded, Outcome.ANSWERED, replayed, noise=Noise(("body/i*",)))
()
"""

from __future__ import annotations

import operator
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import translate
from typing import Any

from proxy_addon.core import jsontext
from proxy_addon.core.exchange import Headers, Outcome, Response, header
from proxy_addon.core.jsontext import escaped
from proxy_addon.core.locations import find_location, location_shape
from proxy_addon.core.replays.runs import Difference
from proxy_addon.core.wording import ascii_safe, json_text
from proxy_addon.errors import ProtocolError, SettingsError

MOST = 20
"""How many differences of one answer, or of one request, are listed at most."""
_SHOWN = 200
"""How many characters of a value are shown at most."""
NOISE = tuple(
    f"header.{name}"
    for name in (
        # about the time, the connection or the infrastructure rather than the answer
        "Date", "Server", "Via", "Age", "Expires", "Last-Modified", "ETag", "Cache-Control", "Pragma", "Vary",
        "Connection", "Keep-Alive", "Content-Length", "Transfer-Encoding", "Content-Encoding", "Set-Cookie", "Alt-Svc",
        "NEL", "Report-To", "Reporting-Endpoints", "Strict-Transport-Security", "Server-Timing", "Traceparent",
        "Tracestate", "Timing-Allow-Origin", "P3P", "CF-*", "X-*",
    )
)  # fmt: skip
"""Places whose differences never count."""
_WHERE = re.compile(r"status\Z|body(?:/.*)?\Z|header\.[^\s:]+\Z", re.DOTALL)
_SESSION = "{session}"
"""Replaces the session's ID, which differs between recording and replay."""


@dataclass(frozen=True)
class Noise:
    """Places that may differ.

    Attributes:
        rules: Rules in addition to `NOISE`.
    """

    rules: tuple[str, ...] = ()
    _decided: dict[str, bool] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def parse(cls, rules: Iterable[str]) -> Noise:
        """Return noise with the given rules.

        Raises:
            SettingsError: A rule does not name a place in an answer.
        """
        made = tuple(rules)
        for rule in made:
            if not _WHERE.match(rule):
                raise SettingsError(
                    f"{rule!r} is not a place in an answer", hint="write status, header.NAME, body, or body/a/b"
                )
        return cls(made)

    def covers(self, where: str) -> bool:
        """Whether a difference in a place does not count."""
        known = self._decided.get(where)
        if known is None:
            if len(self._decided) > 10_000:
                self._decided.clear()
            known = self._decided[where] = any(_matches(rule, where) for rule in (*NOISE, *self.rules))
        return known


def _matches(rule: str, where: str) -> bool:
    if rule.startswith("header."):
        return re.match(translate(rule.lower()), where.lower()) is not None
    parts, asked = rule.split("/"), where.split("/")
    # A rule for a place also covers everything inside it.
    return len(parts) <= len(asked) and all(
        re.match(translate(part), there) for part, there in zip(parts, asked, strict=False)
    )


_NOTHING = Noise()


def compare(
    recorded: Response | None,
    recorded_outcome: Outcome,
    replayed: Response,
    *,
    noise: Noise = _NOTHING,
    ids: tuple[str | None, str | None] = (None, None),
    asked: Headers = (),
) -> tuple[Difference, ...]:
    """Return where two answers differ.

    If upstream failed to answer while recording, any answer is different. If the device left before the answer, there
    is nothing to compare with, and no difference.

    Args:
        ids: The recorded and the new back-end ID of the session.
        asked: Headers of the request; allowing its origin by name counts as the same as allowing any origin.
    """
    if recorded is None:
        if recorded_outcome is Outcome.CLIENT_GONE:
            return ()
        return (Difference(where="status", a=recorded_outcome.value, b=replayed.status),)
    found = [each for each in _differences(recorded, replayed, ids, asked) if not noise.covers(each.where)]
    if len(found) > MOST:
        more = f"{len(found) - MOST + 1} more differences"
        found[MOST - 1 :] = [Difference(where="body", a=more, b=more)]
    return tuple(found)


def said_in(response: Response) -> str | None:
    """Return the ``message`` in the JSON body of an error, worded for a step; None if there is none.

    Source: Media Collection API, answers: errors have a body ``{"message": …}``.
    """
    if response.status < 400 or not response.body:
        return None
    try:
        value = jsontext.loads(_content(response))
    except ProtocolError:
        return None
    message = value.get("message") if isinstance(value, dict) else None
    return f"{_SAID}{_cut(ascii_safe(message))}" if isinstance(message, str) and message else None


_SAID = "the target said: "


def untold(reason: str | None, differences: Iterable[Difference]) -> str | None:
    """Return the reason of a step without the ``message`` that its differences already show; None if nothing is left.

    >>> untold("the target said: gone", [Difference(where="body/message", a='"no"', b='"gone"')])
    >>> untold("the target said: gone", [Difference(where="status", a=204, b=410)])
    'the target said: gone'
    """
    if reason is None or _SAID not in reason:
        return reason
    remark, _, message = reason.partition(_SAID)
    written = (message, json_text(message)[1:-1])
    bodies = [str(each.b) for each in differences if each.where.startswith("body")]
    if any(text in body for text in written for body in bodies):
        return remark.removesuffix("; ") or None
    return reason


def learn(pairs: Iterable[tuple[Response, Response]]) -> tuple[str, ...]:
    """Return rules that cover the differences between two answers of a target to the same request.

    Pairs with different statuses are ignored. Indexes of lists become ``*``, because what differs in one element may
    differ in others.
    """
    found: set[str] = set()
    for one, other in pairs:
        if one.status == other.status:
            wheres = [each.where for each in _differences(one, other, (None, None), ())]
            wheres += [f"header.{name}" for name, _ in other.headers if name.lower() not in _by_name(one.headers)]
            found.update(_rule_for(where) for where in wheres if not _NOTHING.covers(where))
    return tuple(sorted(found))


def _rule_for(where: str) -> str:
    literal = re.sub(r"[*?\[]", r"[\g<0>]", where)  # escapes characters that would match other names
    return re.sub(r"/\d+(?=/|\Z)", "/*", literal)


def _differences(
    recorded: Response, replayed: Response, ids: tuple[str | None, str | None], asked: Headers
) -> Iterator[Difference]:
    if recorded.status != replayed.status:
        yield Difference(where="status", a=recorded.status, b=replayed.status)
    before, after = (_shape(response) for response in (recorded, replayed))
    if before != after:
        yield Difference(where="header.Location", a=before, b=after)
    if recorded.headers:
        new = _by_name(replayed.headers)
        for name, (spelled, value) in _by_name(recorded.headers).items():
            other = new.get(name, (name, None))[1]
            if name != "location" and value != other and not _allow_the_same(name, value, other, asked):
                yield Difference(where=f"header.{spelled}", a=value, b=other)
    if recorded.status == replayed.status and recorded.status >= 400 and recorded.body != replayed.body:
        yield from _bodies(_content(recorded), _content(replayed), ids)


def _content(response: Response) -> bytes:
    """Return the decompressed body: equal content may be compressed to different bytes."""
    if (header(response.headers, "content-encoding") or "").strip().lower() not in _COMPRESSED:
        return response.body
    decoder = zlib.decompressobj(_ANY_HEADER)
    try:
        content = decoder.decompress(response.body, _LARGEST_CONTENT)
    except zlib.error:
        return response.body
    return content if decoder.eof else response.body


_COMPRESSED = frozenset({"gzip", "x-gzip", "deflate"})
_ANY_HEADER = 32 + zlib.MAX_WBITS
_LARGEST_CONTENT = 16 * 2**20
"""How many bytes a body may have when decompressed; a small one can be made to expand without end."""


def _shape(response: Response) -> str | None:
    location = find_location(response.headers)
    return None if location is None else location_shape(location)


def _by_name(headers: Headers) -> Mapping[str, tuple[str, str]]:
    """Return spelling and value by the name in lower case; the values of repeated headers are joined."""
    found: dict[str, tuple[str, str]] = {}
    for name, value in headers:
        lower = name.lower()
        before = found.get(lower)
        found[lower] = (name, value) if before is None else (before[0], f"{before[1]}, {value}")
    return found


def _allow_the_same(name: str, recorded: str, replayed: str | None, asked: Headers) -> bool:
    if name == "access-control-allow-origin":
        origin = header(asked, "origin")
        return origin is not None and {recorded, replayed} <= {"*", origin}
    if name.startswith("access-control-") and replayed is not None:
        # Lists of methods and headers: order and case do not matter.
        return _listed(recorded) == _listed(replayed)
    return False


def _listed(value: str) -> set[str]:
    return {each.strip().lower() for each in value.split(",")}


def _bodies(recorded: bytes, replayed: bytes, ids: tuple[str | None, str | None]) -> Iterator[Difference]:
    if recorded == replayed:
        return
    try:
        old, new = jsontext.loads(recorded), jsontext.loads(replayed)
    except ProtocolError:
        yield Difference(where="body", a=_told(recorded), b=_told(replayed))
        return
    for where, one, other in unlike(
        "body", old, new, lambda one, other: _neutral(one, ids[0]) == _neutral(other, ids[1])
    ):
        yield Difference(where=where, a=shown(one), b=shown(other))


ABSENT = object()
"""Stands for a value that does not exist."""


def unlike(
    where: str, one: Any, other: Any, are_same: Callable[[Any, Any], bool] = operator.eq
) -> Iterator[tuple[str, Any, Any]]:
    """Yield where two JSON values differ, in order: the place, and the value of each there, `ABSENT` for none.

    Args:
        where: The place of the two values; JSON Pointers are appended to it.
        are_same: Whether two values that are not both objects or both lists count as the same.
    """
    waiting: list[tuple[str, Any, Any]] = [(where, one, other)]
    while waiting:
        at, one, other = waiting.pop()
        inside: list[tuple[str, Any, Any]] = []
        if isinstance(one, dict) and isinstance(other, dict):
            names = [*one, *(name for name in other if name not in one)]
            inside += [
                (f"{at}/{ascii_safe(escaped(name))}", one.get(name, ABSENT), other.get(name, ABSENT)) for name in names
            ]
        elif isinstance(one, list) and isinstance(other, list):
            length = max(len(one), len(other))
            inside += [(f"{at}/{n}", _element(one, n), _element(other, n)) for n in range(length)]
        elif not are_same(one, other) or isinstance(one, bool) != isinstance(other, bool):
            yield at, one, other
        waiting += reversed(inside)


def _element(values: list[Any], number: int) -> Any:
    return values[number] if number < len(values) else ABSENT


def _neutral(value: Any, id: str | None) -> Any:
    return value.replace(id, _SESSION) if isinstance(value, str) and id else value


def shown(value: Any) -> str | None:
    """Return a value as differences show it, cut if it is long; None for `ABSENT`."""
    if value is ABSENT:
        return None
    try:
        return _cut(json_text(value))
    except (ValueError, RecursionError):  # a number beyond any float, or nested too deeply
        return _cut(ascii_safe(str(value)))


def _told(body: bytes) -> str:
    text = body[: _SHOWN * 4].decode("utf-8", "replace")
    return _cut(text) if text.isprintable() else f"{len(body)} bytes"


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
