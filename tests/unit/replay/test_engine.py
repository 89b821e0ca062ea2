"""The engine, in virtual time against a target that is a function."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy_addon.core.exchange import Exchange, Outcome, Response
from proxy_addon.core.replays.plans import SessionPlan, plan_session
from proxy_addon.core.replays.runs import StepOutcome, count
from proxy_addon.errors import StorageUnavailable, TargetUnreachable
from proxy_addon.replay.engine import Failure, TransportError
from tests import builders
from tests.builders import BEGIN_MS, SESSION_ID
from tests.unit.replay.virtual import (
    RUN_BEGINS_AFTER_S,
    FunctionTransport,
    ListLedger,
    VirtualClock,
    opens_sessions,
    replayed,
)

RUN_BEGINS_MS = BEGIN_MS + int(RUN_BEGINS_AFTER_S * 1000)
OFFSETS_S = (0.0, 0.25, 10.25, 10.25, 30.0)


def plan(*exchanges: Exchange, id: str = "s1", session_id: str | None = SESSION_ID, **overrides) -> SessionPlan:
    session = builders.session(id=id, session_id=session_id, exchanges=len(exchanges), **overrides)
    return plan_session(session, exchanges)


def playback(id: str = "s1", offsets_s: tuple[float, ...] = OFFSETS_S) -> SessionPlan:
    first, *others = offsets_s
    return plan(
        builders.start(after_s=first), *(builders.event("ping", after_s=offset_s) for offset_s in others), id=id
    )


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def target(clock) -> FunctionTransport:
    return FunctionTransport(clock, opens_sessions())


def times_sent(target: FunctionTransport) -> list[int]:
    return [json.loads(request.body)["playerTime"]["ts"] for _, request in target.sent]


class TestWhen:
    @pytest.mark.parametrize("speed", ["1", "2", "0.5", "30"])
    async def test_steps_are_sent_at_their_recorded_offset_over_the_speed(self, clock, target, speed):
        await replayed([playback()], target, clock, speed=speed)
        assert [at_s for at_s, _ in target.sent] == pytest.approx([offset / float(speed) for offset in OFFSETS_S])

    async def test_max_waits_for_nothing_but_answers(self, clock):
        target = FunctionTransport(clock, opens_sessions(), takes_s=0.1)
        (session,) = await replayed([playback()], target, clock, speed="max")
        assert [at_s for at_s, _ in target.sent] == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4])
        assert {step.drift_ms for step in session.steps} == {None}

    async def test_where_nothing_overlapped_a_step_waits_for_the_answer_to_the_one_before(self, clock):
        target = FunctionTransport(clock, opens_sessions(), takes_s=4.0)
        (session,) = await replayed([playback(offsets_s=(0.0, 0.25, 10.25, 10.5, 30.0))], target, clock)
        assert [at_s for at_s, _ in target.sent] == pytest.approx([0.0, 4.0, 10.25, 14.25, 30.0])
        assert [step.drift_ms for step in session.steps] == pytest.approx([0, 3750, 0, 3750, 0])

    async def test_as_many_as_overlapped_may_be_on_their_way_and_no_more(self, clock):
        target = FunctionTransport(clock, opens_sessions(), takes_s=4.0)
        slow = [builders.event("ping", after_s=at_s, duration_us=1_500_000) for at_s in (10.0, 11.0, 12.0, 13.0)]
        (session,) = await replayed([plan(builders.start(), *slow)], target, clock)
        assert [at_s for at_s, _ in target.sent] == pytest.approx([0.0, 10.0, 11.0, 14.0, 15.0])
        assert target.most_at_once == 2
        assert [step.drift_ms for step in session.steps] == pytest.approx([0, 0, 0, 2000, 2000])
        assert [step.seq for step in session.steps] == [1, 2, 3, 4, 5]

    async def test_at_max_nothing_overlaps(self, clock):
        target = FunctionTransport(clock, opens_sessions(), takes_s=1.0)
        slow = [builders.event("ping", after_s=at_s, duration_us=9_000_000) for at_s in (1.0, 2.0, 3.0)]
        await replayed([plan(builders.start(), *slow)], target, clock, speed="max")
        assert [at_s for at_s, _ in target.sent] == pytest.approx([0.0, 1.0, 2.0, 3.0])

    async def test_what_overlaps_is_interrupted_too(self, clock):
        target = FunctionTransport(clock, opens_sessions(), takes_s=4.0)
        slow = [builders.event("ping", after_s=at_s, duration_us=9_000_000) for at_s in (5.0, 6.0, 7.0)]
        (session,) = await replayed([plan(builders.start(), *slow)], target, clock, stop_after_s=6.5)
        assert [(step.outcome, step.reason) for step in session.steps] == [
            ("same", None), ("failed", "interrupted"), ("failed", "interrupted"), ("skipped", "interrupted"),
        ]  # fmt: skip
        assert target.at_once == 0

    async def test_lateness_does_not_add_up(self, clock):
        target = FunctionTransport(clock, opens_sessions(), takes_s=0.9)
        (session,) = await replayed([playback(offsets_s=tuple(map(float, range(100))))], target, clock)
        assert max(step.drift_ms or 0 for step in session.steps) < 1e-6

    async def test_latency_is_from_sending_to_the_answer(self, clock):
        target = FunctionTransport(clock, opens_sessions(), takes_s=0.125)
        (session,) = await replayed([playback()], target, clock)
        assert [step.latency_ms for step in session.steps] == pytest.approx([125] * 5)

    async def test_a_wait_of_many_years_is_a_wait(self, clock, target):
        (session,) = await replayed([playback(offsets_s=(0.0, 1.0))], target, clock, speed="0.0001")
        assert target.sent[-1][0] == pytest.approx(10_000)
        assert session.verdict is StepOutcome.SAME


class TestSideBySide:
    async def test_no_more_sessions_than_allowed_run_at_once(self, clock):
        target = FunctionTransport(clock, opens_sessions(), takes_s=0.01)
        await replayed([playback(f"s{n}") for n in range(20)], target, clock, concurrency=3, speed="max")
        assert target.most_at_once == 3
        assert len(target.sent) == 100

    async def test_the_next_begins_as_one_ends_with_an_origin_of_its_own(self, clock, target):
        plans = [playback("s1", (0.0, 10.0)), playback("s2", (0.0, 4.0)), playback("s3", (0.0, 3.0))]
        await replayed(plans, target, clock, concurrency=2)
        starts = [at_s for at_s, request in target.sent if request.path == "/api/v1/sessions"]
        assert starts == pytest.approx([0.0, 0.0, 4.0])
        assert max(at_s for at_s, _ in target.sent) == pytest.approx(10.0)

    async def test_the_first_can_begin_over_a_time_and_later_ones_as_one_ends(self, clock, target):
        plans = [playback(f"s{n}", (0.0, 4.0)) for n in range(6)]
        await replayed(plans, target, clock, concurrency=4, spread_s=8.0)
        starts = [at_s for at_s, request in target.sent if request.path == "/api/v1/sessions"]
        assert starts == pytest.approx([0.0, 2.0, 4.0, 6.0, 8.0, 8.0])

    async def test_one_that_waits_to_begin_can_be_stopped(self, clock, target):
        one, two = await replayed(
            [playback("s1", (0.0, 1.0)), playback("s2")], target, clock, concurrency=2, spread_s=60.0, stop_after_s=5.0
        )
        assert [step.outcome for step in one.steps] == ["same", "same"]
        assert {step.reason for step in two.steps} == {"interrupted"}

    async def test_plans_are_drawn_only_when_there_is_room(self, clock):
        drawn: list[int] = []
        running: list[int] = []

        def answer(request):
            running.append(len(drawn))
            return opens(request)

        def plans():
            for n in range(6):
                drawn.append(n)
                yield playback(f"s{n}", (0.0, 1.0))

        opens = opens_sessions()
        await replayed(plans(), FunctionTransport(clock, answer), clock, concurrency=1)
        assert running == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6]

    async def test_results_come_in_the_order_of_the_plans(self, clock, target):
        plans = [playback("s1", (0.0, 10.0)), playback("s2", (0.0, 4.0))]
        assert [session.source for session in await replayed(plans, target, clock)] == ["s1", "s2"]


class TestIds:
    async def test_events_go_to_the_new_session(self, clock, target):
        (session,) = await replayed([playback()], target, clock)
        assert target.paths == ["/api/v1/sessions", *["/api/v1/sessions/new-1/events"] * 4]
        assert (session.session_id, session.new_session_id) == (SESSION_ID, "new-1")

    @pytest.mark.parametrize(
        ("answer", "reason"),
        [
            (Response(status=500), "answered 500"),
            (Response(status=201), "without a Location"),
            (Response(status=201, headers=(("Location", "/login"),)), "no session ID in"),
            (Response(status=302, headers=(("Location", "/api/v1/sessions/x"),)), "answered 302"),
        ],
    )
    async def test_without_a_new_id_the_events_are_skipped(self, clock, answer, reason):
        target = FunctionTransport(clock, lambda _: answer)
        (session,) = await replayed([playback()], target, clock)
        assert len(target.sent) == 1
        assert [step.outcome for step in session.steps] == ["different", *["skipped"] * 4]
        assert all(reason in (step.reason or "") for step in session.steps[1:])
        assert session.reason == session.steps[1].reason
        assert session.new_session_id is None

    async def test_a_batch_needs_no_id(self, clock):
        recorded = builders.batch([builders.event_dict("sessionStart"), builders.event_dict("sessionEnd")])
        target = FunctionTransport(clock, lambda _: Response(status=201))
        (session,) = await replayed([plan(recorded, session_id=None)], target, clock)
        assert session.verdict is StepOutcome.SAME
        assert [event["playerTime"]["ts"] for event in json.loads(target.sent[0][1].body)] == [RUN_BEGINS_MS] * 2

    async def test_a_start_that_failed_when_recorded_is_sent_and_compared(self, clock):
        recorded = builders.start(response=Response(status=400))
        target = FunctionTransport(clock, lambda _: Response(status=400))
        (session,) = await replayed([plan(recorded, session_id=None, failed=True)], target, clock)
        assert session.verdict is StepOutcome.SAME

    async def test_a_session_without_a_start_is_skipped(self, clock, target):
        (session,) = await replayed([plan(builders.event(), start_seen=False)], target, clock)
        assert target.sent == []
        assert session.verdict is StepOutcome.SKIPPED
        assert "start was not recorded" in (session.reason or "")

    async def test_a_start_that_an_event_overtook_is_sent_first(self, clock, target):
        exchanges = (builders.event("play", after_s=0.0), builders.start(after_s=0.1), builders.event(after_s=1.0))
        (session,) = await replayed([plan(*exchanges)], target, clock)
        assert target.paths[0] == "/api/v1/sessions"
        assert [step.seq for step in session.steps] == [1, 2, 3]
        assert session.verdict is StepOutcome.SAME


class TestTimes:
    async def test_with_now_the_start_has_its_time_of_sending_and_distances_stay(self, clock, target):
        (session,) = await replayed([playback()], target, clock, speed="10")
        assert times_sent(target) == [RUN_BEGINS_MS + round(offset * 1000) for offset in OFFSETS_S]
        assert session.steps[0].sent_at == builders.at(RUN_BEGINS_AFTER_S)

    async def test_with_now_each_session_has_a_shift_of_its_own(self, clock, target):
        plans = [playback("s1", (0.0, 5.0)), playback("s2", (60.0, 61.0))]
        await replayed(plans, target, clock, concurrency=1)
        assert times_sent(target) == [RUN_BEGINS_MS + ms for ms in (0, 5000, 5000, 6000)]

    async def test_with_keep_bodies_are_the_recorded_bytes(self, clock, target):
        await replayed([playback()], target, clock, timestamps="keep")
        assert times_sent(target) == [BEGIN_MS + round(offset * 1000) for offset in OFFSETS_S]

    async def test_a_shift_moves_all_by_the_same(self, clock, target):
        await replayed([playback()], target, clock, timestamps="shift:-1.5")
        assert times_sent(target) == [BEGIN_MS + round(offset * 1000) - 1500 for offset in OFFSETS_S]

    async def test_a_body_that_cannot_be_shifted_is_sent_as_it_is_and_reported(self, clock, target):
        exchanges = (builders.start(), builders.event(body=b"\x1f\x8b gzip"), builders.event("ping", after_s=2.0))
        (session,) = await replayed([plan(*exchanges)], target, clock)
        assert target.sent[1][1].body == b"\x1f\x8b gzip"
        assert [bool(step.reason) for step in session.steps] == [False, True, False]
        assert "sent with its recorded times" in (session.steps[1].reason or "")
        assert session.verdict is StepOutcome.SAME

    async def test_without_a_time_in_the_start_there_is_nothing_to_shift_by(self, clock, target):
        (session,) = await replayed([plan(builders.start(body=b"{}"), builders.event())], target, clock)
        assert times_sent(FunctionTransport(clock, opens_sessions())) == []
        assert json.loads(target.sent[1][1].body)["playerTime"]["ts"] == BEGIN_MS + 1000
        assert all("no ts" in (step.reason or "") for step in session.steps)


class TestLedger:
    async def test_answers_are_compared_with_the_recorded_ones(self, clock):
        def answer(request):
            return Response(status=410) if request.path.endswith("/events") else opens(request)

        opens = opens_sessions()
        (session,) = await replayed([playback()], FunctionTransport(clock, answer), clock)
        assert [step.outcome for step in session.steps] == ["same", *["different"] * 4]
        assert [(step.recorded_status, step.status) for step in session.steps[1:]] == [(204, 410)] * 4

    async def test_a_target_that_goes_away_fails_the_rest_with_the_reason(self, clock):
        def answer(_):
            if len(target.sent) <= 2:
                return opens(target.sent[-1][1])
            return TransportError(Failure.UNREACHABLE, "connection refused")

        opens = opens_sessions()
        target = FunctionTransport(clock, answer)
        sessions = await replayed([playback("s1"), playback("s2")], target, clock, concurrency=1)
        assert [step.outcome for step in sessions[0].steps] == ["same", "same", "failed", "failed", "failed"]
        assert [step.reason for step in sessions[0].steps[2:]] == ["connection refused"] * 3
        assert [step.outcome for step in sessions[1].steps] == ["failed", *["skipped"] * 4]
        assert "connection refused" in (sessions[1].reason or "")

    async def test_what_was_sent_is_kept_by_its_hash_and_what_a_refusal_says_is_told(self, clock):
        refusal = Response(status=400, body=b'{"message": "no \\ud800 media.id"}')
        opens = opens_sessions()
        answers = iter([opens, opens, lambda _: refusal, opens, opens])

        def answer(request):
            return next(answers)(request)

        target = FunctionTransport(clock, answer)
        (session,) = await replayed([playback()], target, clock)
        hashes = [hashlib.sha256(request.body).hexdigest() for _, request in target.sent]
        assert [step.sent and step.sent.body_sha256 for step in session.steps] == hashes
        assert [step.reason for step in session.steps] == [
            None,
            None,
            "the target said: no \\ud800 media.id",
            None,
            None,
        ]

    async def test_a_timeout_fails_its_step_alone(self, clock):
        def answer(request):
            return TransportError(Failure.TIMEOUT, "no answer") if len(target.sent) == 3 else opens(request)

        opens = opens_sessions()
        target = FunctionTransport(clock, answer)
        (session,) = await replayed([playback()], target, clock)
        assert [step.outcome for step in session.steps] == ["same", "same", "failed", "same", "same"]
        assert session.steps[2].latency_ms is None
        assert session.verdict is StepOutcome.FAILED

    async def test_preflights_and_what_upstream_never_saw_are_skipped(self, clock, target):
        exchanges = (
            builders.start(),
            builders.preflight(),
            builders.event(outcome=Outcome.REJECTED, response=None),
            builders.event(complete=False),
        )
        (session,) = await replayed([plan(*exchanges)], target, clock)
        assert [step.outcome for step in session.steps] == ["same", "skipped", "skipped", "skipped"]
        assert len(target.sent) == 1

    @given(
        sessions=st.lists(st.lists(st.sampled_from(["ok", "other", "refused", "timeout"]), max_size=5), max_size=5),
        concurrency=st.integers(1, 4),
        stop_after_s=st.none() | st.floats(0, 8),
    )
    def test_the_ledger_balances_whatever_happens(self, sessions, concurrency, stop_after_s):
        def answer(request):
            match json.loads(request.body)["customMetadata"]["fate"]:
                case "ok":
                    return opens(request)
                case "other":
                    return Response(status=500)
                case "refused":
                    return TransportError(Failure.UNREACHABLE, "refused")
            return TransportError(Failure.TIMEOUT, "no answer")

        def body(n, fate):
            kind = "ping" if n else "sessionStart"
            return builders.body(builders.event_dict(kind, customMetadata={"fate": fate}))

        async def run():
            clock = VirtualClock()
            target = FunctionTransport(clock, answer, takes_s=0.7)
            plans = [
                plan(
                    *(
                        make(after_s=n, body=body(n, fate))
                        for n, (make, fate) in enumerate(zip(makers, fates, strict=False))
                    ),
                    id=name,
                )
                for name, fates in zip("abcde", sessions, strict=False)
            ]
            return plans, await replayed(plans, target, clock, concurrency=concurrency, stop_after_s=stop_after_s)

        makers: list[Callable[..., Exchange]] = [builders.start, *[builders.event] * 9]
        opens = opens_sessions()
        plans, results = asyncio.run(run())
        assert [len(session.steps) for session in results] == [len(plan.steps) for plan in plans]
        for steps in [*(session.steps for session in results), [s for session in results for s in session.steps]]:
            totals = count(steps)
            assert totals.recorded == totals.sent + totals.skipped
            assert totals.sent == totals.same + totals.different + totals.failed
            for step in steps:
                assert (step.sent_at is None) == (step.outcome is StepOutcome.SKIPPED)
                assert step.reason or step.outcome in (StepOutcome.SAME, StepOutcome.DIFFERENT)


class FailingLedger(ListLedger):
    """A ledger that has no room for more than so many steps of a session."""

    def __init__(self, up_to: int) -> None:
        super().__init__()
        self._up_to = up_to

    def announce(self, position: int, number: int) -> asyncio.Future[None]:
        if number <= self._up_to:
            return super().announce(position, number)
        failed = asyncio.get_running_loop().create_future()
        failed.set_exception(StorageUnavailable("the store is full"))
        return failed


class SlowLedger(ListLedger):
    """A ledger that takes a time to write."""

    def __init__(self, clock: VirtualClock, takes_s: float) -> None:
        super().__init__()
        self._clock = clock
        self._takes_s = takes_s

    def announce(self, position: int, number: int) -> asyncio.Future[None]:
        return asyncio.ensure_future(self._announced(position, number))

    async def _announced(self, position: int, number: int) -> None:
        await self._clock.sleep(self._takes_s)
        await super().announce(position, number)


class TestAnnouncing:
    """After a kill, of what was announced and has no result nobody knows whether it was sent."""

    @pytest.mark.parametrize(
        ("speed", "store_takes_s", "at_most"), [("1", 0.01, 2), ("1", 5.0, 64), ("max", 0.01, 17), ("max", 5.0, 64)]
    )
    async def test_a_session_is_announced_just_as_far_ahead_as_the_store_is_slow(
        self, clock, speed, store_takes_s, at_most
    ):
        target = FunctionTransport(clock, opens_sessions(), takes_s=0.1)
        ledger = SlowLedger(clock, store_takes_s)
        await replayed([playback("s", tuple(map(float, range(300))))], target, clock, speed=speed, ledger=ledger)
        assert at_most // 2 < ledger.most_in_doubt <= at_most


class TestStopping:
    async def test_what_is_on_its_way_has_failed_and_the_rest_is_skipped(self, clock):
        target = FunctionTransport(clock, opens_sessions(), takes_s=1.0)
        plans = [playback("s1", (0.0, 3.0, 6.0)), playback("s2", (0.0, 1.0))]
        one, two = await replayed(plans, target, clock, concurrency=1, stop_after_s=3.5)
        assert [(step.outcome, step.reason) for step in one.steps] == [
            ("same", None),
            ("failed", "interrupted"),
            ("skipped", "interrupted"),
        ]
        assert [(step.outcome, step.reason) for step in two.steps] == [("skipped", "interrupted")] * 2
        assert clock.elapsed_s == pytest.approx(3.5)
        assert target.at_once == 0

    async def test_what_was_still_connecting_is_skipped_for_nothing_of_it_went_out(self, clock):
        target = FunctionTransport(clock, opens_sessions(), takes_s=5.0, connects=False)
        (session,) = await replayed([playback()], target, clock, stop_after_s=1.0)
        assert [(step.outcome, step.reason) for step in session.steps] == [("skipped", "interrupted")] * 5
        assert session.verdict is StepOutcome.SKIPPED

    async def test_a_wait_ends_at_once(self, clock, target):
        (session,) = await replayed([playback()], target, clock, stop_after_s=15.0)
        assert [step.outcome for step in session.steps] == [*["same"] * 4, "skipped"]
        assert session.verdict is StepOutcome.SKIPPED, "it is not the same without its end"
        assert clock.elapsed_s == pytest.approx(15.0)

    async def test_a_target_that_never_took_a_connection_ends_the_run(self, clock):
        failure = TransportError(Failure.UNREACHABLE, "connection refused")
        target = FunctionTransport(clock, lambda _: failure, connects=False)
        ledger = ListLedger()
        with pytest.raises(TargetUnreachable, match=r"http://target\.example succeeded: connection refused"):
            await replayed((playback(f"s{n}") for n in range(10_000)), target, clock, concurrency=4, ledger=ledger)
        assert len(target.sent) <= 4
        steps = [step for session in ledger.sessions.values() for step in session.steps]
        assert {step.outcome for step in steps} == {StepOutcome.SKIPPED}, "nothing went out"
        assert {step.reason for step in steps} == {"no connection to the target: connection refused"}

    async def test_a_store_that_fails_ends_the_run_with_its_error(self, clock, target):
        def plans():
            yield playback("s1", (0.0, 1.0))
            raise StorageUnavailable("the store is gone")

        with pytest.raises(StorageUnavailable, match="gone"):
            await replayed(plans(), target, clock)

    @pytest.mark.parametrize("speed", ["1", "max"])
    @pytest.mark.parametrize("up_to", [0, 1, 2, 40])
    async def test_what_cannot_be_announced_is_not_sent(self, clock, speed, up_to):
        target = FunctionTransport(clock, opens_sessions(), takes_s=0.01)
        ledger = FailingLedger(up_to)
        plans = [playback(f"s{n}", tuple(map(float, range(100)))) for n in range(3)]
        with pytest.raises(StorageUnavailable, match="full"):
            await replayed(plans, target, clock, speed=speed, concurrency=2, ledger=ledger)
        assert 1 <= len(ledger.sessions) <= 2
        for position, session in ledger.sessions.items():
            sent = [step for step in session.steps if step.sent_at is not None]
            assert len(session.steps) == 100
            assert len(sent) <= ledger.announced.get(position, 0) <= up_to
            assert {step.reason for step in session.steps if step.outcome is StepOutcome.SKIPPED} == {
                "the run was aborted: the store is full"
            }
        assert target.at_once == 0
