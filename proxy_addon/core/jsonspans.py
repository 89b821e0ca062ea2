"""Positions of values in the bytes of a JSON text, and edits that leave all other bytes unchanged.

>>> text = b'{"a": [1, 2.50], "b" :null}'
>>> root = spans(text)
>>> [text[each.start : each.stop] for each in find(root, ("a", 1))]
[b'2.50']
>>> edited(text, [*removals(root, [("a", 0)]), *replacements(root, {("b",): b'"x"'})])
b'{"a": [2.50], "b" :"x"}'
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from proxy_addon.core import jsontext

TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+', re.DOTALL)
"""The tokens of a text that must be well-formed JSON."""
Location = tuple[str | int, ...]
"""The names and indexes on the way from the root to a value."""
Edit = tuple[int, int, bytes]
"""Start and stop of the bytes to replace, and what replaces them."""


@dataclass(slots=True)
class Span:
    """A value in a text.

    Attributes:
        begin: Where the member begins, including its name; for an element or the root, the same as ``start``.
        start: Where the value begins.
        stop: Where the value ends.
        name: The member's name, or the index of the element; None for the root.
        inside: Members or elements in their order; a name may occur twice.
    """

    begin: int
    start: int
    stop: int = 0
    name: str | int | None = None
    inside: list[Span] = field(default_factory=list)


def spans(text: bytes) -> Span:
    """Return the positions of all values in a text, which must be well-formed JSON."""
    root = Span(0, 0)
    stack = [root]  # the container of the root, then all open values
    in_object = [False]
    named: tuple[int, str] | None = None
    for token in TOKEN.finditer(text):
        match token[0]:
            case b"," | b":":
                continue
            case b"}" | b"]":
                stack.pop().stop = token.end()
                in_object.pop()
                continue
        above = stack[-1]
        if in_object[-1] and named is None:
            named = token.start(), jsontext.loads(token[0])
            continue
        begin, name = named or (token.start(), len(above.inside))
        named = None
        span = Span(begin, token.start(), token.end(), name)
        above.inside.append(span)
        if token[0] in (b"{", b"["):
            stack.append(span)
            in_object.append(token[0] == b"{")
    found = root.inside[0]
    found.name = None
    return found


def find(root: Span, location: Location) -> list[Span]:
    """Return the values at a location; there are several if a name occurs twice."""
    found = [root]
    for name in location:
        if isinstance(name, int):
            found = [span.inside[name] for span in found if name < len(span.inside)]
        else:
            found = [inside for span in found for inside in span.inside if inside.name == name]
    return found


def leaves(span: Span) -> Iterator[Span]:
    """Yield the values inside a value that contain no other values; the value itself if it contains none."""
    waiting = [span]
    while waiting:
        each = waiting.pop()
        if each.inside:
            waiting.extend(reversed(each.inside))
        else:
            yield each


def replacements(root: Span, values: Mapping[Location, bytes]) -> Iterator[Edit]:
    """Yield the edits that replace the values at some locations."""
    for location, value in values.items():
        for span in find(root, location):
            yield span.start, span.stop, value


def additions(text: bytes, root: Span, location: Location, name: str, value: bytes) -> Iterator[Edit]:
    """Yield the edits that append a member to the objects at a location."""
    for span in find(root, location):
        if text[span.start : span.start + 1] == b"{":
            at = span.inside[-1].stop if span.inside else span.start + 1
            yield at, at, (b"," if span.inside else b"") + jsontext.text_of(name) + b":" + value


def removals(root: Span, locations: Iterable[Location]) -> Iterator[Edit]:
    """Yield the edits that remove members and elements with their commas; the root cannot be removed."""
    going: dict[int, tuple[Span, set[int]]] = {}
    for location in locations:
        if location:
            for above in find(root, location[:-1]):
                name = location[-1]
                places = {place for place, inside in enumerate(above.inside) if inside.name == name}
                going.setdefault(id(above), (above, set()))[1].update(places)
    for above, places in going.values():
        inside = above.inside
        has_kept = False
        for place, span in enumerate(inside):
            if place not in places:
                has_kept = True
            elif has_kept:
                yield inside[place - 1].stop, span.stop, b""
            else:
                yield span.begin, inside[place + 1].begin if place + 1 < len(inside) else span.stop, b""


def edited(text: bytes, edits: Iterable[Edit]) -> bytes:
    """Return a text with edits applied; an edit inside the range of another one is ignored."""
    pieces = []
    end = 0
    for start, stop, value in sorted(edits, key=lambda edit: (edit[0], -edit[1])):
        if start < end:
            continue
        pieces += [text[end:start], value]
        end = stop
    return b"".join([*pieces, text[end:]])
