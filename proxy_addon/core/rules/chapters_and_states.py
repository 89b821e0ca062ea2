"""Rules for chapters and player states. Source: Media Collection API, session rules, chapters and states."""

from __future__ import annotations

from proxy_addon.core.rules.playback import Life, Playback
from proxy_addon.core.rules.rule import INFO, WARNING, session_rule
from proxy_addon.core.rules.session_view import SessionEvent
from proxy_addon.core.wording import quoted

_STATE_EVENTS = "stateStart stateEnd statesUpdate"


@session_rule("chapter-not-closed", WARNING, on="chapterStart", weighs=True)
def chapter_not_closed(before: Playback, _: SessionEvent) -> str | None:
    """A chapter begins while another one is still open.

    What it checks: A `chapterStart` must not come between an earlier `chapterStart` and its `chapterComplete` or
    `chapterSkip`.

    Why it matters: Chapters do not nest or overlap. The open chapter gets no end of its own, so the chapter reports
    show a wrong completion and a wrong time spent for it.

    Source: Adobe's docs, `chapter-start.md`; the JavaScript, Android and iOS SDKs send `chapterSkip` automatically
    before a new chapter. Confidence: high.

    Example: `chapterStart` (index 1), `ping`, `chapterStart` (index 2), without an event that ends the first chapter

    How to fix: Before the next `chapterStart`, send `chapterComplete` if the chapter was played to its end, or
    `chapterSkip` if the viewer left it early. Both events may have the same `ts`.

    Known limits: Only the order counts; index, offset and length of the chapters are not compared. Events with the same
    `ts` are taken in the order that is better for the client. A chapter that began before the recording is not known.
    """
    return "chapterStart while a chapter is open; chapterComplete or chapterSkip is missing" if before.chapter else None


@session_rule("chapter-close-without-start", WARNING, on="chapterComplete chapterSkip", weighs=True)
def chapter_close_without_start(before: Playback, event: SessionEvent) -> str | None:
    """A chapter ends while no chapter is open.

    What it checks: Each `chapterComplete` and `chapterSkip` must follow a `chapterStart` that has not been ended yet.

    Why it matters: The event cannot be counted for any chapter. Usually the `chapterStart` was lost or the end was sent
    twice, so the numbers of chapter starts and completes no longer match.

    Source: The JavaScript, Android and iOS SDKs, whose rule engines refuse such a call; hand-written connectors are
    known to send `chapterSkip` after `chapterComplete`. Confidence: high.

    Example: `chapterStart`, `chapterComplete`, `chapterSkip`, where the `chapterSkip` has no chapter left to end

    How to fix: Track in the player whether a chapter is open, and send either `chapterComplete` or `chapterSkip` for
    each `chapterStart`.

    Known limits: If the `sessionStart` was not recorded, the first end is accepted, because its chapter may have begun
    earlier. An end that belongs to a different chapter is not recognised, because these events do not name their
    chapter.
    """
    return f"{event.type} with no chapter open" if before.chapter is None and before.chapter_known else None


@session_rule("chapter-open-at-end", INFO, on="sessionComplete sessionEnd", weighs=True)
def chapter_open_at_end(before: Playback, event: SessionEvent) -> str | None:
    """A chapter is still open when the session ends.

    What it checks: Before `sessionComplete` or `sessionEnd`, a `chapterComplete` or `chapterSkip` must follow the last
    `chapterStart`.

    Why it matters: The chapter is counted as started but never as completed, even if the viewer watched it to its last
    second.

    Source: The JavaScript, Android and iOS SDKs close an open chapter before either event, except when they end a
    session automatically after 30 idle minutes or 24 hours. For this reason it is only an info. Confidence: high.

    Example: `chapterStart`, `ping`, `sessionComplete`, without an end of the chapter in between

    How to fix: Send `chapterComplete` or `chapterSkip` for the open chapter just before you end the session. It may
    have the same `ts`.

    Known limits: It is reported once, at the first of the two events. A session that is never ended is not checked, and
    a chapter that begins after `sessionComplete` is reported by `event-after-session-complete`.
    """
    # Reported once: at sessionComplete, or at sessionEnd if there was no sessionComplete.
    return f"{event.type} while a chapter is open" if before.chapter and before.life is not Life.COMPLETED else None


@session_rule("state-already-active", WARNING, on=_STATE_EVENTS, weighs=True)
def state_already_active(before: Playback, event: SessionEvent) -> str | None:
    """A player state is started while it is already active.

    What it checks: No name in `stateStart`, or in `statesStart` of `statesUpdate`, may be active already. Within one
    `statesUpdate`, ends take effect before starts.

    Why it matters: The number of times the state was entered is too high, or the second start is lost. The time spent
    in the state can no longer be determined.

    Source: The JavaScript, Android and iOS SDKs, whose rule engines refuse the second start; Adobe's docs,
    `multiple-player-states.md`, for the order within one event. Confidence: high.

    Example: `stateStart` (mute), `ping`, `stateStart` (mute), without a `stateEnd` in between

    How to fix: Send `stateStart` only when the state changes from off to on, and `stateEnd` when it changes back.
    Compare the player's state with its previous state instead of sending an event on every callback.

    Known limits: `fullScreen` and `fullscreen` count as one state; other names that differ only in case do not. A name
    that occurs twice in one list is not reported, and starts before the recording are not known. If several names in
    one event are active, only the first one is reported.
    """
    ended = {before.same_name(name) for name in event.ended_states}
    active = before.active_states - ended
    name = next((name for name in event.started_states if before.same_name(name) in active), None)
    return f"state {quoted(name)} was started while it is active" if name is not None else None


