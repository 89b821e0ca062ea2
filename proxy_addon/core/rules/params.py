"""Rules over `params`. Source: Media Collection API, body rules, params."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from proxy_addon.core import protocol
from proxy_addon.core.protocol import Key
from proxy_addon.core.routes import Operation
from proxy_addon.core.rules.rule import ERROR, INFO, WARNING, Problem, event_rule
from proxy_addon.core.rules.views import STATE_NAME, EventView, has_type
from proxy_addon.core.rules.wording import close_to, meant, number, quoted, shown

QUALITY_PREFIX = "media.qoe."
_LISTS = ("statesStart", "statesEnd")
_CUSTOMER_IDS = "visitor.customerIDs"
_DETAILS_OF_ERROR = ("media.errorId", "media.errorSource")
_ARTICLES = {"integer": "an integer", "object": "an object", "array": "an array"}


@event_rule("params-missing", ERROR, from_schema=True)
def params_missing(event: EventView) -> Iterable[Problem]:
    """The event needs `params` and has none."""
    known = protocol.EVENTS.get(event.type or "")
    if known is not None and known.needs_params and "params" not in event.value:
        yield Problem(f"params is missing; {event.type} needs it", event.pointer)


@event_rule("params-type", ERROR, from_schema=True)
def params_type(event: EventView) -> Iterable[Problem]:
    """`params` is not an object."""
    if "params" in event.value and event.params is None:
        yield Problem(f"params is {shown(event.value['params'])}; expected an object", event.at("params"))


@event_rule("param-missing", ERROR, from_schema=True)
def param_missing(event: EventView) -> Iterable[Problem]:
    """A required param is absent."""
    if event.params is None:
        return
    for name in event.expected.required:
        if name not in event.params:
            yield Problem(f"{name} is missing; {event.type} needs it", event.at("params"))
    for name, index, item in _states(event):
        if STATE_NAME not in item:
            yield Problem(f"{STATE_NAME} is missing", event.at("params", name, str(index)))


@event_rule("param-type", ERROR, from_schema=True)
def param_type(event: EventView) -> Iterable[Problem]:
    """A param has the wrong JSON type."""
    for name, value, key in event.odd_params:
        if key is not None and not has_type(value, key.type):
            wanted = _ARTICLES.get(key.type, f"a {key.type}")
            yield Problem(f"{name} is {shown(value)}; expected {wanted}", event.at("params", name))
    for name in _LISTS:
        for index, item in enumerate(_list(event, name)):
            if not isinstance(item, dict):
                where = event.at("params", name, str(index))
                yield Problem(f"{name} has {shown(item)}; expected an object with {STATE_NAME}", where)
            elif STATE_NAME in item and not isinstance(item[STATE_NAME], str):
                where = event.at("params", name, str(index), STATE_NAME)
                yield Problem(f"{STATE_NAME} is {shown(item[STATE_NAME])}; expected a string", where)


@event_rule("param-unknown", ERROR, from_schema=True)
def param_unknown(event: EventView) -> Iterable[Problem]:
    """A param is in no table."""
    if event.expected.is_open:
        return
    for name, _, key in event.odd_params:
        if key is None and not name.startswith(QUALITY_PREFIX) and _other_case(event, name) is None:
            suggestion = meant(close_to(name, event.expected.params))
            yield Problem(f"param {quoted(name)} is unknown{suggestion}", event.at("params", name))
    for name, index, item in _states(event):
        for member in item:
            if member != STATE_NAME:
                where = event.at("params", name, str(index), member)
                yield Problem(f"{name} has the member {quoted(member)}; expected {STATE_NAME} alone", where)


@event_rule("param-case", ERROR, from_schema=True)
def param_case(event: EventView) -> Iterable[Problem]:
    """A param is spelled in another case than a known one."""
    for name, _, key in event.odd_params:
        if key is None and (right := _other_case(event, name)) is not None:
            yield Problem(f"param {quoted(name)} is unknown; {right} is known", event.at("params", name))


def _other_case(event: EventView, name: str) -> str | None:
    lower = name.lower()
    return next((known for known in event.expected.params if known.lower() == lower), None)


@event_rule("param-not-on-event", WARNING)
def param_not_on_event(event: EventView) -> Iterable[Problem]:
    """A known param stands on an event whose table does not list it."""
    if event.type not in protocol.EVENTS or event.type == "ping":  # ping-has-params says it of all
        return
    for name, _, key in event.odd_params:
        if key is not None and name not in event.expected.listed:
            listed = ", ".join(sorted(key.events))
            yield Problem(f"{name} does not belong on {event.type}, but on {listed}", event.at("params", name))


@event_rule("param-value", WARNING)
def param_value(event: EventView) -> Iterable[Problem]:
    """A param's value lies outside of what it can be."""
    for name, value, key in event.odd_params:
        if key is None or not has_type(value, key.type):
            continue
        if key.values and value not in key.values and name not in _DETAILS_OF_ERROR:
            yield Problem(f"{name} is {shown(value)}; expected {' or '.join(key.values)}", event.at("params", name))
        elif key.minimum is not None and value < key.minimum:
            yield Problem(f"{name} is {number(value)}; expected {key.minimum} or more", event.at("params", name))


