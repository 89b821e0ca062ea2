r"""Where messages of HTTP/1.1 begin and end, read more strictly than any parser that may stand behind us.

What two parsers could understand differently is refused, in requests and in answers, with one sentence that names it:
`Malformed`. Nothing is repaired: what passes, passes as it came. Where RFC 9112 leaves a choice, this takes the stricter::

    head      = line CRLF *( name ":" value CRLF ) CRLF       at most 64 KiB
    line      = method SP target SP version | version SP status [ SP reason ]
    version   = "HTTP/1.1" | "HTTP/1.0"
    name      = 1*tchar                                       no space before ":", no line that continues another
    value     = *( HTAB | SP | VCHAR | obs-text )             no NUL, bare CR or LF, or other control character
    target    = "/" *char | http-url | "*"                    the last for OPTIONS alone
    length    = "0" | digit1-9 *17digit                       once, and never beside Transfer-Encoding
    coding    = "chunked"                                     once, alone, no tab beside it, and not with HTTP/1.0
    chunked   = *( 1*15hexdig *( ";" token [ "=" ( token | quoted ) ] ) CRLF data CRLF ) 1*15"0" … CRLF trailers CRLF
    trailers  = *( name ":" value CRLF )                      at most 8 KiB; none that frames, routes or concerns a hop

>>> head = request_head(b"POST /api/v1/sessions HTTP/1.1\r\nHost: device\r\nContent-Length: 2\r\n\r\n", Target(b"upstream"))
>>> head.length, head.is_recorded, head.upstream
(2, True, b'POST /api/v1/sessions HTTP/1.1\r\nHost: upstream\r\nContent-Length: 2\r\n\r\n')
>>> request_head(b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length : 2\r\n\r\n", Target(b"upstream"))
Traceback (most recent call last):
    ...
proxy_addon.recording.lane.framing.Malformed: space before the colon of header 'Content-Length'

Source: RFC 9112, 2 to 7; RFC 9110, 5 to 7. Held to mitmproxy's ``net/http/validate.py``, to llhttp, h11 and nginx by
``tests/property/test_lane_fuzz.py``.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import lru_cache

from proxy_addon.core.routes import parse_route
from proxy_addon.core.wording import quoted
from proxy_addon.recording.loops import MARK

LONGEST_HEAD = 64 * 1024
"""Bytes of the longest head, its empty line included."""
LONGEST_CHUNK_LINE = 1024
LONGEST_TRAILERS = 8 * 1024
KEPT_OF_LONG = 64 * 1024
"""Bytes that are kept of a body which is too long to keep whole."""

UNTIL_CLOSE = -1
"""Length of an answer that ends when upstream closes the connection."""
CHUNKED = -2
"""Length of a body in chunks."""

_CACHED_LINES, _LONGEST_CACHED_LINE = 4096, 512
_CACHED_FIELDS, _LONGEST_CACHED_FIELDS = 2048, 2048

_CRLF = b"\r\n"
_END = b"\r\n\r\n"
_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
_VALUE = rb"[\t\x20-\x7e\x80-\xff]*+"
_REQUEST_LINE = re.compile(rb"(" + _TOKEN + rb") ([\x21-\x7e\x80-\xff]++) HTTP/1\.([01])")
_ANSWER_LINE = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: " + _VALUE + rb")?")
_URL = re.compile(rb"[Hh][Tt][Tt][Pp][Ss]?://[A-Za-z0-9.\-_~%!$&'()*+,;=:\[\]]++(/.*+|\?.*+)?", re.DOTALL)
_HOST = re.compile(rb"[A-Za-z0-9.\-_~%!$&'()*+,;=:\[\]]+")
_FIELDS = re.compile(rb"(?:" + _TOKEN + rb":" + _VALUE + rb"\r\n)*+")
_LENGTH = re.compile(
    rb"\r\n[Cc][Oo][Nn][Tt][Ee][Nn][Tt]-[Ll][Ee][Nn][Gg][Tt][Hh]:[\t ]*+(0|[1-9][0-9]{0,17})[\t ]*+\r\n"
)
_KNOWN = re.compile(
    rb"^(content-length|transfer-encoding|host|connection|expect|upgrade|keep-alive|" + MARK + rb"):[\t ]*+"
    rb"((?:[^\t\r ]++|[\t ]++(?!\r))*+)[\t ]*+\r\n",
    re.IGNORECASE | re.MULTILINE,
)
_MARK_LINE = re.compile(rb"^" + MARK + rb":[^\n]*+\n", re.IGNORECASE | re.MULTILINE)
_HOST_LINE = re.compile(rb"^(host:[\t ]*+)[^\r]*+", re.IGNORECASE | re.MULTILINE)
_OFFERS_HTTP2 = re.compile(rb"(?:^|,)[\t ]*+h2c[\t ]*+(?:$|,)", re.IGNORECASE)
_UPGRADE_LINE = re.compile(rb"^(?:upgrade|http2-settings):[^\n]*+\n", re.IGNORECASE | re.MULTILINE)
_CODING_LINE = re.compile(rb"^transfer-encoding:[^\n]*+\n", re.IGNORECASE | re.MULTILINE)
_NEVER_IN_TRAILERS = re.compile(
    rb"^(content-(?:length|encoding|type|range)|transfer-encoding|host|connection|keep-alive|proxy-connection|te|trailer|"
    rb"upgrade|expect|authorization|proxy-authorization|" + MARK + rb"):",
    re.IGNORECASE | re.MULTILINE,
)
_TIMEOUT = re.compile(rb"timeout=([0-9]{1,6})", re.IGNORECASE)
_FORBIDDEN = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?=[^\n])|(?<!\r)\n")
_HARMLESS = bytes(code for code in range(256) if code == 9 or (code >= 32 and code != 127))
_QUOTED = rb'"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*+"'
_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})(?:;" + _TOKEN + rb"(?:=(?:" + _TOKEN + rb"|" + _QUOTED + rb"))?)*+")
_SIZE = re.compile(rb"[0-9A-Fa-f]*+")
_NEVER_IN_CONNECTION = {b"content-length", b"transfer-encoding", b"host"}
_CONTROL_NAMES = {0: "NUL", 10: "bare LF", 13: "bare CR", 127: "DEL"}


class Malformed(Exception):  # a fact about a message, which its text names
    """A message cannot be passed on; its text names the one thing that is wrong, without the values of headers.

    Attributes:
        status: Status of the answer to a device that sent it.
        at: Where in a head it was found, if that may be before the head is whole; what is behind does not count.
    """

    def __init__(self, text: str, status: int = 400, at: int | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.at = at


# Heads -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Target:
    """Where requests go.

    Attributes:
        authority: ``Host`` of what goes there.
        prefix: Path of its URL, which is put before each path.
    """

    authority: bytes
    prefix: bytes = b""


@dataclass(frozen=True, slots=True)
class RequestLine:
    """The first line of a request.

    Attributes:
        path: Path and query; of a URL, what follows the authority.
        upstream: The line as it goes to upstream.
    """

    method: bytes
    path: bytes
    upstream: bytes
    is_recorded: bool
    is_http10: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fields:
    """What a head says beside its first line and ``Content-Length``.

    Attributes:
        sent: The lines before and behind ``Content-Length`` as they are recorded.
        passed: The same as they are passed on.
        hosts: How many lines ``Host``.
        is_plain: Whether nothing but one ``Host`` (in a request) is in it that concerns us.
        idle_s: How long an unused connection is kept, if upstream said so.
        marks: The lines of other recorders.
    """

    sent: tuple[bytes, bytes]
    passed: tuple[bytes, bytes]
    hosts: int
    is_plain: bool
    is_chunked: bool = False
    closes: bool = False
    keeps: bool = False
    upgrades: bool = False
    expects: bool = False
    idle_s: int | None = None
    marks: bytes = b""


class RequestHead:
    """A request without its body.

    Attributes:
        sent: The head as it is recorded: as it came, but for marks of recorders.
        upstream: The head as it goes to upstream.
        length: Bytes of its body, or `CHUNKED`.
        closes: Whether its connection ends with the answer.
        upgrades: Whether it asks for another protocol.
        expects: Whether it waits for an answer 100 before it sends its body.
        marks: The lines of other recorders, which go to recorders alone.
    """

    __slots__ = ("closes", "expects", "is_recorded", "length", "line", "marks", "sent", "upgrades", "upstream")

    def __init__(self, line: RequestLine, sent: bytes, upstream: bytes, length: int) -> None:
        self.line = line
        self.sent = sent
        self.upstream = upstream
        self.length = length
        self.is_recorded = line.is_recorded
        self.closes = self.upgrades = self.expects = False
        self.marks = b""


class AnswerHead:
    """An answer without its body.

    Attributes:
        sent: The head as it is recorded: as it came.
        device: The head as it goes to the device.
        length: Bytes of its body, `CHUNKED` or `UNTIL_CLOSE`.
        closes: Whether its connection ends with it.
        may_trail: Whether the end of a body that cannot be may still follow.
        idle_s: How long upstream keeps an unused connection, if it said so.
    """

    __slots__ = ("closes", "device", "idle_s", "length", "may_trail", "sent", "status")

    def __init__(self, status: int, sent: bytes, length: int) -> None:
        self.status = status
        self.sent = self.device = sent
        self.length = length
        self.closes = self.may_trail = False
        self.idle_s: int | None = None


def end_of_head(data: bytes | bytearray, known: int = 0) -> int:
    """Return where the first head in some bytes ends, behind its empty line; -1 if more has to come.

    Args:
        known: How many bytes have been looked at before, without an end.

    Raises:
        Malformed: Something is in it that no head may have, or it is too long.
    """
    end = data.find(_END, max(0, known - 3), LONGEST_HEAD)
    if end >= 0:
        return end + 4
    check_characters(data, max(0, known - 1), LONGEST_HEAD)
    if len(data) >= LONGEST_HEAD:
        raise Malformed(f"head of more than {LONGEST_HEAD // 1024} KiB", 431, LONGEST_HEAD)
    return -1


def check_characters(data: bytes | bytearray, begin: int = 0, end: int = LONGEST_HEAD) -> None:
    """Look for what may be in no line.

    Raises:
        Malformed: It is there; the first is named.
    """
    piece = data[begin:end]
    if 2 * piece.count(b"\r\n") == len(piece.translate(None, _HARMLESS)):
        return  # nothing but ends of lines; to learn that from the pattern takes several times as long
    if found := _FORBIDDEN.search(data, begin, end):
        code = data[found.start()]
        raise Malformed(_CONTROL_NAMES.get(code, f"control character 0x{code:02x}"), at=found.start())


def request_head(head: bytes, target: Target) -> RequestHead:
    """Read the head of a request.

    Args:
        head: All of it, with its empty line.

    Raises:
        Malformed: It cannot be passed on.
    """
    try:
        return _request_head(head, target)
    except Malformed:
        check_characters(head)  # whether a head came in pieces must make no difference, and these are found earlier
        raise


def _request_head(head: bytes, target: Target) -> RequestHead:
    at = head.index(_CRLF)
    if at <= _LONGEST_CACHED_LINE:
        line = request_line(head[:at], target.prefix)
    else:
        line = request_line.__wrapped__(head[:at], target.prefix)
    found = _LENGTH.search(head, at)
    if found is None:
        length, before, between, after = 0, head[at + 2 : -2], b"", b""
    else:
        begin, end = found.span()
        length = int(found[1])
        before, between, after = head[at + 2 : begin + 2], head[begin + 2 : end], head[end:-2]
    if len(before) + len(after) <= _LONGEST_CACHED_FIELDS:
        fields = _request_fields(before, after, target.authority)
    else:
        fields = _request_fields.__wrapped__(before, after, target.authority)
    upstream = b"%b\r\n%b%b%b\r\n" % (line.upstream, fields.passed[0], between, fields.passed[1])
    if fields.is_plain and not line.is_http10:
        return RequestHead(line, head, upstream, length)
    return _unusual_request(head, line, upstream, found is not None, length, between, fields)


def _unusual_request(  # noqa: PLR0917  # a part of the one before
    head: bytes, line: RequestLine, upstream: bytes, has_length: bool, length: int, between: bytes, fields: _Fields
) -> RequestHead:
    """Return the head of a request in which more is than most have."""
    if fields.hosts > 1:
        raise Malformed("more than one Host")
    if not fields.hosts and not line.is_http10:
        raise Malformed("no Host")
    if fields.is_chunked:
        _check_coding(line.is_http10, has_length)
        length = CHUNKED
    read = RequestHead(line, head, upstream, length)
    read.closes = fields.closes or (line.is_http10 and not fields.keeps)
    read.upgrades = fields.upgrades and not line.is_http10
    read.expects = fields.expects and not line.is_http10
    if fields.marks:
        read.marks = fields.marks
        read.sent = b"%b\r\n%b%b%b\r\n" % (head[: head.index(_CRLF)], fields.sent[0], between, fields.sent[1])
    return read


def _check_coding(is_http10: bool, has_length: bool) -> None:
    if has_length:
        raise Malformed("both Transfer-Encoding and Content-Length")
    if is_http10:
        raise Malformed("Transfer-Encoding with HTTP/1.0")


@lru_cache(_CACHED_LINES)
def request_line(line: bytes, prefix: bytes) -> RequestLine:
    """Read the first line of a request.

    Args:
        prefix: What is put before its path.

    Raises:
        Malformed: It cannot be passed on.
    """
    match = _REQUEST_LINE.fullmatch(line)
    if match is None:
        raise _why_no_request(line)
    method, target, minor = match.groups()
    if method not in {b"CONNECT", b"HEAD"} and method.upper() in {b"CONNECT", b"HEAD"}:
        raise Malformed(f"method {quoted(method.decode())}, which some would read as {method.upper().decode()}")
    if method == b"PRI":
        raise Malformed("method PRI, with which HTTP/2 begins")
    if method == b"CONNECT":
        raise Malformed("CONNECT, which only a forward proxy serves", 405)
    path = _path(method, target)
    upstream = b"%b %b%b HTTP/1.%b" % (method, b"" if path == b"*" else prefix, path, minor)
    is_recorded = parse_route(method.decode("ascii"), path.decode("latin-1")) is not None
    return RequestLine(method, path, upstream, is_recorded, minor == b"0")


def _path(method: bytes, target: bytes) -> bytes:
    if target.startswith(b"/"):
        return target
    if target == b"*" and method == b"OPTIONS":
        return target
    url = _URL.fullmatch(target)
    if url is None:
        raise Malformed("request target that is neither a path nor an http URL")
    path = url[1]
    if path is None:
        return b"*" if method == b"OPTIONS" else b"/"  # RFC 9112, 3.2.4
    return path if path.startswith(b"/") else b"/" + path


def _why_no_request(line: bytes) -> Malformed:
    parts = line.split(b" ")
    if len(parts) == 3 and re.fullmatch(rb"HTTP/[0-9]\.[0-9]", parts[2]) and parts[2] not in (b"HTTP/1.0", b"HTTP/1.1"):
        return Malformed(f"version {parts[2].decode()}", 505)
    if len(parts) != 3 or not all(parts):
        return Malformed("request line that is not a method, a target and a version with one space between them")
    if not re.fullmatch(_TOKEN, parts[0]):
        return Malformed("invalid character in the method")
    if not parts[2].startswith(b"HTTP/1."):
        return Malformed("request line without HTTP/1.1 at its end")
    if not re.fullmatch(rb"HTTP/1\.[01]", parts[2]):
        return Malformed("invalid version", 505)
    return Malformed("invalid character in the request target")


@lru_cache(_CACHED_FIELDS)
def _request_fields(before: bytes, after: bytes, authority: bytes) -> _Fields:
    known = _known(before + after)
    sent = (before, after)
    marks = b""
    if MARK.lower() in known:
        block = before + after
        marks = b"".join(_MARK_LINE.findall(block))
        sent = (_MARK_LINE.sub(b"", before), _MARK_LINE.sub(b"", after))
    hosts = known.get(b"host", [])
    if len(hosts) == 1 and not _HOST.fullmatch(hosts[0]):
        raise Malformed("invalid Host" if hosts[0] else "empty Host")
    passed = (_with_host(sent[0], authority), _with_host(sent[1], authority))
    if not hosts:
        passed = (b"Host: %b\r\n%b" % (authority, passed[0]), passed[1])
    tokens = _tokens(known.get(b"connection", ()))
    upgrades = b"upgrade" in known and b"upgrade" in tokens
    if any(_OFFERS_HTTP2.search(value) for value in known.get(b"upgrade", ())):
        # Nothing that follows would be recorded. Whoever offers HTTP/2 in this way goes on with HTTP/1.1 (RFC 9110, 7.8).
        passed = (_UPGRADE_LINE.sub(b"", passed[0]), _UPGRADE_LINE.sub(b"", passed[1]))
        upgrades = False
    return _Fields(
        sent=sent,
        passed=passed,
        hosts=len(hosts),
        is_plain=len(hosts) == 1 and (len(known) == 1 or (len(known) == 2 and tokens == {b"keep-alive"})),
        is_chunked=_is_chunked(known, before + after),
        closes=b"close" in tokens,
        keeps=b"keep-alive" in tokens,
        upgrades=upgrades,
        expects=any(value.lower() == b"100-continue" for value in known.get(b"expect", ())),
        marks=marks,
    )


def _with_host(block: bytes, authority: bytes) -> bytes:
    return _HOST_LINE.sub(lambda match: match[1] + authority, block)


def answer_head(head: bytes, *, to_head: bool) -> AnswerHead:
    """Read the head of an answer.

    Args:
        head: All of it, with its empty line.
        to_head: Whether it answers a HEAD, so that no body follows.

    Raises:
        Malformed: It cannot be passed on.
    """
    try:
        return _answer_head(head, to_head)
    except Malformed:
        check_characters(head)
        raise


def _answer_head(head: bytes, to_head: bool) -> AnswerHead:
    at = head.index(_CRLF)
    status, is_http10 = _status(head[:at])
    found = _LENGTH.search(head, at)
    if found is None:
        length, before, after = UNTIL_CLOSE, head[at + 2 : -2], b""
    else:
        begin, end = found.span()
        length, before, after = int(found[1]), head[at + 2 : begin + 2], head[end:-2]
    if len(before) + len(after) <= _LONGEST_CACHED_FIELDS:
        fields = _answer_fields(before, after)
    else:
        fields = _answer_fields.__wrapped__(before, after)
    bodiless = status < 200 or status in {204, 304} or to_head
    read = AnswerHead(status, head, 0 if bodiless else length)
    if fields.is_plain and not is_http10:
        if status == 204 and length > 0:
            read.closes = True  # if a body does follow, nobody knows whether it is one
        return read
    if fields.is_chunked:
        _check_coding(is_http10, found is not None)
        if status < 200:
            raise Malformed(f"Transfer-Encoding in an answer {status}")
        if status == 204:
            # It has no meaning there, but some devices would wait for chunks.
            read.device = _CODING_LINE.sub(b"", head)
            read.may_trail = True
        elif not bodiless:
            read.length = CHUNKED
    read.closes = fields.closes or (is_http10 and not fields.keeps) or (status == 204 and length > 0)
    read.idle_s = fields.idle_s
    return read


@lru_cache(_CACHED_LINES // 16)
def _status(line: bytes) -> tuple[int, bool]:
    match = _ANSWER_LINE.fullmatch(line)
    if match is None:
        raise Malformed("no status line of HTTP/1.1")
    return int(match[2]), match[1] == b"0"


@lru_cache(_CACHED_FIELDS)
def _answer_fields(before: bytes, after: bytes) -> _Fields:
    known = _known(before + after)
    tokens = _tokens(known.get(b"connection", ()))
    timeout = _TIMEOUT.search(b",".join(known.get(b"keep-alive", ())))
    return _Fields(
        sent=(before, after),
        passed=(before, after),
        hosts=0,
        is_plain=not known or (known.keys() == {b"connection"} and tokens == {b"keep-alive"}),
        is_chunked=_is_chunked(known, before + after),
        closes=b"close" in tokens,
        keeps=b"keep-alive" in tokens,
        idle_s=int(timeout[1]) if timeout else None,
    )


def _known(block: bytes) -> dict[bytes, list[bytes]]:
    """Return the values, by name in lower case, of the headers that concern us.

    Raises:
        Malformed: A line is no header, or there is a ``Content-Length`` in it: a valid one would have been taken out.
    """
    if not _FIELDS.fullmatch(block):
        raise _why_no_field(block)
    known: dict[bytes, list[bytes]] = {}
    for name, value in _KNOWN.findall(block):
        known.setdefault(name.lower(), []).append(value)
    if lengths := known.get(b"content-length"):
        valid = all(re.fullmatch(rb"0|[1-9][0-9]{0,17}", value) for value in lengths)
        raise Malformed(
            "more than one Content-Length"
            if valid
            else f"invalid Content-Length {quoted(lengths[0].decode('latin-1'), 30)}"
        )
    return known


def _is_chunked(known: dict[bytes, list[bytes]], block: bytes) -> bool:
    codings = known.get(b"transfer-encoding")
    if codings is None:
        return False
    if len(codings) > 1:
        raise Malformed("more than one Transfer-Encoding")
    if codings[0].lower() != b"chunked":
        raise Malformed(f"Transfer-Encoding {quoted(codings[0].decode('latin-1'), 30)} instead of chunked", 501)
    line = _CODING_LINE.search(block)
    if line is not None and b"\t" in line[0]:  # llhttp does not take it for white space, as it may be by RFC 9110
        raise Malformed("tab in Transfer-Encoding")
    return True


def _tokens(values: list[bytes] | tuple[()]) -> set[bytes]:
    tokens = {token.strip(b" \t").lower() for value in values for token in value.split(b",")}
    if named := tokens & _NEVER_IN_CONNECTION:
        # Whoever obeys drops them, and then reads the message differently from whoever does not.
        raise Malformed(f"Connection names {min(named).decode()}")
    return tokens


def _why_no_field(block: bytes) -> Malformed:
    for line in block.split(_CRLF):
        if not line or _FIELDS.fullmatch(line + _CRLF):
            continue
        if line[:1] in (b" ", b"\t"):
            return Malformed("header line that begins with a space, to continue the one before (obs-fold)")
        name, colon, _ = line.partition(b":")
        shown = quoted(name.rstrip(b" \t").decode("latin-1"), 40)
        if not colon:
            return Malformed("header line without a colon")
        if not name:
            return Malformed("header without a name")
        if name[-1:] in (b" ", b"\t"):
            return Malformed(f"space before the colon of header {shown}")
        return Malformed(f"invalid header name {shown}")
    return Malformed("empty line among the headers")


# Bodies ----------------------------------------------------------------------------------------------------------


class Kept:
    """What is recorded of a body that comes in pieces: all of it, or its beginning with length and hash of the whole.

    Attributes:
        length: Bytes so far.
    """

    __slots__ = ("_hash", "_kept", "_most", "length")

    def __init__(self, most: int) -> None:
        """Begin one.

        Args:
            most: Bytes of the longest body that is kept whole.
        """
        self._most = most
        # A device chooses the pieces, and many small objects take far more memory than their bytes.
        self._kept = bytearray()
        self._hash: hashlib._Hash | None = None
        self.length = 0

    @property
    def is_cut(self) -> bool:
        """Whether it has become too long to keep."""
        return self._hash is not None

    @property
    def sha256(self) -> str | None:
        """Hash of the whole, in hex, if it is too long to keep."""
        return self._hash.hexdigest() if self._hash is not None else None

    def add(self, data: bytes) -> None:
        """Add what has come."""
        self.length += len(data)
        if self._hash is not None:
            self._hash.update(data)
            return
        self._kept += data
        if self.length > self._most:
            self._hash = hashlib.sha256(self._kept)
            self._kept = self._kept[: min(KEPT_OF_LONG, self._most)]

    def body(self) -> bytes:
        """Return the body, or its beginning."""
        return bytes(self._kept)


class Body:
    """Finds the end of a body while it passes by, and keeps what is recorded of it.

    Attributes:
        is_done: Whether it has ended.
        kept: What has come, without the transfer coding; None if it is not recorded.
    """

    __slots__ = ("is_done", "kept")

    def __init__(self, kept: Kept | None) -> None:
        self.is_done = False
        self.kept = kept

    def feed(self, data: bytes) -> int:
        """Take bytes, and return how many of them belong to the body and may be passed on.

        The rest belongs to what follows if the body is done; if not, it has to be fed again, with more behind it.

        Raises:
            Malformed: This is no body.
        """
        raise NotImplementedError


class Counted(Body):
    """A body whose length is known, or that ends with the connection."""

    __slots__ = ("_left",)

    def __init__(self, kept: Kept | None, length: int) -> None:
        super().__init__(kept)
        self._left = length  # for `UNTIL_CLOSE`, it never gets to 0
        self.is_done = length == 0

    def feed(self, data: bytes) -> int:
        """See `Body.feed`."""
        if self._left < 0:
            taken = len(data)
        else:
            taken = min(self._left, len(data))
            self._left -= taken
            self.is_done = not self._left
        if self.kept is not None and taken:
            self.kept.add(data[:taken])
        return taken


_IN_SIZE, _IN_DATA, _BEHIND_DATA, _IN_TRAILERS = range(4)


class Chunked(Body):
    """A body in chunks."""

    __slots__ = ("_left", "_state")

    def __init__(self, kept: Kept | None) -> None:
        super().__init__(kept)
        self._state = _IN_SIZE
        self._left = 0

    def feed(self, data: bytes) -> int:
        """See `Body.feed`. A line that is not whole is never passed on, as it may turn out to be wrong."""
        at = 0
        while not self.is_done:
            if self._state == _IN_SIZE:
                end = data.find(_CRLF, at, at + LONGEST_CHUNK_LINE + 2)
                if end < 0:
                    check_characters(data, at, at + LONGEST_CHUNK_LINE + 1)
                    if len(data) - at > LONGEST_CHUNK_LINE + 1:
                        raise Malformed(f"chunk size in a line of more than {LONGEST_CHUNK_LINE} bytes")
                    break
                self._left = _size(data[at:end])
                self._state = _IN_DATA if self._left else _IN_TRAILERS
                at = end + 2
            elif self._state == _IN_DATA:
                taken = min(self._left, len(data) - at)
                if not taken:
                    break
                if self.kept is not None:
                    self.kept.add(data[at : at + taken])
                self._left -= taken
                at += taken
                if not self._left:
                    self._state = _BEHIND_DATA
            elif self._state == _BEHIND_DATA:
                behind = data[at : at + 2]
                if behind != _CRLF:
                    if behind in (b"", b"\r"):
                        break
                    raise Malformed("chunk that is not as long as its size says")
                self._state = _IN_SIZE
                at += 2
            else:
                end = _end_of_trailers(data, at)
                if end < 0:
                    break
                self.is_done = True
                at = end
        return at


def _size(line: bytes) -> int:
    match = _CHUNK_LINE.fullmatch(line)
    if match is not None:
        return int(match[1], 16)
    check_characters(line + _CRLF)
    size = _SIZE.match(line)
    digits, rest = line[: size.end() if size else 0], line[size.end() if size else 0 :]
    if not digits:
        raise Malformed("chunk without a size")
    if len(digits) > 15:
        raise Malformed("chunk size of more than 15 digits")
    if rest[:1] in (b" ", b"\t"):
        raise Malformed("space behind a chunk size")
    raise Malformed("invalid chunk extension" if rest.startswith(b";") else "invalid chunk size")


def _end_of_trailers(data: bytes, at: int) -> int:
    """Return where the trailers that begin at ``at`` end, behind the empty line; -1 if more has to come."""
    if data.startswith(_CRLF, at):
        return at + 2
    end = data.find(_END, at, at + LONGEST_TRAILERS)
    if end < 0:
        check_characters(data, at, at + LONGEST_TRAILERS)
        if len(data) - at >= LONGEST_TRAILERS:
            raise Malformed(f"trailers of more than {LONGEST_TRAILERS // 1024} KiB", 431)
        return -1
    block = data[at : end + 2]
    check_characters(block)
    if not _FIELDS.fullmatch(block):
        raise _why_no_field(block)
    if found := _NEVER_IN_TRAILERS.search(block):
        raise Malformed(f"trailer {found[1].decode()}, which must not be one")
    return end + 4


def body_of(length: int, kept: Kept | None) -> Body:
    """Return what reads a body.

    Args:
        length: As of `RequestHead` or `AnswerHead`.
        kept: Where it is kept; None if it is not recorded.
    """
    return Chunked(kept) if length == CHUNKED else Counted(kept, length)


__all__ = [
    "CHUNKED",
    "KEPT_OF_LONG",
    "LONGEST_HEAD",
    "UNTIL_CLOSE",
    "AnswerHead",
    "Body",
    "Kept",
    "Malformed",
    "RequestHead",
    "Target",
    "answer_head",
    "body_of",
    "end_of_head",
    "request_head",
    "request_line",
]
