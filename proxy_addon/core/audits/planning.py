"""Write a tracking plan from what sessions have sent, with comments that say what was seen.

The sessions that it is made of pass it. It is a beginning: what was sent is not always what should be sent.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta

from proxy_addon.core.audits.auditing import By
from proxy_addon.core.audits.coverage import LONGEST_NAME, MOST_KEYS, UNKNOWN_TYPE, Coverage, Key, Section
from proxy_addon.core.audits.hiding import Hide
from proxy_addon.core.audits.plan_parts import TYPES, Presence
from proxy_addon.core.audits.sketches import LONGEST, Histogram, Sample
from proxy_addon.core.audits.totals import Apart, ByGroup, Totals, all_of, in_order
from proxy_addon.core.audits.walking import State
from proxy_addon.core.jsonforms import iso
from proxy_addon.core.protocol import EVENTS, PARAMS, QUALITY
from proxy_addon.core.wording import counted, number, visible

MOST_VALUES = 5
"""A key with more distinct values has no list of allowed ones."""
SESSIONS_PER_VALUE = 10
"""So many sessions must have been seen per value, or there is no list of allowed ones: others may be just as good."""
LEAST_SESSIONS = 10
"""With fewer sessions, the plan does not say which events each of them has."""
LEAST_GAPS = 10
"""With fewer gaps between pings, they are given no rate."""
LEAST_NUMBERS = 5
"""With fewer numbers, they are given no range."""
_EXAMPLES = 3
_LONGEST_EXAMPLE = 40
"""YAML takes no longer keys than 1,024 characters on a line."""
_RANGE = 10
"""A number may be ten times as large as the largest that was seen; wrong units are a thousand times as large."""
_SLACK = 0.2
_NUMBERS = ("integer", "number")
_FLOAT = 2**53
"""Larger whole numbers are not exact as floats."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ENUMERATED = frozenset(
    {
        *("analytics.trackingServer", "analytics.reportSuite", "visitor.marketingCloudOrgId"),
        *("media.contentType", "media.streamType", "media.streamFormat", "media.showType", "media.pass.auth"),
        *("media.state.name", "media.errorSource", "media.qoe.errorSource"),
    }
)
"""Keys of the protocol whose values may be few; those of the others name a content, an ad, a player or a version."""
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*")
_NOT_PLAIN = frozenset({"null", "true", "false", "yes", "no", "on", "off", "y", "n"})


def plan_of(groups: ByGroup, by: By | None, hide: Hide) -> str:
    """Return a plan as YAML.

    Args:
        groups: What sessions have sent, by group; without groups, all under None.
        by: What the sessions of a group have in common: then the plan has a part for each of them.
        hide: Replaces personal values; a value or name that it replaces is not written.
    """
    return "".join(f"{line}\n" for line in _lines(groups, by, hide))


def _lines(groups: ByGroup, by: By | None, hide: Hide) -> Iterator[str]:
    together = all_of(groups)
    whole = together.all()
    yield from _head(whole, together.holed.sessions)
    if by is None:
        yield from _part(whole, hide)
        return
    parts: list[str] = []
    for name in in_order(groups):
        totals = groups[name].all()
        if name is Apart.OTHERS:
            parts.append(f"  # {counted(totals.sessions, 'session')} of further groups: not planned.")
        elif name is Apart.UNSEEN:
            parts.append(f"  # {counted(totals.sessions, 'session')} whose start was not recorded: not planned.")
        elif name is not None and hide.group(by, name) != name:
            parts.append(f"  # {counted(totals.sessions, 'session')} of a group with a personal name: not planned.")
        else:
            wanted = "null" if name is None else _scalar(re.sub(r"([\\*])", r"\\\1", name))
            first, *rest = _part(totals, hide)
            parts += [f"  - where: {{{by.value}: {wanted}}}  # {counted(totals.sessions, 'session')}"]
            parts += [f"    {line}" for line in (first, *rest)]
    has_groups = any(not line.startswith("  #") for line in parts)
    yield "groups:" if has_groups else "groups: []"
    yield from parts


