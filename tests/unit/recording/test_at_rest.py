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


def test_only_a_large_exchange_is_too_slow_for_the_event_loop():
    at_rest = AtRest(Pseudonymiser(b"k"))
    assert (at_rest.is_slow(SMALL), at_rest.is_slow(LARGE), AtRest(None).is_slow(LARGE)) == (False, True, False)
    for sent in (SMALL, LARGE):
        assert "alice" not in repr(at_rest.told(sent))
        assert "alice" not in at_rest.name(sent)


def test_what_later_answers_repeat_is_found_within_bounds():
    at_rest = AtRest(Pseudonymiser(b"k"))

    def quoted(session: str) -> bool:
        answer = response(400, body=b'{"message": "no alice-1"}')
        return "alice" in repr(at_rest.told(event("ping", session_id=session, response=answer)))

    at_rest.told(start(session_id="s1", body=b'{"uid": "alice-1"}'))
    assert not quoted("s1")
    assert quoted("s2")
    for number in range(MOST_SESSIONS):
        at_rest.told(event("ping", session_id=f"x{number}"))
    assert quoted("s1")
    assert len(at_rest._memories) == MOST_SESSIONS


def test_without_a_pseudonymiser_everything_stays():
    at_rest = AtRest(None)
    assert not at_rest.is_on
    for sent in (*personal.playback(), LARGE):
        assert at_rest.told(sent) is sent
        assert at_rest.name(sent) == f"POST {sent.request.path}"
    assert (at_rest.path("/?uid=x"), at_rest.address("198.18.0.1")) == ("/?uid=x", "198.18.0.1")


def test_what_cannot_be_pseudonymised_is_not_quoted():
    at_rest = AtRest(cast("Pseudonymiser", Broken()))
    with pytest.raises(NotPseudonymised) as told:
        at_rest.told(SMALL)
    assert (str(told.value), told.value.__cause__, told.value.__suppress_context__) == ("KeyError", None, True)
    assert at_rest.name(SMALL) == "POST (a path that is not shown)"
