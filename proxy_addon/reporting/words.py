"""Small texts that tables, timelines and pages share.

>>> duration(75.9), duration(3675), clock(-75.25)
('1:15', '1:01:15', '-1:15.250')
>>> milliseconds(1.25), milliseconds(None)
('1.2 ms', '')
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime

from proxy_addon.core.exchange import Exchange
from proxy_addon.core.findings import Holes
from proxy_addon.core.replays.altered import told
from proxy_addon.core.replays.runs import Difference, RunChange
from proxy_addon.core.sessions import FindingCounts
from proxy_addon.core.wording import ascii_safe, counted

ID_SHOWN = 12
"""How many characters of a long ID are shown."""


def duration(seconds: float) -> str:
    """Return a time span as ``m:ss`` or ``h:mm:ss``; a second that has begun does not count."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def clock(seconds: float) -> str:
    """Return an offset in seconds as ``+m:ss.mmm`` or ``-m:ss.mmm``."""
    sign = "-" if seconds < 0 else "+"
    minutes, rest = divmod(abs(seconds), 60)
    return f"{sign}{int(minutes)}:{rest:06.3f}"


def milliseconds(value_ms: float | None) -> str:
    """Return a duration in milliseconds with its unit; empty for None."""
    return "" if value_ms is None else f"{value_ms:.1f} ms"


def took_ms(exchange: Exchange) -> str:
    """Return how many milliseconds an exchange took, without the unit; empty if it was not answered."""
    return "" if exchange.duration_us is None else f"{exchange.duration_us / 1000:.1f}"


def moment(when: datetime, *, local: bool = False) -> str:
    """Return a date and time to the second, without the zone; see `zone`."""
    return f"{_in_zone(when, local=local):%Y-%m-%d %H:%M:%S}"


def precise_moment(when: datetime, *, local: bool = False) -> str:
    """Return a date and time to the millisecond, without the zone; see `zone`."""
    return f"{_in_zone(when, local=local):%Y-%m-%d %H:%M:%S.%f}"[:-3]


def zone(times: Iterable[datetime], *, local: bool = False) -> str:
    """Return the zone in which `moment` shows these times; two names if summer time began or ended between them."""
    if not local:
        return "UTC"
    return "/".join(sorted({_in_zone(when, local=True).tzname() or "" for when in times})) or "local"


def _in_zone(when: datetime, *, local: bool) -> datetime:
    return when.astimezone() if local else when


def short(id: str | None) -> str | None:
    """Return the first characters of a long id, or all of a short one."""
    return f"{id[:ID_SHOWN]}…" if id is not None and len(id) > ID_SHOWN + 1 else id


_RULES_NAMED = 3
"""How many rules a line names; the JSON names all."""


def not_applied(holes: Holes) -> str:
    """Return which rules were not applied to a session, and why.

    >>> not_applied(Holes(bodies=2, requests=9, rules=("ping-gap",)))
    'rule ping-gap, because the file lacks 2 of 9 bodies'
    >>> not_applied(Holes(bodies=0, requests=9, rules=("a", "b", "c", "d")))
    '4 rules (--json names them), because the file may lack requests'
    >>> not_applied(Holes(bodies=0, requests=9, rules=("ping-gap",), truncated=1, lost=2))
    'rule ping-gap, because 2 requests were lost while recording, and only the beginning of 1 of 9 bodies was stored'
    """
    if len(holes.rules) > _RULES_NAMED:
        rules = f"{len(holes.rules)} rules (--json names them)"
    else:
        rules = f"{'rule' if len(holes.rules) == 1 else 'rules'} {', '.join(holes.rules)}"
    total = counted(holes.requests, "body", "bodies")
    reasons = []
    if holes.lost:
        reasons.append(f"{counted(holes.lost, 'request')} {'was' if holes.lost == 1 else 'were'} lost while recording")
    if holes.truncated:
        reasons.append(f"only the beginning of {holes.truncated} of {total} was stored")
    if holes.bodies or not reasons:
        reasons.append(f"the file lacks {holes.bodies} of {total}" if holes.bodies else "the file may lack requests")
    return f"{rules}, because {', and '.join(reasons)}"


NOT_JUDGED = "not judged"
"""Shown instead of the findings of an exchange."""


def finding_counts(counts: FindingCounts) -> str:
    """Return counts of findings by severity, such as ``1E 2W``; empty for none."""
    named = ((counts.error, "E"), (counts.warning, "W"), (counts.info, "I"))
    return " ".join(f"{number}{letter}" for number, letter in named if number)


def value(value: str | int | None) -> str:
    """Return one side of a difference."""
    return "nothing" if value is None else str(value)


def difference_line(difference: Difference) -> str:
    """Return a difference: its place, and the value on each side."""
    return f"{difference.where}: {value(difference.a)} -> {value(difference.b)}"


def change_line(change: RunChange) -> str:
    """Return a change of a replay run, much as the user wrote it.

    >>> made = {"do": "set", "path": "$.params.a", "value": "new", "only": "present"}
    >>> change_line(RunChange(number=1, option="--changes mine.toml", change=made))
    '--changes mine.toml: set $.params.a="new", only if present'
    """
    made = told(change.change)
    if not made:
        return change.option
    line = change_name(change)
    if line == change.option:
        line += f": {made['do']} {made.get('path') or made['name']}"
    if "value" in made:
        text = made["value"] if "name" in made else ascii_safe(json.dumps(made["value"], ensure_ascii=False))
        line += f"={text}"
    return f"{line}, only if present" if made.get("only") else line


def change_name(change: RunChange) -> str:
    """Return the option that asked for a change, with what it changes if the option itself says so.

    >>> change_name(RunChange(number=1, option="--drop", change={"do": "drop", "path": "$.qoeData"}))
    '--drop $.qoeData'
    >>> change_name(RunChange(number=1, option="--changes mine.toml", change={"do": "drop", "path": "$.qoeData"}))
    '--changes mine.toml'
    """
    made = change.change
    if not made or change.option != f"--{made['do']}":
        return change.option
    return f"{change.option} {made.get('path') or made['name']}"


def places(number: int | None) -> str:
    """Return how many places a change changed, as text."""
    return "places that were not counted" if number is None else counted(number, "place")


def legal(text: str) -> str:
    """Return a text with characters replaced that an XML or HTML document cannot contain or show."""
    return "".join(
        character if character.isprintable() or character in "\n\t" else "\N{REPLACEMENT CHARACTER}"
        for character in text
    )
