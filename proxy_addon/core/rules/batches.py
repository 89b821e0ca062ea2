"""Rules for batches of downloaded playback. Source: Media Collection API, body rules, batches."""

from __future__ import annotations

from collections.abc import Iterable

from proxy_addon.core.routes import Operation
from proxy_addon.core.rules.body_views import BodyView
from proxy_addon.core.rules.rule import ERROR, INFO, Problem, body_rule
from proxy_addon.core.wording import shown

_FLAG = "media.downloaded"


@body_rule("downloads-not-array", ERROR)
def downloads_not_array(body: BodyView) -> Iterable[Problem]:
    """The body of a request to `downloaded` is not an array.

    What it checks: A body that is posted to `/api/v1/downloaded` must be a JSON array.

    Why it matters: The server expects the whole playback at once and refuses anything else with 400, so a single event
    that is sent there is lost.

    Source: Adobe's docs, `track-downloaded-content.md`. Confidence: medium, because none of Adobe's clients uses this
    path.

    Example: `{"eventType": "sessionStart", …}` posted to `/api/v1/downloaded`

    How to fix: Collect the events of a playback on the device and post them as one array that begins with
    `sessionStart`. Post the `sessionStart` of a live session to `/api/v1/sessions`.

    Known limits: A body that is not JSON is reported by `body-empty` or `body-not-json`. The contents of a body that is
    not an array are not checked here.
    """
    if body.endpoint is Operation.DOWNLOADED and body.reading.problem is None and not isinstance(body.value, list):
        yield Problem(f"the body is {shown(body.value)}; expected an array of events", "")


@body_rule("downloads-empty", ERROR)
def downloads_empty(body: BodyView) -> Iterable[Problem]:
    """A batch contains no events.

    What it checks: An array that is posted to `/api/v1/downloaded` or `/api/v1/sessions` must have at least one
    element.

    Why it matters: A batch without a `sessionStart` opens no session. The server refuses the request with 400, or the
    request reports nothing.

    Source: Adobe's docs, `track-downloaded-content.md`: the first event must be a `sessionStart`. Confidence: medium.

    Example: `[]`

    How to fix: Post a batch only if a playback was stored, and check that the queue was not emptied twice.

    Known limits: An empty array that is posted to `events` is reported by `body-not-object` instead.
    """
    if isinstance(body.value, list) and not body.value and body.endpoint is not Operation.EVENTS:
        yield Problem("the array is empty; expected events, the first one a sessionStart", "")


@body_rule("downloads-first-not-session-start", ERROR)
def downloads_first_not_session_start(body: BodyView) -> Iterable[Problem]:
    """The first event of a batch is not `sessionStart`.

    What it checks: The first element of a batch must have the `eventType` `sessionStart`. The `ts` of the elements does
    not matter.

    Why it matters: The server opens the session with the first element. If it cannot, it refuses the whole batch with
    400.

    Source: Adobe's docs, `track-downloaded-content.md`; the Android and iOS SDKs drop stored events that precede the
    first `sessionStart`. Confidence: high.

    Example: `[{"eventType": "play", …}, {"eventType": "sessionStart", …}]`

    How to fix: Keep the events in the order in which they happened, and drop those that precede the `sessionStart`.

    Known limits: A first element that is not an object is reported by `body-not-object`.
    """
    if not isinstance(body.value, list) or not body.value or body.endpoint is Operation.EVENTS:
        return
    first = body.value[0]
    if isinstance(first, dict) and first.get("eventType") != "sessionStart":
        if "eventType" not in first:
            yield Problem("the first element has no event type; expected sessionStart", "/0")
        else:
            seen = shown(first["eventType"])
            yield Problem(f"eventType of the first element is {seen}; expected sessionStart", "/0/eventType")


@body_rule("downloaded-flag-missing", ERROR)
def downloaded_flag_missing(body: BodyView) -> Iterable[Problem]:
    """A batch on `sessions` is not marked as downloaded playback.

    What it checks: In an array that is posted to `/api/v1/sessions`, the first `sessionStart` must have
    `media.downloaded` set to `true`.

    Why it matters: On this path, the flag is what distinguishes a batch from a live start. Without it the server
    answers 400 and discards all events of the playback.

    Source: Adobe's docs, `track-downloaded-content.md`; the Android and iOS SDKs always send the flag. Confidence:
    high.

    Example: `[{"eventType": "sessionStart", …, "params": {"media.downloaded": false, …}}, …]` posted to
    `/api/v1/sessions`

    How to fix: Set `media.downloaded` to `true` in the `sessionStart` of the batch, or post the batch to
    `/api/v1/downloaded`, where the flag is not needed.

    Known limits: A batch without any `sessionStart` is reported by `downloads-first-not-session-start`. The string
    `"true"` does not count as the flag.
    """
    if body.endpoint is not Operation.SESSIONS or not isinstance(body.value, list):
        return
    for index, element in enumerate(body.value):
        if isinstance(element, dict) and element.get("eventType") == "sessionStart":
            params = element.get("params")
            flag = params.get(_FLAG) if isinstance(params, dict) else None
            if isinstance(params, dict) and _FLAG in params:
                if flag is not True:
                    where = f"/{index}/params/{_FLAG}"
                    yield Problem(f"{_FLAG} is {shown(flag)}; an array on sessions needs it true", where)
            else:
                where = f"/{index}/params" if "params" in element else f"/{index}"
                yield Problem(f"{_FLAG} is missing; an array on sessions needs it true", where)
            return


@body_rule("downloads-via-sessions", INFO)
def downloads_via_sessions(body: BodyView) -> Iterable[Problem]:
    """A batch was posted to `sessions`, which is deprecated.

    What it checks: A JSON array should be posted to `/api/v1/downloaded`, not to `/api/v1/sessions`.

    Why it matters: It works today, but Adobe's docs have called this path deprecated since 2021. New clients should not
    depend on it.

    Source: Adobe's docs, `track-downloaded-content.md`; the Android 3.1.2 and iOS 5.0.1 SDKs still use it. Confidence:
    high.

    Example: `POST /api/v1/sessions` with the body `[{"eventType": "sessionStart", …}, …]`

    How to fix: Post to `/api/v1/downloaded`. If you use Adobe's mobile SDKs, there is nothing to fix.

    Known limits: The rule reports any array, including an empty one.
    """
    if body.endpoint is Operation.SESSIONS and isinstance(body.value, list):
        yield Problem("a batch was posted to /api/v1/sessions; /api/v1/downloaded is the documented path", "")
