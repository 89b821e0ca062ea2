"""An audit for people: tables of groups, findings, losses, rhythm, keys and metrics."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime

from rich.cells import cell_len
from rich.text import Text

from proxy_addon.core.audits.changes import FISHER, Changes, Compared, Comparison, Side, What
from proxy_addon.core.audits.naming import baseline_words, measure_name, metric_name, what_words
from proxy_addon.core.audits.results import Audit, Distribution, Funnel, Group, KeyAbsent, KeySeen, Value
from proxy_addon.core.audits.sketches import MOST_KEPT
from proxy_addon.core.audits.verdicts import Level
from proxy_addon.core.findings import Severity
from proxy_addon.core.wording import counted, pasted, visible
from proxy_addon.reporting.audits.folders import without_beginning
from proxy_addon.reporting.columns import Column, Table, cut
from proxy_addon.reporting.terminal import SEVERITY_STYLES, Screen, printable
from proxy_addon.reporting.words import duration, moment, zone

_MOST_GROUPS = 40
"""How many groups the terminal shows; the other formats have all."""
_WIDEST_LABEL = 36
_LONGEST = 60
"""How many cells the name of a key or a group takes at most; JSON and CSV have all of it."""
_LONGEST_EXAMPLE = 160
_RARE = 0.005
_LEAST_P = 0.001
_TINY = 1e-9
"""A share that was rounded to nothing."""
_SECOND_MS = 1_000
_PRECISE_S, _PRECISE_SPEED = 10, 100
_MINUTE_S = 60
_MOST_WRITTEN = 1e18
"""Larger numbers are written as a power of ten."""
_NAMES_TOLD = 12
_DOUBTFUL_TOLD = 5
LOSSES = {
    "refused": "events refused by upstream, which SDKs do not send again",
    "unanswered": "events of which no answer was seen; if none came, SDKs drop them",
    "not-opened": "sessions that upstream answered without opening them",
    "start-unanswered": "sessions whose start has no answer, so that nobody knows whether upstream opened them",
    "retried": "starts sent again",
    "opened-twice": "sessions opened beside another one of the same playback",
    "unused": "sessions with nothing after their start",
    "never-played": "sessions without a play that counts, so that none of their content time does",
    "no-end": "sessions that their player did not end",
    "timed-out": "events after upstream had closed the session, for its silence or a playhead that stood still",
    "after-end": "events after sessionEnd",
    "after-gone": "events sent to a session after 404 or 410",
    "stalled": "sessions whose playhead stood still while content played",
}
"""What each loss is, in a few words."""
_LEVEL_STYLES = {
    Level.FAIL: "bold red",
    Level.CHANGED: "bold yellow",
    Level.WARN: "bold yellow",
    Level.UNDECIDED: "bold yellow",
    Level.PASS: "bold green",
}


def print_audit(
    audit: Audit,
    screen: Screen,
    *,
    examples: Mapping[str, str] | None = None,
    changes_fail: bool = False,
    local: bool = False,
) -> None:
    """Print an audit.

    Args:
        examples: What a rule found in one session, by rule.
        changes_fail: Whether changes from the baseline fail the audit; otherwise, it is said that they do not.
        local: Whether times are local rather than UTC.
    """
    whole = audit.all
    span = _span(whole, local=local)
    screen.print_wrapped(
        f"{counted(whole.sessions, 'session')} with {counted(whole.events, 'event')} in {audit.source}{span}"
    )
    level = Level(whole.verdict.level)
    screen.print_wrapped(Text.assemble((f"{level.capitalize()}:", _LEVEL_STYLES[level]), f" {whole.verdict.text}"))
    if whole.verdict.changes and not changes_fail:
        screen.print_wrapped(Text("changes do not fail the audit without --fail-on-change", style="dim"))
    if not whole.sessions:
        return
    if audit.by is not None:
        _section(screen, f"by {audit.by}{f', {audit.by_param} of the start' if audit.by_param else ''}")
        screen.print_table(_groups(audit.groups[:_MOST_GROUPS], audit.by))
        if len(audit.groups) > _MOST_GROUPS:
            screen.print_wrapped(f"and {counted(len(audit.groups) - _MOST_GROUPS, 'group')} more; --json has all")
        screen.print_wrapped(
            Text(
                "error, warning and info: in how many places; counted: share of events that reports count; "
                "content: content time per session",
                style="dim",
            )
        )
    if audit.baseline is not None:
        _print_changes(audit.baseline, screen)
    _section(screen, "findings")
    if whole.findings:
        screen.print_table(_findings(whole, audit.groups, local=local))
        _print_examples(screen, examples or {})
        _print_look_at(screen, ((rule.rule, rule.look_at) for rule in whole.findings))
    else:
        screen.print("none", style="green")
    if audit.plan is not None:
        _section(screen, f"not as in {audit.plan}")
        if whole.plan:
            screen.print_table(_plan(whole, audit.groups))
            _print_look_at(screen, ((f"{each.event} {each.key}".strip(), each.look_at[:1]) for each in whole.plan))
        else:
            screen.print("nothing", style="green")
        for group in audit.plan_unused:
            screen.print_wrapped(printable(f"no session is in the group of the plan: {group}"))
    _section(screen, "losses")
    _print_funnel(whole.funnel, screen)
    if any(loss.sessions for loss in whole.losses):
        screen.print_table(_losses(whole))
        _print_look_at(screen, ((loss.loss, loss.look_at[:1]) for loss in whole.losses))
    _print_left_out(whole.with_holes, ", ".join(loss.loss for loss in whole.losses if loss.left_out), screen)
    _section(screen, "rhythm")
    screen.print_table(_rhythm(whole))
    _print_left_out(whole.rhythm.left_out, "times between pings and speed of the playhead", screen)
    _section(screen, "keys")
    screen.print_table(_keys(whole.keys))
    for line in _absent(whole.absent, whole.keys):
        screen.print_wrapped(line)
    _section(screen, "metrics")
    if any(metric.total for metric in whole.metrics):
        screen.print_table(_metrics(whole))
    left_out = max(metric.left_out for metric in whole.metrics)
    if left_out:
        why = "of which requests or bodies are not known, or nobody saw whether upstream took the start"
        screen.print_wrapped(Text(f"without {counted(left_out, 'session')} {why}", style="dim"))


def _print_funnel(funnel: Funnel, screen: Screen) -> None:
    screen.print_wrapped(
        f"{counted(funnel.sent, 'event')} sent by devices, {funnel.answered:,} answered by upstream, "
        f"{funnel.accepted:,} accepted with 2xx, {funnel.counted:,} counted by reports"
    )
    further = {
        "without an answer may have arrived, so they count": funnel.may_have_arrived,
        "did not arrive": funnel.not_arrived,
        "arrived and do not count, such as those after the end of their session": funnel.dropped,
    }
    told = "; ".join(f"{number:,} {what}" for what, number in further.items() if number)
    if told:
        screen.print_wrapped(Text(told, style="dim"))


def _print_left_out(number: int, of: str, screen: Screen) -> None:
    """Say how many sessions are left out of something, if any are."""
    if number:
        told = f"{of}: without {counted(number, 'session')} of which requests or bodies are not known"
        screen.print_wrapped(Text(told, style="dim"))


def _print_examples(screen: Screen, examples: Mapping[str, str]) -> None:
    if examples:
        screen.print_wrapped(Text("for example:", style="dim"))
    for rule, message in examples.items():
        screen.print_wrapped(Text(f"  {rule}: ").append_text(cut(printable(message), _LONGEST_EXAMPLE)))


def _print_look_at(screen: Screen, named: Iterable[tuple[str, Sequence[str]]]) -> None:
    """Print sessions in files, one a line, as a shell takes them: they are too long for a table, and of no use if cut."""
    lines = [(what if not at else "", id) for what, ids in named for at, id in enumerate(ids) if _is_in_file(id)]
    if not lines:
        return
    screen.print_wrapped(Text("to look at, with sessiontape show:", style="dim"))
    widest = min(max(cell_len(visible(what)) for what, _ in lines), _WIDEST_LABEL)
    for what, id in lines:
        label = Text(visible(what))
        label.truncate(widest, overflow="ellipsis", pad=True)
        screen.print(Text("  ").append_text(label).append(f"  {pasted(id)}"), soft_wrap=True)


def _is_in_file(id: str) -> bool:
    """Whether an id is the name of a session in a file, which has a folder or an ending."""
    return "/" in id or "." in id


def _are_in_files(named: Iterable[Sequence[str]]) -> bool:
    return any(_is_in_file(id) for ids in named for id in ids)


def as_text(
    audit: Audit,
    *,
    examples: Mapping[str, str] | None = None,
    changes_fail: bool = False,
    local: bool = False,
) -> Iterator[str]:
    """Yield what `print_audit` prints, without colours and without a limit to the width."""
    file = io.StringIO()
    screen = Screen(None, file=file, no_color=True, force_terminal=False)
    print_audit(audit, screen, examples=examples, changes_fail=changes_fail, local=local)
    yield file.getvalue()


def share(part: float) -> str:
    """Return a share as a percentage, which is never rounded to none or to all."""
    if 0 < part < _RARE:
        return "<1 %"
    if 1 - _RARE < part < 1:
        return ">99 %"
    return f"{part:.0%}".replace("%", " %")


def middle(compared: Compared, side: Side) -> float | None:
    """Return the value that stands for those of a side: the median of what was measured, else the mean."""
    return side.p50 if compared.what == What.RHYTHM else side.mean


def _print_changes(comparison: Comparison, screen: Screen) -> None:
    whole = comparison.all
    _section(screen, f"changes since {baseline_words(comparison.baseline)}")
    screen.print_wrapped(f"{counted(whole.before, 'session')} before, {whole.after:,} after{left_out_words(whole)}")
    sets = (whole, *comparison.groups)
    if any(of.changes for of in sets):
        screen.print_table(_changes(comparison))
        how = (
            "p: Fisher's exact test of sessions, or Mann-Whitney U test of their values; at most 1 % of this may be chance. "
            "In parentheses: from 5 % to 95 % of the sessions, beside the median of what is measured, else the mean"
        )
        screen.print_wrapped(Text(how, style="dim"))
        _print_look_at(screen, ((what_words(each), each.look_at[:1]) for _, each in comparison.named()))
    else:
        screen.print("none that is certain", style="green")
    for of in sets:
        rules = [
            f"{each.name} ({each.after.sessions:,} of {each.after.of:,})" for each in of.worse() if each.change is None
        ]
        if rules:
            within = "" if of is whole else f"in {_named(of.name).plain}, "
            screen.print_wrapped(f"{within}new, in few sessions: {', '.join(rules)}")
    undecided = sum(of.undecided for of in sets)
    if undecided:
        of_all = counted(sum(of.compared for of in sets), "comparison")
        told = f"{counted(undecided, 'difference')} more in {of_all}: not enough sessions to say that it is not chance, such as"
        screen.print_wrapped(Text(told, style="dim"))
        for of, each in comparison.doubtful()[:_DOUBTFUL_TOLD]:
            within = "" if of is whole else f"in {_named(of.name).plain}, "
            sides = f"before {side_words(each, each.before)}, after {side_words(each, each.after)}"
            screen.print_wrapped(Text(visible(f"  {within}{what_words(each)}: {sides}"), style="dim"))
    if whole.many_values:
        keys = counted(len(whole.many_values), "key")
        told = f"not compared: values of {keys} with more than {MOST_KEPT}: {_listed(whole.many_values)}"
        screen.print_wrapped(Text(visible(told), style="dim"))
    for names, where in ((comparison.only_before, "before"), (comparison.only_after, "after")):
        if names:
            screen.print_wrapped(f"only {where}: {_listed([_named(name).plain for name in names])}")
    table = Table(
        Column("before and after", least=20), *(Column(name, is_right=True) for name in ("before", "after", "change"))
    )
    for each in (*whole.losses, *whole.rhythm, *whole.metrics):
        table.add(what_words(each), side_words(each, each.before), side_words(each, each.after), _turn(each))
    screen.print()
    screen.print_table(table)


def left_out_words(changes: Changes) -> str:
    """Return how many sessions are not compared, as what follows the number of those that are; empty if all are."""
    before, after = changes.left_out_before, changes.left_out_after
    told = f", without {before:,} before and {after:,} after of which requests or bodies are not known"
    return told if before or after else ""


def _turn(compared: Compared) -> Text:
    """Return how something changed, or why a difference is no change."""
    before, after = compared.before, compared.after
    if compared.change is not None:
        return Text(compared.change)
    if (before.share, before.mean, before.p50) == (after.share, after.mean, after.p50):
        return Text()
    return Text("may be chance" if compared.look_at else "too little to matter", style="dim")


def _changes(comparison: Comparison) -> Table:
    """Return the changes of all sessions, and those of groups that all together do not have; what is beneath one is indented."""
    whole, groups = comparison.all, comparison.groups
    within = Counter(each.same() for of in groups for each in of.every())
    in_files = _are_in_files(each.look_at for _, each in comparison.named())
    table = Table(
        *([Column("group", least=10), Column("groups", is_right=True, dropped=2)] if groups else []),
        Column("change"),
        Column("what", least=20),
        Column("before", is_right=True),
        Column("after", is_right=True),
        Column("p", is_right=True, dropped=1),
        *([] if in_files else [Column("look at", dropped=3)]),
    )
    for of, each in comparison.named():
        where = [Text("all", style="dim") if of is whole else _named(of.name)]
        where.append(Text(f"{within[each.same()]} of {len(groups)}" if of is whole else ""))
        for place, told in enumerate((each, *each.beneath)):
            table.add(
                *((where if place == 0 else ["", ""]) if groups else []),
                Text(told.change or "", style=SEVERITY_STYLES[Severity(told.severity)] if told.severity else ""),
                Text("  " if place else "").append_text(cut(printable(what_words(told)), 2 * _LONGEST)),
                side_words(told, told.before),
                side_words(told, told.after),
                f"{told.p:.3f}" if told.p >= _LEAST_P else f"<{_LEAST_P}",
                *([] if in_files else [" ".join(told.look_at[:1])]),
            )
    return table


def side_words(compared: Compared, side: Side) -> str:
    """Return what one side has: in how many sessions, or the middle of its values and where most of them are."""
    if compared.test == FISHER:
        return f"{side.sessions:,} of {side.of:,} ({share(side.share)})"

    def told(value: float | None) -> str:
        return measured(compared.name, value) if compared.what == What.RHYTHM else _number(compared.name, value)

    spread = f" ({told(side.p5)} to {told(side.p95)})" if side.p5 != side.p95 else ""
    return told(middle(compared, side)) + spread


def measured(name: str, value: float | None) -> str:
    """Return a value of the rhythm with its unit; empty for None.

    >>> measured("latency_ms", 12), measured("ping_gaps_ms.ad", 10_240), measured("clock_skew_ms", -90_000)
    ('12 ms', '10.2 s', '-1:30')
    >>> measured("playhead_speed", 992)[:-1], measured("playhead_speed", 1_000_000)[:-1]
    ('0.992', '1,000')
    """
    if value is None:
        return ""
    if name == "playhead_speed":
        speed = value / 1_000
        return (
            f"{speed:,.3g}\N{MULTIPLICATION SIGN}"
            if abs(speed) < _PRECISE_SPEED
            else f"{speed:,.0f}\N{MULTIPLICATION SIGN}"
        )
    if name == "batch_events":
        return f"{value:,g}"
    return f"{value:,g} ms" if abs(value) < _SECOND_MS else _time_span(value / _SECOND_MS)


def _number(metric: str, value: float | None) -> str:
    """Return a value of a metric, or a number of events; a whole one has all its digits.

    >>> _number("dropped_frames", 45_035_996_273_704_965), _number("dropped_frames", 9_007_199_254_740_993.0)
    ('45,035,996,273,704,965', '9,007,199,254,740,992')
    >>> _number("bitrate_changes", 2.50), _number("average_bitrate", 1e300)
    ('2.5', '1e+300')
    """
    if value is None:
        return ""
    if metric.endswith("_s"):
        return _lasted(value)
    if isinstance(value, int) or abs(value) < _MOST_WRITTEN:
        return f"{value:,}" if isinstance(value, int) else f"{value:,.2f}".rstrip("0").rstrip(".")
    return f"{value:.3g}"


def _lasted(seconds: float) -> str:
    """Return for how long something lasted, as pages say it: a tenth that has begun is not rounded up.

    >>> _lasted(29.09), _lasted(61)
    ('29 s', '1:01')
    """
    return f"{int(seconds * 10 + _TINY) / 10:g} s" if seconds < _MINUTE_S else duration(seconds)


def _time_span(seconds: float) -> str:
    """Return a time span in seconds below a minute, else as a clock."""
    size = abs(seconds)
    if size < _MINUTE_S:
        return f"{round(seconds, 2 if size < _PRECISE_S else 1):g} s"
    return f"{'-' if seconds < 0 else ''}{duration(size)}"


def _section(screen: Screen, name: str) -> None:
    screen.print()
    screen.print(Text(name, style="bold underline"))


def _time(text: str | None, *, local: bool) -> str:
    return "" if text is None else moment(datetime.fromisoformat(text), local=local)


def _span(group: Group, *, local: bool) -> str:
    if group.first is None or group.last is None:
        return ""
    times = [datetime.fromisoformat(group.first), datetime.fromisoformat(group.last)]
    first, last = (moment(each, local=local) for each in times)
    span = f"at {first}" if first == last else f"from {first} to {last}"
    return f", begun {span} {zone(times, local=local)}"


def _named(name: str | None) -> Text:
    """Return the name of a key or a group; None for that of sessions that sent none."""
    return cut(printable(name, "(not sent)"), _LONGEST)


def _groups(groups: Sequence[Group], by: str) -> Table:
    table = Table(
        Column(by, least=12),
        Column("sessions", is_right=True),
        Column("events", is_right=True, dropped=3),
        *(Column(severity.value, is_right=True) for severity in Severity),
        Column("no findings", is_right=True, dropped=2),
        Column("counted", is_right=True, dropped=1),
        Column("content", is_right=True, dropped=4),
    )
    for name, group in zip(without_beginning([group.name for group in groups]), groups, strict=True):
        found = dict.fromkeys(Severity, 0)
        for rule in group.findings:
            for severity in Severity:
                found[severity] += rule.severities[severity.value]
        content = next(each for each in group.metrics if each.metric == "content_time_spent_s")
        table.add(
            _named(name),
            f"{group.sessions:,}",
            f"{group.events:,}",
            *(
                Text(f"{number:,}" if number else "", style=SEVERITY_STYLES[severity] if number else "")
                for severity, number in found.items()
            ),
            share(group.clean / group.sessions),
            share(group.funnel.counted / group.funnel.sent) if group.funnel.sent else "",
            "" if content.per_session is None else _lasted(content.per_session),
        )
    return table


def _findings(whole: Group, groups: Sequence[Group], *, local: bool) -> Table:
    in_files = _are_in_files(rule.look_at for rule in whole.findings)
    table = Table(
        Column("severity"),
        Column("rule"),
        Column("sessions", is_right=True),
        Column("of all", is_right=True),
        Column("places", is_right=True, dropped=3),
        *([Column("groups", is_right=True)] if groups else []),
        Column("last seen", dropped=1),
        *([] if in_files else [Column("look at", dropped=2)]),
    )
    for rule in whole.findings:
        within = sum(any(each.rule == rule.rule for each in group.findings) for group in groups)
        table.add(
            Text(rule.severity, style=SEVERITY_STYLES[Severity(rule.severity)]),
            rule.rule,
            f"{rule.sessions:,}",
            share(rule.share),
            f"{rule.places:,}",
            *([f"{within} of {len(groups)}"] if groups else []),
            _time(rule.last, local=local),
            *([] if in_files else [" ".join(rule.look_at)]),
        )
    return table


def _plan(whole: Group, groups: Sequence[Group]) -> Table:
    in_files = _are_in_files(broken.look_at for broken in whole.plan)
    table = Table(
        Column("rule"),
        Column("event"),
        Column("key"),
        Column("planned", dropped=3),
        Column("sessions", is_right=True),
        Column("of all", is_right=True),
        Column("times", is_right=True, dropped=4),
        *([Column("groups", is_right=True, dropped=1)] if groups else []),
        *([] if in_files else [Column("look at", dropped=2)]),
    )
    for broken in whole.plan:
        place = broken.rule, broken.event, broken.section, broken.key
        within = sum(any((e.rule, e.event, e.section, e.key) == place for e in group.plan) for group in groups)
        table.add(
            broken.rule,
            broken.event,
            cut(printable(_planned(broken.section, broken.key) or None), _LONGEST),
            printable(broken.expected),
            f"{broken.sessions:,}",
            share(broken.share),
            f"{broken.times:,}",
            *([f"{within} of {len(groups)}"] if groups else []),
            *([] if in_files else [" ".join(broken.look_at)]),
        )
    return table


def _planned(section: str, key: str) -> str:
    """Return what the plan says something of: a key in its section, or a state of playback."""
    return f"{section}/{key}" if section else key and f"{key} (state)"


def _losses(whole: Group) -> Table:
    in_files = _are_in_files(loss.look_at for loss in whole.losses)
    table = Table(
        Column("sessions", is_right=True),
        Column("of all", is_right=True),
        Column("times", is_right=True),
        Column("content lost", is_right=True, dropped=2),
        *([] if in_files else [Column("look at", dropped=1)]),
        Column("what", is_prose=True),
    )
    for loss in whole.losses:
        if loss.sessions:
            lost = "" if loss.time_s is None else f"{_lasted(loss.time_s)} ({share(loss.time_share or _TINY)})"
            table.add(
                f"{loss.sessions:,}",
                share(loss.share),
                f"{loss.times:,}",
                lost,
                *([] if in_files else [loss.look_at[0]]),
                LOSSES[loss.loss],
            )
    return table


def _rhythm(whole: Group) -> Table:
    rhythm = whole.rhythm
    table = Table(
        Column("measured"),
        Column("number", is_right=True),
        *(Column(name, is_right=True) for name in ("lowest", "5 %", "median", "95 %", "highest")),
    )
    rows: list[tuple[str, Distribution]] = [
        *((f"ping_gaps_ms.{state}", gaps) for state, gaps in rhythm.ping_gaps_ms.items()),
        ("playhead_speed", rhythm.playhead_speed),
        ("clock_skew_ms", rhythm.clock_skew_ms),
        ("latency_ms", rhythm.latency_ms),
        ("batch_events", rhythm.batch_events),
    ]
    for name, of in rows:
        if of.number:
            values = (of.lowest, of.p5, of.p50, of.p95, of.highest)
            table.add(measure_name(name), f"{of.number:,}", *(measured(name, value) for value in values))
    if rhythm.answers_over_5_s:
        table.add("answers after more than 5 s", f"{rhythm.answers_over_5_s:,}", "", "", "", "", "")
    return table


def _keys(keys: Iterable[KeySeen]) -> Table:
    table = Table(
        Column("event"),
        Column("key", least=16),
        Column("sent", is_right=True),
        Column("types", dropped=2),
        Column("distinct", is_right=True, dropped=3),
        Column("examples", least=10, dropped=1),
    )
    for key in keys:
        about = "" if key.distinct_is_exact else "~"
        name = _named(f"{key.section}/{key.key}")
        table.add(
            key.event,
            name if key.is_known else name.append(" (unknown)", style="yellow"),
            share(key.share),
            " ".join(key.types),
            f"{about}{key.distinct:,}",
            printable(", ".join(map(_example, key.examples))),
        )
    return table


def _example(value: Value) -> str:
    return value.text if value.text and value.type != "string" else f'"{value.text}"'


def _absent(absent: Sequence[KeyAbsent], sent: Sequence[KeySeen]) -> Iterator[Text]:
    required = [f"{key.key} on {key.event}" for key in absent if key.is_required]
    if required:
        yield Text(f"required and never sent: {', '.join(required)}", style="bold red")
    shown = {(key.section, key.key) for key in sent} | {(key.section, key.key) for key in absent if key.is_required}
    optional = list(dict.fromkeys(key.key for key in absent if (key.section, key.key) not in shown))
    if optional:
        yield Text(f"known to the protocol and never sent: {_listed(optional)}", style="dim")


def _listed(names: Sequence[str]) -> str:
    """Return the first names, and how many more there are."""
    more = f" and {len(names) - _NAMES_TOLD} more" if len(names) > _NAMES_TOLD else ""
    return f"{', '.join(names[:_NAMES_TOLD])}{more}"


def _metrics(whole: Group) -> Table:
    table = Table(
        Column("metric"),
        Column("sum", is_right=True),
        Column("per session", is_right=True),
        Column("sessions", is_right=True),
    )
    for metric in whole.metrics:
        if metric.total:
            each = metric.per_session
            table.add(
                metric_name(metric.metric),
                _number(metric.metric, metric.total),
                _number(metric.metric, None if each is None else round(each, 2)),
                f"{metric.sessions:,}",
            )
    return table
