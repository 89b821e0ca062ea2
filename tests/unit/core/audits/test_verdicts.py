"""The verdict of an audit: red for errors, a state of its own for changes, green only if nothing is wrong, new or unsure."""

from __future__ import annotations

from dataclasses import replace

import pytest

from proxy_addon.core.audits.changes import Changes, Compared, Comparison, Side, Turn, What
from proxy_addon.core.audits.verdicts import Found, Level, Verdict, verdict_of

NONE, ALL = Side(sessions=0, of=20, share=0.0), Side(sessions=20, of=20, share=1.0)
CALM = Changes(
    name=None,
    before=20,
    after=20,
    changes=(),
    compared=40,
    undecided=0,
    may_be_chance=(),
    is_enough=True,
    enough=10,
    findings=(),
    losses=(),
    rhythm=(),
    metrics=(),
)
ERROR, WARNING, NOTE = (
    Found("ts-missing", 3, "error"),
    Found("ts-backwards", 2, "warning"),
    Found("ts-equal", 1, "info"),
)
NOTES = "No errors or warnings, but notes of 1 rule."


def changed(what: What, turn: Turn, *, event: str = "", name: str = "", section: str = "") -> Compared:
    sides = (ALL, NONE) if turn is Turn.VANISHED else (NONE, ALL)
    return Compared(
        what=what,
        event=event,
        name=name,
        section=section,
        before=sides[0],
        after=sides[1],
        test="fisher",
        p=1e-9,
        change=turn,
    )


def vanished(event: str) -> Compared:
    return changed(What.EVENT, Turn.VANISHED, event=event)


def key(name: str, turn: Turn = Turn.VANISHED) -> Compared:
    return changed(What.KEY, turn, event="sessionStart", name=name, section="customMetadata")


def judged(changes: Changes | None, *findings: Found, groups: tuple[Changes, ...] = (), lost: str = "") -> Verdict:
    """Return the verdict of all sessions; of a group that the baseline does not have if there are no changes."""
    comparison = Comparison(baseline="4.1", all=changes or CALM, groups=groups)
    return verdict_of(20, findings, [Found(lost, 1)] if lost else [], comparison=comparison, changes=changes)


def test_the_gravest_changes_are_told_first_in_words():
    changes = (
        changed(What.FINDING, Turn.APPEARED, name="ts-equal"),
        changed(What.METRIC, Turn.VANISHED, name="ad_starts"),
        replace(
            key("genre"), beneath=(replace(key("genre"), event="play"), replace(key("genre", Turn.LESS), event="ping"))
        ),
        key("tier", Turn.APPEARED),
        *map(vanished, ("adStart", "adComplete", "pauseStart", "chapterStart")),
    )
    found = judged(replace(CALM, changes=changes))
    assert (found.level, found.changes, found.undecided) == (Level.CHANGED, 8, 0)
    assert [sentence.text for sentence in found.sentences] == [
        "8 changes since `4.1`.",
        "Events no longer sent: `adStart`, `adComplete`, `pauseStart` and 1 more.",
        "Keys no longer sent: `genre` on `sessionStart` and 2 other events.",
        "Broken for the first time: `ts-equal`.",
        "And 2 other changes.",
        "No findings.",
    ]
    assert found.text.startswith("8 changes since 4.1. Events no longer sent: adStart, ")


def test_findings_come_before_changes_if_they_are_errors_and_warnings_do_not_hide_changes():
    changes = replace(CALM, changes=(vanished("adStart"),))
    red = judged(changes, ERROR, WARNING)
    assert red.level is Level.FAIL
    assert [(sentence.about, sentence.rule) for sentence in red.sentences] == [
        ("findings", "ts-missing"),
        ("findings", "ts-backwards"),
        ("changes", None),
        ("changes", None),
    ]
    assert red.sentences[0].text == "`playerTime` has no `ts` (`ts-missing`, 3 sessions)."
    amber = judged(changes, WARNING)
    assert amber.level is Level.CHANGED
    assert [sentence.about for sentence in amber.sentences] == ["changes", "changes", "findings"]
    assert judged(CALM, WARNING).level is Level.WARN


@pytest.mark.parametrize(
    ("changes", "level", "says"),
    [
        (CALM, Level.PASS, f"No certain change since 4.1. {NOTES}"),
        (
            replace(CALM, undecided=2),
            Level.UNDECIDED,
            f"No certain change since 4.1; 2 differences may be chance. {NOTES}",
        ),
        (
            replace(CALM, before=3, is_enough=False),
            Level.UNDECIDED,
            f"4.1 has not enough sessions to compare with: 3 before, 20 after, where 10 each are enough. {NOTES}",
        ),
        (
            replace(CALM, after=9, is_enough=False),
            Level.UNDECIDED,
            f"There are not enough sessions to compare with 4.1: 20 before, 9 after, where 10 each are enough. {NOTES}",
        ),
        (
            replace(CALM, before=9, after=9, is_enough=False, undecided=1),
            Level.UNDECIDED,
            (
                "There are not enough sessions on either side to compare with 4.1: 9 before, 9 after, where 10 each are enough; "
                f"1 difference may be chance. {NOTES}"
            ),
        ),
        (
            None,
            Level.UNDECIDED,
            f"4.1 has no sessions of this group to compare with. {NOTES}",
        ),
    ],
)
def test_only_what_is_certain_passes(changes, level, says):
    found = judged(changes, NOTE)
    assert (found.level, found.text) == (level, says)


