"""What ``replay --dry-run`` prints: exactly what a run would send, and when, if it began now."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime

from rich.console import Console
from rich.text import Text

from proxy_addon.core.exchange import Request
from proxy_addon.core.replays.plans import PlannedStep, SessionPlan
from proxy_addon.replay.engine import Settings
from proxy_addon.reporting.documents import Document, body_document, json_list
from proxy_addon.reporting.terminal import printable

PLACEHOLDER = "{session}"
"""What stands in paths for the ID that the target is going to give."""


Framed = Callable[[Request], Request]
"""Returns a request as it goes out, with what the connection to the target adds."""


def plan_text(plans: Iterable[SessionPlan], settings: Settings, framed: Framed) -> Iterator[str]:
    """Yield plans as one JSON document, piece by piece."""
    head: Document = {
        "target": settings.target,
        "speed": str(settings.speed),
        "timestamps": str(settings.timestamps),
        "concurrency": settings.concurrency,
    }
    return json_list(head, "sessions", (_session(plan, settings, framed) for plan in plans), {})


def print_plan(console: Console, plan: SessionPlan, settings: Settings, framed: Framed) -> None:
    """Print the plan of a session for people, a line for each step."""
    document = _session(plan, settings, framed)
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


def _session(plan: SessionPlan, settings: Settings, framed: Framed) -> Document:
    shift_ms = plan.shift_ms(settings.timestamps, datetime.now(UTC))
    return {
        "source": plan.session.id,
        "session_id": plan.session.session_id,
        "most_at_once": plan.most_at_once,
        "steps": [_step(plan, step, settings, shift_ms, framed) for step in plan.steps],
    }


def _step(plan: SessionPlan, step: PlannedStep, settings: Settings, shift_ms: int | None, framed: Framed) -> Document:
    request, remark = plan.request(step, PLACEHOLDER, settings.timestamps, shift_ms)
    request = framed(request)
    sent = step.skip is None
    return {
        "seq": step.seq,
        "event_type": step.event_type,
        "skip": step.skip,
        "due_s": settings.speed.due_after_s(step.offset_s) if sent else None,
        "method": request.method,
        "path": request.path,
        "headers": [list(header) for header in request.headers],
        "body": body_document(request.body),
        "remark": remark if sent else None,
    }
