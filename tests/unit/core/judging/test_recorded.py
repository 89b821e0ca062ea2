"""A session that is watched while it grows gets the judgement of one that is judged at its end."""

from __future__ import annotations

import pytest

from proxy_addon.core import sessions
from proxy_addon.core.exchange import Exchange
from proxy_addon.core.judging.recorded import SessionWatch
from proxy_addon.core.sessions import Session
from tests.builders import at, event, start

EXCHANGES = [
    start(id="x1"),
    event("play", id="x2", after_s=1),
    event("adStart", id="x3", after_s=2),
    event("ping", id="x4", after_s=90, playhead=3),
    event("adBreakComplete", id="x5", after_s=95, playhead=3),
    event("ping", id="x6", after_s=99, playhead=1, ts=1),
    event("sessionEnd", id="x7", after_s=100, playhead=4),
]
NOW = at(10_000)


def session_of(exchanges: list[Exchange]) -> Session:
    session = sessions.opened(exchanges[0], id="s1")
    for exchange in exchanges[1:]:
        session = sessions.joined(session, exchange)
    return session


@pytest.mark.parametrize("cuts", [[1, 2, 3, 4, 5, 6, 7], [3, 4, 7], [2, 7]])
def test_to_go_on_gives_what_to_judge_anew_gives(cuts):
    watch, judged = None, 0
    for cut in cuts:
        session = session_of(EXCHANGES[:cut])
        if watch is None:
            watch = SessionWatch(session, NOW)
        else:
            assert watch.go_on(session, NOW)
        assert [*watch.judging(EXCHANGES[judged:cut])] == EXCHANGES[judged:cut]
        judged = cut
        anew = SessionWatch(session, NOW)
        assert [*anew.judging(EXCHANGES[:cut])] == EXCHANGES[:cut]
        assert watch.judgement() == anew.judgement()
    assert watch is not None
    assert watch.judgement().of_session


def test_what_is_known_of_a_session_otherwise_has_to_be_the_same_to_go_on():
    watch = SessionWatch(session_of(EXCHANGES[:1]), NOW)
    assert [*watch.judging(EXCHANGES[:1])]
    assert not watch.go_on(session_of(EXCHANGES[:2]), NOW, opened_beside="s2")
