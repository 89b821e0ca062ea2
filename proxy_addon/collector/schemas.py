"""The JSON schema of one event type, as the schemas endpoint gives it.

The frame is that of the published sample: one definition named after the event type, and a reference to it at the
root. It differs where the sample is no good draft-04: the definition has a ``type``, so that only objects pass (next
to a ``$ref`` the root's ``type`` counts for nothing), and there is no empty ``required``. It covers the top level of
an event; what ``params``, ``customMetadata`` and ``qoeData`` hold is left open. Source: Media Collection API, the
schemas endpoint.

>>> schema("ping")["definitions"]["ping"]["required"]
['eventType', 'playerTime']
>>> schema("resume") is None
True
"""

from __future__ import annotations

from typing import Any

from proxy_addon.collector.bodies import PLAYER_TIME_MEMBERS
from proxy_addon.core.protocol import EVENT_TYPES, PARAMS_REQUIRED


def schema(event_type: str) -> dict[str, Any] | None:
    """Return the draft-04 schema for requests of an event type; None where there is no such type."""
    if event_type not in EVENT_TYPES:
        return None
    return {
        "$schema": "http://json-schema.org/draft-04/schema#",
        "definitions": {
            "playerTime": {
                "type": "object",
                "properties": {"playhead": {"type": "number"}, "ts": {"type": "integer"}},
                "required": list(PLAYER_TIME_MEMBERS),
                "additionalProperties": False,
            },
            "eventType": {"type": "string", "enum": list(EVENT_TYPES)},
            "params": {"type": "object"},
            "customMetadata": {"type": "object"},
            "qoeData": {"type": "object"},
            event_type: {
                "type": "object",
                "properties": {
                    "eventType": {"type": "string", "enum": [event_type]},
                    "playerTime": {"$ref": "#/definitions/playerTime"},
                    "params": {"$ref": "#/definitions/params"},
                    "customMetadata": {"$ref": "#/definitions/customMetadata"},
                    "qoeData": {"$ref": "#/definitions/qoeData"},
                },
                "required": ["eventType", "playerTime", *(["params"] if event_type in PARAMS_REQUIRED else [])],
                "additionalProperties": False,
            },
        },
        "type": "object",
        "$ref": f"#/definitions/{event_type}",
    }