def _head(totals: Totals, holed: int) -> Iterator[str]:
    when = ""
    if totals.first_us is not None and totals.last_us is not None:
        first, last = (iso(_EPOCH + timedelta(microseconds=us))[:10] for us in (totals.first_us, totals.last_us))
        when = f" of {first}" if first == last else f" of {first} to {last}"
    yield f"# A tracking plan, made of {counted(totals.sessions, 'session')}{when} by 'sessiontape audit --make-plan'."
    yield "# It says what was sent, which is not always what should be sent: read it line by line."
    yield f"# Values are listed of texts that have at most {MOST_VALUES}, each in {SESSIONS_PER_VALUE} sessions on average, and that"
    yield "# do not name a content, an ad, a player or a version."
    if holed:
        yield "#"
        yield f"# Of {holed:,} of them, requests or bodies are not known: what only these would show, is missing below."
    if totals.findings:
        yield "#"
        yield "# These sessions break rules of the protocol. Repair them, or say what you accept:"
        yield "# rules:"
        for rule, broken in sorted(totals.findings.items()):
            yield f"#   {rule}: off  # {counted(broken.concerned.sessions, 'session')}"
    yield ""


def _part(totals: Totals, hide: Hide) -> Iterator[str]:
    coverage = totals.coverage
    yield "further_events: true  # event types that are not below: these sessions had no reason to send them"
    if coverage.has_all:
        yield "further_keys: false"
    else:
        yield f"further_keys: true  # more than {MOST_KEYS:,} keys that the protocol does not know were sent, of which some are missing below"
    kept = coverage.kept()
    events = [type for type in EVENTS if type in coverage.events]
    if totals.sessions < LEAST_SESSIONS:
        seen = counted(totals.sessions, "session")
        yield f"# {seen}: too few to say which events occur in each; {LEAST_SESSIONS} are needed"
    yield "events:" if events else "events: {}"
    for type in events:
        sections = [
            (section, keys)
            for section in Section
            if (keys := [key for key in kept if key.event == type and key.section is section])
        ]
        numbers = coverage.numbers[type].numbers
        is_always = numbers.number == totals.sessions >= LEAST_SESSIONS
        seen = f"{counted(coverage.events[type], 'event')} in {counted(numbers.number, 'session')}"
        yield f"  {type}:{'' if sections or is_always else ' {}'}  # {seen}"
        if is_always:
            yield f"    occurs: always  # {_from_to(numbers)} in each session"
        for section, keys in sections:
            yield f"    {section.value}:"
            yield from (f"      {line}" for line in _section(keys, totals, hide))
    unknown = coverage.events.get(UNKNOWN_TYPE)
    if unknown:
        yield f"  # {counted(unknown, 'event')} of types that the protocol does not know: not planned."
    yield from _pings(totals)


def _section(keys: Sequence[Key], totals: Totals, hide: Hide) -> Iterator[str]:
    coverage = totals.coverage
    short = [key for key in keys if len(_scalar(key.name)) <= LONGEST_NAME]
    told = [key for key in short if hide.name(key.name) == key.name]
    if len(told) < len(keys):
        why = [
            f"{counted(number, 'key')} with {what} name"
            for number, what in ((len(short) - len(told), "a personal"), (len(keys) - len(short), "too long a"))
            if number
        ]
        yield f"further_keys: true  # {' and '.join(why)}: not planned"
    for presence in (Presence.REQUIRED, Presence.OPTIONAL):
        mine = [
            key for key in told if (coverage.keys[key].number == coverage.events[key.event]) is (presence == "required")
        ]
        if mine:
            yield f"{presence.value}:"
        for key in mine:
            seen = _Seen(key, coverage, totals.sessions, hide)
            yield f"  # {visible(seen.comment())}"
            yield f"  {_scalar(key.name)}: {seen.rule()}"


