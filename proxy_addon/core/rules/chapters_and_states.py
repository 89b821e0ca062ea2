"""Rules over chapters and player states. Source: Media Collection API, session rules, chapters and states."""

from __future__ import annotations

from proxy_addon.core.rules.playback import Life, Playback
from proxy_addon.core.rules.rule import INFO, WARNING, session_rule
from proxy_addon.core.rules.session_view import SessionEvent
from proxy_addon.core.wording import quoted

_STATE_EVENTS = "stateStart stateEnd statesUpdate"


@session_rule("chapter-not-closed", WARNING, on="chapterStart", weighs=True)
def chapter_not_closed(before: Playback, _: SessionEvent) -> str | None:
    """A chapter begins while another one is still open.

    What it checks: Each `chapterStart` is compared with the chapters before it. It must not come between an earlier
    `chapterStart` and the `chapterComplete` or `chapterSkip` that belongs to it.

    Why it matters: Chapters do not nest and do not overlap. The chapter that was left open gets no end of its own, so
    its completion and the time spent in it are wrong in the chapter reports.

    Source: docs, `chapter-start.md`; JS, Android and iOS send `chapterSkip` by themselves before a new chapter.
    Sureness: high.

    Example: `chapterStart` (index 1), `ping`, `chapterStart` (index 2), with nothing in between that ends the first.

    How to fix: Send `chapterComplete` before the next `chapterStart` if the chapter was played to its end, and
    `chapterSkip` if the viewer left it early. Both events may have the same `ts`.

    Known limits: Only the order counts; index, offset and length of the chapters are not compared. Events with one
    `ts` are taken in the order that suits the client best, and a chapter that began before the recording is not seen.
    """
    return "chapterStart while a chapter is open; chapterComplete or chapterSkip is missing" if before.chapter else None


@session_rule("chapter-close-without-start", WARNING, on="chapterComplete chapterSkip", weighs=True)
def chapter_close_without_start(before: Playback, event: SessionEvent) -> str | None:
    """A chapter ends although none is open.

    What it checks: Each `chapterComplete` and `chapterSkip` needs a `chapterStart` before it that no other event has
    ended yet.

    Why it matters: An end without a beginning has no chapter to be counted for. Usually the `chapterStart` got lost or
    an end was sent twice, so chapter starts and chapter completes no longer match.

    Source: JS, Android and iOS, whose rule engines refuse such a call; hand-written connectors are known to send
    `chapterSkip` after `chapterComplete`. Sureness: high.

    Example: `chapterStart`, `chapterComplete`, `chapterSkip`; the last of them has nothing left to end.

    How to fix: Keep in the player whether a chapter is open, and send exactly one of `chapterComplete` and
    `chapterSkip` for each `chapterStart`.

    Known limits: Where the start of the session was not recorded, the first end is believed, for its chapter may have
    begun earlier. An end that belongs to another chapter than the open one cannot be told apart: ends name no chapter.
    """
    return f"{event.type} with no chapter open" if before.chapter is None and before.chapter_known else None


@session_rule("chapter-open-at-end", INFO, on="sessionComplete sessionEnd", weighs=True)
def chapter_open_at_end(before: Playback, event: SessionEvent) -> str | None:
    """The session ends while a chapter is open.

    What it checks: When `sessionComplete` or `sessionEnd` comes, the last `chapterStart` must have been followed by
    `chapterComplete` or `chapterSkip`.

    Why it matters: The chapter is counted as started and never as completed, even if the viewer saw its last second.

    Source: JS, Android and iOS close an open chapter before either event, except at the automatic end after 30 idle
    minutes or 24 hours; therefore no more than info. Sureness: high.

    Example: `chapterStart`, `ping`, `sessionComplete`, with no end of the chapter in between.

    How to fix: Send `chapterComplete` or `chapterSkip` for the open chapter just before the session is ended; the same
    `ts` will do.

    Known limits: It is told once, at the first of the two events. A session that is never ended is not looked at, and
    a chapter that begins after `sessionComplete` is left to another rule.
    """
    # Told once: at sessionComplete, or at the sessionEnd of a session without one.
    return f"{event.type} while a chapter is open" if before.chapter and before.life is not Life.COMPLETED else None


