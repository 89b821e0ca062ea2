r"""Replace the personal values in exchanges by tokens, so that others may see them.

Personal values are those of the members, parameters and headers in `core.pseudonyms.personal`, addresses of devices, and what tells
by itself what it is: email addresses, ECIDs and IDs of organisations. The same value gets the same token wherever it
stands, as long as the key is the same. Where a value that was replaced is repeated elsewhere in the same exchange, for
example in the message of an answer, it is replaced as well. All other bytes stay as they are.

>>> body = b'{"params": {"visitor.marketingCloudUserId": "somebody", "media.id" :"v1"}}'
>>> pseudonymise = Pseudonymiser(b"key")
>>> pseudonymise.request(Request(method="POST", path="/?userId=somebody", body=body)).path
'/?userId=91472246e39887bb'
"""

from __future__ import annotations

import hashlib
import re
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from functools import partial
from ipaddress import ip_address
from itertools import islice
from urllib.parse import quote, unquote_to_bytes

from proxy_addon.core import jsontext
from proxy_addon.core.exchange import Exchange, Headers, Request, Response, Whole, header
from proxy_addon.core.pseudonyms.masking import (
    KNOWN_WORDS,
    STRING_OR_NUMBER,
    Unpacked,
    has_personal_names,
    is_of_protocol,
    is_readable,
    masked_json,
    respelled,
    string_of,
    unpacked,
)
from proxy_addon.core.pseudonyms.personal import PERSONAL, Personal, is_address_header, is_secret_header, needs_digit
from proxy_addon.core.pseudonyms.tokens import Tokens
from proxy_addon.core.schemas import is_schema
from proxy_addon.errors import ProtocolError

