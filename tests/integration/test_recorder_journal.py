"""What a recorder writes into its journal, and what it never does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from proxy_addon.core.exchange import Exchange
from proxy_addon.core.judging.policy import DEFAULT
from proxy_addon.core.pseudonyms.exchanges import Pseudonymiser
from proxy_addon.journal.entries import Dropped, Exchanged
from proxy_addon.journal.exchanges import exchange_of
from proxy_addon.journal.reading import Folder
from proxy_addon.recording.at_rest import AT_ONCE, AtRest
from proxy_addon.recording.entries import entry_of
from proxy_addon.recording.judging import Judge
from proxy_addon.recording.recorder import Recorder, about_of
from tests import personal
from tests.builders import exchange, response

SMALL = exchange(id="a1", path="/api/v1/x?uid=alice-1", body=b'{"uid": "alice-1"}')
LARGE = replace(SMALL, id="a2", response=response(200, body=b'{"uid": "alice-1"}' + b" " * AT_ONCE))
BROKEN = Exchanged(id="a3", received_us=1, outcome="rejected", request=b"alice-1\r\n\r\n", upstream="http://up.example")


def recorder(folder: Path, pseudonymiser: Pseudonymiser | None) -> Recorder:
    at_rest = AtRest(pseudonymiser)
    is_on = pseudonymiser is not None
    about = about_of(name="tv", engine="lane", upstream=None, checks=True, pseudonymised=is_on, policy=DEFAULT)
    return Recorder(folder, about, at_rest, Judge(DEFAULT, at_rest, "sqlite:///unused.db"), is_durable=True)


def entries_in(folder: Path) -> list[Any]:
    with closing(Folder(folder)) as found:
        return [entry for writer in found.look() for each in writer.segments for _, entry in each.more()]


def exchanges_in(folder: Path, of: Recorder) -> list[Exchange]:
    return [exchange_of(each, of.about) for each in entries_in(folder) if isinstance(each, Exchanged)]


async def written(put: Callable[[Callable[[BaseException | None], object]], object]) -> BaseException | None:
    """Wait until what was put is in the journal."""
    told: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()
    put(told.set_result)
    return await asyncio.wait_for(told, 20)


async def test_an_entry_is_in_the_journal_when_that_is_said(tmp_path):
    of = recorder(tmp_path, None)
    of.began()
    assert await written(partial(of.put, entry_of(SMALL))) is None
    assert exchanges_in(tmp_path, of) == [SMALL]
    assert not await of.idle(0.0)
    of.ended()
    assert await of.idle(0.0)
    counts = of.close(5)
    assert (counts.seen, counts.journaled, counts.dropped) == (1, 1, 0)


async def test_no_personal_value_is_ever_in_the_journal_and_what_cannot_be_replaced_is_dropped(
    tmp_path, caplog, monkeypatch
):
    of = recorder(tmp_path, Pseudonymiser(b"key"))
    for each in (*personal.playback(), SMALL, LARGE):
        await written(partial(of.put_exchange, each))  # as mitmproxy's engine puts it
        await written(partial(of.put, entry_of(replace(each, id=f"{each.id}b"))))  # and the lane
    await written(partial(of.put, BROKEN))

    def fails(*_: object) -> Exchange:
        raise KeyError("alice-1")

    monkeypatch.setattr(Pseudonymiser, "__call__", fails)
    for each in (SMALL, LARGE):
        await written(partial(of.put_exchange, replace(each, id=f"{each.id}c")))
    counts = of.close(5)
    assert counts.dropped == 3
    everything = b"".join(path.read_bytes() for path in tmp_path.iterdir() if path.is_file())
    assert b"a1b" in everything
    assert b"alice" not in everything
    assert personal.found_in(everything) == []
    assert "alice" not in caplog.text
    assert caplog.text.count("lost: POST /api/v1/x?uid=") == 2
    assert "its personal values cannot be replaced: KeyError" in caplog.text
    names = [(each.method, each.path.partition("?")[0]) for each in entries_in(tmp_path) if isinstance(each, Dropped)]
    assert sorted(names) == [("POST", "/api/v1/x")] * 2 + [("a request", "that is no HTTP")]


@pytest.mark.parametrize("is_large", [False, True])
async def test_requests_that_may_be_refused_are_judged_now_or_beside_the_traffic(tmp_path, is_large):
    of = recorder(tmp_path, None)
    body = b'{"eventType": "play"}' + b" " * (AT_ONCE * 5 if is_large else 0)
    told: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
    of.judge(entry_of(exchange(path="/api/v1/sessions", body=body)), told.set_result)
    assert told.done() is not is_large
    assert "eventType" in (await asyncio.wait_for(told, 20) or "")
    of.close(5)


async def test_what_a_fault_of_ours_takes_with_it_is_dropped_without_its_personal_values(tmp_path):
    of = recorder(tmp_path, Pseudonymiser(b"key"))
    of.began()
    of.lose(Dropped(id="a1", received_us=1, method="POST", path="/api/v1/x?uid=alice-1", reason="an error"))
    assert (of.counts().seen, of.counts().dropped, await of.idle(0)) == (1, 1, True)
    of.close(20)
    (dropped,) = [each for each in entries_in(tmp_path) if isinstance(each, Dropped)]
    assert (dropped.id, dropped.path.startswith("/api/v1/x?uid="), "alice" in dropped.path) == ("a1", True, False)
