"""Throw broken bodies at the rules: ``python -m tests.fuzz [--bodies N] [--seed N]``.

Real bodies are broken: bytes are flipped, cut, doubled and moved, values and names replaced, and pieces of one body put
into another. Each is judged for every endpoint and as part of a session. Any findings are fine, but an exception is
not. The seed is printed; the same seed gives the same bodies.
"""

from __future__ import annotations

import argparse
import json
import random
import secrets
import time
from collections.abc import Callable, Iterator
from typing import Any

from proxy_addon.core import protocol
from proxy_addon.core.events import read_body
from proxy_addon.core.judging.exchanges import judge_body
from proxy_addon.core.judging.files import FileKind, judge_file
from proxy_addon.core.judging.sessions import SessionFacts, SessionJudge
from proxy_addon.core.routes import Operation
from proxy_addon.core.rules.session_view import session_event
from tests import sdk_traffic
from tests.builders import body, event_dict

BODIES = 200_000
SESSION = 40
"""Events of one session."""
PIECES = [
    b"NaN", b"Infinity", b"-0", b"1e400", b"1e-400", b"0.0", b"5.0", b"1.7e12", b"9223372036854775808", b"9" * 400, b"null",
    b"true", b"[]", b"{}", b'""', rb'"\ud83c"', rb'"\u0000"', b'"\xff"', b"\x00", b"\xef\xbb\xbf", b",", b":", b"[" * 60,
    b"]", b"{", b"}", b'"', b"\\", b'"eventType":"sessionStart",', b'"ts":1,', b"/*x*/", b"'", b"\xed\xa0\xbd",
]  # fmt: skip
VALUES: list[Any] = [
    None, True, False, 0, -1, 1, 2**63, -(2**63), 10**30, 0.5, -0.0, 1e308, 1e-320, "", " ", "x" * 300, "\ud83c", "\0", [], {},
    [None], {"": None}, {"id": 1}, "sessionStart", "ping", "live", "9", [[[[]]]], 1_700_000_000, 1_700_000_000_000_000,
]  # fmt: skip


def corpus() -> list[bytes]:
    """Return whole bodies to break."""
    real = [request.body for request in sdk_traffic.load() if request.body]
    made = [body(event_dict(name, params=dict.fromkeys(list(protocol.PARAMS)[:60:7], 1))) for name in protocol.EVENTS]
    batch = body([json.loads(each) for each in real[:12]])
    return [*real, *made, batch, b"[]", b"{}"]


class Breaker:
    """Breaks bodies, always in the same way for the same seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._corpus = corpus()
        self._ways: list[Callable[[bytes], bytes]] = [
            self._flip, self._cut, self._insert, self._splice, self._replace_value, self._replace_value, self._rename,
        ]  # fmt: skip

    def bodies(self) -> Iterator[bytes]:
        """Yield broken bodies without end."""
        while True:
            broken = self._random.choice(self._corpus)
            for _ in range(self._random.randint(1, 4)):
                broken = self._random.choice(self._ways)(broken)
            yield broken

    def _place(self, text: bytes) -> int:
        return self._random.randint(0, len(text))

    def _flip(self, text: bytes) -> bytes:
        at = self._place(text)
        return text[:at] + bytes([self._random.randrange(256)]) + text[at + 1 :]

    def _cut(self, text: bytes) -> bytes:
        begin, end = sorted((self._place(text), self._place(text)))
        return text[:begin] + text[end:] if self._random.random() < 0.5 else text[begin:end]

    def _insert(self, text: bytes) -> bytes:
        at = self._place(text)
        return text[:at] + self._random.choice(PIECES) + text[at:]

    def _splice(self, text: bytes) -> bytes:
        other = self._random.choice(self._corpus)
        return text[: self._place(text)] + other[self._place(other) :]

    def _replace_value(self, text: bytes) -> bytes:
        return self._inside(text, lambda parent, key: parent.__setitem__(key, self._random.choice(VALUES)))

    def _rename(self, text: bytes) -> bytes:
        def rename(parent: Any, key: Any) -> None:
            if isinstance(parent, dict):
                names = [
                    *protocol.PARAMS,
                    *protocol.QUALITY,
                    *protocol.MEMBERS,
                    "playhead",
                    "ts",
                    "",
                    "a b",
                    "\ud83c",
                    "Ts",
                ]
                parent[self._random.choice(names)] = parent.pop(key)

        return self._inside(text, rename)

    def _inside(self, text: bytes, change: Callable[[Any, Any], None]) -> bytes:
        """Change one place in the value of a text; one that is not JSON stays as it is."""
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            return text
        places: list[tuple[Any, Any]] = []
        waiting = [value]
        while waiting:
            parent = waiting.pop()
            keys = list(parent) if isinstance(parent, dict) else range(len(parent)) if isinstance(parent, list) else ()
            for key in keys:
                places.append((parent, key))
                waiting.append(parent[key])
        if places:
            change(*self._random.choice(places))
        try:
            return json.dumps(value).encode()
        except (ValueError, RecursionError):
            return text


def fuzz(bodies: int, seed: int) -> int:
    """Judge broken bodies; returns the number of findings.

    Raises:
        AssertionError: One broke the rules; the message has the body and the seed.
    """
    found = 0
    judge = SessionJudge(SessionFacts())
    for number, broken in zip(range(bodies), Breaker(seed).bodies(), strict=False):
        try:
            for endpoint in (Operation.SESSIONS, Operation.EVENTS, Operation.DOWNLOADED):
                findings = judge_body(broken, endpoint)
                assert all("\n" not in finding.message and finding.message.encode() for finding in findings)
                found += len(findings)
            for event in read_body(broken).events:
                judge.add(session_event(event, seq=number % SESSION + 1, arrived_s=float(number)))
            if number % SESSION == SESSION - 1:
                found += len(judge.findings(is_over=True))
                judge = SessionJudge(SessionFacts(start_missing=bool(number & 1)))
            if number % 10 == 0:
                judge_file(broken, FileKind.SESSION)
        except Exception as e:
            raise AssertionError(f"body {number} of seed {seed} broke the rules: {broken!r}") from e
    return found


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--bodies", type=int, default=BODIES)
    parser.add_argument("--seed", type=int, default=secrets.randbits(32))
    options = parser.parse_args()
    print(f"seed {options.seed}")
    began_s = time.monotonic()
    found = fuzz(options.bodies, options.seed)
    print(f"{options.bodies} bodies, {found} findings, no exception, in {time.monotonic() - began_s:.0f} s")


if __name__ == "__main__":
    main()
