"""Rules over batches of downloaded playback. Source: Media Collection API, body rules, batches."""

from __future__ import annotations

from collections.abc import Iterable

from proxy_addon.core.routes import Operation
from proxy_addon.core.rules.rule import ERROR, INFO, Problem, body_rule
from proxy_addon.core.rules.views import BodyView
from proxy_addon.core.rules.wording import quoted, shown

_FLAG = "media.downloaded"


@body_rule("downloads-not-array", ERROR)
def downloads_not_array(body: BodyView) -> Iterable[Problem]:
    """The body of downloaded playback is not an array."""
    if body.endpoint is Operation.DOWNLOADED and body.reading.problem is None and not isinstance(body.value, list):
        yield Problem(f"the body is {shown(body.value)}; expected an array of events", "")


@body_rule("downloads-empty", ERROR)
def downloads_empty(body: BodyView) -> Iterable[Problem]:
    """The array of events is empty."""
    if isinstance(body.value, list) and not body.value and body.endpoint is not Operation.EVENTS:
        yield Problem("the array is empty; expected events, the first one a sessionStart", "")


@body_rule("downloads-first-not-session-start", ERROR)
def downloads_first_not_session_start(body: BodyView) -> Iterable[Problem]:
    """The first event of a batch is not `sessionStart`."""
    if not isinstance(body.value, list) or not body.value or body.endpoint is Operation.EVENTS:
        return
    first = body.value[0]
    if isinstance(first, dict) and first.get("eventType") != "sessionStart":
        seen = quoted(first["eventType"]) if isinstance(first.get("eventType"), str) else "no event type"
        yield Problem(f"the first element is {seen}; expected sessionStart", "/0/eventType")


@body_rule("downloaded-flag-missing", ERROR)
def downloaded_flag_missing(body: BodyView) -> Iterable[Problem]:
    """A batch on sessions does not say that it is one."""
    if body.endpoint is not Operation.SESSIONS or not isinstance(body.value, list):
        return
    for index, element in enumerate(body.value):
        if isinstance(element, dict) and element.get("eventType") == "sessionStart":
            params = element.get("params")
            flag = params.get(_FLAG) if isinstance(params, dict) else None
            if flag is not True:
                seen = "missing" if not isinstance(params, dict) or _FLAG not in params else shown(flag)
                yield Problem(f"{_FLAG} is {seen}; an array on sessions needs it true", f"/{index}/params")
            return


@body_rule("downloads-via-sessions", INFO)
def downloads_via_sessions(body: BodyView) -> Iterable[Problem]:
    """A batch was posted to sessions, the deprecated path."""
    if body.endpoint is Operation.SESSIONS and isinstance(body.value, list):
        yield Problem("a batch was posted to /api/v1/sessions; /api/v1/downloaded is the documented path", "")