@event_rule("param-empty", WARNING)
def param_empty(event: EventView) -> Iterable[Problem]:
    """A required param is empty or blank."""
    for name, value, key in event.odd_params:
        if key is not None and key.not_empty and isinstance(value, str) and not value.strip():
            yield Problem(f"{name} is {shown(value)}; expected some text", event.at("params", name))


@event_rule("customer-ids-shape", ERROR, from_schema=True)
def customer_ids_shape(event: EventView) -> Iterable[Problem]:
    """A member of `visitor.customerIDs` is not `{id: string, authState: 0, 1 or 2}`."""
    ids = (event.params or {}).get(_CUSTOMER_IDS)
    if not isinstance(ids, dict):
        return
    for name, value in ids.items():
        problem = _customer_id_problem(value)
        if problem is not None:
            yield Problem(f"customer ID {quoted(name)}: {problem}", event.at("params", _CUSTOMER_IDS, name))


def _customer_id_problem(value: Any) -> str | None:
    if not isinstance(value, dict):
        return f"it is {shown(value)}; expected an object"
    if not isinstance(value.get("id"), str):
        return f"id is {shown(value['id']) if 'id' in value else 'missing'}; expected a string"
    state = value.get("authState")
    if not has_type(state, "integer") or state not in (0, 1, 2):
        return f"authState is {shown(state) if 'authState' in value else 'missing'}; expected 0, 1 or 2"
    other = next((name for name in value if name not in ("id", "authState")), None)
    return None if other is None else f"it has the member {quoted(other)}; expected id and authState alone"


@event_rule("param-legacy", INFO)
def param_legacy(event: EventView) -> Iterable[Problem]:
    """A param is only known from 2018."""
    for name, _, key in event.odd_params:
        if key is not None and key.legacy:
            yield Problem(f"{name} is only known from the documents of 2018", event.at("params", name))


@event_rule("qoe-in-params", WARNING)
def qoe_in_params(event: EventView) -> Iterable[Problem]:
    """A quality key stands in `params`."""
    for name, _, key in event.odd_params:
        if key is None and name.startswith(QUALITY_PREFIX):
            yield Problem(f"{quoted(name)} stands in params; expected it in qoeData", event.at("params", name))


@event_rule("error-details-in-params", WARNING)
def error_details_in_params(event: EventView) -> Iterable[Problem]:
    """The details of an error stand in `params`."""
    if event.type != "error":
        return
    for name in _DETAILS_OF_ERROR:
        if name in (event.params or ()):
            right = "media.qoe.errorID" if name.endswith("Id") else "media.qoe.errorSource"
            yield Problem(f"{name} stands in params; expected {right} in qoeData", event.at("params", name))