@session_rule("state-not-active", WARNING, on=_STATE_EVENTS, weighs=True)
def state_not_active(before: Playback, event: SessionEvent) -> str | None:
    """A player state is ended while it is not active.

    What it checks: Each name in `stateEnd`, or in `statesEnd` of `statesUpdate`, must have been started in this session
    and not ended since then.

    Why it matters: An end without a start counts for nothing. If the start was lost, the time in that state is missing
    from the reports. States end with their session, so a state that continues must be started again in the next one.

    Source: The JavaScript, Android and iOS SDKs, whose rule engines refuse such a call; Adobe's docs,
    `player-state/overview.md`, for new sessions. Confidence: high.

    Example: `sessionStart`, `play`, `stateEnd` (fullScreen), without a `stateStart` of that name

    How to fix: Send `stateEnd` only for states that were started in the same session. After each new `sessionStart`,
    start the states again that are still active.

    Known limits: If the `sessionStart` was not recorded, the first end of each name is accepted. `fullScreen` and
    `fullscreen` count as one state. If several names in one event are not active, only the first one is reported. Only
    the first hundred names of a session are tracked.
    """
    for name in event.ended_states:
        same = before.same_name(name)
        if same not in before.active_states and before.follows_state(same):
            return f"state {quoted(name)} was ended while it is not active"
    return None


@session_rule("state-limit", WARNING, on=_STATE_EVENTS, weighs=True, despite_holes=True)
def state_limit(before: Playback, event: SessionEvent) -> str | None:
    """A session uses more than ten different names of player states.

    What it checks: A session should use at most ten different names in `stateStart`, `stateEnd` and `statesUpdate`,
    whether the states are active or not. Each new name from the eleventh on is reported.

    Why it matters: The back end keeps ten names per session and drops all later ones. Those states are missing from the
    reports, although every request was answered with 204.

    Source: Adobe's docs, `player-state/overview.md`; the JavaScript, Android and iOS SDKs refuse the eleventh name.
    Confidence: high.

    Example: `stateStart` (state01), `stateEnd` (state01), and so on up to `stateStart` (state11)

    How to fix: Use a small, fixed set of names. Put variable data, such as a caption's language or a quality level,
    into `customMetadata` instead of the name.

    Known limits: A name that is switched on and off repeatedly counts once, and `fullScreen` and `fullscreen` count as
    one name. Later events for a name beyond the limit are not reported again, unless the session uses more than a
    hundred names. Names that were used before the recording began are not counted.
    """
    most, known = before.limits.states, before.state_names
    names = dict.fromkeys(before.same_name(name) for name in (*event.ended_states, *event.started_states))
    new = [name for name in names if name not in known]
    if not new or len(known) + len(new) <= most:
        return None
    place = max(0, most - len(known))
    return f"state {quoted(new[place])} is state name number {len(known) + place + 1} of the session; only {most} count"


@session_rule("state-name-case-mix", INFO, on=_STATE_EVENTS, weighs=True, despite_holes=True)
def state_name_case_mix(before: Playback, event: SessionEvent) -> str | None:
    """A player state is spelled in two ways within a session.

    What it checks: Two names of player states in one session must not differ only in upper and lower case. This
    includes `fullScreen` and `fullscreen`.

    Why it matters: Reports by state may show two lines instead of one. Except for full screen, each spelling also uses
    up one of the ten state names of a session.

    Source: Adobe's docs: `player-state/overview.md` uses `fullScreen`, the event pages use `fullscreen`. The JavaScript
    and Chromecast SDKs send the first, the Android and iOS SDKs the second. Confidence: medium.

    Example: `stateStart` (fullScreen), `stateEnd` (fullscreen)

    How to fix: Use one constant for the name everywhere, either `fullscreen` or `fullScreen`, and the same one in all
    your apps.

    Known limits: Each new spelling is reported once. Sessions are not compared with each other, so different spellings
    on different platforms are not reported. Neither are other variants, such as `full_screen`.
    """
    new = [name for name in (*event.ended_states, *event.started_states) if name not in before.state_spellings]
    if not new:
        return None
    seen = {name.lower(): name for name in sorted(before.state_spellings, reverse=True)}
    for name in new:
        other = seen.setdefault(name.lower(), name)
        if other != name:
            return f"state {quoted(name)} was spelled {quoted(other)} before"
    return None
