"""The description of the control API, as an OpenAPI 3.1 document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from proxy_addon import __version__
from proxy_addon.core.exchange import Outcome
from proxy_addon.core.findings import Severity
from proxy_addon.core.routes import Operation
from proxy_addon.core.sessions import SessionState

Schema = dict[str, Any]


def document() -> Schema:
    """Return the whole document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Control API of sessiontape run",
            "version": __version__,
            "description": "What a test asks for and orders while 'sessiontape run' records what the test's player "
            "reports. The address is in the environment variable SESSIONTAPE_CONTROL. All answers concern the current "
            "case: the sessions that began since the last POST /cases, or since the command was started.",
        },
        "servers": [{"url": "/"}],
        "paths": _PATHS,
        "components": {"schemas": _SCHEMAS},
    }


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _object(members: Mapping[str, Schema]) -> Schema:
    """Return the schema of an object that has all of these members, and possibly later others."""
    return {"type": "object", "required": list(members), "properties": dict(members)}


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _or_null(type: str) -> Schema:
    return {"type": [type, "null"]}


def _one_of(values: type[Any]) -> Schema:
    return {"type": "string", "enum": [value.value for value in values]}


def _json(schema: Schema) -> Schema:
    return {"application/json": {"schema": schema}}


def _parameter(name: str, description: str, schema: Schema) -> Schema:
    return {"name": name, "in": "query", "description": description, "schema": schema}


def _answers(status: str, description: str, schema: Schema | None, **errors: str) -> Schema:
    """Return the answers of an operation.

    Args:
        schema: Of the answer; None for an answer without a body.
        **errors: Why it is refused, by ``s`` and the status.
    """
    fine = {"description": description, **({} if schema is None else {"content": _json(schema)})}
    others = {
        "s403": "The request comes from a page that was not served from this machine, or its Host does not name this machine.",
        **errors,
    }
    refused = {
        name[1:]: {"description": text, "content": _json(_ref("Error"))} for name, text in sorted(others.items())
    }
    other = {"description": "Any other error, such as a failure of the API itself.", "content": _json(_ref("Error"))}
    return {status: fine, **refused, "default": other}


_TIME: Schema = {"type": "string", "format": "date-time"}
_TEXT: Schema = {"type": "string"}
_WHOLE: Schema = {"type": "integer", "minimum": 0}
_COUNTS: Schema = _object({severity.value: _WHOLE for severity in Severity})
_BODY: Schema = {"oneOf": [_object({"text": _TEXT}), _object({"base64": _TEXT})]}
_HEADERS: Schema = _list({"type": "array", "items": _TEXT, "minItems": 2, "maxItems": 2})
_TIMEOUT = _parameter(
    "timeout",
    "How many seconds to wait at most; then the answer is 504 and says what came instead.",
    {"type": "number", "minimum": 0, "maximum": 600, "default": 10},
)
_MEDIA = _parameter("media", "Only sessions with this media.id.", _TEXT)
_TIMED_OUT = "What the request waited for has not come; the message says what came instead."
_BAD = "A parameter or the body is invalid."

_SCHEMAS: Schema = {
    "Error": _object({"error": _object({"message": _TEXT, "hint": _or_null("string")})}),
    "Case": _object({"name": _or_null("string"), "began_at": _TIME}),
    "Session": _object(
        {
            "id": _TEXT,
            "session_id": _or_null("string"),
            "retry_of": _or_null("string"),
            "upstream": _TEXT,
            "recording": _or_null("string"),
            "started_at": _TIME,
            "last_event_at": _TIME,
            "state": _one_of(SessionState),
            **{
                name: _or_null("string")
                for name in ("player_name", "media_id", "media_name", "content_type", "app_version")
            },
            **{name: _or_null("string") for name in ("library_version", "user_agent", "client_address")},
            "exchanges": _WHOLE,
            "events": _WHOLE,
            "findings": _COUNTS,
        }
    ),
    "Finding": _object(
        {
            "rule": _TEXT,
            "severity": _one_of(Severity),
            "message": _TEXT,
            "pointer": _or_null("string"),
            "seq": _or_null("integer"),
            "count": _WHOLE,
            "places": _list(_object({"seq": {"type": "integer"}, "pointer": _or_null("string")})),
            "until_seq": _or_null("integer"),
            "lowered_by": _or_null("string"),
        }
    ),
    "Exchange": _object(
        {
            "seq": _WHOLE,
            "operation": _one_of(Operation),
            "event_type": _or_null("string"),
            "playhead_s": _or_null("number"),
            "ts_ms": _or_null("integer"),
            "batch": {"type": ["array", "null"]},
            "received_at": _TIME,
            "duration_ms": _or_null("number"),
            "outcome": _one_of(Outcome),
            "reason": _or_null("string"),
            "request": _object(
                {"method": _TEXT, "path": _TEXT, "http_version": _TEXT, "headers": _HEADERS, "body": _BODY}
            ),
            "response": {
                "oneOf": [
                    {"type": "null"},
                    _object({"status": _WHOLE, "http_version": _TEXT, "headers": _HEADERS, "body": _BODY}),
                ]
            },
            "findings": _list(_ref("Finding")),
        }
    ),
    "Event": _object(
        {
            "session": {"type": "string", "description": "The id of the event's session."},
            "session_id": _or_null("string"),
            "seq": {"type": "integer", "description": "The number of its exchange within the session."},
            "event_type": _or_null("string"),
            "playhead_s": _or_null("number"),
            "ts_ms": _or_null("integer"),
            "received_at": _TIME,
            "status": {"type": ["integer", "null"], "description": "The status of the answer; null if there was none."},
            "outcome": _one_of(Outcome),
            "body": {"description": "The event as it was sent; null if a number in it is too large for JSON readers."},
        }
    ),
}

