"""The lane on real sockets, plain and TLS: what is sent arrives and is recorded, whatever devices and upstreams do."""

from __future__ import annotations

import asyncio
import json
import ssl
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.integration.test_collector import self_signed
from tests.lanes import Kept, Serving, free_port, serving
from tests.scripted import SOON_S, Peer, device, eventually, unchecked, upstream

START = b"POST /api/v1/sessions HTTP/1.1\r\nHost: media.example\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
END = START.replace(b"/sessions", b"/sessions/ab/events")
CREATED = b"HTTP/1.1 201 Created\r\nLocation: /api/v1/sessions/ab\r\nContent-Length: 2\r\n\r\nok"
NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"
CORS = b"Access-Control-Allow-Origin: *"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("certificate") / "both.pem"
    path.write_bytes(self_signed())
    return path


@pytest.fixture(scope="module")
def secure(certificate: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    return context


def answering(peer: Peer) -> None:
    """Answer starts and events, each with a body of two bytes."""
    while True:
        try:
            head = peer.until(b"{}")
        except AssertionError:
            return
        peer.send(CREATED if b"/sessions HTTP" in head else NO_CONTENT)


def outcomes(recorder: Serving) -> list[tuple[str, str | None]]:
    return [(each.outcome, each.reason) for each in recorder.kept.entries]


@pytest.fixture(params=["plain", "device", "upstream", "both"])
def tls(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def between(tls, secure, certificate) -> Iterator[tuple[Serving, object]]:
    """A lane between a device and an upstream that answers, with TLS on one side, on both or on none."""
    options = {"certs": [str(certificate)], "ssl_insecure": True}
    with (
        upstream(answering, secure if tls in ("upstream", "both") else None) as server,
        serving(server.url, options=options) as recorder,
    ):
        yield recorder, server


def test_what_is_sent_arrives_and_is_recorded(between, tls):
    recorder, server = between
    with device(recorder.port, tls=tls in ("device", "both")) as player:
        for _ in range(3):
            player.send(START)
            assert player.until(b"ok") == CREATED
        player.send(END * 4)  # ahead of its answers
        for _ in range(4):
            assert player.until(b"\r\n\r\n") == NO_CONTENT

    entries = recorder.kept.wait_for(7)
    assert [each.request + each.request_body for each in entries] == [START] * 3 + [END] * 4
    assert [(each.response or b"") + each.response_body for each in entries] == [CREATED] * 3 + [NO_CONTENT] * 4
    assert {each.outcome for each in entries} == {"answered"}
    assert {each.server for each in entries} == {("127.0.0.1", server.port)}
    assert len(server.peers) == 1, "the connection is kept"
    to_upstream = server.peers[0].received
    assert to_upstream == (START * 3 + END * 4).replace(b"media.example", b"127.0.0.1:%d" % server.port)
    recorder.kept.wait(lambda: recorder.kept.gone == recorder.kept.arrived == 7)


def test_a_request_whose_sender_closes_at_once_arrives_on_new_connections(between, tls):
    """The end of a session is sent by pages that unload."""
    recorder, server = between

    def send(_: int) -> None:
        with device(recorder.port, tls=tls in ("device", "both")) as page:
            page.send(END)

    with ThreadPoolExecutor(8) as pages:
        list(pages.map(send, range(50)))

    entries = recorder.kept.wait_for(50)
    assert {each.request_body for each in entries} == {b"{}"}
    assert {each.outcome for each in entries} <= {"answered", "client-gone"}
    assert all(each.response == NO_CONTENT for each in entries)
    assert sum(each.received.count(b"/events HTTP") for each in server.peers) == 50


@pytest.mark.parametrize("leaves", ["closes", "resets"])
def test_an_answer_is_recorded_whole_although_the_device_has_left(leaves):
    left = threading.Event()
    long = b"HTTP/1.1 201 Created\r\nContent-Length: 300000\r\n\r\n" + b"x" * 300_000

    def slow(peer: Peer) -> None:
        peer.until(b"{}")
        assert left.wait(SOON_S)
        for at in range(0, len(long), 50_000):
            peer.send(long[at : at + 50_000])
            time.sleep(0.02)  # each piece is read by itself

    with upstream(slow) as server, serving(server.url) as recorder:
        with device(recorder.port) as player:
            player.send(START)
            eventually(lambda: server.peers and b"{}" in server.peers[0].received)
            if leaves == "resets":
                player.reset()
        left.set()
        (entry,) = recorder.kept.wait_for(1)

    assert (entry.outcome, entry.response, len(entry.response_body)) == ("client-gone", long[:-300_000], 300_000)


def test_a_device_that_leaves_in_the_middle_of_its_request_reaches_the_record():
    with upstream(lambda peer: peer.to_end()) as server, serving(server.url) as recorder:
        with device(recorder.port) as player:
            player.send(START[:-1])
        (entry,) = recorder.kept.wait_for(1)

    assert (entry.outcome, entry.is_complete, entry.request_body) == ("client-gone", False, b"{")


@pytest.mark.parametrize("tls", ["plain", "upstream"], indirect=True)  # a device's TLS closes both halves
def test_a_half_closed_device_gets_its_answer(between):
    recorder, _ = between
    with device(recorder.port) as player:
        player.send(START)
        player.half_close()
        assert player.to_end() == CREATED


def test_interim_answers_come_in_order_and_the_final_one_counts():
    interim = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"

    def hinting(peer: Peer) -> None:
        peer.until(b"{}")
        peer.send(interim)
        assert seen.wait(10)
        peer.send(CREATED)

    seen = threading.Event()

    with upstream(hinting) as server, serving(server.url) as recorder, device(recorder.port) as player:
        player.send(START)
        assert player.until(b"\r\n\r\n") == interim, "at once"
        seen.set()
        assert player.until(b"ok") == CREATED
        (entry,) = recorder.kept.wait_for(1)
    assert entry.response is not None
    assert entry.response.startswith(b"HTTP/1.1 201")


def test_chunks_and_trailers_pass_on_both_sides():
    request = b"POST /api/v1/sessions HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\nX-Sum: 1\r\n\r\n"
    answer = b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n2;a=b\r\nok\r\n0\r\nX: 1\r\n\r\n"

    def chunked(peer: Peer) -> None:
        peer.until(b"X-Sum: 1\r\n\r\n")
        peer.send(answer)
        peer.to_end()

    with upstream(chunked) as server, serving(server.url) as recorder, device(recorder.port) as player:
        player.send(request)
        assert player.until(b"X: 1\r\n\r\n") == answer
        (entry,) = recorder.kept.wait_for(1)
        assert server.peers[0].received == request.replace(b"Host: h", b"Host: 127.0.0.1:%d" % server.port)
    assert (entry.request_body, entry.response_body) == (b"{}", b"ok")


def test_a_time_out_of_upstream_is_told_and_its_connection_not_used_again():
    def silent_once(peer: Peer) -> None:
        peer.until(b"{}")
        if len(server.peers) == 1:
            peer.to_end()
        else:
            peer.send(CREATED)
            peer.to_end()

    with (
        upstream(silent_once) as server,
        serving(server.url, upstream_timeout_us=2_000_000) as recorder,
        device(recorder.port) as player,
    ):
        player.send(START)
        late = player.until(b"}")
        player.send(START)
        assert player.until(b"ok") == CREATED
        recorder.kept.wait_for(2)

    assert late.startswith(b"HTTP/1.1 504 ")
    assert CORS in late
    assert outcomes(recorder) == [
        ("upstream-timeout", "upstream gave no complete answer within 2 s"),
        ("answered", None),
    ]


def test_time_runs_out_while_a_connection_is_made(secure):
    """Neither the TCP connection nor TLS must be there for that: mitmproxy would wait for ever."""

    def deaf(peer: Peer) -> None:
        peer.to_end()

    with upstream(deaf) as server:
        url = server.url.replace("http:", "https:")
        with serving(url, upstream_timeout_us=300_000, options={"ssl_insecure": True}) as recorder:
            with device(recorder.port) as player:
                player.send(START)
                assert player.until(b"}").startswith(b"HTTP/1.1 504 ")
            recorder.kept.wait_for(1)
    assert outcomes(recorder) == [("upstream-timeout", "upstream gave no complete answer within 0.3 s")]


@pytest.mark.parametrize(
    ("settings", "sent", "gets", "reason"),
    [
        ({"head_timeout_us": 200_000}, START[:20], b"HTTP/1.1 408 ", None),
        (
            {"silence_timeout_us": 200_000},
            START[:-1],
            b"HTTP/1.1 408 ",
            "the request was not complete after 0.2 s of silence",
        ),
        ({"idle_timeout_us": 200_000}, b"", b"", None),
    ],
)
def test_a_device_that_is_slow_is_not_waited_for(settings, sent, gets, reason):
    with (
        upstream(lambda peer: peer.to_end()) as server,
        serving(server.url, **settings) as recorder,
        device(recorder.port) as player,
    ):
        player.send(b"\r\n" + sent)
        assert player.to_end().startswith(gets)
    assert [each.reason for each in recorder.kept.entries] == [reason] * (reason is not None)


def test_an_upstream_that_refuses_is_told_in_plain_words():
    with serving(f"http://127.0.0.1:{free_port()}") as recorder, device(recorder.port) as player:
        for _ in range(2):
            player.send(START)
            head, body = player.until(b"\r\n\r\n"), player.until(b"}")
            assert head.startswith(b"HTTP/1.1 502 ")
            assert CORS in head
            assert json.loads(body) == {"message": "sessiontape: connection refused"}
    assert outcomes(recorder) == [("upstream-unreachable", "connection refused")] * 2


def test_an_upstream_whose_certificate_is_not_trusted_is_told(secure):
    with upstream(lambda _: None, secure) as server, serving(server.url) as recorder, device(recorder.port) as player:
        player.send(START)
        assert b"ertificate verify failed" in player.until(b"}")
    assert outcomes(recorder)[0][0] == "upstream-unreachable"


@pytest.mark.parametrize("refusal", [None, "the body is no event"])
def test_what_is_judged_first_goes_on_or_is_refused(refusal):
    with upstream(answering) as server, serving(server.url, judges=True) as recorder, device(recorder.port) as player:
        recorder.kept.refusal = refusal
        player.send(START)
        if refusal is None:
            assert player.until(b"ok") == CREATED
        else:
            assert json.loads(player.until(b"}").partition(b"\r\n\r\n")[2]) == {"message": f"sessiontape: {refusal}"}
            assert not server.peers
        recorder.kept.wait_for(1)


def test_an_upstream_that_takes_a_connection_back_at_once_is_told_at_once(monkeypatch):
    """Its address is gone then, if its reset comes before anybody has asked for it."""
    real = asyncio.StreamWriter.get_extra_info
    gone: list[object] = []

    def asked(self, name: str, default: object = None) -> object:
        found = real(self, name, default)
        if name == "peername" and found and found[1] == port and not gone:
            gone.append(found)
            return None
        return found

    with upstream(answering) as server, serving(server.url) as recorder, device(recorder.port) as player:
        port = int(server.url.rpartition(":")[2])
        monkeypatch.setattr(asyncio.StreamWriter, "get_extra_info", asked)
        player.send(START)
        assert b" 502 " in player.until(b"}")
        player.send(START)
        assert player.until(b"ok") == CREATED
    assert gone
    assert outcomes(recorder)[0] == ("upstream-closed", "connection reset by peer")


def test_an_answer_waits_for_its_commit_and_no_longer():
    with upstream(answering) as server, serving(server.url) as recorder, device(recorder.port) as player:
        recorder.kept.holds = True
        player.send(START)
        recorder.kept.wait_for(1)
        player.socket.settimeout(0.2)
        with pytest.raises(TimeoutError):
            player.until(b"ok")
        player.socket.settimeout(SOON_S)
        recorder.kept.release(recorder.loop)
        assert player.until(b"ok") == CREATED
        recorder.kept.wait(lambda: recorder.kept.gone == 1)


def test_http2_is_left_to_mitmproxy_and_http1_offered_upstream(secure, certificate):
    def negotiated(peer: Peer) -> None:
        assert isinstance(peer.socket, ssl.SSLSocket)
        chosen.append(peer.socket.selected_alpn_protocol())
        answering(peer)

    chosen: list[str | None] = []
    both = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    both.load_cert_chain(certificate)
    both.set_alpn_protocols(["h2", "http/1.1"])
    options = {"certs": [str(certificate)], "ssl_insecure": True}
    with upstream(negotiated, both) as server, serving(server.url, options=options) as recorder:
        with device(recorder.port, tls=True, alpn=("h2", "http/1.1")) as player:
            assert isinstance(player.socket, ssl.SSLSocket)
            assert player.socket.selected_alpn_protocol() == "h2"
            player.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0")
            assert player.until(b"\0\0\0\4\1\0\0\0\0"), "its settings are acknowledged"
        with device(recorder.port, tls=True) as player:
            player.send(START)
            assert player.until(b"ok") == CREATED
    assert chosen == ["http/1.1"]


@pytest.mark.parametrize("first", [1, 2, 3, 40])
def test_tls_is_told_from_http_wherever_its_first_bytes_are_cut(secure, certificate, first):
    ours, theirs = ssl.MemoryBIO(), ssl.MemoryBIO()
    player = unchecked().wrap_bio(theirs, ours)
    with pytest.raises(ssl.SSLWantReadError):
        player.do_handshake()
    hello = ours.read()
    with (
        upstream(answering) as server,
        serving(server.url, options={"certs": [str(certificate)]}) as recorder,
        device(recorder.port) as cut,
    ):
        cut.send(hello[:first])
        time.sleep(0.05)  # so that it is read by itself
        cut.send(hello[first:])
        assert cut.until(b"\x16\x03")


def test_an_upgrade_passes_both_ways_until_either_side_ends():
    request = b"GET /api/v1/live HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"
    switched = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"

    def echo(peer: Peer) -> None:
        peer.until(b"\r\n\r\n")
        peer.send(switched)
        assert peer.until(b"ping") == b"ping"
        peer.send(b"pong")
        peer.to_end()

    with upstream(echo) as server, serving(server.url) as recorder, device(recorder.port) as player:
        player.send(request)
        assert player.until(b"\r\n\r\n") == switched
        player.send(b"ping")
        assert player.until(b"pong") == b"pong"
        player.half_close()
        assert player.to_end() == b""
        assert server.peers[0].is_closed
    assert [kind for kind, _ in recorder.kept.told] == ["upgrade"]


def test_the_end_lets_requests_finish_and_interrupts_the_rest():
    release = threading.Event()

    def slow(peer: Peer) -> None:
        head = peer.until(b"{}")
        if b"/events" in head:
            assert release.wait(SOON_S)
            peer.send(NO_CONTENT)
        peer.to_end()

    with upstream(slow) as server, serving(server.url) as recorder:
        with device(recorder.port) as idle, device(recorder.port) as lasting, device(recorder.port) as finishing:
            for player, request in ((lasting, START), (finishing, END)):
                player.send(request)
            idle.send(b"\r\n")
            eventually(lambda: len(server.peers) == 2 and all(b"{}" in each.received for each in server.peers))
            with ThreadPoolExecutor(1) as ending:
                ended = ending.submit(recorder.end, 3.0)
                assert idle.to_end() == b""
                release.set()
                assert finishing.to_end() == NO_CONTENT
                interrupted = lasting.to_end()
                assert ended.result() == 1
        recorder.kept.wait_for(2)

    assert interrupted.startswith(b"HTTP/1.1 503 ")
    assert CORS in interrupted
    assert sorted(outcomes(recorder)) == [("answered", None), ("interrupted", "the recorder was stopped")]
    assert recorder.kept.arrived == recorder.kept.gone == 2


def test_a_fault_of_ours_ends_one_connection_and_is_told(monkeypatch, caplog):
    from proxy_addon.recording.lane.conversation import Conversation

    with upstream(answering) as server, serving(server.url) as recorder:
        with device(recorder.port) as unlucky:
            monkeypatch.setattr(Conversation, "device_sent", lambda *_: 1 / 0)
            unlucky.send(START)
            assert unlucky.to_end() == b""
            monkeypatch.undo()
        with device(recorder.port) as player:
            player.send(START)
            assert player.until(b"ok") == CREATED
    assert "because of an error in sessiontape" in caplog.text


@pytest.mark.parametrize("fault", ["_forward", "upstream_sent", "put", "_finish"])
def test_what_a_fault_of_ours_takes_with_it_is_counted_and_named(fault, monkeypatch):
    from proxy_addon.recording.lane.conversation import Conversation

    with upstream(answering) as server, serving(server.url) as recorder:
        with device(recorder.port) as unlucky:
            monkeypatch.setattr(Kept if fault == "put" else Conversation, fault, lambda *_: 1 / 0)
            unlucky.send(START + START)
            assert unlucky.to_end() == b""
            monkeypatch.undo()
        kept = recorder.kept
        kept.wait(lambda: kept.gone == kept.arrived == 1)
        named = [(each.id, each.method, each.path, each.reason) for each in kept.lost]
        assert len(kept.entries) == (1 if fault == "_finish" else 0)
        assert named == ([] if kept.entries else [(f"{1:032x}", "POST", "/api/v1/sessions", "an error in sessiontape")])


def test_a_connection_without_a_byte_is_closed_in_time(monkeypatch):
    monkeypatch.setattr("proxy_addon.recording.lane.layer.SILENT_S", 0.2)
    with serving("http://127.0.0.1:9") as recorder:
        with device(recorder.port) as silent:
            assert silent.to_end() == b""
        context = unchecked()
        with device(recorder.port) as half:  # a handshake that does not go on
            half.send(b"\x16\x03\x01")
            assert half.to_end() == b""
        assert context


def test_a_connection_in_another_mode_is_left_alone(monkeypatch):
    monkeypatch.setattr("proxy_addon.recording.lane.layer.SILENT_S", 0.2)
    port = free_port()
    modes = [f"regular@127.0.0.1:{port}"]
    with upstream(answering) as server, serving(server.url, modes=modes), device(port) as player:
        for _ in range(3):
            player.send(START.replace(b"/api", server.url.encode() + b"/api"))
            assert player.until(b"ok").startswith(b"HTTP/1.1 201")
            time.sleep(0.15)


def test_a_device_that_never_reads_its_answer_keeps_no_socket(monkeypatch):
    monkeypatch.setattr("proxy_addon.recording.lane.layer.DEAF_S", 0.3)

    def at_length(peer: Peer) -> None:
        peer.until(b"{}")
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 20000000\r\n\r\n" + bytes(20_000_000))

    with upstream(at_length) as server, serving(server.url, upstream_timeout_us=500_000) as recorder:
        before = open_files()
        with device(recorder.port) as deaf:
            deaf.send(START)
            (entry,) = recorder.kept.wait_for(1)
            assert entry.outcome == "upstream-timeout"
            eventually(lambda: open_files() <= before + 1, "that of the device itself")


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))
