"""HAR files: what we write is read back exactly, by others too, and no entry of another tool is more than broken."""

from __future__ import annotations

import copy
import json
import re
from functools import cache
from typing import Any

from haralyzer import HarParser  # type: ignore[import-untyped]
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy_addon.core import jsontext
from proxy_addon.core.exchange import BodyState, Exchange
from proxy_addon.core.fixtures import har, har_writing
from proxy_addon.core.fixtures.captures import Entry, Tally
from proxy_addon.core.fixtures.held import fold
from proxy_addon.core.judging.exchanges import judge_exchange
from tests.captured import NAMES, Sample, sample
from tests.property.exchanges import exchanges_of_a_session
from tests.property.strategies import JSON_TEXTS


def written(exchanges: tuple[Exchange, ...], *, pseudonymised: bool = False) -> dict[str, Any]:
    text = "".join(har_writing.document(exchanges, version="1.0", pseudonymised=pseudonymised))
    value = jsontext.loads(text.encode())
    assert isinstance(value, dict)
    return value


def read(log: dict[str, Any], tally: Tally) -> tuple[Exchange, ...]:
    entries = [Entry(where=f"entry {index}", value=value) for index, value in enumerate(log["entries"])]
    return tuple(har.exchanges(entries, log, tally, lambda _: None))


@given(exchanges_of_a_session(), st.booleans())
def test_our_har_holds_all_of_a_session(exchanges, pseudonymised):
    log, tally = written(exchanges, pseudonymised=pseudonymised)["log"], Tally()
    assert read(log, tally) == exchanges
    assert (tally.broken, har.pseudonymised(log)) == ([], pseudonymised)
    assert len(tally.remarks) == any(each.request.body_state is BodyState.DAMAGED for each in exchanges)
    assert tally.incomplete == sum(each.request.body_state is BodyState.MISSING for each in exchanges)


@given(exchanges_of_a_session())
def test_another_tool_reads_our_har(exchanges):
    value = json.loads("".join(har_writing.document(exchanges, version="1.0")))
    (page,) = HarParser(value).pages
    for exchange, entry in zip(exchanges, page.entries, strict=True):
        assert entry.startTime == exchange.received_at.replace(
            microsecond=exchange.received_at.microsecond // 1000 * 1000
        )
        assert entry.request.method == exchange.request.method
        assert entry.request.url == exchange.upstream + exchange.request.path
        assert entry.response.status == (exchange.response.status if exchange.response is not None else 0)
        assert entry.time == (exchange.duration_us or 0) / 1000
    assert _nulls(json.loads(json.dumps(value), object_pairs_hook=_public)) == 0


def _public(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return {name: value for name, value in pairs if not name.startswith("_")}


def _nulls(value: Any) -> int:
    if isinstance(value, dict | list):
        return sum(map(_nulls, value.values() if isinstance(value, dict) else value))
    return value is None


@given(exchanges_of_a_session(exact=True))
def test_others_find_in_our_har_what_har_has_room_for(exchanges):
    log = written(exchanges)["log"]
    for entry in log["entries"]:
        del entry["_sessiontape"]
    log["creator"]["name"] = "another tool"
    for ours, theirs in zip(exchanges, read(log, Tally()), strict=True):
        assert (theirs.request.method, theirs.request.path) == (ours.request.method, ours.request.path)
        assert theirs.request.headers == ours.request.headers
        assert ours.request.body in (theirs.request.body, b"")
        assert (theirs.response is None) == (ours.response is None)
        if ours.response is not None and theirs.response is not None:
            assert theirs.response.body == ours.response.body
            assert theirs.response.status == ours.response.status


ANYTHING = (
    JSON_TEXTS.map(str.encode).map(jsontext.loads)
    | st.text(max_size=3)
    | st.floats()
    | st.sampled_from(["", "\udcfc", "\ud83c", "\ufffd", "\xff" * 3, "base64", "0001-01-01T00:00:00+23:59", -1, 2**200])
    | st.sampled_from([[], {}, [None], {"name": None}, [["a"]], "http://[", "https://h:99999/api/v1/sessions", "\0"])
)


@cache
def samples() -> list[Sample]:
    return [sample(name) for name in NAMES]


INTERESTING = ("request", "response", "postData", "headers", "content", "params", "timings", "times", "header", "body")


@st.composite
def mutated(draw: st.DrawFn) -> tuple[Sample, list[Any]]:
    """Return a sample and some of its entries, in which members are gone or have become anything."""
    of = draw(st.sampled_from(samples()))
    values = copy.deepcopy(draw(st.lists(st.sampled_from(of.values), min_size=1, max_size=4)))
    for _ in range(draw(st.integers(1, 12))):
        place: Any = values
        name: Any = draw(st.integers(0, len(values) - 1))
        while isinstance(place[name], dict | list) and place[name] and draw(st.integers(0, 5)):
            place = place[name]
            names: list[Any] = list(place) if isinstance(place, dict) else list(range(len(place)))
            interesting = [each for each in names if each in INTERESTING]
            prefers_these = draw(st.booleans()) and interesting
            name = draw(st.sampled_from(interesting if prefers_these else names))
        if isinstance(place, dict) and draw(st.integers(0, 3)) == 0:
            del place[name]
        else:
            place[name] = copy.deepcopy(draw(ANYTHING))
    return of, values


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(mutated())
def test_any_entry_is_kept_skipped_or_broken(case):
    of, values = case
    tally = Tally()
    exchanges = list(of.exchanges(tally, values))
    assert len(exchanges) + tally.skipped.total() + tally.broken_count == len(values)
    times = [each.received_at for each in exchanges]
    assert times == sorted(times)
    fold(exchanges)
    for each in exchanges:
        judge_exchange(each)
        assert_fits_a_store(each)


def assert_fits_a_store(exchange: Exchange) -> None:
    request, response = exchange.request, exchange.response
    texts = [request.method, request.path, *(text for pair in request.headers for text in pair)]
    if response is not None:
        texts += [response.reason, *(text for pair in response.headers for text in pair)]
        assert 100 <= response.status <= 999
    "".join(texts).encode("latin-1")
    f"{exchange.reason} {exchange.note}".encode()
    assert re.fullmatch(r"HTTP/(1\.[01]|2|3)", request.http_version)
    assert exchange.duration_us is None or 0 <= exchange.duration_us < 2**63
    assert 1970 <= exchange.received_at.year < 2200
