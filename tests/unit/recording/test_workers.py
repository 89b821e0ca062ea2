"""Workers as their supervisor sees them."""

from __future__ import annotations

import errno
import socket
from pathlib import Path

import pytest

from proxy_addon.errors import SettingsError
from proxy_addon.journal.entries import About
from proxy_addon.recording import workers
from proxy_addon.recording.meters import Meter
from proxy_addon.recording.standing import Told
from proxy_addon.recording.workers import Order, Ready, Supervisor, reserved

ABOUT = About(run="r", started_us=0, program="1", engine="lane")
ORDER = Order(options=None, about=ABOUT, folder=Path())  # type: ignore[arg-type]  # no process is started


def test_a_port_can_be_had_although_connections_of_an_earlier_recorder_hold_it():
    with socket.create_server(("127.0.0.1", 0)) as earlier:
        port = earlier.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as device:
            accepted, _ = earlier.accept()
            accepted.close()  # first, so that the system remembers the connection for a minute
            assert device.recv(1) == b""
    with reserved("127.0.0.1", port) as keeping:
        assert keeping.getsockname() == ("127.0.0.1", port)


def test_a_port_on_which_somebody_listens_cannot_be_had():
    with socket.create_server(("127.0.0.1", 0)) as other, pytest.raises(SettingsError, match="cannot listen on"):
        reserved(*other.getsockname())


class Worker:
    """A worker without a process, which is ready at once; every second has died since."""

    counts = None
    began_s = 0.0

    def __init__(self, order, hear):
        self.number = order.about.worker
        self.hear = hear
        self.code = -9 if self.number % 2 else None
        self.standing = Told(meter=Meter().document(), seen=self.number)
        hear(self, Ready([]))


def test_a_worker_that_has_died_is_told_as_ended_with_its_counts(monkeypatch):
    monkeypatch.setattr(workers, "Worker", Worker)
    supervisor = Supervisor(ORDER, 3, lambda: None)
    assert supervisor.start() == []
    assert [(each.seen, each.has_ended) for each in supervisor.standing()] == [(0, False), (1, True), (2, False)]


def test_a_worker_is_replaced_though_not_at_once_and_is_told_why(monkeypatch, caplog):
    made: list[Worker] = []

    def make(order, hear):
        if order.about.worker == 3:
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
        made.append(Worker(order, hear))
        return made[-1]

    monkeypatch.setattr(workers, "Worker", make)
    monkeypatch.setattr(workers, "AGAIN_S", 0.0)
    supervisor = Supervisor(ORDER, 2, lambda: None)
    supervisor.start()
    made[1].hear(made[1], None)
    for number in (2, 0):  # one of those that have taken a place, and one of the first
        failed = next(each for each in made if each.number == number)
        failed.hear(failed, SettingsError("cannot write the journal"))
        failed.hear(failed, None)
    assert [each.number for each in made] == [0, 1, 2, 4, 5]
    assert caplog.messages == [
        "worker 1 has ended with code -9; another one takes its place",
        "worker 2 has ended: cannot write the journal; another one takes its place",
        "cannot start another worker: Resource temporarily unavailable; it is tried again",
        "worker 0 has ended: cannot write the journal; another one takes its place",
    ]
