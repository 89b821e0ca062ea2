"""Where personal values stand: the one table of members and headers that pseudonyms and the safe profile use.

Names are compared without regard to case, hyphens and underscores, because devices spell them as they like. A name with
dots is also known by its last part: an app may call it ``userId``, ``user_id`` or ``app.userId``.

>>> PERSONAL.is_member("visitor.marketingCloudUserId"), PERSONAL.is_member("app.user_id"), PERSONAL.is_member("media.id")
(True, True, False)
>>> PERSONAL.is_member("aid"), PERSONAL.is_member("aid", above="analytics")
(False, True)
>>> PERSONAL.with_more(members=["crm.*"]).is_member("crm.Number")
True
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

VISITOR_PARAMS = (
    "visitor.marketingCloudUserId",
    "visitor.aamLocationHint",
    "analytics.visitorId",
    "analytics.aid",
    "appInstallationId",
)
"""Params that identify a visitor. Source: Media Collection API, params of ``sessionStart``."""
VISITOR_IDS = "visitor.customerIDs"
"""The param that contains more visitor IDs."""
AUTH_STATE = "authstate"
"""The member of a visitor ID that says whether somebody is logged in, normalised; it identifies nobody."""
SENDER_HEADERS = ("X-Forwarded-For", "Forwarded", "X-Real-IP", "True-Client-IP")
CREDENTIAL_HEADERS = ("Cookie", "Authorization")

_MEMBERS = (
    *VISITOR_PARAMS,
    "visitor.*",
    # The same under names of apps and of Adobe's other libraries.
    *(
        "visitorId",
        "customerIDs",
        "identityMap",
        "analytics.vid",
        "analytics.fid",
        "analytics.mid",
        "s_vi",
        "s_fid",
        "ecid",
        "mcid",
        "mcmid",
        "d_mid",
        "d_uuid",
        "d_cid",
        "marketingCloudVisitorId",
    ),
    *(
        "userId",
        "uid",
        "userName",
        "login",
        "customerId",
        "subscriberId",
        "accountId",
        "memberId",
        "profileId",
        "loyaltyId",
    ),
    *("householdId", "crmId", "personId", "puid", "viewerId"),
    *("email", "emailAddress", "userEmail", "hashedEmail", "emailHash", "phone", "phoneNumber", "msisdn"),
    *(
        "firstName",
        "lastName",
        "fullName",
        "birthday",
        "birthDate",
        "dateOfBirth",
        "postalCode",
        "latitude",
        "longitude",
    ),
    *(
        "deviceId",
        "deviceUuid",
        "deviceSerial",
        "serialNumber",
        "hardwareId",
        "installationId",
        "installId",
        "androidId",
    ),
    *(
        "advertisingId",
        "advertisingIdentifier",
        "idfa",
        "idfv",
        "gaid",
        "aaid",
        "rida",
        "tifa",
        "lgudid",
        "imei",
        "imsi",
    ),
    *("clientId", "anonymousId", "adid", "maid", "oaid", "ifa", "vaid", "guid", "user.id", "device.id", "dob"),
    *("tel", "mobile"),
    *("iccid", "udid", "macAddress", "ip", "ipAddress", "clientIp", "userIp", "remoteAddr", "uidh", "callingLineId"),
)
_PARAMETERS = frozenset({"vid", "aid", "fid", "mid"})
"""Names that Adobe's libraries give to IDs of visitors in URLs; in bodies, anything may be called so."""
_CREDENTIALS = (
    *("password", "passwd", "pwd", "secret", "clientSecret", "token", "accessToken", "authToken", "idToken", "jwt"),
    *(
        "refreshToken",
        "sessionToken",
        "userToken",
        "apiKey",
        "api-key",
        "authorization",
        "cookie",
        "credential",
    ),
    *("credentials", "sig", "signature", "csrfToken", "xsrfToken", "oauthToken", "code_verifier"),
)
_ADDRESS_HEADERS = (
    *SENDER_HEADERS,
    *("X-Client-IP", "X-Cluster-Client-IP", "CF-Connecting-IP", "CF-Connecting-IPv6", "Fastly-Client-IP", "Client-IP"),
    *("X-Original-Forwarded-For", "X-Original-Forwarded", "X-Envoy-External-Address", "X-Remote-Addr", "X-Remote-IP"),
    *("X-Azure-ClientIP", "X-Azure-SocketIP", "X-AppEngine-User-IP", "X-ProxyUser-Ip", "WL-Proxy-Client-IP"),
    *(
        "Proxy-Client-IP",
        "X-Forwarded",
        "Forwarded-For",
        "X-Originating-IP",
        "X-Source-IP",
        "Ali-CDN-Real-IP",
        "Remote-Addr",
    ),
)
_PERSONAL_HEADERS = (
    "From",
    "Baggage",
    "X-UIDH",
    "X-ACR",
    "X-WAP-Network-Client-IP",
    "X-Up-Subno",
    "X-Device",
    "X-User",
    "X-Visitor",
)
_ADDRESS_NAME = re.compile(
    r"(?:client|connecting|connection|originating|original|real|remote|source|src|socket|user|viewer|peer)(?:ip(?:v[46])?|addr(?:ess)?)\Z"
    r"|forward(?:ed)?for(?:ip)?\Z"
)
"""Ends of such names, as `normal` returns them."""
_PERSONAL_NAME = re.compile(r"userid|device|subscriber|account|msisdn|visitor|imsi|imei|idfa|advertising")
"""Parts of names of headers with an ID of a person or device, as `normal` returns them."""
_CREDENTIAL = re.compile(
    r"auth(?!ors?\b|ority\b)|cookie|credential|passw|secret|session|signature|token"
    r"|(?:\b|_|api|access|app|client|license|private|public|subscription)key(?![a-z])(?![-_]?frame)"
)
_DIGEST = re.compile(r"digest|md5|sha(?:1|256|512)|checksum|hmac")
"""Headers with a hash of the body: whoever guesses its personal values could check the guess."""
_NOT_CREDENTIALS = re.compile(r"access-control-|www-authenticate|proxy-authenticate|sec-websocket-|surrogate-|want-")
_NEED_DIGITS = frozenset({"ip", "mobile", "phone", "tel"})
_MOST_KNOWN = 10_000
"""How many names are remembered with whether they are personal."""
_APART = re.compile(r"[-_\s]+")


