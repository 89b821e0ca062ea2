"""Rules over batches of downloaded playback. Source: Media Collection API, body rules, batches."""

from __future__ import annotations

from collections.abc import Iterable

from proxy_addon.core.routes import Operation
from proxy_addon.core.rules.body_views import BodyView
from proxy_addon.core.rules.rule import ERROR, INFO, Problem, body_rule
from proxy_addon.core.wording import shown

_FLAG = "media.downloaded"


@body_rule("downloads-not-array", ERROR)
def downloads_not_array(body: BodyView) -> Iterable[Problem]:
    """The body of downloaded playback is not an array.

    What it checks: The body posted to `/api/v1/downloaded` is a JSON array.

    Why it matters: The server expects the whole playback at once and refuses anything else with 400, so a single event
    sent there is lost.

    Source: docs, `track-downloaded-content.md`. Sureness: medium, since no client of Adobe's uses this path.

    Example: `{"eventType": "sessionStart", …}` posted to `/api/v1/downloaded`

    How to fix: Collect the events of a playback on the device and post them as one array, the `sessionStart` first.
    Live playback begins at `/api/v1/sessions`.

    Known limits: A body that is no JSON is left to `body-empty` and `body-not-json`. The parts of a body that is no
    array are not looked at here.
    """
    if body.endpoint is Operation.DOWNLOADED and body.reading.problem is None and not isinstance(body.value, list):
        yield Problem(f"the body is {shown(body.value)}; expected an array of events", "")


@body_rule("downloads-empty", ERROR)
def downloads_empty(body: BodyView) -> Iterable[Problem]:
    """The array of events is empty.

    What it checks: An array posted to `/api/v1/downloaded` or `/api/v1/sessions` has at least one element.

    Why it matters: A playback without a `sessionStart` opens no session: the request is refused with 400, or reports
    nothing.

    Source: docs, `track-downloaded-content.md` (the first event has to be a `sessionStart`). Sureness: medium.

    Example: `[]`

    How to fix: Post a batch only when a playback was stored, and check that the queue was not emptied twice.

    Known limits: An empty array posted to events is told by `body-not-object` instead.
    """
    if isinstance(body.value, list) and not body.value and body.endpoint is not Operation.EVENTS:
        yield Problem("the array is empty; expected events, the first one a sessionStart", "")


@body_rule("downloads-first-not-session-start", ERROR)
def downloads_first_not_session_start(body: BodyView) -> Iterable[Problem]:
    """The first event of a batch is not `sessionStart`.

    What it checks: The first element of a batch has the `eventType` `sessionStart`, whatever the times of the elements
    are.

    Why it matters: The server opens the session with the first element and refuses the whole batch with 400 when it
    cannot.

    Source: docs, `track-downloaded-content.md`; Android and iOS drop what they stored before the first `sessionStart`.
    Sureness: high.

    Example: `[{"eventType": "play", …}, {"eventType": "sessionStart", …}]`

    How to fix: Keep the events in the order in which they happened, and drop what came before the start.

    Known limits: A first element that is no object is left to `body-not-object`.
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
    """A batch on sessions does not say that it is downloaded playback.

    What it checks: In an array posted to `/api/v1/sessions`, the first `sessionStart` has `media.downloaded` with the
    value `true`.

    Why it matters: On this path the flag is what tells a batch from a live start. Without it the server answers 400 and
    discards all events of the playback.

    Source: docs, `track-downloaded-content.md`; Android and iOS always send the flag. Sureness: high.

    Example: `[{"eventType": "sessionStart", …, "params": {"media.downloaded": false, …}}, …]` posted to
    `/api/v1/sessions`

    How to fix: Set `media.downloaded` to `true` in the batch's `sessionStart`, or post to `/api/v1/downloaded`, where
    it is not needed.

    Known limits: A batch without any `sessionStart` is left to `downloads-first-not-session-start`. The string `"true"`
    does not count as the flag.
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
    """A batch was posted to sessions, the deprecated path.

    What it checks: A JSON array was posted to `/api/v1/sessions` and not to `/api/v1/downloaded`.

    Why it matters: It works today, but the documents have called the path deprecated since 2021. A client that is free
    to choose should not depend on it.

    Source: docs, `track-downloaded-content.md`; Android 3.1.2 and iOS 5.0.1 still use it. Sureness: high.

    Example: `POST /api/v1/sessions` with the body `[{"eventType": "sessionStart", …}, …]`

    How to fix: Post to `/api/v1/downloaded`. With Adobe's mobile SDKs there is nothing to do.

    Known limits: Told of an array whatever is in it, also an empty one.
    """
    if body.endpoint is Operation.SESSIONS and isinstance(body.value, list):
        yield Problem("a batch was posted to /api/v1/sessions; /api/v1/downloaded is the documented path", "")
