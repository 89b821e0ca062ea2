"""Every way a device may come: http and https on one port, HTTP/1.1 and HTTP/2, prefixes, certificates of its own."""

from __future__ import annotations

import datetime as dt
import ssl
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests import processes
from tests.builders import body, event_dict

START = body(event_dict("sessionStart"))
PLAY = body(event_dict("play"))


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for this machine, with its key, in one PEM file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sessiontape test")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("certificate") / "both.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return path


@contextmanager
def device(verify: ssl.SSLContext | None = None, *, http2: bool = False) -> Iterator[httpx.Client]:
    with httpx.Client(verify=verify or True, http1=not http2, http2=http2, trust_env=False, timeout=30) as client:
        yield client


class _LikeABrowser(ssl.SSLContext):
    """Offers HTTP/2 first; httpx would offer it last, and mitmproxy takes the first that it knows."""

    def set_alpn_protocols(self, alpn_protocols: Iterable[str]) -> None:
        super().set_alpn_protocols(sorted(alpn_protocols))


def trusting(pem: Path) -> ssl.SSLContext:
    context = _LikeABrowser(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cafile=str(pem))
    return context


def report(client: httpx.Client, url: str) -> tuple[httpx.Response, httpx.Response]:
    started = client.post(f"{url}/api/v1/sessions", content=START, headers={"Content-Type": "application/json"})
    return started, client.post(f"{url}{started.headers['Location']}/events", content=PLAY)


def shown(store_url: str, number: int = 1) -> list[dict[str, Any]]:
    sessions = processes.printed("sessions", "--store", store_url)
    assert len(sessions) == number
    return [processes.printed("show", session["id"], "--store", store_url) for session in reversed(sessions)]


def test_http_and_https_and_http2_share_one_port(sqlite_url, tmp_path, certificate):
    with (
        processes.collector(tmp_path) as upstream,
        processes.recorder(tmp_path, upstream.url, sqlite_url, "--cert", str(certificate)) as proxy,
    ):
        secure = proxy.url.replace("http:", "https:")
        with device(trusting(certificate)) as client:
            answers = [*report(client, proxy.url), *report(client, secure)]
        with device(trusting(certificate), http2=True) as client:
            answers += report(client, secure)
    assert [answer.status_code for answer in answers] == [201, 204] * 3
    assert [answer.http_version for answer in answers] == ["HTTP/1.1"] * 4 + ["HTTP/2"] * 2
    for answer in answers[::2]:
        assert answer.headers["Location"].startswith("/api/v1/sessions/")
        assert answer.headers["Access-Control-Expose-Headers"] == "Location"
    documents = shown(sqlite_url, 3)
    versions = [[exchange["request"]["http_version"] for exchange in d["exchanges"]] for d in documents]
    assert versions == [["HTTP/1.1"] * 2, ["HTTP/1.1"] * 2, ["HTTP/2"] * 2]
    last = documents[-1]["exchanges"][0]
    host = dict(last["request"]["headers"])["host"]
    assert host == proxy.url.removeprefix("http://"), "what the device sent as :authority"
    assert (last["request"]["path"], last["request"]["body"]["text"]) == ("/api/v1/sessions", START.decode())
    assert last["response"]["http_version"] == "HTTP/1.1"  # upstream's own


def test_with_the_lane_alone_a_device_that_offers_http2_too_takes_http1(sqlite_url, tmp_path, certificate):
    options = ("--cert", str(certificate), "--engine", "lane")
    with (
        processes.collector(tmp_path) as upstream,
        processes.recorder(tmp_path, upstream.url, sqlite_url, *options) as proxy,
        httpx.Client(verify=trusting(certificate), http2=True, trust_env=False, timeout=30) as both,
    ):
        answers = report(both, proxy.url.replace("http:", "https:"))
    assert [(answer.status_code, answer.http_version) for answer in answers] == [(201, "HTTP/1.1"), (204, "HTTP/1.1")]


def test_without_cert_the_certificate_is_issued_by_mitmproxys_ca(sqlite_url, tmp_path):
    confdir = tmp_path / "authority"
    with (
        processes.collector(tmp_path) as upstream,
        processes.recorder(tmp_path, upstream.url, sqlite_url, "--set", f"confdir={confdir}") as proxy,
    ):
        authority = trusting(confdir / "mitmproxy-ca-cert.pem")
        with device(authority) as client:
            assert report(client, f"https://localhost:{proxy.port}")[1].status_code == 204
    assert len(shown(sqlite_url)[0]["exchanges"]) == 2


