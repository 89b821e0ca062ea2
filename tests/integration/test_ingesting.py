"""What a recorder does about the process that files what it journals."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

import pytest

from proxy_addon.journal import folders
from proxy_addon.journal.alone import alone
from proxy_addon.journal.writing import Journal
from proxy_addon.recording import ingesting
from proxy_addon.recording.ingesting import Hearing, Ingesting
from tests import journals
from tests.builders import start

SOON_S = 30


def until(is_so: Callable[[], bool]) -> None:
    until_s = time.monotonic() + SOON_S
    while not is_so():
        assert time.monotonic() < until_s
        time.sleep(0.01)


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
def test_while_a_journal_is_drained_a_recorder_starts_and_what_it_records_waits(store, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(ingesting, "LONG_BUSY_S", 0.1)
    folder = tmp_path / "journal"
    folders.prepare(folder)
    own = Ingesting(folder, store.url, "run1", Hearing())
    with alone(folder):
        own.start()
        journals.write(folder, [journals.entry(start(id="x"))])
        assert own.counts() is None
    until(lambda: own.counts() is not None)
    filed = own.end(SOON_S)
    assert (filed.is_all, filed.waiting) == (True, 0)
    assert sum("another process files" in line for line in caplog.messages) == 1
    assert not [line for line in caplog.messages if "cannot start" in line]


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
def test_a_connection_that_is_cut_while_ingest_goes_on_is_made_again(store, tmp_path, caplog):
    folder = tmp_path / "journal"
    folders.prepare(folder)
    own = Ingesting(folder, store.url, "run1", Hearing())
    journal = Journal(folder, journals.about(), durable=False, call=lambda call, *args: call(*args))
    own.start()
    child, client = own._child, own._client
    assert client is not None
    client._connection.shutdown(socket.SHUT_RDWR)
    until(lambda: own._client is not client and own.counts() is not None)
    assert own._child is child
    journal.put(journals.entry(start(id="x")))
    journal.close(SOON_S)
    assert own.end(SOON_S).is_all
    assert not [line for line in caplog.messages if "has ended" in line]
