"""No upstream is the recorder itself, whatever it is called, and no request goes round."""

from __future__ import annotations

import json
import socket
from contextlib import ExitStack

import pytest

from proxy_addon.core.urls import parse_server_url
from proxy_addon.errors import SettingsError
from proxy_addon.process import recorders
from proxy_addon.process.recorders import Recorder
from proxy_addon.recording.loops import Loops, refuse_itself
from tests import processes
from tests.lanes import free_port, serving

HOST_NAME = socket.gethostname()
SPELLINGS = [
    "127.0.0.1",
    "127.0.0.2",
    "127.1",
    "2130706433",
    "0x7f000001",
    "0.0.0.0",
    "localhost",
    HOST_NAME,
    "[::ffff:127.0.0.1]",
]
V6_SPELLINGS = ["[::1]", "[::]", "[0:0:0:0:0:0:0:1]"]


def upstream(host: str, port: int = 8080):
    return parse_server_url(f"http://{host}:{port}")


@pytest.mark.parametrize(
    ("listening", "host"),
    [
        *(("0.0.0.0", host) for host in SPELLINGS),
        *(("::", host) for host in V6_SPELLINGS),
        *(("127.0.0.1", host) for host in ("127.0.0.1", "127.1", "2130706433", "0.0.0.0", "[::ffff:127.0.0.1]")),
        ("::1", "[::1]"),
    ],
)
def test_an_upstream_that_is_the_recorder_is_refused_in_any_spelling(listening, host):
    with pytest.raises(SettingsError, match="is this proxy itself"):
        refuse_itself(upstream(host), [(listening, 8080)])


@pytest.mark.parametrize(
    ("listening", "host"),
    [("127.0.0.1", "127.0.0.2"), ("127.0.0.1", "[::1]"), ("0.0.0.0", "192.0.2.1"), ("0.0.0.0", "nohost.invalid")],
)
def test_another_server_on_the_same_port_is_none(listening, host):
    refuse_itself(upstream(host), [(listening, 8080)])


def test_a_name_is_looked_up_only_if_the_ports_are_equal(monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: pytest.fail("asked"))
    refuse_itself(upstream("nohost.invalid", 80), [("127.0.0.1", 8080)])


def test_only_running_recorders_get_a_mark(tmp_path):
    folder = tmp_path / "recorders"
    recorders.announce([Recorder(address="0.0.0.0", port=8081, upstream="http://x")], folder)
    loops = Loops("ours", lambda: [("127.0.0.1", 8080)], folder)

    assert loops.is_recorder(("127.0.0.1", 8081))
    assert not loops.is_recorder(("127.0.0.1", 8082))
    assert not loops.is_recorder(("192.0.2.1", 8081))

    recorders.announce([Recorder(address="127.0.0.1", port=8082, upstream="http://x")], folder)
    assert loops.is_recorder(("127.0.0.1", 8082)), "one that was announced since"
    assert not loops.is_recorder(("127.0.0.1", 8081))
    recorders.withdraw(folder)
    assert not loops.is_recorder(("127.0.0.1", 8082))


def ask(port: int, headers: bytes = b"") -> tuple[int, str]:
    """Start a session on a connection of its own; return the status and the message of the answer."""
    with socket.create_connection(("127.0.0.1", port), 10) as device:
        device.sendall(
            b"POST /api/v1/sessions HTTP/1.1\r\nHost: h\r\nConnection: close\r\n%bContent-Length: 2\r\n\r\n{}" % headers
        )
        received = b"".join(iter(lambda: device.recv(65536), b""))
    head, _, body = received.partition(b"\r\n\r\n")
    assert b"Access-Control-Allow-Origin: *" in head
    return int(head.split()[1]), json.loads(body)["message"]


@pytest.mark.parametrize("engine", ["lane", "hooks"])
@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "127.1", HOST_NAME])
def test_a_connection_that_leads_back_is_recognised_by_its_addresses(engine, host):
    port = free_port()
    with serving(f"http://{host}:{port}", engine, listen=f"0.0.0.0:{port}") as recorder:
        answers = [ask(port) for _ in range(3)]

    assert answers == [(508, "sessiontape: the upstream is this recorder itself")] * 3
    if engine == "lane":
        assert [(each.outcome, each.response) for each in recorder.kept.entries] == [("upstream-unreachable", None)] * 3
        assert {kind for kind, _ in recorder.kept.told} == {"loop"}


@pytest.mark.parametrize("engine", ["lane", "hooks"])
def test_a_request_that_bears_our_own_mark_is_refused(engine):
    """It has come round through another recorder."""
    with serving(f"http://127.0.0.1:{free_port()}", engine) as recorder:
        status, _ = ask(recorder.port, b"Sessiontape-Recorder: other\r\nSessiontape-Recorder: the-run\r\n")

    assert status == 508
    if engine == "lane":
        (entry,) = recorder.kept.entries
        assert entry.outcome == "rejected"
        assert b"Sessiontape" not in entry.request
        assert [kind for kind, _ in recorder.kept.told] == ["loop"]


@pytest.mark.parametrize("engine", ["lane", "hooks"])
def test_two_recorders_in_a_ring_end_after_a_few_exchanges(tmp_path, engine):
    first, second = free_port(), free_port()
    stores = [f"sqlite:///{tmp_path}/{name}.db" for name in ("first", "second")]
    with ExitStack() as ring:
        recorders = [
            ring.enter_context(
                processes.recorder(
                    tmp_path,
                    f"http://127.0.0.1:{towards}",
                    store,
                    *("--listen", f"127.0.0.1:{at}", "--engine", engine),
                )
            )
            for at, towards, store in ((first, second, stores[0]), (second, first, stores[1]))
        ]
        status, message = ask(first)

    assert (status, message) == (508, "sessiontape: the request has come back to the recorder that sent it")
    stored = [processes.printed("exchanges", "--store", store) for store in stores]
    sessions = [processes.printed("sessions", "--store", store) for store in stores]
    assert sum(map(len, stored)) + sum(each["exchanges"] for of in sessions for each in of) <= 4
    assert "sessiontape-recorder" not in json.dumps([stored, sessions]).lower()
    told = [line for each in recorders for line in each.process.lines if "leads back to this recorder" in line]
    assert len(told) == 1


@pytest.mark.parametrize("host", ["127.0.0.2", "127.1", "localhost", "[::ffff:127.0.0.1]", HOST_NAME])
def test_record_refuses_to_start_in_front_of_itself(tmp_path, host):
    port = free_port()
    address = ("--listen", f"0.0.0.0:{port}", "--store", f"sqlite:///{tmp_path}/tape.db")
    done = processes.run("record", "--upstream", f"http://{host}:{port}", *address)

    assert done.returncode == 2
    assert "is this proxy itself" in done.stderr
    assert "Traceback" not in done.stderr
