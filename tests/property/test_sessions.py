from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from proxy_addon.core.exchange import Exchange
from proxy_addon.core.sessions import Membership, Session, begun_late, joined, membership, opened, start_found
from tests.builders import event, preflight, start

EVENT_TYPES = st.sampled_from(["play", "ping", "sessionEnd", "sessionComplete", None])


@st.composite
def playbacks(draw: st.DrawFn, *, has_start: bool) -> tuple[list[Exchange], list[Exchange]]:
    """Return the exchanges of one session, each at its own time, in order and as they might reach a store.

    The playhead moves with every event, because late events do not show whether it stood still in between.
    """
    length = draw(st.integers(1, 6))
    values = [start(after_s=0)] if has_start else []
    for number in range(1, length + 1):
        kind = draw(st.sampled_from(["event", "event", "preflight", "no JSON"]))
        if kind == "event":
            values.append(event(draw(EVENT_TYPES), after_s=number, playhead=number))
        elif kind == "preflight":
            values.append(preflight(after_s=number))
        else:
            values.append(event(body=b"?", after_s=number))
    return values, draw(st.permutations(values))


def fold(exchanges: list[Exchange]) -> Session:
    """Fold as a recorder does that gets the exchanges in this order."""
    session: Session | None = None
    for value in exchanges:
        opens = membership(value) is Membership.OPENS
        if session is None:
            session = opened(value, id="s1") if opens else begun_late(value, id="s1")
        else:
            session = start_found(session, value) if opens else joined(session, value)
    assert session is not None
    return session


@given(playbacks(has_start=True))
def test_exchanges_of_a_session_may_be_folded_in_any_order(orders: tuple[list[Exchange], list[Exchange]]):
    in_order, shuffled = orders
    assert fold(shuffled) == fold(in_order)


@given(playbacks(has_start=False))
def test_exchanges_of_a_session_without_start_may_be_folded_in_any_order(
    orders: tuple[list[Exchange], list[Exchange]],
):
    in_order, shuffled = orders
    assert fold(shuffled) == fold(in_order)


@given(playbacks(has_start=True))
def test_a_session_counts_every_exchange_and_spans_from_its_first_to_its_last_event(
    orders: tuple[list[Exchange], list[Exchange]],
):
    in_order, shuffled = orders
    events = [value for value in in_order if value.request.body.startswith(b"{")]
    session = fold(shuffled)
    assert (session.exchanges, session.events) == (len(in_order), len(events))
    assert session.started_at == in_order[0].received_at
    assert session.last_event_at == events[-1].received_at