class _Seen:
    """What was seen of a key."""

    def __init__(self, key: Key, coverage: Coverage, sessions: int, hide: Hide) -> None:
        self._key = key
        self._sample: Sample = coverage.keys[key]
        self._of = coverage.events[key.event]
        self._sessions = sessions
        self._values = self._sample.common(len(self._sample.kept))
        self._is_personal = hide.is_personal(key) or any(
            hide(key, kind, text) != text for kind, text, _ in self._values
        )

    def rule(self) -> str:
        """Return what the plan says of the key."""
        types = self._types()
        about = [f"type: {_flow(map(_scalar, types))}"]
        if (values := self._allowed()) is not None:
            about.append(f"values: [{', '.join(values)}]")
        elif self._has_range() and self._numbers >= LEAST_NUMBERS:
            about += self._range()
        return _scalar(types[0]) if len(about) == len(types) == 1 else f"{{{', '.join(about)}}}"

    def comment(self) -> str:
        """Return what was seen, as a line."""
        sample = self._sample
        parts = [
            "in all"
            if sample.number == self._of
            else f"in {sample.number:,} of {self._of:,} ({sample.number / self._of:.2%})"
        ]
        if len(sample.kinds) > 1:
            parts.append(", ".join(f"{count:,} {kind}" for kind, count in sorted(sample.kinds.items())))
        distinct = counted(sample.distinct, "value")
        parts.append(distinct if sample.has_all else f"about {distinct}")
        if self._is_personal:
            return "; ".join((*parts, "personal, so not shown"))
        shown = ", ".join(_example(kind, text) for kind, text, _ in self._values[:_EXAMPLES])
        if sample.distinct <= _EXAMPLES:
            parts.append(shown)
        else:
            if sample.lowest is not None and sample.highest is not None:
                parts.append(f"{_written(sample.lowest)} to {_written(sample.highest)}")
            parts.append(f"such as {shown}")
        if self._may_be_listed() and not self._is_frequent():
            parts.append(f"no list of values: {SESSIONS_PER_VALUE} sessions for each are needed")
        if self._has_range() and self._numbers < LEAST_NUMBERS:
            parts.append(f"no range: {LEAST_NUMBERS} numbers are needed")
        return "; ".join(parts)

    def _types(self) -> list[str]:
        """Return the types; whole numbers are just numbers, unless the protocol wants whole ones: a longer film may have a fraction."""
        kinds = set(self._sample.kinds)
        known = (QUALITY if self._key.section is Section.QUALITY else PARAMS).get(self._key.name)
        if "integer" in kinds and ("number" in kinds or known is None or known.type != "integer"):
            kinds = kinds - {"integer"} | {"number"}
        return [type for type in TYPES if type in kinds]

    def _allowed(self) -> list[str] | None:
        """Return the values that the plan allows; None for any."""
        if self._may_be_listed() and self._is_frequent():
            return [_quoted(text) for _, text, _ in self._values]
        return None

    def _may_be_listed(self) -> bool:
        sample, name = self._sample, self._key.name
        if name not in _ENUMERATED and (name in PARAMS or name in QUALITY):
            return False
        if self._is_personal or not sample.has_all or sample.distinct > MOST_VALUES:
            return False
        return set(sample.kinds) == {"string"} and all(len(text) < LONGEST for _, text, _ in self._values)

    def _is_frequent(self) -> bool:
        return min(self._sessions, self._sample.number) >= SESSIONS_PER_VALUE * self._sample.distinct

    def _has_range(self) -> bool:
        return not self._is_personal and self._numbers > 0

    @property
    def _numbers(self) -> int:
        return sum(self._sample.kinds.get(kind, 0) for kind in _NUMBERS)

    def _range(self) -> Iterator[str]:
        lowest, highest = self._sample.lowest, self._sample.highest
        if lowest is None or highest is None:
            return
        least = lowest * _RANGE if lowest < 0 else _tenth(lowest, is_whole="number" not in self._sample.kinds)
        if math.isfinite(least):
            yield f"min: {_written(least)}"
        if highest > 0 and math.isfinite(highest * _RANGE):
            yield f"max: {_written(math.ceil(highest * _RANGE))}"


