"""The output of ``replay --dry-run``: exactly what a run that begins now would send, and when."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime

from rich.text import Text

from proxy_addon.core.exchange import Request
from proxy_addon.core.jsonforms import body_document
from proxy_addon.core.replays.plans import PlannedStep, SessionPlan
from proxy_addon.core.replays.runs import RunChange
from proxy_addon.core.replays.sending import SendingOptions
from proxy_addon.core.wording import counted
from proxy_addon.reporting.columns import Column, Table
from proxy_addon.reporting.documents import Document, difference_document, json_list
from proxy_addon.reporting.terminal import Screen, printable
from proxy_addon.reporting.words import change_line, difference_line, places

PLACEHOLDER = "{session}"
"""Stands in paths for the ID that the target will give."""


Framed = Callable[[Request], Request]
"""Returns a request as it is sent, with what the connection to the target adds."""


def plan_text(plans: Iterable[SessionPlan], options: SendingOptions, framed: Framed) -> Iterator[str]:
    """Yield plans as one JSON document, in pieces."""
    head: Document = {
        "target": options.target,
        "speed": str(options.speed),
        "timestamps": str(options.timestamps),
        "concurrency": options.concurrency,
    }
    return json_list(head, "sessions", (_session(plan, options, framed) for plan in plans), {})


class Counting:
    """Counts the sessions and requests of plans as they pass by, and the places that each change changes."""

    def __init__(self) -> None:
        self.sessions = self.requests = 0
        self._places: Counter[int] = Counter()

    def of(self, plans: Iterable[SessionPlan]) -> Iterator[SessionPlan]:
        """Yield the plans, counting them."""
        for plan in plans:
            self.sessions += 1
            for step in plan.steps:
                if step.skip is None:
                    self.requests += 1
                    self._places.update(step.places)
            yield plan

    def found(self, changes: Iterable[RunChange]) -> list[RunChange]:
        """Return changes with the places that were counted."""
        return [replace(change, places=self._places[change.number]) for change in changes]


def print_plan(console: Screen, plan: SessionPlan, options: SendingOptions, framed: Framed) -> None:
    """Print the plan of a session for people: a row for each step, with its changes below it."""
    document = _session(plan, options, framed)
    title = Text.assemble("session ", (document["source"], "bold"), f", {counted(len(plan.steps), 'step')}")
    console.print_line(title)
    table = Table(
        Column("#", is_right=True),
        Column("after s", is_right=True),
        Column("event", least=15),
        Column("bytes", is_right=True, dropped=1),
        Column("request", least=24),
    )
    for step, planned in zip(document["steps"], plan.steps, strict=True):
        is_sent = step["skip"] is None
        request = printable(f"{step['method']} {step['path']}")
        request.stylize("" if is_sent else "dim")
        table.add(
            str(step["seq"]),
            "" if step["due_s"] is None else f"{step['due_s']:.3f}",
            printable(step["event_type"], "(no event type)"),
            str(len(planned.request.body)) if is_sent else "",
            request,
            below=_said_of(step, planned),
        )
    console.print_table(table)


def _said_of(step: Document, planned: PlannedStep) -> Iterator[Text]:
    if step["skip"] is not None:
        yield printable(f"not sent: {step['skip']}")
        return
    if step["remark"]:
        yield printable(step["remark"])
    for each in planned.differences:
        yield printable(difference_line(each))


def print_planned(console: Screen, options: SendingOptions, counting: Counting, changes: Iterable[RunChange]) -> None:
    """Print a summary of the printed plans: their target, how much would be sent, and what is changed."""
    head = f"{counted(counting.sessions, 'session')}, {counted(counting.requests, 'request')} to send to "
    how = f" at speed {options.speed}, timestamps {options.timestamps}; nothing has been sent"
    console.print_wrapped(Text(head).append_text(printable(options.target)).append(how))
    for made in counting.found(changes):
        console.print_wrapped(Text("  ").append_text(printable(f"changed {places(made.places)}: {change_line(made)}")))


def _session(plan: SessionPlan, options: SendingOptions, framed: Framed) -> Document:
    shift_ms = plan.shift_ms(options.timestamps, datetime.now(UTC))
    return {
        "source": plan.session.id,
        "session_id": plan.session.session_id,
        "most_at_once": plan.most_at_once,
        "steps": [_step(plan, step, options, shift_ms, framed) for step in plan.steps],
    }


def _step(
    plan: SessionPlan, step: PlannedStep, options: SendingOptions, shift_ms: int | None, framed: Framed
) -> Document:
    request, remark = plan.request(step, PLACEHOLDER, options.timestamps, shift_ms)
    request = framed(request)
    sent = step.skip is None
    return {
        "seq": step.seq,
        "event_type": step.event_type,
        "skip": step.skip,
        "due_s": options.speed.due_after_s(step.offset_s) if sent else None,
        "method": request.method,
        "path": request.path,
        "headers": [list(header) for header in request.headers],
        "body": body_document(request.body),
        "remark": remark if sent else None,
        "differences": [difference_document(each, "recorded", "sent") for each in step.differences] if sent else [],
    }
