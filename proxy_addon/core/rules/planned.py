"""What tracking plans find: six rules that apply only with a plan, and say what sessions do otherwise than planned.

They are no rules of the protocol, so they are not among `proxy_addon.core.rules.RULES`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from proxy_addon.core.findings import Severity
from proxy_addon.core.rules.rule import RULES, Rule, Scope
from proxy_addon.core.wording import counted, number, quoted, shown

PLANNED: dict[str, Rule] = {}
"""The rules of plans, by id, in order."""


def _rule[F: Callable[..., str]](
    id: str, severity: Severity, scope: Scope = Scope.EVENT, *, despite_holes: bool = True
) -> Callable[[F], F]:
    def add(tell: F) -> F:
        PLANNED[id] = Rule(id=id, severity=severity, scope=scope, check=tell, despite_holes=despite_holes)
        return tell

    return add


@_rule("plan-missing", Severity.ERROR)
def missing(event: str, section: str, key: str) -> str:
    """A key that the plan requires is missing.

    What it checks: Every event must have the keys that the tracking plan requires on events of its type, in `params`,
    `qoeData` or `customMetadata`.

    Why it matters: Reports that break down by this key have no value for the event, or for the whole playback.

    Source: Your plan (`--plan`).

    Example: `"customMetadata": {}` on `sessionStart`, where the plan requires `tier`

    How to fix: Set the key in the app; or, if not all players can know it, make it optional in the plan.

    Known limits: A key with an empty or wrong value is not missing; `plan-type` and `plan-value` report that.
    """
    return f"{key} is missing in {section}; the plan requires it on {event}"


@_rule("plan-unexpected", Severity.WARNING)
def unexpected(event: str, section: str, key: str, *, is_forbidden: bool = False) -> str:
    """A key or an event is sent that the plan forbids or does not have.

    What it checks: An event must not have keys that the plan forbids. Where the plan says `further_keys: false`, it must
    have no others than those in the plan; with `further_events: false`, only event types in the plan may be sent. An event
    with `occurs: never` must not be sent at all.

    Why it matters: What nobody has planned reaches no report, may hold personal data, and is often a misspelt key: then
    `plan-missing` reports the right one.

    Source: Your plan (`--plan`).

    Example: `"customMetadata": {"teir": "gold"}` on `sessionStart`, where the plan has `tier`

    How to fix: Correct the name, remove the key in the app, or add it to the plan.

    Known limits: Event types that the protocol does not know are reported by `event-type-unknown`, and not by this rule.
    """
    if not section:
        return f"{event} is sent; " + ("it is forbidden by the plan" if is_forbidden else "the plan has no such event")
    what = "it is forbidden by the plan" if is_forbidden else "the plan has no such key"
    return f"{quoted(key)} is in {section} of {event}; {what}"


@_rule("plan-type", Severity.ERROR)
def wrong_type(key: str, value: Any, expected: str) -> str:
    """A value has another JSON type than the plan says.

    What it checks: The values of keys have the JSON types that the plan names. `number` includes integers.

    Why it matters: Reports drop a value of the wrong type, or sort and sum it wrongly.

    Source: Your plan (`--plan`).

    Example: `"customMetadata": {"episode": 12}`, where the plan says `type: string`

    How to fix: Convert the value in the app before it is sent.

    Known limits: A number that is written as `5.0` is not an integer.
    """
    return f"{key} is {shown(value)}; the plan says {expected}"


@_rule("plan-value", Severity.ERROR)
def wrong_value(key: str, value: Any, expected: str) -> str:
    """A value is not among those that the plan allows.

    What it checks: The values of keys are among the allowed ones, match the pattern, and are in the range that the plan
    gives.

    Why it matters: A value that is spelt in another way is another line in the report; a number in another unit ruins sums
    and averages.

    Source: Your plan (`--plan`).

    Example: `"media.contentType": "VOD"`, where the plan says `values: [vod, live]`

    How to fix: Send an allowed value, or add this one to the plan.

    Known limits: Patterns match whole values, and know no look-around and no references. Matching the values of one
    request may take only so much work, which patterns that can go on in many ways at once use up; the finding then says
    that values were not checked.
    """
    return f"{key} is {shown(value)}; the plan says {expected}"


def unchecked(key: str) -> str:
    """Say that the pattern of a key was left aside: it may be as planned or not."""
    return (
        f"{key} was not checked: matching the patterns of the plan takes too much work in this request; simplify those that"
        " can go on in many ways at once"
    )


@_rule("plan-rate", Severity.ERROR, Scope.SESSION, despite_holes=False)
def wrong_rate(after_ms: int, state: str, expected: str) -> str:
    """Pings come more or less often than the plan says.

    What it checks: The time from one ping to the next, by the device's clock, is within the bounds that the plan gives for
    the state of playback that lasts between them: `content`, `ad`, `paused`, `buffering` or `starting`.

    Why it matters: The back end closes sessions that are silent, and counts time by what players report.

    Source: Your plan (`--plan`).

    Example: pings 30 s apart, where the plan says `content: {every_s: 10, plus_minus_s: 2}`

    How to fix: Correct the timer of the player; pause it with the app, not with playback.

    Known limits: The time is measured only where one state lasts from one ping to the next, and between events that the back
    end takes: those that it refused, and those after the end, do not count.
    """
    return (
        f"a ping comes {number(after_ms / 1_000)} s after the one before it in state {state}; the plan says {expected}"
    )


@_rule("plan-occurs", Severity.ERROR, Scope.SESSION, despite_holes=False)
def wrong_number(event: str, times: int, expected: str) -> str:
    """An event occurs less or more often in a session than the plan says.

    What it checks: A session has as many events of a type as `occurs` says. Events count as they were sent, accepted or not.

    Why it matters: What a session never sends is in no report, and no finding about an event can tell: a player without
    `adStart` has no ads.

    Source: Your plan (`--plan`).

    Example: a session without `adStart`, where the plan says `adStart: {occurs: always}`

    How to fix: Send the event; or, if not all sessions have a reason to, take `occurs` out of the plan or say it for a group.

    Known limits: Events are missed only in sessions that are over, that upstream opened, and whose start was recorded. Events
    that the plan forbids with `occurs: never` are reported by `plan-unexpected`.
    """
    sent = f"sent {counted(times, 'time')}" if times else "never sent"
    return f"{event} is {sent} in this session; the plan says {expected}"


KNOWN: dict[str, Rule] = {**RULES, **PLANNED}
"""All rules that findings may name: those of the protocol, and those of plans."""
