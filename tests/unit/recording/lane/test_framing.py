"""Heads and bodies of HTTP/1.1: what passes, what is refused, and how that is told."""

from __future__ import annotations

import hashlib
import tracemalloc

import pytest

from proxy_addon.recording.lane.framing import (
    CHUNKED,
    UNTIL_CLOSE,
    Kept,
    Malformed,
    Target,
    answer_head,
    body_of,
    end_of_head,
    request_head,
)

TARGET = Target(b"up.example:81", b"/base")
HOST = b"Host: a\r\n"


def post(*lines: bytes, line: bytes = b"POST /api/v1/sessions HTTP/1.1", host: bytes = HOST) -> bytes:
    return line + b"\r\n" + host + b"".join(each + b"\r\n" for each in lines) + b"\r\n"


@pytest.mark.parametrize(
    ("line", "recorded", "upstream"),
    [
        (b"POST /api/v1/sessions HTTP/1.1", True, b"POST /base/api/v1/sessions HTTP/1.1"),
        (b"GET /x?y=/api/v1/ HTTP/1.0", False, b"GET /base/x?y=/api/v1/ HTTP/1.0"),
        (b"POST HTTP://evil.example:1/api/v1/sessions HTTP/1.1", True, b"POST /base/api/v1/sessions HTTP/1.1"),
        (b"GET https://evil.example?q HTTP/1.1", False, b"GET /base/?q HTTP/1.1"),
        (b"GET http://evil.example HTTP/1.1", False, b"GET /base/ HTTP/1.1"),
        (b"GET //evil.example/x HTTP/1.1", False, b"GET /base//evil.example/x HTTP/1.1"),
        (b"OPTIONS * HTTP/1.1", False, b"OPTIONS * HTTP/1.1"),
        (b"OPTIONS http://evil.example HTTP/1.1", False, b"OPTIONS * HTTP/1.1"),
        (b"M-SEARCH /\xc3\xa4%zz HTTP/1.1", False, b"M-SEARCH /base/\xc3\xa4%zz HTTP/1.1"),
        (b"GET /" + b"x" * 5000 + b" HTTP/1.1", False, b"GET /base/" + b"x" * 5000 + b" HTTP/1.1"),
    ],
)
def test_a_request_goes_to_upstream_whatever_its_target_names(line, recorded, upstream):
    head = request_head(post(line=line), TARGET)
    assert head.is_recorded is recorded
    assert head.upstream == upstream + b"\r\nHost: up.example:81\r\n\r\n"
    assert head.sent == post(line=line)


def test_all_but_host_stays_as_it_was_sent():
    head = post(b"X-a:\t1 ", b"x-A: \xe4", b"content-LENGTH:  12\t", b"Cookie:", host=b"X: first\r\nhOST:b:80 \r\n")
    read = request_head(head, TARGET)
    assert read.length == 12
    assert read.upstream == head.replace(b" /api", b" /base/api").replace(b"hOST:b:80 ", b"hOST:up.example:81")


def test_what_a_request_says_of_its_connection():
    assert request_head(post(b"Connection: x, CLOSE"), TARGET).closes
    assert not request_head(post(b"Connection: keep-alive"), TARGET).closes
    old = b"GET / HTTP/1.0"
    assert request_head(post(line=old), TARGET).closes
    assert not request_head(post(b"Connection: Keep-Alive", line=old), TARGET).closes
    assert request_head(post(line=old, host=b""), TARGET).upstream.endswith(b"HTTP/1.0\r\nHost: up.example:81\r\n\r\n")
    assert request_head(post(b"Expect: 100-Continue", b"Content-Length: 1"), TARGET).expects
    assert request_head(post(b"Upgrade: websocket", b"Connection: Upgrade"), TARGET).upgrades
    assert not request_head(post(b"Upgrade: websocket"), TARGET).upgrades
    assert request_head(post(b"Transfer-Encoding:  Chunked"), TARGET).length == CHUNKED


