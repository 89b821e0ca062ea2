"""How a recorder ends: in under ten seconds, with an answer for every device, and with nothing left out of the books."""

from __future__ import annotations

import json
import signal
import socket
import threading
import time
from contextlib import closing, suppress

import pytest

from proxy_addon.process.signals import SAME_S
from tests import processes
from tests.builders import body, event_dict
from tests.integration.test_outcomes import CORS, start, stored, wait_until_refused
from tests.processes import Answer

SOON_S = 60


class Silent:
    """An upstream that takes every request, and answers none."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._connections: list[socket.socket] = []
        self.asked = threading.Event()
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        for each in (self._listener, *self._connections):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._connections.append(connection)
                threading.Thread(target=self._take, args=(connection,), daemon=True).start()

    def _take(self, connection: socket.socket) -> None:
        with suppress(OSError):
            while sent := connection.recv(65536):
                if b"sessionStart" in sent:
                    self.asked.set()


@pytest.mark.parametrize("engine", ["lane", "hooks"])
def test_what_has_no_answer_when_the_recorder_ends_is_interrupted_and_its_device_is_told(engine, sqlite_url, tmp_path):
    answers: list[Answer] = []
    with (
        closing(Silent()) as server,
        processes.recorder(tmp_path, server.url, sqlite_url, "--engine", engine) as proxy,
        closing(socket.create_connection(("127.0.0.1", proxy.port))) as half,
    ):
        half.sendall(b'POST /api/v1/sessions HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n{"half')
        device = threading.Thread(target=lambda: answers.append(start(proxy)))
        device.start()
        assert server.asked.wait(SOON_S)
        began_s = time.monotonic()
        assert proxy.process.stop() == 0
        assert time.monotonic() - began_s < 10
        device.join(SOON_S)
    (answer,) = answers
    assert answer.status == 503
    assert {name: answer.header(name) for name in CORS} == CORS
    assert json.loads(answer.body)["message"] == "sessiontape: the recorder was stopped"
    exchanges = stored(sqlite_url, 2)
    assert [each["outcome"] for each in exchanges] == ["interrupted"] * 2
    assert {each["reason"] for each in exchanges} == {"the recorder was stopped"}
    assert sorted(each["request"]["complete"] for each in exchanges) == [False, True]


def test_a_second_signal_ends_it_at_once_and_what_was_journaled_is_filed(sqlite_url, tmp_path):
    with closing(Silent()) as server:
        with processes.recorder(tmp_path, server.url, sqlite_url, ends_with=-signal.SIGTERM) as proxy:
            with closing(socket.create_connection(("127.0.0.1", proxy.port))) as half:
                half.sendall(b"POST /api/v1/sessions HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n{")
            device = socket.create_connection(("127.0.0.1", proxy.port))
            device.sendall(b"POST /api/v1/sessions HTTP/1.1\r\nHost: x\r\nContent-Length: 12\r\n\r\nsessionStart")
            assert server.asked.wait(SOON_S)
            proxy.process.popen.terminate()
            wait_until_refused(proxy.port)
            time.sleep(SAME_S)  # a signal that follows sooner counts as the same one
            proxy.process.stop()
            device.close()
        assert [each["outcome"] for each in stored(sqlite_url, 1)] == ["client-gone"]


@pytest.mark.parametrize("engine", ["lane", "hooks"])
def test_ending_right_behind_a_large_batch_takes_under_ten_seconds_and_loses_nothing(engine, sqlite_url, tmp_path):
    events = [event_dict("sessionStart"), event_dict("play", customMetadata={"x": "y" * 20 * 2**20})]
    with processes.collector(tmp_path) as upstream:
        command = [processes.COMMAND, "record", *processes.ANY_PORT, "--upstream", upstream.url, "--store", sqlite_url]
        process = processes.Process(
            [*command, "--engine", engine, "--max-body", str(30 * 2**20)], tmp_path, "listening on"
        )
        port = int(process.wait_until_ready().split()[2].rpartition(":")[2])
        server = processes.Server(process, port, "")
        assert server.ask("POST", "/api/v1/downloaded", body(events)).status == 201
        began_s = time.monotonic()
        code = process.stop()
        assert time.monotonic() - began_s < 10
        assert code == (2 if "wait in" in process.output else 0)
    assert processes.run("db", "drain", "--store", sqlite_url).returncode == 0
    (session,) = processes.printed("sessions", "--store", sqlite_url)
    assert (session["state"], session["events"]) == ("ended", 2)
