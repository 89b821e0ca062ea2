"""Tokens that stand for personal values: the same for the same value and key, of the same type and form.

They are made by HMAC, so nobody can find a value by trying candidates without having the key.

>>> tokens = Tokens(b"key")
>>> tokens.text("somebody@example.com"), tokens.number("4711"), tokens.address("198.51.100.7")
('39cbe6e15994325b@example.invalid', '7056', '203.0.113.192')
>>> tokens.text(""), tokens.text("N/A"), tokens.number("0")
('', 'N/A', '0')
"""

from __future__ import annotations

import hmac
import re
from ipaddress import IPv4Address, IPv6Address, ip_address
from uuid import UUID

from proxy_addon.core.protocol import STAND_INS

_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\Z")
_ORGANISATION = re.compile(r"[0-9A-Fa-f]{24}@AdobeOrg\Z")
_DIGITS = re.compile(r"[0-9]{1,100}\Z")
_NOBODY = re.compile(r"[-0:.\s]*\Z")
"""Zeros and nothing: what a device sends that has no ID or may not tell it."""
_TEMPLATE = re.compile(r"\s*(?:(?P<tag><).*>|.*(?P<braces>\{\{).*\}\}.*|.*(?P<dollar>\$\{).*\}.*)\s*\Z", re.DOTALL)
_CLOSED = {"<": "<{}>", "{{": "{{{{{}}}}}", "${": "${{{}}}"}
_NUMBER = re.compile(r"(?P<sign>-?)(?P<whole>[0-9]+)(?P<point>\.?)(?P<fraction>[0-9]*)(?P<rest>.*)\Z", re.DOTALL)
_DOCUMENTATION = (int(IPv4Address("192.0.2.0")), int(IPv4Address("198.51.100.0")), int(IPv4Address("203.0.113.0")))
"""The three networks of 256 addresses that are reserved for documentation (RFC 5737)."""
_DOCUMENTATION_6 = int(IPv6Address("2001:db8::"))
"""The network of 2**96 addresses that is reserved for documentation (RFC 3849)."""
_ROUNDS = 8
_LONGEST_TEMPLATE = 200
"""As in rule ``placeholder-value``."""
_MOST_KEPT = 4096
_MOST_DIGITS = 100


def pseudonym(text: str, key: bytes) -> str:
    """Return a pseudonym for a text: the same for the same text and key, and of the same form.

    Digits, such as an ECID, become as many digits, a UUID another UUID in the same case, an email address another one, an ID of
    an organisation another one, and an IP address one that is reserved for documentation. Any other text becomes 16
    hexadecimal digits.
    """
    digest = _digest(text, key)
    if _UUID.match(text):
        token = str(UUID(bytes=_digest(text.lower(), key)[:16], version=4))
        return token if text.islower() else token.upper()
    if _ORGANISATION.match(text):
        return f"{digest[:12].hex().upper()}@AdobeOrg"
    if _DIGITS.match(text):
        return _digits(text, key)
    token = digest[:8].hex()
    if "@" in text and " " not in text:
        return f"{token}@example.invalid"
    return _address(text, key) or token


def number_pseudonym(text: str, key: bytes) -> str:
    """Return a pseudonym for a number in JSON text: with as many digits, and whole if the number is whole."""
    match = _NUMBER.match(text)
    if match is None:
        return text
    fraction = match["fraction"]
    if fraction.strip("0"):
        fraction = _digits(fraction, key)
    return f"{match['sign']}{_digits(match['whole'], key)}{match['point']}{fraction}{match['rest']}"


class Tokens:
    """Makes tokens with one key, and remembers the latest."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._texts: dict[str, str] = {}
        self._numbers: dict[str, str] = {}

    def text(self, text: str) -> str:
        """Return the token of a text; the text itself if it identifies nobody: empty, zeros, or a stand-in like ``N/A``.

        Stand-ins with something inside, such as ``<id>`` or ``${id}``, keep their form, so that they are still found.
        """
        token = self._texts.get(text)
        if token is None:
            token = self._kept(self._texts, text, self._text(text))
        return token

    def number(self, text: str) -> str:
        """Return the token of a number in JSON text."""
        token = self._numbers.get(text)
        if token is None:
            token = self._kept(self._numbers, text, number_pseudonym(text, self._key))
        return token

    def address(self, text: str) -> str:
        """Return the token of an IP address: one that is reserved for documentation. Any other text gets `text`."""
        return self.text(text)

    def _text(self, text: str) -> str:
        if _NOBODY.match(text) or text.strip().lower() in STAND_INS:
            return text
        template = _TEMPLATE.match(text) if len(text) <= _LONGEST_TEMPLATE else None
        if template is not None:
            opening = template["tag"] or template["braces"] or template["dollar"]
            return _CLOSED[opening].format(pseudonym(text, self._key))
        return pseudonym(text, self._key)

    @staticmethod
    def _kept(tokens: dict[str, str], value: str, token: str) -> str:
        if len(tokens) >= _MOST_KEPT:
            tokens.clear()
        tokens[value] = token
        return token


class OneToken(Tokens):
    """Gives all values the same token, so that texts can be compared without the personal values in them."""

    def __init__(self) -> None:
        super().__init__(b"")

    def _text(self, text: str) -> str:
        return "anybody"

    def number(self, text: str) -> str:
        """Return the one number."""
        return "0"


def _digest(text: str, key: bytes) -> bytes:
    return hmac.digest(key, text.encode("utf-8", "surrogatepass"), "sha256")


def _digits(text: str, key: bytes) -> str:
    """Return as many digits for digits. Leading zeros stay; different digits get different ones (a Feistel network).

    Digits below 2**63 get digits below it, because whether a number fits into 64 bits is a matter for the rules.
    """
    digits = text.lstrip("0")
    if not digits:
        return text
    if len(digits) > _MOST_DIGITS:
        stream = str(int.from_bytes(_digest(text, key)))
        return ("1" + stream * (len(text) // len(stream) + 1))[: len(text)]
    fits = int(digits) < 2**63 if len(digits) < 20 else False
    token = digits
    while True:  # until it is of the same kind again; on average once, and ten times for a single digit
        token = _permuted(token, key) if len(token) > 1 else _permuted(f"0{token}", key)
        kept = token.lstrip("0")
        if len(kept) == len(digits) and (len(digits) != 19 or (int(kept) < 2**63) == fits):
            return text[: len(text) - len(digits)] + kept


def _permuted(digits: str, key: bytes) -> str:
    half = len(digits) // 2
    left, right = digits[:half], digits[half:]
    for number in range(_ROUNDS):
        value = int.from_bytes(_digest(f"{len(digits)} {number} {right}", key))
        left, right = right, f"{(int(left) + value) % 10 ** len(left):0{len(left)}}"
    return left + right


def _address(text: str, key: bytes) -> str | None:
    try:
        address = ip_address(text.strip())
    except ValueError:
        return None
    if isinstance(address, IPv4Address):
        number = int.from_bytes(_digest(str(address), key))
        return str(IPv4Address(_DOCUMENTATION[number % 3] + number // 3 % 256))
    if address.ipv4_mapped is not None:
        return f"::ffff:{_address(str(address.ipv4_mapped), key)}"
    return str(IPv6Address(_DOCUMENTATION_6 + int.from_bytes(_digest(str(address), key)[:12])))