def test_marks_of_other_recorders_are_neither_recorded_nor_passed_on():
    head = request_head(
        post(b"sessiontape-recorder: a", b"Content-Length: 0", b"Sessiontape-Recorder: b", b"X: y"), TARGET
    )
    assert head.marks == b"sessiontape-recorder: a\r\nSessiontape-Recorder: b\r\n"
    assert head.sent == post(b"Content-Length: 0", b"X: y")
    assert b"ecorder" not in head.upstream


REFUSED = [
    (post(b"Content-Length: 5", b"Transfer-Encoding: chunked"), "both Transfer-Encoding and Content-Length"),
    (post(b"Transfer-Encoding: chunked", b"Content-Length: 5"), "both Transfer-Encoding and Content-Length"),
    (post(b"Content-Length: 5", b"Content-Length: 5"), "more than one Content-Length"),
    (post(b"Content-Length: 5", b"x: y", b"content-length: 6"), "more than one Content-Length"),
    (post(b"Content-Length: 5", b"Content-Length: x"), "invalid Content-Length 'x'"),
    *((post(b"Content-Length: " + each), f"invalid Content-Length {each.decode()!r}") for each in
      (b"+5", b"-5", b"05", b"5,5", b"5, 5", b"0x5", b"5 5", b"5.", b"1_0", b"", b"1" * 19)),
    (post(b"Content-Length: 5", b" 6"), "header line that begins with a space, to continue the one before (obs-fold)"),
    (post(b"X: y", b"\tz"), "header line that begins with a space, to continue the one before (obs-fold)"),
    (post(host=b" Host: a\r\n"), "header line that begins with a space, to continue the one before (obs-fold)"),
    (post(b"Content-Length : 5"), "space before the colon of header 'Content-Length'"),
    (post(b"Transfer-Encoding\t: chunked"), "space before the colon of header 'Transfer-Encoding'"),
    (post(b"Transfer Encoding: chunked"), "invalid header name 'Transfer Encoding'"),
    (post(b"X\xe4: y"), "invalid header name 'X\xe4'"),
    (post(b"no colon"), "header line without a colon"),
    (post(b": y"), "header without a name"),
    (post(b"X: a\rb"), "bare CR"),
    (post(b"X: a\nb: c"), "bare LF"),
    (post(b"X: a\x00"), "NUL"),
    (post(b"X: a\x0bb"), "control character 0x0b"),
    (post(b"X: a\x7f"), "DEL"),
    (post(b"X: a\r\r\nb: c"), "bare CR"),
    (post(line=b"GET /\x01 HTTP/1.1"), "control character 0x01"),
    (post(b"Transfer-Encoding: gzip, chunked"), "Transfer-Encoding 'gzip, chunked' instead of chunked"),
    (post(b"Transfer-Encoding: chunked, identity"), "Transfer-Encoding 'chunked, identity' instead of chunked"),
    (post(b"Transfer-Encoding: identity"), "Transfer-Encoding 'identity' instead of chunked"),
    (post(b"Transfer-Encoding: xchunked"), "Transfer-Encoding 'xchunked' instead of chunked"),
    (post(b"Transfer-Encoding: chunked\t"), "tab in Transfer-Encoding"),
    (post(b"X: y", b"Transfer-Encoding:\tchunked"), "tab in Transfer-Encoding"),
    (post(b"Transfer-Encoding:"), "Transfer-Encoding '' instead of chunked"),
    (post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"), "more than one Transfer-Encoding"),
    (post(b"Transfer-Encoding: chunked", line=b"POST / HTTP/1.0"), "Transfer-Encoding with HTTP/1.0"),
    (post(b"Connection: close, Content-Length", b"Content-Length: 5"), "Connection names content-length"),
    (post(b"Connection: transfer-encoding"), "Connection names transfer-encoding"),
    (post(host=b""), "no Host"),
    (post(host=HOST + HOST), "more than one Host"),
    (post(host=HOST + HOST, line=b"GET / HTTP/1.0"), "more than one Host"),
    (post(host=b"Host:\r\n"), "empty Host"),
    (post(host=b"Host: a b\r\n"), "invalid Host"),
    (post(host=b"Host: a/b\r\n"), "invalid Host"),
    (post(host=b"Host: u@b\r\n"), "invalid Host"),
    *((post(line=b"GET / " + version), text) for version, text in
      ((b"HTTP/2.0", "version HTTP/2.0"), (b"HTTP/1.2", "version HTTP/1.2"), (b"HTTP/0.9", "version HTTP/0.9"),
       (b"http/1.1", "request line without HTTP/1.1 at its end"), (b"HTTP/1.10", "invalid version"),
       (b"HTTP/11", "request line without HTTP/1.1 at its end"))),
    *((post(line=line), "request line that is not a method, a target and a version with one space between them") for line in
      (b"GET /", b"GET  / HTTP/1.1", b"GET /  HTTP/1.1", b"GET / HTTP/1.1 ", b" GET / HTTP/1.1", b"GET /a b HTTP/1.1", b"", b"GET")),
    (post(line=b"G\xc3T / HTTP/1.1"), "invalid character in the method"),
    (post(line=b"G(T / HTTP/1.1"), "invalid character in the method"),
    (post(line=b"GET\t/ HTTP/1.1"), "request line that is not a method, a target and a version with one space between them"),
    (post(line=b"GET x HTTP/1.1"), "request target that is neither a path nor an http URL"),
    (post(line=b"GET * HTTP/1.1"), "request target that is neither a path nor an http URL"),
    (post(line=b"GET ftp://a/ HTTP/1.1"), "request target that is neither a path nor an http URL"),
    (post(line=b"GET http://u@a/ HTTP/1.1"), "request target that is neither a path nor an http URL"),
    (post(line=b"GET http:/// HTTP/1.1"), "request target that is neither a path nor an http URL"),
    (post(line=b"CONNECT a:443 HTTP/1.1"), "CONNECT, which only a forward proxy serves"),
    (post(line=b"head / HTTP/1.1"), "method 'head', which some would read as HEAD"),
    (post(line=b"PRI * HTTP/2.0"), "version HTTP/2.0"),
    (post(line=b"PRI / HTTP/1.1"), "method PRI, with which HTTP/2 begins"),
]  # fmt: skip


@pytest.mark.parametrize(("head", "text"), REFUSED)
def test_a_request_that_could_be_read_in_two_ways_is_refused(head, text):
    with pytest.raises(Malformed) as error:
        request_head(head, TARGET)
    assert str(error.value) == text


@pytest.mark.parametrize(
    ("head", "text"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", "both Transfer-Encoding and"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n", "more than one Content-Length"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\n", "invalid Content-Length '5, 5'"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked \t\r\n\r\n", "tab in Transfer-Encoding"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", "Transfer-Encoding 'gzip' instead"),
        (b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "Transfer-Encoding with HTTP/1.0"),
        (b"HTTP/1.1 103 Hints\r\nTransfer-Encoding: chunked\r\n\r\n", "Transfer-Encoding in an answer 103"),
        (b"HTTP/1.1 204 No\r\nTransfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n", "both Transfer-Encoding and"),
        (b"HTTP/1.1 200 OK\r\nX: a\rb\r\n\r\n", "bare CR"),
        (b"HTTP/1.1 200 OK\r\nX: a\x00b\r\n\r\n", "NUL"),
        (b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n", "header line that begins with a space"),
        (b"HTTP/1.1 200 OK\r\nX : a\r\n\r\n", "space before the colon of header 'X'"),
        (b"HTTP/1.1 2000 OK\r\n\r\n", "no status line"),
        (b"HTTP/1.1 099 OK\r\n\r\n", "no status line"),
        (b"HTTP/1.1  200 OK\r\n\r\n", "no status line"),
        (b"HTTP/2.0 200 OK\r\n\r\n", "no status line"),
        (b"ICY 200 OK\r\n\r\n", "no status line"),
        (b"\r\n\r\n", "no status line"),
    ],
)
def test_an_answer_that_could_be_read_in_two_ways_is_refused(head, text):
    with pytest.raises(Malformed, match=text):
        answer_head(head, to_head=False)


@pytest.mark.parametrize(
    ("head", "to_head", "length", "closes"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", False, 5, False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", True, 0, False),
        (b"HTTP/1.1 200 \r\nTransfer-Encoding: CHUNKED\r\n\r\n", False, CHUNKED, False),
        (b"HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\r\n", True, 0, False),
        (b"HTTP/1.1 200 \xe4\t\r\n\r\n", False, UNTIL_CLOSE, False),
        (b"HTTP/1.1 304 Not\r\nContent-Length: 5\r\n\r\n", False, 0, False),
        (b"HTTP/1.1 204 No\r\nContent-Length: 0\r\n\r\n", False, 0, False),
        (b"HTTP/1.1 204 No\r\nContent-Length: 5\r\n\r\n", False, 0, True),
        (b"HTTP/1.1 204 No\r\nContent-Length: 5\r\nKeep-Alive: timeout=5\r\n\r\n", False, 0, True),
        (b"HTTP/1.1 100 Continue\r\n\r\n", False, 0, False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n", False, 5, True),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: Keep-Alive\r\n\r\n", False, 5, False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: x,close\r\n\r\n", False, 5, True),
    ],
)
def test_how_long_an_answer_is_and_whether_its_connection_ends(head, to_head, length, closes):
    read = answer_head(head, to_head=to_head)
    assert (read.length, read.closes, read.device) == (length, closes, head)


def test_a_coding_that_means_nothing_is_kept_from_the_device():
    head = b"HTTP/1.1 204 No\r\nX: y\r\ntransfer-encoding: chunked\r\nZ: y\r\n\r\n"
    read = answer_head(head, to_head=False)
    assert (read.length, read.may_trail, read.sent) == (0, True, head)
    assert read.device == b"HTTP/1.1 204 No\r\nX: y\r\nZ: y\r\n\r\n"


def test_a_head_is_bounded_and_what_may_not_be_in_it_is_found_before_its_end():
    assert end_of_head(b"GET / HTTP/1.1\r\n\r\nmore") == 18
    assert end_of_head(b"GET / HTTP/1.1\r\n\r") == -1
    for begin, text in (
        (b"GET / HTTP/1.1\n", "bare LF"),
        (b"GET \x16", "control character 0x16"),
        (b"A\rB", "bare CR"),
    ):
        with pytest.raises(Malformed, match=text):
            end_of_head(begin)
    longest = b"GET / HTTP/1.1\r\nX: " + b"x" * (64 * 1024 - 23) + b"\r\n\r\n"
    assert end_of_head(longest) == len(longest) == 64 * 1024
    for long in (longest.replace(b"x\r", b"xx\r"), longest[:-4] + b"x" * 10):
        with pytest.raises(Malformed) as error:
            end_of_head(long)
        assert error.value.status == 431


@pytest.mark.parametrize(
    ("data", "body"),
    [
        (b"0\r\n\r\n", b""),
        (b"5\r\nhello\r\n0\r\n\r\n", b"hello"),
        (b"5\r\nhello\r\n00A\r\n" + b"x" * 10 + b"\r\n000\r\n\r\n", b"hello" + b"x" * 10),
        (b'5;a=b;c;d="e \\" f"\r\nhello\r\n0;last\r\nX-Trailer: y\r\nZ:\r\n\r\n', b"hello"),
    ],
)
def test_chunks_are_read_in_one_piece_and_byte_by_byte(data, body):
    whole = body_of(CHUNKED, Kept(100))
    assert whole.feed(data + b"next") == len(data)
    assert (whole.is_done, whole.kept and whole.kept.body()) == (True, body)
    slowly, rest, passed = body_of(CHUNKED, Kept(100)), b"", b""
    for at in range(len(data)):
        assert not slowly.is_done
        rest += data[at : at + 1]
        taken = slowly.feed(rest)
        passed, rest = passed + rest[:taken], rest[taken:]
    assert (slowly.is_done, slowly.kept and slowly.kept.body(), passed, rest) == (True, body, data, b"")


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"\r\n", "chunk without a size"),
        (b"x\r\n", "chunk without a size"),
        (b"-5\r\n", "chunk without a size"),
        (b"+5\r\n", "chunk without a size"),
        (b" 5\r\n", "chunk without a size"),
        (b"0x5\r\n", "invalid chunk size"),
        (b"5_0\r\n", "invalid chunk size"),
        (b"5 \r\n", "space behind a chunk size"),
        (b"5\t;a\r\n", "space behind a chunk size"),
        (b"0000000000000005\r\n", "chunk size of more than 15 digits"),
        (b"5;\r\n", "invalid chunk extension"),
        (b"5; a\r\n", "invalid chunk extension"),
        (b"5;a=\r\n", "invalid chunk extension"),
        (b'5;a="b\r\n', "invalid chunk extension"),
        (b"5;a\nhello\r\n", "bare LF"),
        (b"5\nhello\n", "bare LF"),
        (b"5\rhello\r", "bare CR"),
        (b"5;a\x00\r\n", "NUL"),
        (b"5;" + b"a" * 2000, "chunk size in a line of more than 1024 bytes"),
        (b"5\r\nhello0\r\n\r\n", "chunk that is not as long as its size says"),
        (b"5\r\nhello\n0\r\n\r\n", "chunk that is not as long as its size says"),
        (b"5\r\nhelloo\r\n", "chunk that is not as long as its size says"),
        (b"0\r\nX: y\n\r\n", "bare LF"),
        (b"0\r\n\n", "bare LF"),
        (b"0\r\n\rX", "bare CR"),
        (b"0\r\nX : y\r\n\r\n", "space before the colon of header 'X'"),
        (b"0\r\n X: y\r\n\r\n", "header line that begins with a space"),
        (b"0\r\nContent-Length: 5\r\n\r\n", "trailer Content-Length, which must not be one"),
        (b"0\r\nX: y\r\nhost: a\r\n\r\n", "trailer host, which must not be one"),
        (b"0\r\nTransfer-Encoding: chunked\r\n\r\n", "trailer Transfer-Encoding, which must not be one"),
        (b"0\r\nX: " + b"y" * 9000, "trailers of more than 8 KiB"),
    ],
)
def test_chunks_that_could_be_read_in_two_ways_are_refused_and_not_passed_on(data, text):
    with pytest.raises(Malformed, match=text):
        body_of(CHUNKED, None).feed(data)
    reader, rest, passed = body_of(CHUNKED, None), b"", b""
    with pytest.raises(Malformed, match=text):  # noqa: PT012  # somewhere on the way
        step = 1 if len(data) < 100 else 97
        for at in range(0, len(data), step):
            rest += data[at : at + step]
            taken = reader.feed(rest)
            passed, rest = passed + rest[:taken], rest[taken:]
    assert passed in {b"", b"0\r\n", b"5\r\n", b"5\r\nhello"}, "a line is passed on once it is whole, and not before"


