"""What is wrong with a body, in the words of an answer 400.

Checked is the top level of an event: its members, which of them are required, and their JSON types. Source: Media
Collection API, request body and downloaded playback.

>>> problem_of_event({"eventType": "play", "playerTime": {"playhead": 12.5, "ts": 1731672012500}}) is None
True
>>> problem_of_event({"eventType": "play", "playerTime": {"playhead": "12.5", "ts": 1731672012500}})
"playerTime.playhead must be a number, not the string '12.5'"
>>> problem_of_batch([], flag_required=False)
'the array is empty; its first element must be a sessionStart'
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from proxy_addon.core.protocol import EVENT_TYPES, PARAMS_REQUIRED

MEMBERS = ("eventType", "playerTime", "params", "customMetadata", "qoeData")
"""The members an event may have. Source: Media Collection API, request body."""
PLAYER_TIME_MEMBERS = ("playhead", "ts")
"""The members ``playerTime`` has, all of them required."""
START = "sessionStart"

_DOWNLOADED = "media.downloaded"
_INT64 = range(-(2**63), 2**63)
_SHOWN_LENGTH = 60


def problem_of_start(value: object) -> str | None:
    """Return why a decoded body is no live start; None where it is one."""
    problem = _problem_of_frame(value)
    if problem is None and isinstance(value, dict):
        if value["eventType"] != START:
            return f"eventType {_quoted(value['eventType'])} does not open a session; only {START} does"
        if value["params"].get(_DOWNLOADED) is True:
            return f"params has {_DOWNLOADED} true, but this is one event; downloaded playback is sent as an array"
    return problem


def problem_of_event(value: object) -> str | None:
    """Return why a decoded body is no event of an open session; None where it is one."""
    problem = _problem_of_frame(value)
    if problem is None and isinstance(value, dict) and value["eventType"] == START:
        return f"{START} opens a session of its own; post it to /api/v1/sessions"
    return problem


def problem_of_batch(value: object, *, flag_required: bool) -> str | None:
    """Return why a decoded body is no downloaded playback; None where it is one.

    Args:
        value: The decoded body.
        flag_required: Whether its start must say ``media.downloaded: true``, as on the deprecated path.
    """
    if not isinstance(value, list):
        return f"the body must be an array of events, not {_shown(value)}"
    if not value:
        return f"the array is empty; its first element must be a {START}"
    for index, element in enumerate(value):
        problem = _problem_of_frame(element)
        if problem is not None:
            return f"element {index}: {problem}"
    if value[0]["eventType"] != START:
        return f"element 0: must be a {START}, not {_quoted(value[0]['eventType'])}"
    if flag_required and value[0]["params"].get(_DOWNLOADED) is not True:
        return f"element 0: params must have {_DOWNLOADED} true in an array posted to /api/v1/sessions"
    return None


def _problem_of_frame(value: object) -> str | None:
    """Return what every event must have and lacks, whatever the endpoint."""
    if not isinstance(value, dict):
        return f"an event must be an object, not {_shown(value)}"
    event_type = value.get("eventType")
    if "eventType" not in value:
        return "eventType is missing"
    if not isinstance(event_type, str):
        return f"eventType must be a string, not {_shown(event_type)}"
    if event_type not in EVENT_TYPES:
        return f"eventType {_quoted(event_type)} is unknown"
    if "params" not in value and event_type in PARAMS_REQUIRED:
        return f"params is missing; {event_type} needs it"
    return (
        _unknown_member(value, MEMBERS, "")
        or _problem_of_player_time(value)
        or next((_not_an_object(value, name) for name in MEMBERS[2:] if _not_an_object(value, name)), None)
    )


def _problem_of_player_time(event: Mapping[str, Any]) -> str | None:
    if "playerTime" not in event:
        return "playerTime is missing"
    time = event["playerTime"]
    if not isinstance(time, dict):
        return f"playerTime must be an object, not {_shown(time)}"
    for name in PLAYER_TIME_MEMBERS:
        if name not in time:
            return f"playerTime.{name} is missing"
    if not _is_number(time["playhead"]):
        return f"playerTime.playhead must be a number, not {_shown(time['playhead'])}"
    if not _is_int64(time["ts"]):
        return f"playerTime.ts must be an integer of 64 bits, not {_shown(time['ts'])}"
    return _unknown_member(time, PLAYER_TIME_MEMBERS, "playerTime.")


def _unknown_member(value: Mapping[str, Any], known: tuple[str, ...], prefix: str) -> str | None:
    unknown = next((name for name in value if name not in known), None)
    return None if unknown is None else f"member {_quoted(prefix + unknown)} is not allowed"


def _not_an_object(event: Mapping[str, Any], name: str) -> str | None:
    if name in event and not isinstance(event[name], dict):
        return f"{name} must be an object, not {_shown(event[name])}"
    return None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_int64(value: object) -> bool:
    """Accept integral floats too: draft-04 leaves them open and many servers take them."""
    if isinstance(value, float):
        return value.is_integer() and int(value) in _INT64
    return isinstance(value, int) and not isinstance(value, bool) and value in _INT64


def _shown(value: object) -> str:
    """Return a value for a message: its JSON type, and the value itself where it has no parts."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f"the string {_quoted(value)}"
    if isinstance(value, int | float):
        return f"the number {_cut(repr(value))}"
    return "an array" if isinstance(value, list) else "an object"


def _quoted(text: str) -> str:
    return repr(_cut(text))


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN_LENGTH else f"{text[:_SHOWN_LENGTH]}…"