@session_rule("state-already-active", WARNING, on=_STATE_EVENTS, weighs=True)
def state_already_active(before: Playback, event: SessionEvent) -> str | None:
    """A player state begins although it is active.

    What it checks: A name in `stateStart`, or in `statesStart` of `statesUpdate`, must not be active already. In one
    `statesUpdate` the ends take effect before the starts.

    Why it matters: The number of times a state was entered is counted too high or the second start is lost, and the
    time spent in it can no longer be told.

    Source: JS, Android and iOS, whose rule engines refuse the second start; `multiple-player-states.md` for the order
    in one event. Sureness: high.

    Example: `stateStart` (mute), `ping`, `stateStart` (mute), with no `stateEnd` in between.

    How to fix: Send `stateStart` only when the state changes from off to on, and `stateEnd` when it changes back. Ask
    the player for its state instead of sending on every callback.

    Known limits: `fullScreen` and `fullscreen` count as one state, other names that differ in case do not. One name
    twice in a single list is not seen, nor is a start before the recording; of several names the first is told.
    """
    ended = {before.same_name(name) for name in event.ended_states}
    active = before.active_states - ended
    name = next((name for name in event.started_states if before.same_name(name) in active), None)
    return f"state {quoted(name)} was started while it is active" if name is not None else None


@session_rule("state-not-active", WARNING, on=_STATE_EVENTS, weighs=True)
def state_not_active(before: Playback, event: SessionEvent) -> str | None:
    """A player state ends although it is not active.

    What it checks: A name in `stateEnd`, or in `statesEnd` of `statesUpdate`, must have been started in this session
    and not been ended since.

    Why it matters: An end without a start counts for nothing, and hints at a start that was lost: the time in that
    state is missing from the reports. States do not survive a session, so one that goes on must be started again.

    Source: JS, Android and iOS, whose rule engines refuse such a call; `player-state/overview.md` for new sessions.
    Sureness: high.

    Example: `sessionStart`, `play`, `stateEnd` (fullScreen), without a `stateStart` of that name.

    How to fix: Send `stateEnd` only for what was started before in the same session, and start the states that are
    active again right after each new `sessionStart`.

    Known limits: Where the start of the session was not recorded, the first end of each name is believed.
    `fullScreen` and `fullscreen` count as one state; of several names in one event the first is told. After a hundred
    names in one session no further ones are followed.
    """
    for name in event.ended_states:
        same = before.same_name(name)
        if same not in before.active_states and before.follows_state(same):
            return f"state {quoted(name)} was ended while it is not active"
    return None


@session_rule("state-limit", WARNING, on=_STATE_EVENTS, weighs=True)
def state_limit(before: Playback, event: SessionEvent) -> str | None:
    """A session uses more names of player states than are counted.

    What it checks: All different names in `stateStart`, `stateEnd` and `statesUpdate` of a session are counted, active
    or not. From the eleventh on each new name is told.

    Why it matters: The back end keeps ten names for each session and drops all later ones, so that those states are
    missing from the reports although everything was answered with 204.

    Source: docs, `player-state/overview.md`; JS, Android and iOS refuse the eleventh name. Sureness: high.

    Example: `stateStart` (state01), `stateEnd` (state01), and so on up to `stateStart` (state11).

    How to fix: Use few, fixed names, and put what varies (a caption's language, a quality level) into
    `customMetadata` and not into the name.

    Known limits: A name that is toggled counts once, and `fullScreen` and `fullscreen` are one name. Later events
    about a name beyond the limit are not told again (beyond a hundred they are), and names used before the recording
    began are not counted.
    """
    most, known = before.limits.states, before.state_names
    names = dict.fromkeys(before.same_name(name) for name in (*event.ended_states, *event.started_states))
    new = [name for name in names if name not in known]
    if not new or len(known) + len(new) <= most:
        return None
    place = max(0, most - len(known))
    return f"state {quoted(new[place])} is name number {len(known) + place + 1}; {most} count in a session"


@session_rule("state-name-case-mix", INFO, on=_STATE_EVENTS, weighs=True)
def state_name_case_mix(before: Playback, event: SessionEvent) -> str | None:
    """One player state is spelled in two ways.

    What it checks: Names of player states in one session are compared without regard to upper and lower case. Two
    names that differ in nothing else are told, `fullScreen` and `fullscreen` among them.

    Why it matters: Reports by state may show two lines where one is meant, and unless the name is that of full screen
    both spellings use up a place of the ten that a session has.

    Source: docs, `player-state/overview.md` (`fullScreen`) against the event pages (`fullscreen`); JS and CC send the
    first, Android and iOS the second. Sureness: medium.

    Example: `stateStart` (fullScreen), `stateEnd` (fullscreen).

    How to fix: Take the name from one constant everywhere, `fullscreen` or `fullScreen` as the rest of your apps do.

    Known limits: Each new spelling is told once. Sessions are not compared with each other, so a mixture of platforms
    stays unseen, and so do other variants such as `full_screen`.
    """
    new = [name for name in (*event.ended_states, *event.started_states) if name not in before.state_spellings]
    if not new:
        return None
    seen = {name.lower(): name for name in sorted(before.state_spellings, reverse=True)}
    for name in new:
        other = seen.setdefault(name.lower(), name)
        if other != name:
            return f"state {quoted(name)} was called {quoted(other)} before"
    return None
