r"""Walk through a JSON text of any length that comes in chunks, one value at a time.

No more of the text is kept than the value that was asked for. In it, strings that are longer than a limit are left out, so
that a HAR full of pictures needs little memory.

>>> stream = JsonStream([b'{"log": {"version": "1.2", "entr', b'ies": [{"a": [1, "]"]}, 7]}}'])
>>> for name in stream.members():
...     for inner in stream.members():
...         if inner == "entries":
...             print([(raw.offset, raw.text) for raw in stream.elements()])
...         else:
...             print(inner, stream.value().text)
version b'"1.2"'
[(39, b'{"a": [1, "]"]}'), (56, b'7')]
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from proxy_addon.core import jsontext
from proxy_addon.core.wording import shown
from proxy_addon.errors import ProtocolError

LONGEST_STRING = 1024 * 1024
"""Longer strings are left out of values, unless their reader wants them, in bytes."""
LARGEST_VALUE = 64 * 1024 * 1024
"""A larger value is not kept, in bytes."""

_SHORT_STRING = rb'"[^"\\]{0,500}+(?:\\.[^"\\]{0,500}+){0,50}+"'
_PIECE = rb'(?:[^"{}\[\]]++|%b)' % _SHORT_STRING
_UP_TO_BRACKET = re.compile(rb"(?:%b|[{\[]%b*+[}\]])*+" % (_PIECE, _PIECE), re.DOTALL)
"""Stops at a string that is long or goes on in the next chunk, too. Skips objects and arrays that contain no others,
because most do not."""
_SPACE = re.compile(rb"[ \t\r\n]*+")
_SCALAR = re.compile(rb"[^\s,:\"{}\[\]]*+")


class CutOff(ProtocolError):
    """The text ends in the middle of a value."""


@dataclass(frozen=True, slots=True)
class Raw:
    """One value.

    Attributes:
        text: Its bytes; strings that were left out are empty in it. Empty if the value is too large.
        offset: Where it begins in the whole text, in bytes.
        is_shortened: Whether strings were left out.
        is_too_large: Whether it is larger than `LARGEST_VALUE` even without them.
        known: The decoded value in a tuple; empty if it was not decoded to find its end.
    """

    text: bytes
    offset: int
    is_shortened: bool = False
    is_too_large: bool = False
    known: tuple[Any, ...] = ()

    def decoded(self) -> Any:
        """Return the value, decoded as `jsontext.document` does.

        Raises:
            ProtocolError: It is not JSON.
        """
        return self.known[0] if self.known else jsontext.document(self.text)


class JsonStream:
    """A position in a JSON text. Each method takes what comes next, and raises `ProtocolError` if it is anything else."""

    def __init__(self, chunks: Iterable[bytes], *, offset: int = 0, longest_string: int = LONGEST_STRING) -> None:
        """Begin at the first byte of the chunks.

        Args:
            offset: What the position of that byte counts as.
            longest_string: Longer strings are left out of values.
        """
        self._chunks = iter(chunks)
        self._buffer = b""
        self._latin1 = ""  # the buffer with a character for each byte, so that positions are the same
        self._at = 0
        self._begin = offset
        self._longest_string = longest_string

    @property
    def offset(self) -> int:
        """The position, in bytes."""
        return self._begin + self._at

    def peek(self) -> bytes:
        """Return the next byte that is not white space; empty at the end of the text."""
        while True:
            match = _SPACE.match(self._buffer, self._at)
            assert match is not None
            self._at = match.end()
            if self._at < len(self._buffer):
                return self._buffer[self._at : self._at + 1]
            if not self._fill():
                return b""

    def members(self) -> Iterator[str]:
        """Enter an object, and yield the name of each member. Its value must be taken before the next name is."""
        self._expect(b"{")
        if self.peek() == b"}":
            self._at += 1
            return
        while True:
            if self.peek() != b'"':
                raise self._unexpected("the name of a member")
            name = self.value()
            self._expect(b":")
            yield str(jsontext.loads(name.text))
            if self._next(b"}"):
                return

    def elements(self) -> Iterator[Raw]:
        """Enter an array, and yield its elements."""
        self._expect(b"[")
        if self.peek() == b"]":
            self._at += 1
            return
        while True:
            raw = self.value()
            if raw.text[:1] not in (b"{", b"[", b'"') and not self.peek():
                raise self._unexpected("the rest of a value")  # 1 may be the beginning of 12
            yield raw
            if self._next(b"]"):
                return

    def value(self) -> Raw:
        """Take the next value, whatever it is."""
        return (self.peek() == b"{" and self._take_whole()) or self._take(keeps=True)

    def skip(self) -> None:
        """Pass over the next value."""
        self._take(keeps=False)

    def _take_whole(self) -> Raw | None:
        """Take a value that ends within the buffer, by decoding it, which is the fastest way to find its end.

        Returns:
            None if it goes on in the next chunk, or may have long strings, or is not JSON.
        """
        begin = self._at
        if len(self._buffer) > self._longest_string:
            return None
        try:
            value, end = jsontext.document_at(self._latin1, begin)
        except (ValueError, RecursionError):
            return None
        text, offset = self._buffer[begin:end], self.offset
        self._at = end
        return Raw(text, offset, known=(value,) if text.isascii() else ())

    def _take(self, *, keeps: bool) -> Raw:
        first = self.peek()
        taker = _Taker(self._longest_string, self.offset, keeps=keeps)
        if first in (b"{", b"["):
            self._take_nested(taker)
        elif first == b'"':
            taker.take(first)
            self._at += 1
            self._take_rest_of_string(taker)
        else:
            self._take_scalar(taker)
        return taker.raw()

    def _take_scalar(self, taker: _Taker) -> None:
        while True:
            match = _SCALAR.match(self._buffer, self._at)
            assert match is not None
            taker.take(match[0])
            self._at = match.end()
            if self._at < len(self._buffer) or not self._fill():
                break
        if not taker.size:
            raise self._unexpected("a value")

    def _take_nested(self, taker: _Taker) -> None:
        taker.take(self._buffer[self._at : self._at + 1])
        self._at += 1
        depth = 1
        while True:
            match = _UP_TO_BRACKET.match(self._buffer, self._at)
            assert match is not None
            end = match.end()
            if end == len(self._buffer):
                taker.take(self._buffer[self._at :])
                self._at = end
                self._need_more(taker)
                continue
            mark = self._buffer[end]
            taker.take(self._buffer[self._at : end + 1])
            self._at = end + 1
            if mark == 0x22:  # a string that goes on in the next chunk
                self._take_rest_of_string(taker)
            elif mark in b"{[":
                depth += 1
            else:
                depth -= 1
                if not depth:
                    return

    def _take_rest_of_string(self, taker: _Taker) -> None:
        with taker.string():
            begin = self._at
            while (end := self._buffer.find(b'"', begin)) < 0 or self._is_escaped(end):
                if end >= 0:
                    begin = end + 1
                    continue
                # An escape at the end of the chunk stays for the next one.
                end = len(self._buffer) - self._is_escaped(len(self._buffer))
                taker.take(self._buffer[self._at : end])
                self._at = end
                self._need_more(taker)
                begin = self._at
            taker.take(self._buffer[self._at : end])
        taker.take(b'"')
        self._at = end + 1

    def _is_escaped(self, at: int) -> bool:
        """Whether an odd number of backslashes of the current string is before a position."""
        begin = at
        while begin > self._at and self._buffer[begin - 1] == 0x5C:
            begin -= 1
        return bool((at - begin) % 2)

    def _need_more(self, taker: _Taker) -> None:
        if not self._fill():
            raise CutOff(f"the file ends at byte {self.offset}, within what begins at byte {taker.offset}")

    def _fill(self) -> bool:
        """Read a chunk; return whether there was one."""
        chunk = next(self._chunks, b"")
        self._begin += self._at
        self._buffer = self._buffer[self._at :] + chunk
        self._latin1 = self._buffer.decode("latin-1")
        self._at = 0
        return bool(chunk)

    def _expect(self, mark: bytes) -> None:
        if self.peek() != mark:
            raise self._unexpected(mark.decode())
        self._at += 1

    def _next(self, closing: bytes) -> bool:
        """Take a comma or the closing bracket; return whether it was the bracket."""
        mark = self.peek()
        if mark not in (b",", closing) or not mark:
            raise self._unexpected(f", or {closing.decode()}")
        self._at += 1
        return mark == closing

    def _unexpected(self, expected: str) -> ProtocolError:
        found = self.peek()
        if not found:
            return CutOff(f"the file ends at byte {self.offset}; expected {expected}")
        return ProtocolError(f"byte {self.offset} is {shown(found.decode('latin-1'))}; expected {expected}")


class _Taker:
    """Collects the bytes of one value."""

    def __init__(self, longest_string: int, offset: int, *, keeps: bool) -> None:
        self.offset = offset
        self.size = 0
        self._keeps = keeps
        self._longest_string = longest_string
        self._text = bytearray()
        self._string_at: int | None = None
        self._skips = False
        self._is_shortened = False
        self._is_too_large = False

    def take(self, piece: bytes) -> None:
        self.size += len(piece)
        if self._skips or self._is_too_large or not self._keeps:
            return
        self._text += piece
        if self._string_at is not None and len(self._text) - self._string_at > self._longest_string:
            del self._text[self._string_at :]
            self._skips = self._is_shortened = True
        elif len(self._text) > LARGEST_VALUE:
            self._is_too_large = True
            self._text = bytearray()

    def string(self) -> _Taker:
        return self

    def __enter__(self) -> None:
        self._string_at = len(self._text)

    def __exit__(self, *_: object) -> None:
        self._string_at, self._skips = None, False

    def raw(self) -> Raw:
        return Raw(bytes(self._text), self.offset, self._is_shortened, self._is_too_large)
