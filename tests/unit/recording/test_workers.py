"""Workers as their supervisor sees them."""

from __future__ import annotations

import socket

import pytest

from proxy_addon.errors import SettingsError
from proxy_addon.recording.workers import reserved


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
