"""Repeated problems are logged at once, and then counted once a minute."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from proxy_addon.recording.notices import EVERY_S, HANDSHAKE, PASSES_BY, Outages, Sparing


class Minutes:
    """Calls what is to be called later when a minute is over."""

    def __init__(self) -> None:
        self._calls: list[Callable[[], None]] = []

    def later(self, after_s: float, call: Callable[[], None]) -> None:
        assert after_s == EVERY_S
        self._calls.append(call)

    def over(self) -> None:
        calls, self._calls = self._calls, []
        for call in calls:
            call()


def test_a_thing_is_told_at_once_and_then_counted_by_the_minute(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    minutes = Minutes()
    sparing = Sparing(minutes.later)

    def happen(*names: str) -> list[str]:
        caplog.clear()
        for name in names:
            sparing.tell(PASSES_BY, f"{name} passes by", name)
        return caplog.messages

    def minute() -> list[str]:
        caplog.clear()
        minutes.over()
        return caplog.messages

    def more(count: int, first: str) -> str:
        return f"forwarded but not recorded: {count} more in the last minute, the first {first}"

    assert happen("GET /a", "GET /b", "GET /c") == ["GET /a passes by"]
    sparing.tell(HANDSHAKE, "a handshake failed", "192.0.2.7")
    assert caplog.messages[-1] == "a handshake failed"
    assert minute() == [more(2, "GET /b")]
    assert happen("GET /d") == []
    assert minute() == [more(1, "GET /d")]
    assert minute() == []  # a minute without one: the next is told at once
    assert happen("GET /e", "GET /f") == ["GET /e passes by"]
    caplog.clear()
    sparing.flush()
    assert caplog.messages == [more(1, "GET /f")]


def test_an_outage_is_told_when_it_begins_and_when_it_ends(caplog: pytest.LogCaptureFixture) -> None:
    now_s = [100.0]
    outages = Outages(lambda: now_s[0])
    outages.answered("http://a")
    for _ in range(3):
        outages.failed("http://a", "refused")
    outages.failed("https://b", "Certificate verify failed: self-signed certificate")
    now_s[0] += 12.3
    outages.answered("http://a")
    outages.answered("http://a")
    outages.flush()
    assert caplog.messages == [
        "cannot reach http://a: refused; devices get 502 until it is back",
        (
            "cannot reach https://b: Certificate verify failed: self-signed certificate; devices get 502 until it is back. "
            "Its certificate is not trusted: name its CA with --set ssl_verify_upstream_trusted_ca=FILE, or accept any "
            "certificate with --set ssl_insecure=true"
        ),
        "http://a is back after 12.3 s; 3 requests got 502 meanwhile",
        "https://b could not be reached until the end; 1 request got 502",
    ]


def test_no_more_outages_are_followed_than_there_is_room_for(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxy_addon.recording.notices.MOST_UPSTREAMS", 2)
    outages = Outages()
    for number in range(5):
        outages.failed(f"http://{number}", "refused")
    assert len(caplog.messages) == 2
