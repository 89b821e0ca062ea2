"""The same conversations behind the lane, the hooks path and nginx: what comes of them is the same, or it is said why not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from tests.scripted import Peer, upstream
from tests.talks import NGINX, Outcome, Talk, behind, carried_out

BIG = b"x" * (1 << 20)
OK = b"HTTP/1.1 201 Created\r\nX-From: upstream\r\nContent-Length: 2\r\n\r\nok"
POST = b"POST /api/v1/sessions HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}"
LAST = POST.replace(b"Content-Length", b"Connection: close\r\nContent-Length")
CHUNKED = b"Transfer-Encoding: chunked\r\n"


def head(fields: bytes, line: bytes = b"POST /api/v1/sessions HTTP/1.1") -> bytes:
    return line + b"\r\nHost: h\r\nConnection: close\r\n" + fields + b"\r\n"


def get(fields: bytes = b"", line: bytes = b"GET /api/v1/x HTTP/1.1") -> bytes:
    return head(fields, line)


def answer(fields: bytes, body: bytes = b"", line: bytes = b"HTTP/1.1 201 Created") -> bytes:
    return line + b"\r\nX-From: upstream\r\n" + fields + b"\r\n" + body


def once(raw: bytes, until: bytes = b"{}", *, closes: bool = False) -> Callable[[Peer], None]:
    """Answer one request."""

    def answering(peer: Peer) -> None:
        peer.until(until)
        peer.send(raw)
        if not closes:
            peer.to_end()

    return answering


def each(raw: bytes = OK, until: bytes = b"{}") -> Callable[[Peer], None]:
    """Answer every request."""

    def answering(peer: Peer) -> None:
        while True:
            peer.until(until)
            peer.send(raw)

    return answering


def continuing(peer: Peer) -> None:
    peer.until(b"\r\n\r\n")
    peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")
    peer.until(b"{}")
    peer.send(OK)
    peer.to_end()


def early(peer: Peer) -> None:
    peer.until(b"\r\n\r\n")
    peer.send(OK)


def passed(
    *sends: bytes | tuple[bytes, bytes], to: Callable[[Peer], None] | None = None, gets: str = "201 ok", **more: object
) -> Talk:
    return Talk(sends=sends, answers=to or each(), gets=gets, **more)  # type: ignore[arg-type]


def refused(*sends: bytes, gets: str = "own 400", **more: object) -> Talk:
    return Talk(sends=sends, answers=each(), gets=gets, forwarded=0, **more)  # type: ignore[arg-type]


def broken(raw: bytes, **more: object) -> Talk:
    """An answer that no device should get."""
    return Talk(sends=(LAST,), answers=once(raw, closes=True), gets="own 502", **more)  # type: ignore[arg-type]


FORWARDS = "mitmproxy forwards what it does not check"
LOOSE = "nginx takes what no specification allows, and sends it on in its own words"
CUTS_OFF = "the lane still holds the answer back and can say what happened; nginx passes on the part that there is"

TALKS = {
    "one request": passed(LAST),
    "one after the other": passed(POST, (b"ok", LAST), gets="201 ok, 201 ok", forwarded=2),
    "pipelined": passed(POST + POST + LAST, gets="201 ok, 201 ok, 201 ok", forwarded=3),
    "in pieces": passed(*(LAST[at : at + 7] for at in range(0, len(LAST), 7))),
    "chunks on both sides": passed(
        head(CHUNKED) + b"1\r\n{\r\n1\r\n}\r\n0\r\n\r\n",
        to=once(answer(CHUNKED, b"1\r\no\r\n1;x=y\r\nk\r\n0\r\n\r\n"), b"}"),
    ),
    "trailers of a request": passed(
        head(CHUNKED) + b"2\r\n{}\r\n0\r\nX-Sum: 1\r\n\r\n",
        to=once(OK),
        hooks="mitmproxy crashes on trailers",
        nginx="nginx drops trailers",
    ),
    "trailers of an answer": passed(
        LAST,
        to=once(answer(CHUNKED, b"2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n")),
        hooks="mitmproxy crashes on trailers",
        nginx="nginx drops trailers",
    ),
    "103 before 201": passed(
        LAST,
        to=once(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK),
        gets="103, 201 ok",
        hooks="mitmproxy takes an interim answer for the answer",
        nginx="nginx 1.22 does, too, and what follows for its body",
    ),
    "100 that was asked for": passed(
        head(b"Expect: 100-continue\r\nContent-Length: 2\r\n"),
        (b"100 Continue\r\n\r\n", b"{}"),
        to=continuing,
        gets="100, 201 ok",
        hooks="mitmproxy sends its own 100, and takes upstream's for the answer",
        nginx="nginx sends its own 100, and takes upstream's for the answer",
    ),
    "204 with chunked": passed(
        LAST,
        to=once(answer(CHUNKED, line=b"HTTP/1.1 204 No Content")),
        gets="204",
        hooks="mitmproxy takes it for two framings that contradict each other",
    ),
    "204 with chunked and the end of no chunks": passed(
        LAST,
        to=once(answer(CHUNKED, b"0\r\n\r\n", line=b"HTTP/1.1 204 No Content")),
        gets="204",
        hooks="mitmproxy takes it for two framings that contradict each other",
    ),
    "204 with a length": passed(LAST, to=once(answer(b"Content-Length: 0\r\n", line=b"HTTP/1.1 204 No Content")), gets="204"),
    "answer to HEAD": passed(
        get(line=b"HEAD /api/v1/x HTTP/1.1"), to=once(answer(b"Content-Length: 20\r\n"), b"\r\n\r\n"), gets="201"
    ),
    "304 with a length": passed(
        get(), to=once(answer(b"Content-Length: 20\r\n", line=b"HTTP/1.1 304 Not Modified"), b"\r\n\r\n"), gets="304"
    ),
    "empty line in front": passed(b"\r\n" + LAST, hooks="mitmproxy waits for ever"),
    "absolute form": passed(LAST.replace(b"POST /", b"POST http://evil.example/")),
    "HTTP/1.0": passed(LAST.replace(b"HTTP/1.1", b"HTTP/1.0"), nginx="nginx speaks its own version to upstream"),
    "answer until its end": passed(LAST, to=once(answer(b"", b"ok"), closes=True)),
    "answer in HTTP/1.0": passed(LAST, to=once(answer(b"", b"ok", b"HTTP/1.0 201 Created"), closes=True)),
    "early answer": passed(
        head(b"Content-Length: 100\r\n") + b"x" * 50,
        (b"ok", b"x" * 50),
        to=early,
        hooks="mitmproxy sends no request before it is whole",
    ),
    "kinds of headers": passed(
        head(b"X-Case: a\r\nx-case: b\r\nX-Latin: \xe9\r\nX-Empty:\r\nCookie: a=b; c=d\r\nContent-Length: 2\r\n") + b"{}",
        to=once(answer(b"Set-Cookie: a\r\nset-cookie: b\r\nX-Latin: \xe9\r\nContent-Length: 2\r\n", b"ok")),
    ),
    "1 MiB both ways": passed(
        head(b"Content-Length: %d\r\n" % (len(BIG) + 2)) + BIG + b"{}",
        to=once(answer(b"Content-Length: %d\r\n" % len(BIG), BIG)),
        gets="201 xxxxxxxxx",
    ),
    "OPTIONS *": passed(get(line=b"OPTIONS * HTTP/1.1"), to=once(OK, b"\r\n\r\n"), nginx="nginx refuses what is no path"),
    "CONNECT": refused(
        get(line=b"CONNECT a:443 HTTP/1.1"),
        gets="own 405",
        hooks="another status, 400",
        nginx="another status, 400",
    ),
    # Requests that several parsers would frame in several ways, or that no header may have
    "both framings": refused(head(b"Content-Length: 2\r\n" + CHUNKED) + b"2\r\n{}\r\n0\r\n\r\n"),
    "two lengths": refused(head(b"Content-Length: 2\r\nContent-Length: 3\r\n") + b"{}"),
    "the same length twice": refused(head(b"Content-Length: 2\r\nContent-Length: 2\r\n") + b"{}"),
    "a list of lengths": refused(head(b"Content-Length: 2, 2\r\n") + b"{}"),
    "a length with a sign": refused(head(b"Content-Length: +2\r\n") + b"{}"),
    "gzip, chunked": refused(
        head(b"Transfer-Encoding: gzip, chunked\r\n") + b"2\r\n{}\r\n0\r\n\r\n", gets="own 501", hooks=FORWARDS
    ),
    "an unknown coding": refused(
        head(b"Transfer-Encoding: xchunked\r\n") + b"2\r\n{}\r\n0\r\n\r\n", gets="own 501", hooks="another status, 400"
    ),
    "bare CR": refused(head(b"X: a\rb\r\nContent-Length: 2\r\n") + b"{}", hooks=FORWARDS),
    "bare LF": refused(LAST.replace(b"\r\n", b"\n"), hooks=FORWARDS, nginx=LOOSE),
    "NUL": refused(head(b"X: a\0b\r\nContent-Length: 2\r\n") + b"{}", hooks=FORWARDS),
    "folded header": refused(head(b"X: a\r\n b\r\nContent-Length: 2\r\n") + b"{}", hooks=FORWARDS),
    "space before the colon": refused(head(b"Content-Length : 2\r\n") + b"{}"),
    "header name that is none": refused(head(b"X[: 2\r\nContent-Length: 2\r\n") + b"{}", nginx=LOOSE),
    "no Host": refused(LAST.replace(b"Host: h\r\n", b""), hooks=FORWARDS),
    "two Hosts": refused(head(b"Host: g\r\nContent-Length: 2\r\n") + b"{}", hooks=FORWARDS),
    "chunk size that is none": refused(head(CHUNKED) + b"0x2\r\n{}\r\n0\r\n\r\n", hooks="mitmproxy hangs up without an answer"),
    "chunk longer than its size": refused(head(CHUNKED) + b"1\r\n{}\r\n0\r\n\r\n", hooks="mitmproxy hangs up without an answer"),
    "no version": refused(b"GET /api/v1/x\r\n\r\n", nginx="nginx speaks HTTP/0.9"),
    "HTTP/2.0 in HTTP/1.1": refused(get(line=b"GET /api/v1/x HTTP/2.0"), gets="own 505", hooks=FORWARDS),
    "space in the path": refused(get(line=b"GET /api/v1/x y HTTP/1.1")),
    "head of 70 KiB": refused(
        get(b"X: " + b"x" * 70_000 + b"\r\n"),
        gets="own 431",
        hooks="mitmproxy has no limit",
        nginx="another status, 400",
    ),
    # Answers
    "no answer": broken(b""),
    "answer cut off": broken(answer(b"Content-Length: 9\r\n", b"ok"), nginx=CUTS_OFF),
    "chunked answer cut off": broken(answer(CHUNKED, b"9\r\nok"), nginx=CUTS_OFF),
    "answer with both framings": broken(
        answer(b"Content-Length: 2\r\n" + CHUNKED, b"2\r\nok\r\n0\r\n\r\n"), nginx="nginx lets the chunks count"
    ),
    "answer with two lengths": broken(
        answer(b"Content-Length: 2\r\nContent-Length: 3\r\n", b"ok"), nginx="nginx lets the last one count"
    ),
    "answer with NUL": broken(answer(b"X: a\0b\r\nContent-Length: 2\r\n", b"ok"), hooks=FORWARDS),
    "answer with a folded header": broken(answer(b"X: a\r\n b\r\nContent-Length: 2\r\n", b"ok"), hooks=FORWARDS),
    "answer that is no HTTP": broken(b"220 smtp ready\r\n", nginx="nginx takes it for HTTP/0.9"),
    "bytes behind an answer": passed(
        POST, (b"ok", LAST), to=each(OK + OK), gets="201 ok, 201 ok", forwarded=2
    ),
}  # fmt: skip


class Switched:
    """An upstream that has a part in one conversation after the other."""

    def __init__(self) -> None:
        self.talk = TALKS["one request"]
        self.peers: list[Peer] = []

    def __call__(self, peer: Peer) -> None:
        self.peers.append(peer)
        with suppress(AssertionError, TimeoutError):  # the proxy has closed the connection
            self.talk.answers(peer)


@pytest.fixture(scope="module", params=["lane", "hooks", "nginx"])
def engine(request: pytest.FixtureRequest) -> str:
    if request.param == "nginx" and NGINX is None:
        pytest.skip("nginx is not installed")
    return str(request.param)


@pytest.fixture(scope="module")
def talk(engine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Talk, float], Outcome]]:
    switched = Switched()

    def carry_out(talk: Talk, within_s: float) -> Outcome:
        switched.talk, switched.peers = talk, []
        return carried_out(talk, port, switched.peers, within_s)

    with upstream(switched) as server, behind(engine, server.url, tmp_path_factory.mktemp(engine)) as port:
        yield carry_out


@pytest.mark.parametrize("name", TALKS)
def test_what_comes_of_a_conversation(engine, talk, name):
    """The device's answers and upstream's requests are the same behind all three, unless the table says why not."""
    told = TALKS[name]
    why_not = {"hooks": told.hooks, "nginx": told.nginx}.get(engine)
    outcome = talk(told, 0.7 if why_not else 10.0)

    came_of_it = (outcome.gets(), len(outcome.upstream), outcome.hangs, outcome.is_as_sent)
    assert (came_of_it == (told.gets, told.forwarded, False, True)) is (why_not is None), (outcome, why_not)
