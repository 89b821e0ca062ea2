r"""Personal values in the bytes of a body: JSON, JSON that is broken or cut off, forms, and what cannot be read.

Only the bytes of personal values are rewritten. In JSON, everything that is read is trusted as far as it is well-formed.
From the first byte where it is not, nobody can tell what is a name and what a value, so there every letter becomes ``x``
and every digit ``0``, except in words of the protocol. Parsers then stop at the same place as before.

>>> from proxy_addon.core.pseudonyms.personal import PERSONAL
>>> tell = lambda value, *, is_number: "42" if is_number else "TOKEN"
>>> show = lambda text, *, is_fixed: text
>>> masked_json(b'{"userId": "me", "n": {"ip": [1, "x"]}, "t": "kept"}', PERSONAL, tell, show)
b'{"userId": "TOKEN", "n": {"ip": [42, "TOKEN"]}, "t": "kept"}'
>>> masked_json(b'{"userId": "me", "t": "kept", eventType: play, name: Jo\xc3\xabl 7}', PERSONAL, tell, show)
b'{"userId": "TOKEN", "t": "kept", eventType: play, xxxx: xxxxx 0}'
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from proxy_addon.core import protocol
from proxy_addon.core.jsontext import text_of
from proxy_addon.core.pseudonyms.personal import AUTH_STATE, Personal, needs_digit, normal

_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[{}\[\],:]|[^\s{}\[\],:"]++|"', re.DOTALL)
"""The tokens of JSON text; a quotation mark alone begins a string that does not end."""
STRING = re.compile(rb'"([^"\\]*+(?:\\.[^"\\]*+)*+)"(\s*+:)?', re.DOTALL)
"""A string in JSON text, and the colon behind it if it is the name of a member."""
STRING_OR_NUMBER = re.compile(rb"%b|(?<![\w.+-])[0-9]{6,}(?![\w.])" % STRING.pattern, re.DOTALL)
"""The same, or a whole number that is long enough for an ID."""
_BROKEN = re.compile(rb"[\x00-\x1f]")
"""Bytes that must not stand in a JSON string."""
_BROKEN_PART = re.compile(rb"[^\x00-\x1f]++")
_NUMBER = re.compile(rb"-?[0-9][0-9.]*(?:[eE][-+]?[0-9]+)?\Z")
_ECID = re.compile(rb"[0-9]{38}(?:\.0*)?\Z|[0-9](?:\.[0-9]*)?[eE]\+?37\Z")
"""An ECID that is sent as a number, perhaps as JavaScript writes one."""
_CONSTANTS = frozenset({b"true", b"false", b"null", b"NaN", b"Infinity", b"-Infinity", b"undefined", b"None"})
_WORD = re.compile(rb"[A-Za-z0-9_.\x80-\xff]+")
_MASKS = bytes.maketrans(
    bytes(range(ord("a"), ord("z") + 1)) + bytes(range(ord("A"), ord("Z") + 1)) + b"123456789", b"x" * 52 + b"0" * 9
)
KNOWN_WORDS = frozenset(
    word.encode()
    for word in (
        *(*protocol.EVENT_TYPES, *protocol.PARAMS, *protocol.QUALITY, *protocol.MEMBERS, *protocol.PLAYER_TIME_MEMBERS),
        *(value for key in protocol.PARAMS.values() for value in key.values if not value.isdigit()),
        *("true", "false", "null", "NaN", "Infinity", "undefined", "None", "True", "False"),
    )
)
"""Words of the protocol, which say nothing about people."""
_NAMES = frozenset((*protocol.PARAMS, *protocol.QUALITY, *protocol.MEMBERS, *protocol.PLAYER_TIME_MEMBERS))
_FAMILIES = ("media.", "a.media.", "analytics.")
_DIGIT = re.compile(rb"[0-9]")
_AUTH_STATES = re.compile(rb'[0-9.]{1,3}\Z|"[0-9]?"\Z')
_LARGEST = 64 * 2**20
"""Most bytes that a compressed body is unpacked to; a larger one is not read."""


class Told(Protocol):
    """Returns tokens."""

    def __call__(self, value: str, *, is_number: bool) -> str:
        """Return the token of a string, or of the JSON text of a number."""


class Shown(Protocol):
    """Returns texts that are shown, with the personal values in them replaced."""

    def __call__(self, text: str, *, is_fixed: bool) -> str:
        """Return a text.

        Args:
            is_fixed: Whether it is the value of a member of the protocol that is not personal.
        """


@dataclass(slots=True)
class _Open:
    """An object or array that is open."""

    is_object: bool
    is_personal: bool
    above: str
    name: str = ""
    wants: str = "value"
    """What comes next: a name, a colon, a value, or a comma."""


def is_of_protocol(name: str) -> bool:
    """Whether a member is one of the protocol, or named like one."""
    return name in _NAMES or name.startswith(_FAMILIES)


def has_personal_names(body: bytes, personal: Personal, known: dict[bytes, bool]) -> bool:
    """Whether JSON text may have a personal member; a quick test that rules out most bodies.

    Args:
        known: Remembers names that were looked up before.
    """
    for name, colon in STRING.findall(body):
        if colon:
            found = known.get(name)
            if found is None:
                if len(known) > 10_000:
                    known.clear()
                found = known[name] = personal.may_be_member(string_of(b'"%b"' % name) or "")
            if found:
                return True
    return False


def masked_json(
    body: bytes, personal: Personal, told: Told, text: Shown, lost: Callable[[bytes], None] = lambda _: None
) -> bytes:
    """Return JSON text with personal values replaced.

    Args:
        told: Returns the tokens of the values of personal members.
        text: Returns any other string, and any name, with the personal values in it replaced.
        lost: Is told what is not JSON, of which only the shape is left.
    """
    walk = _Walk(personal, told, text)
    pieces: list[bytes] = []
    end = 0
    for token in _TOKEN.finditer(body, len(_BYTE_ORDER_MARK) if body.startswith(_BYTE_ORDER_MARK) else 0):
        new = walk.step(token[0])
        if new is None:
            rest = token.start()
            lost(body[rest:])
            return b"".join([*pieces, body[end:rest], masked_text(body[rest:])])
        if new is not token[0]:
            pieces += [body[end : token.start()], new]
            end = token.end()
    return b"".join([*pieces, body[end:]]) if pieces else body


class _Walk:
    """Reads JSON token by token."""

    def __init__(self, personal: Personal, told: Told, text: Shown) -> None:
        self._personal = personal
        self._told = told
        self._text = text
        self._top = _Open(is_object=False, is_personal=False, above="")
        self._stack = [self._top]

    def step(self, token: bytes) -> bytes | None:
        """Return what replaces a token; None if the text is not JSON from here on."""
        top = self._top
        if token in (b"{", b"["):
            if top.wants != "value":
                return None
            top.wants = "comma"
            is_personal = top.is_personal or self._is_personal(top)
            self._top = _Open(is_object=token == b"{", is_personal=is_personal, above=top.name or top.above)
            self._top.wants = "name" if token == b"{" else "value"
            self._stack.append(self._top)
            return token
        if token in (b"}", b"]"):
            if len(self._stack) == 1 or top.is_object != (token == b"}") or top.wants == "colon":
                return None
            self._stack.pop()
            self._top = self._stack[-1]
            return token
        if token == b":":
            if top.wants != "colon":
                return None
            top.wants = "value"
            return token
        if token == b",":
            if top.wants != "comma" or len(self._stack) == 1:
                return None
            top.wants = "name" if top.is_object else "value"
            return token
        if top.wants == "name":
            return self._name(top, token)
        if top.wants != "value":
            return None
        top.wants = "comma"
        return self._value(top, token)

    def _name(self, top: _Open, token: bytes) -> bytes | None:
        name = string_of(token)
        if name is None:
            return None
        top.name, top.wants = name, "colon"
        return respelled(token, name, self._text(name, is_fixed=False))

    def _value(self, top: _Open, token: bytes) -> bytes | None:
        is_personal = top.is_personal or self._is_personal(top)
        if is_personal and normal(top.name) == AUTH_STATE and _AUTH_STATES.match(token):
            is_personal = False
        if is_personal and not top.is_personal and needs_digit(top.name) and not _DIGIT.search(token):
            is_personal = False
        if token.startswith(b'"'):
            value = string_of(token)
            if value is None:
                return None
            if not is_personal:
                is_fixed = top.is_object and is_of_protocol(top.name)
                return respelled(token, value, self._text(value, is_fixed=is_fixed))
            return respelled(token, value, self._told(value, is_number=False))
        if _NUMBER.match(token):
            is_told = is_personal or (_ECID.match(token) and not (top.is_object and is_of_protocol(top.name)))
            return self._told(token.decode(), is_number=True).encode() if is_told else token
        return token if token in _CONSTANTS else None

    def _is_personal(self, top: _Open) -> bool:
        return top.is_object and self._personal.is_member(top.name, top.above)


def respelled(token: bytes, value: str, new: str) -> bytes:
    """Return a JSON string that has another value; one that is not well-formed stays so, at the same byte.

    Args:
        token: The string with its quotation marks.
        value: What `string_of` found in it.
    """
    if new == value:
        return token
    is_utf8 = _is_utf8(token)
    if is_utf8 and not _BROKEN.search(token):
        return text_of(new)
    return b'"%b"' % _BROKEN_PART.sub(_masked_characters if is_utf8 else _masked_bytes, token[1:-1])


def _masked_characters(part: re.Match[bytes]) -> bytes:
    return b"x" * len(part[0].decode())


def _masked_bytes(part: re.Match[bytes]) -> bytes:
    try:
        part[0].decode()
    except UnicodeDecodeError as e:  # parsers stop here; which bytes they were could tell what they mean
        return b"x" * e.start + b"\xff" * (len(part[0]) - e.start)
    return b"x" * len(part[0])


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def string_of(token: bytes) -> str | None:
    """Return the text of a JSON string with its quotation marks; None if it is not well-formed."""
    if b"\\" not in token:
        return token[1:-1].decode("utf-8", "surrogateescape") if len(token) > 1 else None
    try:
        value = json.loads(token.decode("utf-8", "surrogateescape"), strict=False)
    except ValueError:
        return None
    return value if isinstance(value, str) else None


def masked_text(text: bytes) -> bytes:
    """Return text of the same length in which letters are ``x`` and digits ``0``, except in words of the protocol."""
    return _WORD.sub(lambda word: word[0] if word[0] in KNOWN_WORDS else _masked(word[0]), text)


def _masked(word: bytes) -> bytes:
    masked = word.translate(_MASKS)
    if masked.isascii():
        return masked
    try:
        word.decode()
        valid = len(word)
    except UnicodeDecodeError as e:
        valid = e.start
    return bytes(byte if byte < 0x80 else ord("x") if at < valid else 0xFF for at, byte in enumerate(masked))


@dataclass(frozen=True, slots=True)
class Unpacked:
    """A body without its compression.

    Attributes:
        text: The bytes; None if they cannot be read.
        window: The window of zlib with which they are packed again; None if they were not compressed.
    """

    text: bytes | None
    window: int | None = None

    def packed(self, text: bytes) -> bytes:
        """Return other bytes, compressed in the same way."""
        if self.window is None:
            return text
        packer = zlib.compressobj(wbits=self.window)
        return packer.compress(text) + packer.flush()


_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_GZIP = b"\x1f\x8b"
_GZIP_WINDOW, _ZLIB_WINDOW, _RAW_WINDOW = 31, 15, -15


def unpacked(body: bytes, encoding: str | None) -> Unpacked:
    """Return a body without its compression, as far as it can be read: gzip and deflate.

    Args:
        encoding: The value of its ``Content-Encoding``, which may be wrong.
    """
    codings = [each for each in (encoding or "").lower().replace(" ", "").split(",") if each not in ("", "identity")]
    if body.startswith(_GZIP):
        windows = [_GZIP_WINDOW]
    elif codings == ["deflate"] and not _is_text(body):
        windows = [_ZLIB_WINDOW, _RAW_WINDOW]
    else:
        return Unpacked(None if codings and not _is_text(body) else body)
    for window in windows:
        text = _inflated(body, window)
        if text is not None:
            return Unpacked(text, window)
    return Unpacked(None)


def _inflated(body: bytes, window: int) -> bytes | None:
    reader = zlib.decompressobj(wbits=window)
    try:
        text = reader.decompress(body, _LARGEST)
    except zlib.error:
        return None
    return text if reader.eof and not reader.unused_data else None


_PLAIN = bytes(byte for byte in range(256) if 0x20 <= byte < 0x7F or byte in b"\t\n\r")


def is_readable(body: bytes) -> bool:
    """Whether a body is text in ASCII, UTF-8 or nearly so, in which letters and digits can be told from the rest."""
    if b"\0" in body:
        return False
    return 4 * len(body.translate(None, _PLAIN)) <= len(body) or _is_text(body)


def _is_text(body: bytes) -> bool:
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return False
    return "\0" not in text