@event_rule("ping-has-params", WARNING)
def ping_has_params(event: EventView) -> Iterable[Problem]:
    """A `ping` has params."""
    if event.type == "ping" and event.params:
        names = ", ".join(quoted(name) for name in list(event.params)[:3])
        more = " …" if len(event.params) > 3 else ""
        yield Problem(f"ping has params ({names}{more}); expected none", event.at("params"))


@event_rule("ping-empty-params", INFO)
def ping_empty_params(event: EventView) -> Iterable[Problem]:
    """A `ping` has empty params."""
    if event.type == "ping" and event.params is not None and not event.params:
        yield Problem("ping has an empty params object; expected none", event.at("params"))


@event_rule("stream-type-missing", INFO)
def stream_type_missing(event: EventView) -> Iterable[Problem]:
    """A `sessionStart` does not say whether it is audio or video."""
    if event.type == "sessionStart" and event.params is not None and "media.streamType" not in event.params:
        yield Problem("media.streamType is missing; expected video or audio", event.at("params"))


@event_rule("state-name-pattern", WARNING)
def state_name_pattern(event: EventView) -> Iterable[Problem]:
    """A player state has a name that SDKs refuse."""
    for name, pointer in _state_names(event):
        if not protocol.STATE_NAME.fullmatch(name):
            yield Problem(f"state name {quoted(name)}; expected 1 to 64 letters, digits, underscores or dots", pointer)


@event_rule("state-name-nonstandard", INFO)
def state_name_nonstandard(event: EventView) -> Iterable[Problem]:
    """A player state has a name of the player's own."""
    for name, pointer in _state_names(event):
        if name not in protocol.STANDARD_STATES and protocol.STATE_NAME.fullmatch(name):
            suggestion = meant(close_to(name, protocol.STANDARD_STATES))
            yield Problem(f"state {quoted(name)} is none of the standard ones{suggestion}", pointer)


@event_rule("states-update-empty", WARNING)
def states_update_empty(event: EventView) -> Iterable[Problem]:
    """A `statesUpdate` neither starts nor ends a state."""
    if event.type == "statesUpdate" and event.params is not None:
        if not any(event.params.get(name) for name in _LISTS):
            yield Problem("statesUpdate neither starts nor ends a state", event.at("params"))


@event_rule("downloaded-flag-on-live", ERROR)
def downloaded_flag_on_live(event: EventView) -> Iterable[Problem]:
    """A live `sessionStart` says that it is downloaded playback."""
    if event.endpoint is Operation.SESSIONS and not event.in_batch and event.type == "sessionStart":
        if (event.params or {}).get("media.downloaded") is True:
            yield Problem(
                "media.downloaded is true on a single start; downloaded playback is sent as an array",
                event.at("params", "media.downloaded"),
            )


def _list(event: EventView, name: str) -> list[Any]:
    """Return a list of states, where the event has one of that name."""
    key: Key | None = event.expected.params.get(name)
    value = (event.params or {}).get(name) if key is not None and key.type == "array" else None
    return value if isinstance(value, list) else []


def _states(event: EventView) -> Iterator[tuple[str, int, dict[str, Any]]]:
    """Yield the states that a ``statesUpdate`` names: list, index, item."""
    for name in _LISTS:
        for index, item in enumerate(_list(event, name)):
            if isinstance(item, dict):
                yield name, index, item


def _state_names(event: EventView) -> Iterator[tuple[str, str]]:
    """Yield each state's name and where it stands."""
    name = (event.params or {}).get(STATE_NAME)
    if isinstance(name, str) and STATE_NAME in event.expected.listed:
        yield name, event.at("params", STATE_NAME)
    for member, index, item in _states(event):
        if isinstance(item.get(STATE_NAME), str):
            yield item[STATE_NAME], event.at("params", member, str(index), STATE_NAME)
