"""What ``replay --dry-run`` prints: exactly what a run would send, and when, if it began now."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime

from rich.console import Console
from rich.text import Text

from proxy_addon.core.exchange import Request
from proxy_addon.core.jsonforms import body_document
from proxy_addon.core.replays.plans import PlannedStep, SessionPlan
from proxy_addon.core.replays.sending import SendingOptions
from proxy_addon.reporting.documents import Document, json_list
from proxy_addon.reporting.terminal import printable

PLACEHOLDER = "{session}"
"""What stands in paths for the ID that the target is going to give."""


Framed = Callable[[Request], Request]
"""Returns a request as it goes out, with what the connection to the target adds."""


def plan_text(plans: Iterable[SessionPlan], options: SendingOptions, framed: Framed) -> Iterator[str]:
    """Yield plans as one JSON document, piece by piece."""
    head: Document = {
        "target": options.target,
        "speed": str(options.speed),
        "timestamps": str(options.timestamps),
        "concurrency": options.concurrency,
    }
    return json_list(head, "sessions", (_session(plan, options, framed) for plan in plans), {})


def print_plan(console: Console, plan: SessionPlan, options: SendingOptions, framed: Framed) -> None:
    """Print the plan of a session for people, a line for each step."""
    document = _session(plan, options, framed)
    console.print(Text.assemble("session ", (document["source"], "bold"), f", {len(plan.steps)} steps"), soft_wrap=True)
    for step in document["steps"]:
        line = Text(f"  #{step['seq']:<4} ")
        if step["skip"] is not None:
            line.append_text(printable(f"{step['event_type'] or step['method']} not sent: {step['skip']}"))
        else:
            due = "" if step["due_s"] is None else f"{step['due_s']:>10.3f} s  "
            line.append(f"{due}{step['method']} ").append_text(printable(step["path"]))
            line.append("  ").append_text(printable(step["event_type"], "(no event type)"))
            if step["remark"]:
                line.append("  ").append_text(printable(step["remark"]))
        console.print(line, soft_wrap=True)


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
    }