def test_an_https_upstream_is_checked(sqlite_url, tmp_path, certificate):
    with processes.collector(tmp_path, "--cert", str(certificate)) as upstream:
        url = upstream.ready.partition("listening on ")[2]
        assert url.startswith("https://")
        trust = ("--set", f"ssl_verify_upstream_trusted_ca={certificate}")
        with processes.recorder(tmp_path, url, sqlite_url, *trust) as proxy, device() as client:
            assert [answer.status_code for answer in report(client, proxy.url)] == [201, 204]
        with processes.recorder(tmp_path, url, sqlite_url) as proxy, device() as client:
            refused = client.post(f"{proxy.url}/api/v1/sessions", content=START)
        assert refused.status_code == 502
        assert "certificate" in refused.json()["message"].lower()
        assert len(upstream.received()) == 2
    good, bad = shown(sqlite_url, 2)
    assert good["session"]["upstream"] == bad["session"]["upstream"] == url
    assert [exchange["outcome"] for exchange in bad["exchanges"]] == ["upstream-unreachable"]
    assert bad["session"]["state"] == "failed"


@pytest.mark.parametrize("prefix", ["/tv", "/some/path/"])
def test_a_path_of_the_upstream_is_put_in_front_and_kept_out_of_everything_else(sqlite_url, tmp_path, prefix):
    with (
        processes.collector(tmp_path) as upstream,
        processes.recorder(tmp_path, upstream.url + prefix, sqlite_url) as proxy,
        device() as client,
    ):
        started, played = report(client, proxy.url)
        received = upstream.received()
    assert (started.status_code, played.status_code) == (201, 204)
    assert started.headers["Location"].startswith("/api/v1/sessions/")
    path = prefix.rstrip("/")
    assert [each["path"] for each in received] == [
        f"{path}/api/v1/sessions",
        f"{path}{started.headers['Location']}/events",
    ]
    document = shown(sqlite_url)[0]
    assert document["session"]["upstream"] == f"{upstream.url}{path}"
    assert [exchange["request"]["path"] for exchange in document["exchanges"]] == [
        "/api/v1/sessions",
        f"{started.headers['Location']}/events",
    ]


def test_a_path_prefix_of_the_device_is_forwarded(sqlite_url, tmp_path):
    with (
        processes.collector(tmp_path) as upstream,
        processes.recorder(tmp_path, upstream.url, sqlite_url) as proxy,
        device() as client,
    ):
        assert client.post(f"{proxy.url}/tv/eu/api/v1/sessions?x=1", content=START).status_code == 201
        assert [each["path"] for each in upstream.received()] == ["/tv/eu/api/v1/sessions?x=1"]
    assert shown(sqlite_url)[0]["exchanges"][0]["request"]["path"] == "/tv/eu/api/v1/sessions?x=1"


def test_a_request_in_absolute_form_goes_to_upstream_and_nowhere_else(sqlite_url, tmp_path):
    with processes.collector(tmp_path) as upstream, processes.recorder(tmp_path, upstream.url, sqlite_url) as proxy:
        answer = proxy.ask("POST", "http://192.0.2.1/api/v1/sessions", START)
        assert answer.status == 201
        assert [each["path"] for each in upstream.received()] == ["/api/v1/sessions"]
    document = shown(sqlite_url)[0]
    assert document["exchanges"][0]["request"]["path"] == "/api/v1/sessions"
    assert document["session"]["upstream"] == upstream.url


def test_an_ordinary_proxy_records_what_goes_through_it(sqlite_url, tmp_path):
    """Mode 'regular' of mitmproxy, with no upstream named."""
    command = [processes.COMMAND, "record", "--mode", "regular@127.0.0.1:0", "--store", sqlite_url]
    with (
        processes.collector(tmp_path) as server,
        processes.serving(command, tmp_path) as proxy,
        httpx.Client(proxy=proxy.url, trust_env=False, timeout=30) as client,
    ):
        assert report(client, server.url)[1].status_code == 204
    document = shown(sqlite_url)[0]
    assert document["session"]["upstream"] == server.url
    assert document["exchanges"][0]["request"]["path"] == "/api/v1/sessions"
