from __future__ import annotations

import gzip
import zlib

import pytest

from proxy_addon.collector.renewing import Renewal, renewed
from proxy_addon.core.exchange import Headers, Response

OLD, NEW = "4a0f4a0f", "9999999999"


def headers_after(*headers: tuple[str, str], recorded_id: str | None = OLD) -> Headers:
    renewal = Renewal(recorded_id=recorded_id, new_id=NEW, server="http://127.0.0.1:8081")
    return renewed(Response(status=201, headers=headers), renewal).headers


def body_after(body: bytes, encoding: str = "identity", recorded_id: str = OLD) -> bytes:
    response = Response(status=404, headers=(("content-encoding", encoding),), body=body)
    return renewed(response, Renewal(recorded_id=recorded_id, new_id=NEW)).body


@pytest.mark.parametrize(
    ("recorded", "new"),
    [
        (f"/api/v1/sessions/{OLD}", f"/api/v1/sessions/{NEW}"),
        (
            f"https://h.example:444/tv/api/v1/sessions/{OLD}/?x=1",
            f"http://127.0.0.1:8081/tv/api/v1/sessions/{NEW}/?x=1",
        ),
        (f"//h.example/api/v1/sessions/{OLD}", f"//127.0.0.1:8081/api/v1/sessions/{NEW}"),
        ("https://h.example/login?next=/", "http://127.0.0.1:8081/login?next=/"),
        ("/api/v1/sessions/another", "/api/v1/sessions/another"),
    ],
)
def test_a_location_names_the_new_session_at_our_address(recorded, new):
    assert headers_after(("location", recorded)) == (("location", new),)


def test_a_short_id_is_replaced_only_in_the_location():
    location = ("Location", "/api/v1/sessions/7")
    assert headers_after(location, ("X-Id", "7"), recorded_id="7") == (
        ("Location", f"/api/v1/sessions/{NEW}"),
        ("X-Id", "7"),
    )
    assert body_after(b'{"message": "7 days"}', recorded_id="7") == b'{"message": "7 days"}'


def test_what_cannot_be_sent_again_is_left_out():
    kept = ("x-odd", "\xe9"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")
    assert (
        headers_after((":status", "201"), ("bad name", "x"), ("Keep-Alive", "5"), ("Content-Length", "3"), *kept)
        == kept
    )


@pytest.mark.parametrize(
    ("encoding", "pack", "unpack"),
    [("gzip", gzip.compress, gzip.decompress), ("Deflate", zlib.compress, zlib.decompress)],
)
def test_the_id_is_replaced_in_compressed_bodies(encoding, pack, unpack):
    assert unpack(body_after(pack(f"no {OLD}.".encode()), encoding)) == f"no {NEW}.".encode()


@pytest.mark.parametrize("encoding", ["gzip", "br", "nonsense"])
def test_a_body_that_a_tool_decompressed_is_not_said_to_be_compressed(encoding):
    recorded = Response(status=404, headers=(("content-encoding", encoding), ("X-Kept", "1")), body=OLD.encode())
    given = renewed(recorded, Renewal(recorded_id=OLD, new_id=NEW))
    assert (given.headers, given.body) == ((("X-Kept", "1"),), NEW.encode())


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", OLD.encode() + b"\xff"),
        ("gzip", gzip.compress(OLD.encode())[:-1]),
        ("gzip", gzip.compress(b"nothing to replace", mtime=5)),
        ("gzip", gzip.compress(OLD.encode() + bytes(2 * 1024 * 1024))),
        ("gzip", gzip.compress(OLD.encode()) + b"more"),
    ],
    ids=["not compressed", "cut off", "without the ID", "too large", "more behind it"],
)
def test_a_compressed_body_that_cannot_be_changed_stays_as_it_is(encoding, body):
    assert body_after(body, encoding) == body
