"""Each event that reports do not count as it was sent has a sentence that says why, and no other has one."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from proxy_addon.core.exchange import Exchange, Outcome
from proxy_addon.core.findings import Judgement
from proxy_addon.core.fixtures.held import fold
from proxy_addon.core.sessions import AsOf
from proxy_addon.core.timelines.pictures import picture_of
from tests.builders import BEGIN_MS, batch, event, event_dict, response, start

SAME_TS = "has the same ts but arrived after it, so the ad is taken before its break"


def sent(*told: tuple[str, float] | tuple[str, float, dict[str, Any]]) -> list[Exchange]:
    """Return a session of events: type, seconds of the device, and what is unlike others of it; they arrive in this order."""
    made = [start()]
    for number, (type, at_s, *how) in enumerate(told):
        rest: dict[str, Any] = {"after_s": at_s, **(how[0] if how else {})}
        made.append(event(type, id=f"e{number}", ts=BEGIN_MS + round(at_s * 1000), **rest))
    return made


def why(exchanges: list[Exchange]) -> dict[int, str]:
    (held,) = fold(exchanges)
    as_of = AsOf(now=held.session.last_event_at + timedelta(days=1))
    picture = picture_of(held.session, held.exchanges, {}, Judgement(), as_of)
    return {seq: text for (seq, _), text in picture.uncounted.items()}


@pytest.mark.parametrize(
    ("exchanges", "place", "says"),
    [
        (sent(("adStart", 1), ("adBreakStart", 1)), 2, f"its adBreakStart #3 {SAME_TS}"),
        (sent(("adStart", 1), ("adBreakStart", 2, {"after_s": 1.5})), 2, "its adBreakStart #3 has a later ts"),
        (
            sent(("adStart", 3), *(("ping", 9 + n) for n in range(4)), ("adBreakStart", 2, {"after_s": 13})),
            2,
            "its adBreakStart #7 arrived too late to be taken before it",
        ),
        (sent(("adBreakStart", 1, {"response": response(400)}), ("adStart", 1)), 3, "its adBreakStart #2 is not counted either, so no ad break was open"),
        (sent(("adBreakStart", 1), ("adBreakComplete", 2), ("adStart", 3)), 4, "no ad break was open since adBreakComplete #3"),
        (sent(("play", 1), ("adStart", 2)), 3, "no adBreakStart came before it, so no ad break was open"),
        (sent(("adComplete", 1)), 2, "no ad was open"),
        (sent(("chapterSkip", 1)), 2, "no chapter was open"),
        (sent(("stateEnd", 1, {"params": {"media.state.name": "mute"}})), 2, "this player state was not on"),
        (sent(("ping", 1, {"response": response(500)})), 2, "the server answered 500"),
        (sent(("ping", 1, {"response": None, "outcome": Outcome.REJECTED})), 2, "it was refused on its way and never reached the server"),
        (sent(("ping", 1, {"response": None, "outcome": Outcome.UPSTREAM_UNREACHABLE})), 2, "the server could not be reached"),
        (sent(("ping", 1, {"body": b"{"})), 2, "its body is not an event that can be read"),
        (sent(("sessionEnd", 1), ("ping", 9)), 3, "sessionEnd had closed the session"),
        (sent(("play", 1), ("ping", 700)), 3, "the session had closed after 10 minutes without an event"),
    ],
)  # fmt: skip
def test_what_is_not_counted_says_why(exchanges: list[Exchange], place: int, says: str):
    assert why(exchanges)[place] == f"Not counted: {says}."


def test_what_is_counted_late_says_so_and_what_is_counted_says_nothing():
    late = sent(("play", 1), *(("ping", 9 + n) for n in range(4)), ("ping", 8, {"after_s": 18}))
    assert list(why(late)) == [7]
    assert why(late)[7].startswith("Taken late: it came after the 5 s or 10 events in which events are sorted")
    assert why(sent(("adBreakStart", 1), ("adStart", 1), ("adComplete", 9), ("adBreakComplete", 9))) == {}


def test_events_of_a_batch_are_called_by_their_place_in_it():
    told = ["sessionStart", "adStart", "adBreakStart", "sessionEnd"]
    (only,) = [batch([event_dict(type, ts=BEGIN_MS + 5) for type in told])]
    assert why([only]) == {1: f"Not counted: its adBreakStart #3 {SAME_TS}."}
