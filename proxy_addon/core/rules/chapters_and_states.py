"""Rules over chapters and player states. Source: Media Collection API, session rules, chapters and states."""

from __future__ import annotations

from proxy_addon.core.rules.playback import Life, Playback, SessionEvent
from proxy_addon.core.rules.rule import INFO, WARNING, session_rule
from proxy_addon.core.rules.wording import quoted

_STATE_EVENTS = "stateStart stateEnd statesUpdate"


@session_rule("chapter-not-closed", WARNING, on="chapterStart", weighs=True)
def chapter_not_closed(before: Playback, _: SessionEvent) -> str | None:
    """A chapter begins while another is open."""
    return "chapterStart while a chapter is open; chapterComplete or chapterSkip is missing" if before.chapter else None


@session_rule("chapter-close-without-start", WARNING, on="chapterComplete chapterSkip", weighs=True)
def chapter_close_without_start(before: Playback, event: SessionEvent) -> str | None:
    """A chapter ends that has not begun."""
    return f"{event.type} with no chapter open" if before.chapter is None else None


@session_rule("chapter-open-at-end", INFO, on="sessionComplete sessionEnd", weighs=True)
def chapter_open_at_end(before: Playback, event: SessionEvent) -> str | None:
    """A chapter is open at the end."""
    # Told once: at sessionComplete, or at the sessionEnd of a session without one.
    return f"{event.type} while a chapter is open" if before.chapter and before.life is not Life.COMPLETED else None


@session_rule("state-already-active", WARNING, on=_STATE_EVENTS, weighs=True)
def state_already_active(before: Playback, event: SessionEvent) -> str | None:
    """A player state begins that is active."""
    ended = {before.same_name(name) for name in event.ended_states}
    active = before.active_states - ended
    name = next((name for name in event.started_states if before.same_name(name) in active), None)
    return f"state {quoted(name)} was started while it is active" if name is not None else None


@session_rule("state-not-active", WARNING, on=_STATE_EVENTS, weighs=True)
def state_not_active(before: Playback, event: SessionEvent) -> str | None:
    """A player state ends that is not active."""
    name = next((name for name in event.ended_states if before.same_name(name) not in before.active_states), None)
    return f"state {quoted(name)} was ended while it is not active" if name is not None else None


@session_rule("state-limit", WARNING, on=_STATE_EVENTS, weighs=True)
def state_limit(before: Playback, event: SessionEvent) -> str | None:
    """A session has more names of player states than count."""
    most = before.limits.states
    new = {before.same_name(name) for name in (*event.ended_states, *event.started_states)} - before.state_names
    if not new or len(before.state_names | new) <= most:
        return None
    return f"state {quoted(max(new))} is name number {len(before.state_names | new)}; {most} count in a session"


@session_rule("state-name-case-mix", INFO, on=_STATE_EVENTS, weighs=True)
def state_name_case_mix(before: Playback, event: SessionEvent) -> str | None:
    """A player state is spelled in two ways."""
    seen = {name.lower(): name for name in before.state_spellings}
    for name in (*event.ended_states, *event.started_states):
        other = seen.setdefault(name.lower(), name)
        if other != name and name not in before.state_spellings:
            return f"state {quoted(name)} was called {quoted(other)} before"
    return None