_FILES = "aac|avif|bmp|css|gif|html?|ico|jpe?g|js|json|m4[asv]|mjs|mov|mp[34]|mpd|pdf|php|png|srt|svg|ts|ttml|txt|vtt|webm|webp|xml"
_TELLING = re.compile(
    r"(?:(?<![0-9A-Za-z])|(?<=%[0-9A-Fa-f]{2}))"
    r"(?:[0-9]{38}(?![0-9A-Za-z])|[0-9A-Fa-f]{24}(?:@|%40)AdobeOrg(?![0-9A-Za-z]))"
    r"|(?<![\w.+%-])(?:[\w.+-]|%(?!40))(?:[\w.+'-]|%(?!40)){0,127}+(?:@|%40)(?:[\w-]++\.)+"
    rf"(?!(?i:{_FILES})(?![\w-]))(?:xn--[\w-]++|[^\W\d_]{{2,24}}(?![\w-]))"
)
"""Values that tell by themselves what they are: an ECID, the ID of an organisation, an email address.

Some are percent-encoded. ``banner@2x.png`` and ``player@4.2.1`` are no addresses: their last label is that of a file, or has
digits.
"""
_MAY_HOLD = re.compile(r"""[@?#={\["%<:]|[0-9]{38}|eyJ|W3s""")
"""A quick test for text that may have such values, or others in a form that is known."""
_URL_LIKE = re.compile(r"\A\s*(?:[A-Za-z][A-Za-z0-9+.-]{0,20}:)?//?[^\s/]|[?#][^\s=?#&]{1,200}=")
_URL_IN_TEXT = re.compile(r"""(?<![A-Za-z0-9+.-])[A-Za-z][A-Za-z0-9+.-]{1,20}://[^\s"'<>]+""")
_QUOTED_JSON = re.compile(r"(?i)%(?:7B|5B)")
_BASE64_JSON = re.compile(r"(?<![\w+/.])(?:eyJ|eyA|W3s)[0-9A-Za-z+/]{8,}={0,2}(?![\w.])")
_NAMED = re.compile(r"""(?<![\w.-])([A-Za-z][\w.\[\]-]{1,63})(["']?\s{0,3}[=:]\s{0,3}["']?|>)([^\s"'<>&;,{}()\[\]]+)""")
"""A name and its value, as in ``userId=x``, ``<userId>x``, or JSON that is broken."""
_MAY_TELL = re.compile(rb"""[@?#=%<]|\w:|//|eyJ|W3s|\\u00|\\"|[0-9]{38}|[eE]\+?37(?![0-9])""")
"""A quick test for JSON text that may have such values, also as numbers, or URLs or JSON in its strings."""
_ID_LIKE = re.compile(
    r"(?=[^A-Za-z]*[A-Za-z])(?=[^0-9]*[0-9])\S{6,}\Z"
    r"|(?:[^\sA-Za-z0-9]*+[0-9]){6,}[^\sA-Za-z0-9]*+\Z"
    r"|\S+@\S+\Z"
    r"|(?!.*[a-z]{5})(?=[^A-Z]*[A-Z])(?=[^a-z]*[a-z])\S{16,}\Z"
)
"""What is looked for elsewhere in the exchange, because it looks like an ID: with digits, or letters in no order.

Words such as ``guest``, ``premium`` or the name of a host may stand there for other reasons.
"""
_FORM = re.compile(rb"""[\w.%+\[\]$-]{1,64}=(?!=*\s*\Z)[^\s&]*+(?:&[\w.%+\[\]$-]{1,64}=[^\s&]*+)*+\s*+\Z""", re.ASCII)
"""Names with values, as of a form. What ends with its only equals sign is Base64."""
_JSON_BEGINS = (b"{", b"[", b"\xef")
"""How a body begins that is meant as JSON: also with a byte order mark."""
_PORT = re.compile(r"(?P<host>\[[^\]]*\]|[^:\[\]]*)(?P<port>:[0-9]+)\Z")
_FORWARDED = re.compile(r"""(?P<name>\b(?:for|by)\s*=\s*)(?P<value>"[^"]*"|[^;,\s]*)""", re.IGNORECASE)
_SET_COOKIES = re.compile(r"(\n|, *(?=[^\s;,=]+=))")
"""What is between several cookies that are set in one header; dates have a comma, too."""
_ATTRIBUTE = re.compile(
    r"\s*(?:(?:path|domain|expires|max-age|samesite|priority|version)\s*=.*|(?:secure|httponly|partitioned)?\s*)\Z",
    re.IGNORECASE | re.DOTALL,
)
_SCHEME = re.compile(r"(?P<scheme>basic|bearer|digest|negotiate|ntlm|token|apikey|hawk|oauth|jwt|key) +", re.IGNORECASE)
_AUTHORITY = re.compile(r"(?P<scheme>(?:[A-Za-z][A-Za-z0-9+.-]*:)?//)(?:(?P<user>[^/?#]*)@)?(?P<host>[^/?#]*)")
_IP_ADDRESS = re.compile(
    r"(?<![\w.])[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?![\w.])"
    r"|(?<![\w:.])(?=[0-9A-Fa-f]*:[0-9A-Fa-f]*:)[0-9A-Fa-f:]{2,40}(?:\.[0-9]{1,3}){0,3}(?![\w:])"
)
"""What may be an IP address."""
_SECRET_LIKE = re.compile(
    r"(?<![0-9A-Za-z])(?:[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|[0-9]{14,}"
    r"|(?=[A-Za-z+/_.-]{0,99}[0-9])(?=[0-9+/_.-]{0,99}[A-Za-z])[0-9A-Za-z+/_.-]{16,}={0,2})(?![0-9A-Za-z])"
)
"""What looks like an ID or a key in a header that nobody knows."""
_KEPT_HEADERS = frozenset(
    {"accept", "accept-charset", "accept-encoding", "accept-language", "accept-ranges", "age", "allow", "cache-control"}
    | {"connection", "content-encoding", "content-language", "content-length", "content-range", "content-type", "date"}
    | {"dnt", "expect", "expires", "keep-alive", "last-modified", "pragma", "priority", "range", "retry-after"}
    | {"save-data", "server", "te", "trailer", "transfer-encoding", "upgrade", "user-agent", "vary", "x-requested-with"}
    | {"x-forwarded-proto", "x-forwarded-port", "x-forwarded-server", "upgrade-insecure-requests"}
)
_KEPT_FAMILIES = ("access-control-", "sec-ch-", "sec-fetch-", "www-authenticate", "proxy-authenticate")
_UNREADABLE = b"(%d bytes that sessiontape cannot read were left out)"
_SESSION = re.compile(r"(/sessions/[^/?#\s]+)")
"""The session ID in a path, which stays even if a header repeats it: without it, exchanges belong to no session."""
_DELIMITERS = re.compile(r"""([/?&=;,:"'<>(){}\s])""")
_SAFE_IN_PATH, _SAFE_IN_QUERY = "/@:!$&'()*+,;=~", "/@:!$'()*,~?"


class _Way(Enum):
    """How personal values stand in a header."""

    KEPT = auto()
    COOKIE = auto()
    SET_COOKIE = auto()
    AUTHORIZATION = auto()
    ADDRESSES = auto()
    FORWARDED = auto()
    VIA = auto()
    PAGE = auto()
    URL = auto()
    HOST = auto()
    WHOLE = auto()
    UNKNOWN = auto()


