"""What browsers are told: all at first, then what changes, and all again once they have missed something."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

from proxy_addon.ui.topics import Look, Message, News, Seen, Topic


class Nothing:
    def look(self, look: Look) -> Callable[[], News] | None:
        raise AssertionError(look)


def told(topic: Topic, number: int, *, as_change: bool = True) -> None:
    topic.tell(News("sessions", whole={"all": number}, change={"only": number} if as_change else None))


async def heard(topic: Topic, seen: Seen) -> dict[str, object]:
    message = await asyncio.wait_for(topic.next(seen), 5)
    assert message is not None
    value: dict[str, object] = json.loads(message.data)
    return value


async def test_who_keeps_up_hears_changes_and_who_is_slow_hears_all_of_the_newest_once():
    topic, quick, slow = Topic(Nothing()), Seen(), Seen()
    told(topic, 1)
    assert await heard(topic, quick) == await heard(topic, slow) == {"all": 1}
    for number in range(2, 6):
        told(topic, number)
        assert await heard(topic, quick) == {"only": number}
    assert await heard(topic, slow) == {"all": 5}
    assert await heard(topic, Seen()) == {"all": 5}
    told(topic, 6, as_change=False)
    assert await heard(topic, quick) == await heard(topic, slow) == {"all": 6}


async def test_somebody_who_waits_is_woken_by_news_by_trouble_and_by_the_end():
    topic, seen = Topic(Nothing()), Seen()
    told(topic, 1)
    await topic.next(seen)
    for cause, expected in (
        (lambda: told(topic, 2), Message("sessions", '{"only":2}')),
        (lambda: topic.tell_trouble("away"), Message("store", '{"trouble":"away"}')),
        (lambda: topic.tell_trouble(None), Message("store", '{"trouble":null}')),
        (topic.end, None),
    ):
        waiting = asyncio.create_task(topic.next(seen))
        await asyncio.sleep(0)
        assert not waiting.done()
        cause()
        assert await asyncio.wait_for(waiting, 5) == expected
    assert await topic.next(seen) is None


async def test_trouble_is_told_once():
    topic, seen = Topic(Nothing()), Seen()
    topic.tell_trouble("away")
    topic.tell_trouble("away")
    assert await heard(topic, seen) == {"trouble": "away"}
    told(topic, 1)
    assert await heard(topic, seen) == {"all": 1}