def test_what_changed_in_groups_alone_is_said_with_the_group():
    groups = (
        replace(CALM, name="TV`\n", changes=(vanished("adStart"), key("genre")), undecided=1),
        replace(CALM, name="Web", changes=(vanished("adStart"), changed(What.EVENT, Turn.LESS, event="play"))),
        replace(CALM, changes=(changed(What.EVENT, Turn.MORE, event="ping"),)),
    )
    less = (changed(What.EVENT, Turn.LESS, event=event) for event in ("play", "adStart"))
    whole = replace(CALM, changes=tuple(less), undecided=1)
    found = judged(whole, groups=groups)
    assert (found.level, found.changes, found.undecided) == (Level.CHANGED, 4, 2)
    assert found.text == (
        "4 changes since 4.1, and 2 differences may be chance. Events no longer sent: adStart in 2 groups. "
        "Keys no longer sent: genre on sessionStart in TV'\\n. Events sent by fewer sessions: play. "
        "And 1 other change. No findings."
    )
    (web,) = [of for of in groups if of.name == "Web"]
    comparison = Comparison(baseline="4.1", all=whole, groups=groups)
    of_web = verdict_of(20, [], [], comparison=comparison, changes=web)
    assert of_web.text.startswith(
        "2 changes since 4.1. Events no longer sent: adStart. Events sent by fewer sessions: play."
    )
    values = (
        changed(What.VALUE, Turn.APPEARED, name="media.channel"),
        changed(What.VALUE, Turn.VANISHED, name="media.channel"),
    )
    text = judged(CALM, groups=(replace(CALM, name="Box", changes=values),)).text
    assert text.startswith("2 changes since 4.1. Keys with other values: media.channel in Box. ")


def test_what_several_groups_share_is_one_change():
    lower = changed(What.METRIC, Turn.LOWER, name="media_time_spent_s")
    of_kinds = tuple(map(key, ("genre", "tier"))), (changed(What.FINDING, Turn.MORE, name="ts-equal"),)
    gone = replace(vanished("adStart"), beneath=(lower,))
    groups = (
        *(replace(CALM, name=f"{number}", changes=(lower,)) for number in range(8)),
        replace(CALM, name="TV", changes=(changed(What.FINDING, Turn.APPEARED, name="ts-equal"), gone, *of_kinds[0])),
        replace(CALM, name="Web", changes=(*of_kinds[1], vanished("adStart"))),
    )
    found = judged(CALM, groups=groups)
    assert found.changes == 5
    assert found.text.startswith(
        "5 changes since 4.1. Events no longer sent: adStart in 2 groups. "
        "Keys no longer sent: genre on sessionStart in TV, tier on sessionStart in TV. "
        "Broken for the first time: ts-equal in TV. And 1 other change."
    )
    assert judged(replace(CALM, changes=(gone,)), groups=groups).changes == 4
    assert judged(CALM, groups=groups[-2:-1]).changes == 4  # what is beneath another one there, too
    assert judged(CALM, groups=(groups[-2], groups[0])).changes == 4


@pytest.mark.parametrize(
    ("lost", "level", "says"),
    [
        ("not-opened", Level.FAIL, "Upstream answered the start of 1 session without opening one."),
        ("start-unanswered", Level.FAIL, "The start of 1 session has no answer."),
        ("refused", Level.WARN, "Upstream refused events of 1 session."),
        ("unanswered", Level.WARN, "Events of 1 session have no answer."),
        ("stalled", Level.PASS, "No findings."),
    ],
)
def test_without_a_baseline_it_is_about_findings_and_losses(lost, level, says):
    found = verdict_of(20, [], [Found(lost, 1, time_share=0.0499), Found("timed-out", 0)])
    assert (found.level, found.text, found.changes) == (level, says, None)
    nothing = verdict_of(0, [], [])
    assert (nothing.level, nothing.text) == (Level.UNDECIDED, "There are no sessions to audit.")


@pytest.mark.parametrize(
    ("findings", "says"),
    [
        ([ERROR, WARNING] * 2, "There are errors or warnings of 1 other rule."),
        ([ERROR, WARNING] * 3 + [NOTE] * 8, "There are errors or warnings of 3 other rules, and notes of 8 rules."),
        ([WARNING, NOTE], "There are also notes of 1 rule."),
        ([WARNING], "An event arrives after one that happened more than 5 seconds later (`ts-backwards`, 2 sessions)."),
    ],
)
def test_rules_that_are_not_named_are_counted_with_their_notes(findings, says):
    assert verdict_of(9, findings, []).sentences[-1].text == says


def test_large_losses_of_content_time_come_first_unless_there_are_errors():
    losses = [Found("never-played", 1, time_share=0.05), Found("stalled", 2, time_share=0.123)]
    lack = "Reports lack 12 % of content time in 2 sessions whose playhead stood still, and 5 % in 1 session without a play that counts."
    found = verdict_of(20, [], losses)
    assert (found.level, found.text) == (Level.WARN, f"{lack} No findings.")
    assert [sentence.about for sentence in found.sentences] == ["losses", "findings"]
    red = verdict_of(20, [ERROR], losses)
    assert (red.level, red.sentences[1].about) == (Level.FAIL, "losses")
    changes = replace(CALM, changes=(vanished("adStart"),))
    changed_ = verdict_of(20, [], losses, comparison=Comparison(baseline="4.1", all=changes), changes=changes)
    assert [sentence.about for sentence in changed_.sentences] == ["changes", "changes", "losses", "findings"]