_UNECHOED = (_Way.KEPT, _Way.HOST)
_WAYS = {
    "cookie": _Way.COOKIE,
    "set-cookie": _Way.SET_COOKIE,
    "authorization": _Way.AUTHORIZATION,
    "proxy-authorization": _Way.AUTHORIZATION,
    "forwarded": _Way.FORWARDED,
    "via": _Way.VIA,
    "referer": _Way.PAGE,
    "referrer": _Way.PAGE,
    "location": _Way.URL,
    "content-location": _Way.URL,
    "origin": _Way.URL,
    "host": _Way.HOST,
    ":authority": _Way.HOST,
    "x-forwarded-host": _Way.HOST,
}


class Memory:
    """The values that were replaced in earlier exchanges of a session, to find them in later ones. Thread-safe."""

    def __init__(self, most: int | None = None) -> None:
        self.values: dict[str, str] = {}
        """Values and their tokens; never changed, only replaced."""
        self._most = MOST_REMEMBERED if most is None else most

    def add(self, values: dict[str, str]) -> None:
        """Remember more values, as far as there is room; of a session the first are the most telling."""
        if len(self.values) < self._most and not values.keys() <= self.values.keys():
            short = {value: token for value, token in values.items() if len(value) <= _LONGEST_REMEMBERED}
            self.values = dict(islice({**self.values, **short}.items(), self._most))


MOST_REMEMBERED, _LONGEST_REMEMBERED = 100, 200
"""How many values of a session are remembered, and how long they may be."""


class Pseudonymiser:
    """Replaces the personal values in exchanges. What it returns depends on the key, the table and the exchange alone."""

    def __init__(self, key: bytes, personal: Personal = PERSONAL, *, tokens: Tokens | None = None) -> None:
        """Make one.

        Args:
            key: With the same key, the same value gets the same token; without it, nobody can find the value.
            personal: Which members and headers hold personal values.
            tokens: What makes the tokens; by default, they are made with the key.
        """
        self.personal = personal
        self.tokens = tokens or Tokens(key)
        self.names: dict[bytes, bool] = {}
        self.fixed: dict[bytes, bool] = {}
        self.lines: dict[tuple[str, str, bool], tuple[str, dict[str, str]]] = {}
        self._ways: dict[str, _Way] = {}

    def session(self, exchanges: Iterable[Exchange]) -> Iterator[Exchange]:
        """Yield the exchanges of a session with their personal values replaced, also where later ones repeat them."""
        memory = Memory()
        return (self(exchange, memory) for exchange in exchanges)

    def __call__(self, exchange: Exchange, memory: Memory | None = None) -> Exchange:
        """Return an exchange with its personal values replaced.

        Do not call it for a session that was pseudonymised before: tokens would get tokens.

        Args:
            memory: What was replaced in earlier exchanges of the same session; what is replaced in this one is added.
        """
        work = _Work(self, memory)
        client = exchange.client_address and work.address(exchange.client_address)
        request = _Draft.of_request(exchange.request)
        work.fill(request)
        answer = exchange.response
        response = None
        if answer is not None:
            event_type = exchange.route.event_type
            response = _Draft.of_response(
                answer, is_schema=event_type is not None and is_schema(answer.body, event_type)
            )
            work.fill(response)
        work.keep_sessions(exchange)
        if memory is not None:
            memory.add(work.echoes)
        work.echo(request)
        if response is not None:
            work.find_lost()
            work.echo(response)
        return replace(
            exchange,
            client_address=client,
            request=request.as_request(exchange.request),
            response=response.as_response(answer) if answer and response else None,
            reason=exchange.reason and work.echoed(exchange.reason),
            note=exchange.note and work.echoed(exchange.note),
        )

    def memory(self, exchanges: Iterable[Exchange]) -> Memory:
        """Return what is replaced in the exchanges of a session, to find it in what is told of them."""
        memory = Memory(_MOST_TOLD)
        for exchange in exchanges:
            self(exchange, memory)
        return memory

    def request(self, request: Request, memory: Memory | None = None) -> Request:
        """Return a request with its personal values replaced.

        Args:
            memory: What was replaced elsewhere in the session, to be replaced here, too.
        """
        work, draft = _Work(self, memory), _Draft.of_request(request)
        work.fill(draft)
        work.echo(draft)
        return draft.as_request(request)

    def path(self, path: str) -> str:
        """Return a request's path with the personal values in it and in its query replaced, for messages."""
        return _Work(self).url(path, is_own=True)

    def text(self, text: str, memory: Memory | None = None) -> str:
        """Return text with the personal values in it replaced, as far as they tell by themselves what they are.

        Args:
            memory: As for `request`.
        """
        work = _Work(self, memory)
        return work.echoed(work.text(text))

    def address(self, text: str) -> str:
        """Return the token of an IP address: one that is reserved for documentation."""
        return self.tokens.text(text)

    def way(self, name: str) -> _Way:
        """Return how personal values stand in the header of this name."""
        way = self._ways.get(name)
        if way is None:
            if len(self._ways) >= _MOST_NAMES:
                self._ways.clear()
            way = self._ways[name] = _way_of(name.lower(), self.personal)
        return way


