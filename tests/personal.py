"""A playback with a personal value in every place where one can stand, each value unlike all others."""

from __future__ import annotations

import base64
import json
from typing import Any

from proxy_addon.core.exchange import Exchange, Headers, Response
from tests.builders import SESSION_ID, START_PARAMS, event, event_dict, start

ECID = "38291038291038291038291038291038291038"
VISITOR = "visitor-of-film-4711"
CLIENT = "198.18.7.33"

PARAMS: dict[str, Any] = {
    **START_PARAMS,
    "visitor.marketingCloudOrgId": "ACCE55C0DE1234567890ABCD@AdobeOrg",
    "visitor.marketingCloudUserId": ECID,
    "visitor.aamLocationHint": 7,
    "visitor.somethingNew": "visitor-something-new",
    "visitor.customerIDs": {
        "crm": {"id": "crm-55501234", "authState": 1},
        "mail": {"id": "zoe.customer@shop.example.org", "authState": 2},
        "number": {"id": "7734567890123", "authState": 0},
    },
    "analytics.visitorId": VISITOR,
    "analytics.aid": "2F9A3C4D851D6F8A-60000C6D4F5E1A2B",
    "appInstallationId": "3D9F3E6A-1B2C-4D5E-8F90-A1B2C3D4E5F6",
}
METADATA = {
    "userId": "metadata-user-8812",
    "app.device_id": "metadata-device-8813",
    "contact": "max.metadata@shop.example.org",
    "page": "https://site.example/watch?uid=metadata-uid-8814&film=7",
    "nested": '{"advertisingId": "metadata-idfa-8815"}',
    "copy": f"seen by {VISITOR} today",
}
HEADERS: Headers = (
    ("Content-Type", "application/json"),
    ("User-Agent", "TestPlayer/1.0 (Living Room)"),
    (
        "COOKIE",
        f"s_ecid=MCMID%7C{ECID}; prefs=cookie-value-9901; AMCV_ACCE55C0DE1234567890ABCD%40AdobeOrg=cookie-amcv-9902",
    ),
    ("Authorization", "Bearer bearer-token-9903"),
    ("Proxy-Authorization", "Basic " + base64.b64encode(b"proxyuser:proxypass-9904").decode()),
    ("x-api-key", "api-key-9905"),
    ("X-Session-Token", "session-token-9906"),
    ("X-Forwarded-For", f"{CLIENT}, 198.18.7.34:4711, [2001:470::9907]:80"),
    ("Forwarded", 'for="[2001:470::9908]:4711";proto=https;by=198.18.7.35, for=198.18.7.36'),
    ("X-Real-IP", "198.18.7.37"),
    ("True-Client-IP", "198.18.7.38"),
    ("CF-Connecting-IP", "2001:470::9909"),
    ("Via", "1.1 proxy-9910.home.example (squid)"),
    ("From", "from-9911@shop.example.org"),
    ("X-Device-Id", "device-header-9912"),
    ("X-Visitor", VISITOR),
    ("Referer", "https://login-9913:pass-9913@site.example/watch?reset=referer-9914#fragment-9915"),
    ("Origin", "https://site.example"),
    ("X-Nobody-Knows", "5f3b1c9e7a2d4f60b8c1"),
    ("Content-MD5", "Q2hlY2sgSW50ZWdyaXR5IQ=="),
)
QUERY = f"?visitorId={VISITOR}&mail=query.9916%40shop.example.org&access_token=query-token-9917&debug=1&d_mid={ECID}"
SECRETS = (
    *("ACCE55C0DE1234567890ABCD", ECID, "visitor-something-new", "crm-55501234", "zoe.customer", "7734567890123"),
    *(VISITOR, "2F9A3C4D851D6F8A", "60000C6D4F5E1A2B", "3D9F3E6A-1B2C", "A1B2C3D4E5F6"),
    *("metadata-user-8812", "metadata-device-8813", "max.metadata", "metadata-uid-8814", "metadata-idfa-8815"),
    *(
        "cookie-value-9901",
        "cookie-amcv-9902",
        "bearer-token-9903",
        base64.b64encode(b"proxyuser:proxypass-9904").decode(),
    ),
    *("api-key-9905", "session-token-9906", "198.18.7.", "2001:470:", "proxy-9910", "from-9911", "device-header-9912"),
    *("login-9913", "pass-9913", "referer-9914", "fragment-9915", "5f3b1c9e7a2d4f60b8c1", "Q2hlY2sgSW50ZWdyaXR5IQ"),
    *("query.9916", "query-token-9917", "answer-cookie-9918", "answer-mail-9919", "answer-user-9920"),
)
"""What must be found nowhere, in any case."""
ANSWER_HEADERS: Headers = (
    ("Set-Cookie", "sid=answer-cookie-9918; Path=/; HttpOnly"),
    ("Access-Control-Allow-Headers", "Content-Type, Authorization"),
    ("X-Client-IP", CLIENT),
)
ANSWER = {
    "message": f"visitor {VISITOR} at {CLIENT}",
    "contact": "answer-mail-9919@shop.example.org",
    "userId": "answer-user-9920",
}


def start_body() -> bytes:
    """Return the body of a ``sessionStart``."""
    return json.dumps(event_dict("sessionStart", params=PARAMS, customMetadata=METADATA)).encode()


def playback() -> list[Exchange]:
    """Return a start, a ping that upstream refused, and the end."""
    location = ("Location", f"/api/v1/sessions/{SESSION_ID}")
    sender: dict[str, Any] = {"headers": HEADERS, "client_address": CLIENT}
    opening = start(
        path="/api/v1/sessions" + QUERY,
        body=start_body(),
        response=Response(status=201, headers=(location, *ANSWER_HEADERS), body=json.dumps(ANSWER).encode()),
        **sender,
    )
    refused = Response(status=400, headers=ANSWER_HEADERS, body=json.dumps(ANSWER).encode())
    return [
        opening,
        event("ping", after_s=10, playhead=10, response=refused, **sender),
        event("sessionEnd", after_s=20, playhead=20, **sender),
    ]


def found_in(text: bytes | str) -> list[str]:
    """Return the personal values that stand in a text, in any case."""
    lower = text.lower() if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass").lower()
    return [secret for secret in SECRETS if secret.encode().lower() in lower]
