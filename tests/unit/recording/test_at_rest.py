from __future__ import annotations

from dataclasses import replace
from typing import cast

import pytest

from proxy_addon.core.pseudonyms.exchanges import Pseudonymiser
from proxy_addon.recording.at_rest import AT_ONCE, MOST_SESSIONS, AtRest, NotPseudonymised
from tests import personal
from tests.builders import event, exchange, response, start

SMALL = exchange(path="/api/v1/x?uid=alice-1", body=b'{"uid": "alice-1"}')
LARGE = replace(SMALL, id="x2", response=response(200, body=b" " * AT_ONCE))


class Broken:
    def __call__(self, sent: object, *_: object) -> object:
        raise KeyError("alice-1")

    path = address = __call__


def test_a_small_exchange_is_told_at_once_and_a_large_one_in_the_thread():
    at_rest = AtRest(Pseudonymiser(b"k"))
    small, large = at_rest.at_once(SMALL), at_rest.at_once(LARGE)
    assert "alice" not in repr(small)
    assert (large, at_rest.is_waiting(large), at_rest.is_waiting(small)) == (LARGE, True, False)
    assert "alice" not in at_rest.name(large)
    told = [at_rest.in_thread(each) for each in (small, large)]
    assert told == [at_rest.told(SMALL), at_rest.told(LARGE)]  # again, if the store has to be tried again
    at_rest.stored([small.id, large.id])
    assert not at_rest.is_waiting(large)
    assert at_rest.name(small) == f"POST {small.request.path}"


def test_what_later_answers_repeat_is_found_within_bounds():
    at_rest = AtRest(Pseudonymiser(b"k"))

    def quoted(session: str) -> bool:
        answer = response(400, body=b'{"message": "no alice-1"}')
        return "alice" in repr(at_rest.at_once(event("ping", session_id=session, response=answer)))

    at_rest.at_once(start(session_id="s1", body=b'{"uid": "alice-1"}'))
    assert not quoted("s1")
    assert quoted("s2")
    for number in range(MOST_SESSIONS):
        at_rest.at_once(event("ping", session_id=f"x{number}"))
    assert quoted("s1")
    assert len(at_rest._memories) == MOST_SESSIONS


def test_without_a_pseudonymiser_everything_stays():
    at_rest = AtRest(None)
    assert not at_rest.is_on
    for sent in (*personal.playback(), LARGE):
        assert at_rest.in_thread(at_rest.at_once(sent)) is at_rest.told(sent) is sent
        assert at_rest.name(sent) == f"POST {sent.request.path}"
    assert (at_rest.path("/?uid=x"), at_rest.address("198.18.0.1")) == ("/?uid=x", "198.18.0.1")


def test_what_cannot_be_pseudonymised_is_not_stored_and_not_quoted():
    at_rest = AtRest(cast("Pseudonymiser", Broken()))
    with pytest.raises(NotPseudonymised) as told:
        at_rest.at_once(SMALL)
    assert (str(told.value), told.value.__cause__, told.value.__suppress_context__) == ("KeyError", None, True)
    waiting = at_rest.at_once(LARGE)
    with pytest.raises(NotPseudonymised):
        at_rest.in_thread(waiting)
    assert at_rest.name(waiting) == "POST (a path that is not shown)"