_MOST_TOLD = 5000
"""How many values of a session are looked for in what is told of it."""
_WORD = re.compile(r"[\w@.+-]{6,200}")
_MOST_LOST = 200
"""How many words of a broken body are remembered."""
_MOST_NAMES = 10_000
_MOST_LINES, _LONGEST_KEPT = 4096, 1024
"""How many paths and headers are remembered with what was replaced in them, and how long they may be."""


def _way_of(name: str, personal: Personal) -> _Way:
    if name in _WAYS:
        return _WAYS[name]
    if is_address_header(name):
        return _Way.ADDRESSES
    if personal.is_header(name):
        return _Way.WHOLE
    if name in _KEPT_HEADERS or name.startswith(_KEPT_FAMILIES):
        return _Way.KEPT
    return _Way.WHOLE if is_secret_header(name) else _Way.UNKNOWN


@dataclass(slots=True)
class _Draft:
    """A message while its values are replaced.

    Attributes:
        line: The path of a request, or the reason of an answer.
        body: The body without its compression.
        is_json: Whether it is well-formed JSON; None if that is not known yet.
        packing: How the body was compressed.
    """

    line: str
    headers: Headers
    body: bytes
    is_request: bool
    is_schema: bool = False
    is_json: bool | None = None
    packing: Unpacked = field(default_factory=partial(Unpacked, b""))
    read: bytes = b""

    @classmethod
    def of_request(cls, request: Request) -> _Draft:
        return cls(
            request.path, request.headers, request.body, is_request=True, is_json=request.reading.problem is None
        )

    @classmethod
    def of_response(cls, response: Response, *, is_schema: bool) -> _Draft:
        return cls(response.reason, response.headers, response.body, is_request=False, is_schema=is_schema)

    def unpack(self) -> None:
        """Undo the compression of the body; leave the body out if that is not possible."""
        packing = unpacked(self.body, header(self.headers, "content-encoding"))
        if packing.window is not None:
            self.is_json = None
        if packing.text is None or not is_readable(packing.text):
            packing, self.is_json = Unpacked(_UNREADABLE % len(self.body)), False
            self.read = b""
        else:
            self.read = packing.text
        self.packing = packing
        assert packing.text is not None
        self.body = packing.text

    def _sent(self, before: bytes) -> tuple[Headers, bytes]:
        """Return the headers and the body as they are to be kept, with the right ``Content-Length``."""
        if self.body == self.read:
            return self.headers, before
        body = self.packing.packed(self.body)
        length = str(len(before))
        headers = tuple(
            (name, str(len(body))) if value == length and name.lower() == "content-length" else (name, value)
            for name, value in self.headers
        )
        return headers, body

    def as_request(self, request: Request) -> Request:
        """Return the request; the same object if nothing in it was replaced."""
        headers, body = self._sent(request.body)
        whole = _untold(request.whole, body)
        if (self.line, headers, body, whole) == (request.path, request.headers, request.body, request.whole):
            return request
        return replace(request, path=self.line, headers=headers, body=body, whole=whole)

    def as_response(self, response: Response) -> Response:
        """Return the answer; the same object if nothing in it was replaced."""
        headers, body = self._sent(response.body)
        whole = _untold(response.whole, body)
        if (self.line, headers, body, whole) == (response.reason, response.headers, response.body, response.whole):
            return response
        return replace(response, reason=self.line, headers=headers, body=body, whole=whole)


def _untold(whole: Whole | None, body: bytes) -> Whole | None:
    """Return what is kept of the whole body, of which this is the beginning: a hash would let people try out values."""
    return whole and Whole(whole.length, hashlib.sha256(body).hexdigest())


