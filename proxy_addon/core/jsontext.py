r"""JSON as devices write it.

The standard decoder, but stricter where it is too lax (``NaN``, invalid UTF-8), and more tolerant where it refuses
well-formed text: escaped lone surrogates, which real SDKs send, and numbers of any length. It also keeps what decoders
usually lose: duplicate members, and how a number was written.

>>> loads(rb'{"a": "x\ud83cy"}')["a"] == "x\ud83cy"
True
>>> loads(b"[NaN]")
Traceback (most recent call last):
    ...
proxy_addon.errors.ProtocolError: not JSON: NaN is not a JSON value
>>> value = loads(b'{"ts": 1.7e12, "ts": 5.0}')
>>> value.repeated, value["ts"].written, value["ts"].is_whole
(('ts',), '5.0', True)
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Any, NamedTuple

from proxy_addon.errors import ProtocolError

_PYTHON_INT_DIGITS = 4000
"""Longer integers become a `Number`, because Python's int() accepts at most 4,300 digits."""


class Object(dict[str, Any]):
    """A JSON object. Of duplicate members the last one counts; `repeated` lists their names."""

    __slots__ = ("repeated",)
    repeated: tuple[str, ...]

    def with_object(self, name: str, members: Iterable[tuple[str, Any]]) -> Object:
        """Return a copy in which a member is another object, none of whose members is repeated."""
        copy, inner = Object(self), Object(members)
        copy.repeated, inner.repeated = self.repeated, ()
        copy[name] = inner
        return copy


class Number(float):
    """A number with a fraction or an exponent, or an integer too long for Python; `written` is its text."""

    __slots__ = ("written",)
    written: str

    @property
    def is_integer_text(self) -> bool:
        """Whether it was written as an integer."""
        return self.written.lstrip("-").isdigit()

    @property
    def is_whole(self) -> bool:
        """Whether its value is a whole number, however it was written."""
        return _is_whole(self.written)

    def whole_value(self) -> int | None:
        """Return the value as a 64-bit integer; None if it is not one."""
        if not self.is_whole or abs(self) > 2.0**63:
            return None
        value = int(Decimal(self.written)) if float(self) else 0
        return value if -(2**63) <= value < 2**63 else None


def _is_whole(written: str) -> bool:
    # Decided by its digits: as floats, 1e-400 is 0.0 and 7.00000000000000000001 is 7.0; and expanding 1e999999999 would
    # take forever.
    mantissa, _, exponent = written.lower().partition("e")
    whole, _, fraction = mantissa.lstrip("-").partition(".")
    digits = (whole + fraction).rstrip("0")
    if not digits:
        return True
    power = int(exponent.lstrip("+-0")[:12] or 0)
    return len(digits) - len(whole) <= (-power if exponent.startswith("-") else power)


def _object(pairs: list[tuple[str, Any]]) -> Object:
    found = Object(pairs)
    if len(found) == len(pairs):
        found.repeated = ()
    else:
        found.repeated = tuple(name for name, times in Counter(name for name, _ in pairs).items() if times > 1)
    return found


def _int(digits: str) -> int | float:
    return int(digits) if len(digits) <= _PYTHON_INT_DIGITS else _number(digits)


def _number(text: str) -> Number:
    number = Number(text)
    number.written = text
    return number


def number(text: str) -> int | Number:
    """Return the number that a short JSON text, perhaps with a fraction, stands for."""
    return _number(text) if "." in text else int(text)


def _constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON value")


_BYTE_ORDER_MARK = b"\xef\xbb\xbf"

_decoder = json.JSONDecoder(object_pairs_hook=_object, parse_int=_int, parse_float=_number, parse_constant=_constant)
_quick_decoder = json.JSONDecoder(object_pairs_hook=_object, parse_float=_number, parse_constant=_constant)
"""The same for texts that are too short to hold an integer that is too long, so that none need be looked at in Python."""