def _pings(totals: Totals) -> Iterator[str]:
    lines: list[str] = []
    for state in State:
        gaps = totals.rhythm.gaps.get(state.value)
        if gaps is None or state is State.OVER:
            continue
        comment, rate = _rate(gaps)
        lines += [f"  # {comment}", f"  {state.value}: {rate or 'null'}"]
    yield (
        "pings:" if lines else "pings: {}  # no two pings had one state of playback between them, so there are no rates"
    )
    yield from lines


def _rate(gaps: Histogram) -> tuple[str, str | None]:
    lowest, highest = gaps.lowest or 0, gaps.highest or 0
    low, middle, high = (gaps.quantile(share) or 0 for share in (0.05, 0.5, 0.95))
    seen = f"{counted(gaps.number, 'gap')} between pings: {number(lowest / 1_000)} to {number(highest / 1_000)} s"
    if (low, high) != (lowest, highest):
        seen += f", 9 of 10 {number(low / 1_000)} to {number(high / 1_000)} s"
    every_s = round(middle / 1_000) if middle >= 950 else round(middle / 1_000, 2)
    if gaps.number < LEAST_GAPS:
        return f"{seen}; no rate: {LEAST_GAPS} gaps are needed", None
    if every_s <= 0:
        return f"{seen}; no rate: they are too short", None
    furthest_s = max(highest / 1_000 - every_s, every_s - lowest / 1_000)
    plus_minus_s = math.ceil(max(_SLACK * every_s, furthest_s * (1 + _SLACK)) * 10) / 10
    if plus_minus_s >= every_s:
        return f"{seen}; no rate: they are too different", None
    if plus_minus_s > every_s / 2:
        seen += "; a few gaps make it this wide: look at them, and narrow it"
    return seen, f"{{every_s: {number(every_s)}, plus_minus_s: {number(plus_minus_s)}}}"


def _from_to(numbers: Histogram) -> str:
    lowest, highest = numbers.lowest or 0, numbers.highest or 0
    return f"{lowest:,}" if lowest == highest else f"{lowest:,} to {highest:,}"


def _tenth(value: float, *, is_whole: bool) -> float:
    """Return a tenth of a number that is not negative, rounded, but not to 0, which is often sent for want of a number."""
    tenth = value / _RANGE
    if tenth >= 1:
        return math.floor(tenth)
    return float(f"{tenth:.1e}") if not is_whole else 1 if tenth else 0


def _written(value: float) -> str:
    """Return a number as YAML reads it, a whole one without a fraction."""
    return json.dumps(int(value) if isinstance(value, float) and value.is_integer() and abs(value) < _FLOAT else value)


def _flow(items: Iterable[str]) -> str:
    items = list(items)
    return items[0] if len(items) == 1 else f"[{', '.join(items)}]"


def _example(kind: str, text: str) -> str:
    cut = text if len(text) <= _LONGEST_EXAMPLE else f"{text[:_LONGEST_EXAMPLE]}…"
    return f'"{cut}"' if kind == "string" else cut


def _scalar(text: str) -> str:
    """Return a text as a YAML scalar."""
    return text if _PLAIN.fullmatch(text) and text.lower() not in _NOT_PLAIN else _quoted(text)


def _quoted(text: str) -> str:
    """Return a text in double quotes, with all that is no plain character escaped."""
    return '"' + "".join(map(_escaped, text)) + '"'


def _escaped(character: str) -> str:
    if character in '"\\':
        return f"\\{character}"
    if character.isprintable():
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