def test_a_long_body_leaves_its_beginning_its_length_and_its_hash():
    kept = Kept(10)
    for piece in (b"abcdef", b"ghij"):
        kept.add(piece)
    assert (kept.body(), kept.is_cut, kept.sha256) == (b"abcdefghij", False, None)
    kept.add(b"klm")
    kept.add(b"n")
    assert (kept.body(), kept.is_cut, kept.length) == (b"abcdefghij", True, 14)
    assert kept.sha256 == hashlib.sha256(b"abcdefghijklmn").hexdigest()


def test_a_counted_body_ends_where_it_should():
    reader = body_of(5, None)
    assert (reader.feed(b"abc"), reader.is_done) == (3, False)
    assert (reader.feed(b"defg"), reader.is_done) == (2, True)
    until_close = body_of(UNTIL_CLOSE, Kept(10))
    assert (until_close.feed(b"abc"), until_close.is_done) == (3, False)


@pytest.mark.one_version
def test_a_body_in_tiny_chunks_takes_hardly_more_memory_than_its_bytes():
    body, chunks = body_of(CHUNKED, Kept(2**20)), b"2\r\nab\r\n" * 10_000
    tracemalloc.start()
    try:
        for _ in range(10):
            assert body.feed(chunks) == len(chunks)
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert body.kept is not None
    assert body.kept.body() == b"ab" * 100_000
    assert taken < 2 * 200_000
