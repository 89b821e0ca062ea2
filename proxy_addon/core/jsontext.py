r"""JSON as devices write it.

The standard decoder, made strict where it is lax (``NaN``, invalid UTF-8) and patient where it gives up although the
text is well-formed: escaped lone surrogates, which real SDK traffic has, and numbers of any length.

>>> loads(rb'{"a": "x\ud83cy"}')["a"] == "x\ud83cy"
True
>>> loads(b"[NaN]")
Traceback (most recent call last):
    ...
proxy_addon.errors.ProtocolError: not JSON: NaN is not a JSON value
"""

from __future__ import annotations

import json
from typing import Any

from proxy_addon.errors import ProtocolError

_PYTHON_INT_DIGITS = 4000
"""Below Python's limit of 4,300 digits for int(); longer numbers become floats, which no rule mistakes for a time."""


def _int(digits: str) -> int | float:
    return int(digits) if len(digits) <= _PYTHON_INT_DIGITS else float(digits)


def _constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON value")


_decoder = json.JSONDecoder(parse_int=_int, parse_constant=_constant)


def loads(text: bytes) -> Any:
    """Return the value of one JSON text; of members named twice the last one counts.

    Raises:
        ProtocolError: It is not one well-formed JSON text in UTF-8, or nested deeper than Python can follow.
    """
    try:
        return _decoder.decode(text.decode())
    except UnicodeDecodeError as e:
        raise ProtocolError(f"not JSON: invalid UTF-8 at byte {e.start}") from e
    except json.JSONDecodeError as e:
        raise ProtocolError(f"not JSON: {e}") from e
    except RecursionError as e:
        raise ProtocolError("not JSON: nested too deep") from e
    except ValueError as e:
        raise ProtocolError(f"not JSON: {e}") from e
