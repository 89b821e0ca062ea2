"""Which recorded session is held to which expectation."""

import json
from dataclasses import replace

import pytest

from proxy_addon.core.fixtures import fixture
from proxy_addon.core.fixtures.held import HeldSession, fold
from proxy_addon.errors import SettingsError
from proxy_addon.testing.expectations import as_fixture
from proxy_addon.testing.pairing import Recorded, paired
from tests import builders


def held(media_id: str = "video-123", *types: str, number: int = 0) -> HeldSession:
    """Return a session with a start and these events, a second apart."""
    id = f"{number:064x}"
    params = {**builders.START_PARAMS, "media.id": media_id}
    exchanges = [
        builders.start(session_id=id, params=params),
        *(builders.event(type, after_s=after_s, session_id=id) for after_s, type in enumerate(types, 1)),
    ]
    (found,) = fold(exchanges)
    return found


def sessions(*found: HeldSession, cases: tuple[int, ...] = ()) -> list[Recorded]:
    return [Recorded(held=each, case=cases[n] if cases else 0) for n, each in enumerate(found)]


def test_sessions_go_with_the_expectation_of_their_media():
    a, b = held("a", "play", number=1), held("b", "play", number=2)
    pairing = paired({"a.json": a, "b.json": b}, sessions(b, a))
    assert {name: each and each.actual for name, each in pairing.compared.items()} == {"a.json": a, "b.json": b}
    assert all(each and each.is_same for each in pairing.compared.values())
    assert not pairing.unexpected


def test_of_several_the_most_alike_is_taken_whatever_the_order():
    other, same = held("a", "play", "pauseStart", number=1), held("a", "play", "sessionEnd", number=2)
    expected = held("a", "play", "sessionEnd", number=3)
    for recorded in ([other, same], [same, other]):
        pairing = paired({"a.json": expected}, sessions(*recorded))
        assert pairing.compared["a.json"] is not None
        assert pairing.compared["a.json"].actual == same
        assert (pairing.unexpected, pairing.aside) == ([other], [])


def test_a_changed_media_id_is_a_difference_of_that_session():
    pairing = paired({"a.json": held("a", "play")}, sessions(held("b", "play")))
    (difference,) = pairing.compared["a.json"].differences if pairing.compared["a.json"] else ()
    assert "media.id" in difference.message


def test_what_was_not_recorded_is_not_held_to_another_session():
    pairing = paired({"a.json": held("a"), "b.json": held("b")}, sessions(held("b")))
    assert pairing.compared["a.json"] is None
    assert paired({"a.json": held("a")}, []).compared == {"a.json": None}


def test_only_cases_with_an_expectation_need_one_for_every_session():
    a, again, other = held("a", number=1), held("a", number=2), held("b", number=3)
    pairing = paired({"a.json": a}, sessions(a, again, other, cases=(1, 1, 2)))
    assert (pairing.unexpected, pairing.aside) == ([again], [other])


def test_how_to_compare_is_taken_from_each_expectation():
    expected = held("a", "play", "sessionEnd")
    recorded = sessions(held("a", "play", "chapterSkip", "sessionEnd"))
    assert not paired({"a.json": expected}, recorded).compared["a.json"].is_same  # type: ignore[union-attr]
    lenient = replace(expected, compare={"ignore": ["chapterSkip:*"]})
    assert paired({"a.json": lenient}, recorded).compared["a.json"].is_same  # type: ignore[union-attr]
    with pytest.raises(SettingsError, match=r"a\.json"):
        paired({"a.json": replace(expected, compare={"ignroe": []})}, recorded)


def test_an_expectation_is_written_anew_without_personal_values_and_keeps_how_to_compare():
    before = replace(held("a", "play"), compare={"ignore": ["ping"]})
    before = replace(before, session=replace(before.session, upstream="https://first.example", recording="first"))
    recorded = held("a", "play", "sessionEnd")
    address = "198.18.0.7"  # tokens look like other addresses
    recorded = replace(
        recorded,
        session=replace(recorded.session, client_address=address),
        exchanges=tuple(replace(each, client_address=address) for each in recorded.exchanges),
    )
    text = as_fixture(recorded, before)
    assert "198.18.0.7" not in text
    assert builders.START_PARAMS["visitor.marketingCloudOrgId"] not in text
    capture = fixture.read(json.loads(text))
    exchanges = list(capture.exchanges)
    assert (capture.compare, capture.pseudonymised, capture.recording) == (before.compare, True, "first")
    assert [each.upstream for each in exchanges] == ["https://first.example"] * 3
    once = replace(recorded, session=replace(recorded.session, pseudonymised=True))
    assert "198.18.0.7" in as_fixture(once, None), "tokens do not get tokens"