_CASE = _ref("Case")
_PATHS: Schema = {
    "/sessions": {
        "get": {
            "operationId": "sessions",
            "summary": "The sessions of the case, oldest first",
            "parameters": [
                _parameter(
                    "wait",
                    "started: wait until there are `count` sessions. ended: wait until `count` sessions were closed by "
                    "sessionEnd or sessionComplete, and none is open.",
                    {"type": "string", "enum": ["started", "ended"]},
                ),
                _parameter("count", "How many sessions to wait for.", {**_WHOLE, "default": 1}),
                _TIMEOUT,
                _MEDIA,
            ],
            "responses": _answers(
                "200",
                "The sessions.",
                _object({"case": _CASE, "sessions": _list(_ref("Session"))}),
                s400=_BAD,
                s504=_TIMED_OUT,
            ),
        }
    },
    "/sessions/{id}": {
        "get": {
            "operationId": "session",
            "summary": "One session of the case, with all requests and answers",
            "parameters": [
                {
                    "name": "id",
                    "in": "path",
                    "required": True,
                    "description": "The id or session_id of a session, or `last`.",
                    "schema": _TEXT,
                }
            ],
            "responses": _answers(
                "200",
                "The session, its exchanges in order of arrival with their findings, and the findings of the session as "
                "a whole.",
                _object(
                    {
                        "session": _ref("Session"),
                        "exchanges": _list(_ref("Exchange")),
                        "findings": _list(_ref("Finding")),
                    }
                ),
                s404="The case has no such session.",
            ),
        }
    },
    "/events": {
        "get": {
            "operationId": "events",
            "summary": "The events of the case's sessions, by time of arrival",
            "parameters": [
                _parameter("type", "Only events of this type, such as ping.", _TEXT),
                _parameter("session", "Only events of the session with this id or session_id.", _TEXT),
                _MEDIA,
                _parameter("wait", "Wait until there are this many such events.", {**_WHOLE, "default": 0}),
                _TIMEOUT,
            ],
            "responses": _answers(
                "200",
                "The events.",
                _object({"case": _CASE, "events": _list(_ref("Event"))}),
                s400=_BAD,
                s504=_TIMED_OUT,
            ),
        }
    },
    "/faults": {
        "post": {
            "operationId": "orderFault",
            "summary": "Make the collector answer wrongly from now on",
            "requestBody": {
                "required": True,
                "content": _json(
                    _object(
                        {
                            "fault": {
                                "type": "string",
                                "description": "As for the option --fault: WHERE:ACTION[:WHEN]. Requests are counted from "
                                "now on.",
                                "examples": ["events:status=500:nth=3", "sessions:delay=2", "any:drop:after=10"],
                            }
                        }
                    )
                ),
            },
            "responses": _answers(
                "201",
                "The fault was ordered.",
                _object({"fault": _TEXT}),
                s400="The fault cannot be understood.",
                s409="There is no collector, because the run records a real upstream.",
            ),
        },
        "delete": {
            "operationId": "forgetFaults",
            "summary": "Forget the faults that were ordered; those of the command line stay",
            "responses": _answers(
                "204", "Done.", None, s409="There is no collector, because the run records a real upstream."
            ),
        },
    },
    "/cases": {
        "post": {
            "operationId": "beginCase",
            "summary": "Begin a new case: from now on, all answers concern the sessions that begin now or later",
            "description": "The faults that were ordered in the previous case are forgotten.",
            "requestBody": {
                "required": False,
                "content": _json({"type": "object", "properties": {"name": _or_null("string")}}),
            },
            "responses": _answers("201", "The case has begun.", _object({"case": _CASE}), s400=_BAD),
        }
    },
    "/verdict": {
        "get": {
            "operationId": "verdict",
            "summary": "What the rules find in the sessions of the case so far",
            "description": "Sessions that are still open are judged as open. When the command has ended, 'sessiontape "
            "run' judges them as over.",
            "responses": _answers(
                "200",
                "The verdict; `ok` is false if a finding fails the run.",
                _object(
                    {
                        "case": _CASE,
                        "ok": {"type": "boolean"},
                        "counts": _COUNTS,
                        "sessions": _list(
                            _object(
                                {
                                    "id": _TEXT,
                                    "session_id": _or_null("string"),
                                    "state": _one_of(SessionState),
                                    "findings": _list(_ref("Finding")),
                                }
                            )
                        ),
                    }
                ),
            ),
        }
    },
    "/openapi.json": {
        "get": {
            "operationId": "openapi",
            "summary": "This document",
            "responses": _answers("200", "The document.", {"type": "object"}),
        }
    },
}