class _Work:
    """Replaces the values of one exchange, and remembers which: what repeats them is replaced as well."""

    def __init__(self, own: Pseudonymiser, memory: Memory | None = None) -> None:
        self._personal = own.personal
        self._tokens = own.tokens
        self._names = own.names
        self._fixed = own.fixed
        self._way = own.way
        self._lines = own.lines
        self._lost: dict[str, str] = {}
        self.echoes: dict[str, str] = {} if memory is None else dict(memory.values)

    # Values ----------------------------------------------------------------------------------------------------------

    def told(self, value: str, *, is_number: bool = False, repeats: bool = True) -> str:
        """Return the token of a value.

        Args:
            is_number: Whether it is the JSON text of a number.
            repeats: Whether to look for the value in the rest of the exchange.
        """
        token = self._tokens.number(value) if is_number else self._tokens.text(value)
        if repeats and token != value and _is_worth_looking_for(value):
            self.echoes[value] = token
        return token

    def address(self, value: str) -> str:
        """Return the token of an address; this machine's own is not looked for in the rest of the exchange."""
        return self.told(value, repeats=not _is_loopback(value))

    def text(self, text: str, *, is_fixed: bool = False) -> str:
        """Return text with the personal values in it replaced: those in URLs and JSON, named ones, and telling ones.

        Args:
            is_fixed: Whether it describes the content, so that it has personal values only in URLs or if they tell.
        """
        if _MAY_HOLD.search(text) is None:
            return text
        if is_fixed and text.isdigit():
            return text
        begin = text.lstrip()[:1]
        if begin in ("{", "[", '"'):
            raw = text.encode("utf-8", "surrogatepass")
            if _is_json(raw):
                return self.json(raw).decode("utf-8", "surrogatepass")
        elif begin == "%" and _QUOTED_JSON.match(text):
            plain = _unquoted(text)
            new = self.text(plain)
            return text if new == plain else _quoted(new, "")
        if _URL_LIKE.search(text):
            return self.url(text)
        text = _URL_IN_TEXT.sub(lambda match: self.url(match[0]), text)
        return self._telling(text) if is_fixed else self._named(text)

    def _named(self, text: str) -> str:
        """Return text that is no URL with the values in it replaced that have a personal name before them, or tell."""
        text = _BASE64_JSON.sub(self._base64, text)
        return self._telling(_NAMED.sub(self._told_by_name, text))

    def _told_by_name(self, match: re.Match[str]) -> str:
        name, between, value = match.groups()
        is_certain = ":" not in between or '"' in between or "'" in between
        if not self._personal.is_parameter(name) or not (is_certain or _ID_LIKE.match(value)):
            return match[0]
        return f"{name}{between}{self.told(value)}"

    def _base64(self, match: re.Match[str]) -> str:
        try:
            raw = b64decode(match[0] + "=" * (-len(match[0]) % 4), validate=True)
        except ValueError:
            return match[0]
        new = self.json(raw) if _is_json(raw) else raw
        return match[0] if new == raw else b64encode(new).decode()

    def _telling(self, text: str) -> str:
        if "@" not in text and "%40" not in text and len(text) < 38:
            return text
        return _TELLING.sub(self._told_by_itself, text)

    def _told_by_itself(self, match: re.Match[str]) -> str:
        if "%40" not in match[0]:
            return self.told(match[0])
        return _quoted(self.told(_unquoted(match[0])), "")

    # Bodies ----------------------------------------------------------------------------------------------------------

    def json(self, body: bytes, *, personal: Personal | None = None) -> bytes:
        """Return JSON text with personal values replaced; from where it is no JSON, nothing of it is left but its shape."""
        return masked_json(body, personal or self._personal, self.told, self.text, self._lose)

    def _lose(self, rest: bytes) -> None:
        """Remember what looks like an ID in a broken body, of which nobody can say what it is: answers may quote it."""
        for word in islice(dict.fromkeys(_WORD.findall(rest.decode("utf-8", "surrogateescape"))), _MOST_LOST):
            if _is_worth_looking_for(word):
                self._lost[word] = self._tokens.text(word)

    def _body(self, draft: _Draft) -> None:
        if not draft.body:
            return
        draft.unpack()
        body = draft.body
        if draft.is_json is None:
            draft.is_json = _is_json(body)
        if draft.is_json:
            may_tell = _MAY_TELL.search(body) is not None
            if draft.is_schema:  # it has the names of all members, and says what they mean
                draft.body = self.json(body, personal=_NOTHING) if may_tell else body
            elif may_tell or has_personal_names(body, self._personal, self._names):
                draft.body = self.json(body)
        elif body != draft.read or not body.strip():
            return
        elif _FORM.match(body):
            form = self._pairs(body.decode("utf-8", "surrogateescape"), is_own=True)
            draft.body = form.encode("utf-8", "surrogateescape")
        elif draft.is_request or body.lstrip()[:1] in _JSON_BEGINS:
            draft.body = self.json(body)
        else:
            text = body.decode("utf-8", "surrogateescape")
            draft.body = self._named(text).encode("utf-8", "surrogateescape")

    # URLs ------------------------------------------------------------------------------------------------------------

    def url(self, url: str, *, is_own: bool = False, is_page: bool = False) -> str:
        """Return a URL or path with personal values replaced.

        Args:
            is_own: Whether it is that of the request: what looks like an ID or a key in its query is replaced, too.
            is_page: Whether it is the address of a page: nobody knows what its query means, so all of it is replaced.
        """
        rest, mark, fragment = url.partition("#")
        head, question, query = rest.partition("?")
        authority = ""
        if match := _AUTHORITY.match(head):
            head = head[match.end() :]
            user = match["user"] and f"{_quoted(self.told(_unquoted(match['user'])), '')}@"
            authority = f"{match['scheme']}{user or ''}{match['host']}"
        return (
            f"{authority}{self._path(head)}{question}{self._pairs(query, is_own=is_own, all_values=is_page)}"
            f"{mark}{self._fragment(fragment, is_page=is_page)}"
        )

    def _fragment(self, fragment: str, *, is_page: bool) -> str:
        if is_page or not fragment.startswith(("/", "!/")):
            return self._pairs(fragment, all_values=is_page)
        head, question, query = fragment.partition("?")  # the path of a page within the page
        return f"{self._path(head)}{question}{self._pairs(query)}"

    def _path(self, path: str) -> str:
        if (
            "@" not in path
            and "=" not in path
            and "%40" not in path
            and len(path) < 38
            and not self._personal.is_in(path)
        ):
            return path
        parts = path.split("/")
        before = ""
        for place, part in enumerate(parts):
            text = _unquoted(part)
            is_named = (
                before and self._personal.is_member(before) and _ID_LIKE.match(text)
            )  # /login/v1/api/… is a prefix
            new = self.told(text) if is_named else self._telling(text)
            if "=" in part:
                parts[place] = self._pairs(part)
            elif new != text:
                parts[place] = _quoted(new, _SAFE_IN_PATH)
            before = text
        return "/".join(parts)

    def _pairs(self, query: str, *, is_own: bool = False, all_values: bool = False) -> str:
        if not query:
            return query
        pairs = re.split("([&;])", query)
        pairs[::2] = [self._pair(pair, is_own=is_own, is_personal=all_values) for pair in pairs[::2]]
        return "".join(pairs)

    def _pair(self, pair: str, *, is_own: bool, is_personal: bool) -> str:
        name, equals, value = pair.partition("=")
        name_text, value_text = _unquoted(name, plus=True), _unquoted(value, plus=True)
        if not equals:
            new = self.told(name_text, repeats=False) if is_personal else self.text(name_text)
            new = self._unnamed(new) if is_own and new == name_text else new
            return pair if new == name_text else _quoted(new, _SAFE_IN_QUERY)
        new_name = self._telling(name_text)
        plain_name = name_text.rpartition("?")[2]
        is_named = self._personal.is_parameter(plain_name) and not (
            needs_digit(plain_name) and not any(map(str.isdigit, value_text))
        )
        new = self.told(value_text, repeats=is_named) if is_personal or is_named else self.text(value_text)
        if is_own and new == value_text:
            new = self._unnamed(value_text)
        return (
            f"{name if new_name == name_text else _quoted(new_name, _SAFE_IN_QUERY)}"
            f"={value if new == value_text else _quoted(new, _SAFE_IN_QUERY)}"
        )

    def _unnamed(self, text: str) -> str:
        """Return text with that replaced which looks like an ID or a key."""
        return _SECRET_LIKE.sub(lambda match: self.told(match[0], repeats=False), text)

    # Headers ---------------------------------------------------------------------------------------------------------

    def _header(self, name: str, value: str, *, is_request: bool) -> str:
        way = self._way(name)
        if way is _Way.KEPT or not value:
            return value
        text = _text_of(value)
        match way:
            case _Way.COOKIE:
                pairs = re.split(r"(; *)", text)
                pairs[::2] = [self._cookie(pair) for pair in pairs[::2]]
                new = "".join(pairs)
            case _Way.SET_COOKIE:
                parts = _SET_COOKIES.split(text)
                parts[::2] = [self._set_cookie(each) for each in parts[::2]]
                new = "".join(parts)
            case _Way.AUTHORIZATION:
                scheme = _SCHEME.match(text)
                start = scheme.end() if scheme else 0
                new = text[:start] + self.told(text[start:])
            case _Way.ADDRESSES:
                new = ",".join(self._listed_address(each) for each in text.split(","))
            case _Way.FORWARDED:
                new = self._forwarded(text)
            case _Way.VIA:
                new = ",".join(map(self._proxy, text.split(","))) if is_request else text
            case _Way.PAGE:
                new = self.url(text, is_page=True)
            case _Way.URL:
                new = self.url(text)
            case _Way.HOST:
                user, at, host = text.rpartition("@")
                new = f"{self.told(user)}@{host}" if at else text
            case _Way.WHOLE:
                new = self.told(text)
            case _:
                may_have = is_request and "version" not in name.lower()  # 1.2.3.4 is a version, too
                new = self.text(self._addresses(text) if may_have else text)
                if may_have and new == text:
                    new = self._unnamed(text)
        return value if new == text else _wire_of(new)

    def _set_cookie(self, text: str) -> str:
        pair, *rest = text.split(";")
        kept = (each if _ATTRIBUTE.match(each) else self._cookie(each) for each in rest)
        return ";".join([self._cookie(pair), *kept])

    def _cookie(self, pair: str) -> str:
        name, equals, value = pair.partition("=")
        if not pair.strip():
            return pair
        if not equals or not value.strip():  # nobody knows whether it is a name or a value
            return self.told(name, repeats=False) + equals + value
        text = _unquoted(value.strip())
        quoted = text.strip('"')
        is_named = self._personal.is_parameter(name.strip()) or is_secret_header(name.lower())
        new = self.told(quoted, repeats=is_named)
        mark = '"' if text != quoted else ""
        told_name = self._telling(_unquoted(name))
        kept_name = name if told_name == _unquoted(name) else _quoted(told_name, "")
        return f"{kept_name}={value if new == quoted else mark + _quoted(new, '@') + mark}"

    def _proxy(self, text: str) -> str:
        """Return an element of ``Via`` with the name of the proxy replaced: version, name, perhaps a comment."""
        words = text.split(None, 2)
        if len(words) < 2:
            return text
        begin = text.index(words[1], text.index(words[0]) + len(words[0]))
        return text[:begin] + self.told(words[1], repeats=False)

    def _forwarded(self, text: str) -> str:
        new, end = "", 0
        for match in _FORWARDED.finditer(text):
            new += self._addresses(text[end : match.start()]) + match["name"] + self._listed_address(match["value"])
            end = match.end()
        return new + self._addresses(text[end:])

    def _addresses(self, text: str) -> str:
        """Return text with the IP addresses in it replaced."""
        return _IP_ADDRESS.sub(lambda match: self.address(match[0]) if _is_ip(match[0]) else match[0], text)

    def _listed_address(self, text: str) -> str:
        bare = text.strip().strip('"')
        match = _PORT.match(bare)
        host, port = (match["host"], match["port"]) if match else (bare, "")
        inner = host.removeprefix("[").removesuffix("]")
        return text.replace(bare, host.replace(inner, self.address(inner)) + port) if inner else text

    # Messages --------------------------------------------------------------------------------------------------------

    def fill(self, draft: _Draft) -> None:
        """Replace the values of a message, and remember them."""
        self._body(draft)
        if draft.is_request:
            draft.line = self._once("", draft.line, is_request=True)
        way, is_request = self._way, draft.is_request
        draft.headers = tuple(
            header if way(header[0]) is _Way.KEPT else (header[0], self._once(*header, is_request=is_request))
            for header in draft.headers
        )

    def _once(self, name: str, line: str, *, is_request: bool) -> str:
        """Return a header, or without a name a path, with its values replaced: devices send the same ones all the time."""
        key = (name, line, is_request)
        known = self._lines.get(key)
        if known is None:
            before, self.echoes = self.echoes, {}
            new = self._header(name, line, is_request=is_request) if name else self._of_wire(line)
            known, self.echoes = (new, self.echoes), before
            if len(line) <= _LONGEST_KEPT:
                if len(self._lines) >= _MOST_LINES:
                    self._lines.clear()
                self._lines[key] = known
        self.echoes.update(known[1])
        return known[0]

    def _of_wire(self, line: str) -> str:
        text = _text_of(line)
        new = self.url(text, is_own=True)
        return line if new == text else _wire_of(new)

    def keep_sessions(self, exchange: Exchange) -> None:
        """Do not look for the session's ID, which is no personal value, wherever it stands."""
        answer = exchange.response
        location = header(answer.headers, "location") if answer else None
        for line in (exchange.request.path, location or ""):
            for found in _SESSION.findall(line):
                session_id = _unquoted(found.rpartition("/")[2])
                self.echoes.pop(session_id, None)
                self._lost.pop(session_id, None)

    def find_lost(self) -> None:
        """Look, from now on, for what stood in the broken part of the request as well."""
        self.echoes = {**self._lost, **self.echoes}

    def echo(self, draft: _Draft) -> None:
        """Replace what repeats the remembered values in a message."""
        if not self.echoes:
            return
        draft.line = self._echoed_line(draft.line) if draft.is_request else self.echoed(draft.line)
        way = self._way
        draft.headers = tuple(
            header
            if way(header[0]) in _UNECHOED or header[0].lower() == "origin"
            else (header[0], self._echoed_line(header[1]))
            for header in draft.headers
        )
        if draft.body:
            draft.body = self._echoed_body(draft.body, is_json=bool(draft.is_json))

    def echoed(self, text: str) -> str:
        """Return text with the remembered values in it replaced."""
        found = [value for value in self.echoes if value in text]
        for value in sorted(found, key=len, reverse=True):
            alone = rf"(?<![0-9A-Za-z]){re.escape(value)}(?![0-9A-Za-z])"
            text = re.sub(alone, self.echoes[value].replace("\\", r"\\"), text)
        return text

    def _echoed_line(self, line: str) -> str:
        """Return a path, URL or header with the remembered values replaced, but not the session ID in it."""
        if "%" not in line and line.isascii() and not any(value in line for value in self.echoes):
            return line
        text = _text_of(line)
        new = "".join(part if _SESSION.match(part) else self._echoed_part(part) for part in _SESSION.split(text))
        return line if new == text else _wire_of(new)

    def _echoed_part(self, text: str) -> str:
        text = self.echoed(text)
        if "%" not in text:
            return text
        parts = _DELIMITERS.split(text)
        for place, part in enumerate(parts):
            plain = _unquoted(part)
            if (new := self.echoed(plain)) != plain:
                parts[place] = _quoted(new, "")
        return "".join(parts)

    def _echoed_body(self, body: bytes, *, is_json: bool) -> bytes:
        if (
            b"\\" not in body
            and b"%" not in body
            and not any(value.encode("utf-8", "surrogatepass") in body for value in self.echoes)
        ):
            return body
        if is_json or body.lstrip()[:1] in _JSON_BEGINS:
            return self._echoed_strings(body)
        text = body.decode("utf-8", "surrogateescape")
        return self._echoed_part(text).encode("utf-8", "surrogateescape")

    def _echoed_strings(self, body: bytes) -> bytes:
        """Return JSON text with the remembered values replaced, but not in members that describe the content."""
        is_fixed = False

        def told(match: re.Match[bytes]) -> bytes:
            nonlocal is_fixed
            if match[1] is None:  # a number
                number = match[0].decode()
                token = None if is_fixed else self.echoes.get(number)
                return match[0] if token is None or not token.isdigit() else token.encode()
            if match[2]:
                is_fixed = self._is_fixed(match[1])
            elif is_fixed:
                return match[0]
            return self._echoed_string(match)

        return STRING_OR_NUMBER.sub(told, body)

    def _is_fixed(self, name: bytes) -> bool:
        found = self._fixed.get(name)
        if found is None:
            if len(self._fixed) >= _MOST_NAMES:
                self._fixed.clear()
            text = string_of(b'"%b"' % name) or ""
            found = self._fixed[name] = is_of_protocol(text) and not self._personal.may_be_member(text)
        return found

    def _echoed_string(self, match: re.Match[bytes]) -> bytes:
        token = b'"%b"' % match[1]
        value = string_of(token)
        if value is None or (new := self._echoed_part(value)) == value:
            return match[0]
        return respelled(token, value, new) + (match[2] or b"")


_NOTHING = Personal(members=frozenset(), headers=frozenset())


def _is_worth_looking_for(value: str) -> bool:
    return _ID_LIKE.match(value) is not None and value.encode("utf-8", "surrogatepass") not in KNOWN_WORDS


def _is_ip(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _is_loopback(text: str) -> bool:
    try:
        address = ip_address(text)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def _is_json(body: bytes) -> bool:
    try:
        jsontext.loads(body)
    except ProtocolError:
        return False
    return True


def _text_of(wire: str) -> str:
    """Return what a path or header says, whose bytes are decoded as Latin-1."""
    if wire.isascii():
        return wire
    try:
        return wire.encode("latin-1").decode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # it comes from a file that has it as text
        return wire


def _wire_of(text: str) -> str:
    return text if text.isascii() else text.encode("utf-8", "surrogateescape").decode("latin-1")


def _unquoted(text: str, *, plus: bool = False) -> str:
    if plus:
        text = text.replace("+", " ")
    if "%" not in text:
        return text
    return unquote_to_bytes(text.encode("utf-8", "surrogateescape")).decode("utf-8", "surrogateescape")


def _quoted(text: str, safe: str) -> str:
    return quote(text.encode("utf-8", "surrogateescape"), safe=safe)