def normal(name: str) -> str:
    """Return a name as names are compared: in lower case, without hyphens, underscores and blanks."""
    return _APART.sub("", name).lower()


def needs_digit(name: str) -> bool:
    """Whether a value of this name is personal only if it has a digit: ``"phone": "iPhone"`` is not."""
    return normal(name) in _NEED_DIGITS


def is_credential_header(name: str) -> bool:
    """Whether a header, by its name in lower case, carries something that gives access."""
    return _CREDENTIAL.search(name) is not None and _NOT_CREDENTIALS.match(name) is None


@dataclass(frozen=True, kw_only=True)
class Personal:
    """Which members of bodies, query parameters and headers hold personal values.

    Attributes:
        members: Names of members and parameters; a ``*`` at the end stands for anything.
        headers: Names of headers.
    """

    members: frozenset[str]
    headers: frozenset[str]
    _names: frozenset[str] = field(init=False, repr=False, compare=False)
    _beginnings: tuple[str, ...] = field(init=False, repr=False, compare=False)
    _last_parts: frozenset[str] = field(init=False, repr=False, compare=False)
    _header_names: frozenset[str] = field(init=False, repr=False, compare=False)
    _known: dict[tuple[str, str], bool] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        names = {normal(name) for name in self.members}
        beginnings = tuple(sorted(name[:-1] for name in names if name.endswith("*")))
        names = {name.removesuffix("*").rstrip(".") for name in names}
        last_parts = {name.rpartition(".")[2] for name in names if "." in name}
        object.__setattr__(self, "_names", frozenset(names))
        object.__setattr__(self, "_beginnings", beginnings)
        object.__setattr__(self, "_last_parts", frozenset({*last_parts, *(each.rstrip(".") for each in beginnings)}))
        object.__setattr__(self, "_header_names", frozenset(normal(name) for name in self.headers))

    def with_more(self, *, members: Iterable[str] = (), headers: Iterable[str] = ()) -> Personal:
        """Return the table with more members and headers."""
        return Personal(members=self.members.union(members), headers=self.headers.union(headers))

    def is_member(self, name: str, above: str = "") -> bool:
        """Whether the values of a member, with everything in it, are personal.

        Args:
            above: Name of the member whose value it is in: ``{"analytics": {"aid": …}}`` is ``analytics.aid``.
        """
        found = self._known.get((name, above))
        if found is None:
            plain = normal(name)
            found = self._has(plain) or (bool(above) and self._has(f"{normal(above)}.{plain}"))
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[name, above] = found
        return found

    def is_in(self, path: str) -> bool:
        """Whether a part of a path is the name of a personal member, so that the next one may be its value."""
        return any(self.is_member(part) for part in path.split("/") if part)

    def may_be_member(self, name: str) -> bool:
        """Whether a member is personal, or would be within a certain other one."""
        name = normal(name)
        return self._has(name) or name in self._last_parts

    def _has(self, name: str) -> bool:
        while name not in self._names:
            if any(name.startswith(each) and name != each for each in self._beginnings):
                return True
            _, dot, name = name.partition(".")
            if not dot:
                return False
        return True

    def is_parameter(self, name: str) -> bool:
        """Whether the value of a parameter in a query or form is personal: ``user[email]`` is ``user.email`` there."""
        return name.lower() in _PARAMETERS or self.is_member(name.replace("[", ".").replace("]", ""))

    def is_header(self, name: str) -> bool:
        """Whether the value of a header is an ID of a person or device."""
        name = normal(name)
        return (
            name in self._header_names
            or self._has(name)
            or self._has(name.removeprefix("x"))
            or (_PERSONAL_NAME.search(name) is not None and not name.startswith(("secch", "accesscontrol")))
        )


PERSONAL = Personal(members=frozenset({*_MEMBERS, *_CREDENTIALS}), headers=frozenset(_PERSONAL_HEADERS))
"""What is personal unless the settings file adds more."""
_ADDRESS_NAMES = frozenset(normal(name) for name in _ADDRESS_HEADERS)


def is_address_header(name: str) -> bool:
    """Whether a header lists addresses of devices and of the proxies on their way."""
    name = normal(name)
    return name in _ADDRESS_NAMES or _ADDRESS_NAME.search(name) is not None


def is_secret_header(name: str) -> bool:
    """Whether a header, by its name in lower case, gives access or is a hash of the body."""
    return is_credential_header(name) or (_DIGEST.search(name) is not None and _NOT_CREDENTIALS.match(name) is None)