_plain_decoder = json.JSONDecoder(parse_float=_number, parse_constant=_constant)


def _decoded(text: str) -> Any:
    if len(text) <= _PYTHON_INT_DIGITS:
        try:
            value, end = _quick_decoder.raw_decode(text)
        except ValueError:
            pass  # there is white space before it, or it is not JSON
        else:
            if end == len(text):
                return value
    return _decoder.decode(text)


def loads(text: bytes) -> Any:
    """Return the value of one JSON text; its objects are `Object`, its numbers ``int`` or `Number`.

    Raises:
        ProtocolError: The text is not one well-formed JSON text in UTF-8, or is nested too deeply for Python.
    """
    if text.startswith(_BYTE_ORDER_MARK):
        raise ProtocolError("not JSON: begins with a byte order mark, the bytes EF BB BF that no editor shows")
    try:
        return _decoded(text.decode())
    except UnicodeDecodeError as e:
        raise ProtocolError(f"not JSON: invalid UTF-8 at byte {e.start}") from e
    except json.JSONDecodeError as e:
        raise ProtocolError(f"not JSON: {e}") from e
    except RecursionError as e:
        raise ProtocolError("not JSON: nested too deep") from e
    except ValueError as e:
        raise ProtocolError(f"not JSON: {e}") from e


def document(text: bytes) -> Any:
    """Do what `loads` does in two thirds of the time, for documents around bodies: their objects are plain dictionaries.

    Raises:
        ProtocolError: As `loads` does.
    """
    try:
        whole = text.decode()
        value, end = document_at(whole, 0)
    except (ValueError, RecursionError):
        return loads(text)
    return value if end == len(whole) else loads(text)


def document_at(text: str, begin: int) -> tuple[Any, int]:
    """Return the value that begins at a position, as `document` does, and where it ends.

    Raises:
        ValueError: No JSON value that Python can read begins and ends in the text.
        RecursionError: It is nested too deeply for Python.
    """
    value, end = _plain_decoder.raw_decode(text, begin)
    return value, end


def text_of(value: object) -> bytes:
    """Return a value as compact JSON text in ASCII, which also works for lone surrogates."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()


class _Step(NamedTuple):
    """The position of a value: its parent, and its name or index there. The pointer is built only on demand."""

    above: _Step | None
    name: str | int

    def pointer(self) -> str:
        steps = []
        step: _Step | None = self
        while step is not None:
            steps.append(escaped(str(step.name)))
            step = step.above
        return "/" + "/".join(reversed(steps))


_NESTED = (dict, list)


def repeated_members(value: Any, pointers: int) -> Iterator[tuple[str | None, str]]:
    """Yield pointer and name of each duplicate member in a decoded value, in any order.

    Args:
        pointers: How many pointers to build, because a name can be as long as the text; later ones are None.
    """
    if not _has_repeated_members(value):
        return
    waiting: list[tuple[_Step | None, Any]] = [(None, value)]
    while waiting:
        above, value = waiting.pop()
        if isinstance(value, Object):
            for name in value.repeated:
                pointers -= 1
                yield (_Step(above, name).pointer() if pointers >= 0 else None), name
            waiting.extend((_Step(above, name), v) for name, v in value.items() if isinstance(v, _NESTED))
        elif isinstance(value, list):
            waiting.extend((_Step(above, i), v) for i, v in enumerate(value) if isinstance(v, _NESTED))


def _has_repeated_members(value: Any) -> bool:
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, Object):
            if value.repeated:
                return True
            waiting += [each for each in value.values() if isinstance(each, _NESTED)]
        elif isinstance(value, list):
            waiting += [each for each in value if isinstance(each, _NESTED)]
    return False


def escaped(name: str) -> str:
    """Return a member's name, escaped for use in a JSON Pointer (RFC 6901)."""
    return name.replace("~", "~0").replace("/", "~1")
