"""The verdict of the rules on a session of a test, as an assertion's message."""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import replace

from proxy_addon.core.findings import Severity
from proxy_addon.core.fixtures.held import HeldSession
from proxy_addon.core.judging.files import judge_held
from proxy_addon.core.judging.policy import Policy
from proxy_addon.core.sessions import AsOf
from proxy_addon.core.wording import counted
from proxy_addon.errors import SettingsError
from proxy_addon.files.settings import check_selection
from proxy_addon.reporting.findings import print_findings
from proxy_addon.reporting.judged import Subject, moment_of
from proxy_addon.reporting.terminal import Screen, session_heading


def complaint(
    held: HeldSession, policy: Policy, *, select: Iterable[str] = (), ignore: Iterable[str] = (), fail_on: str = "error"
) -> str:
    """Return what the rules find in a session, judged as over, as ``check`` prints it; empty if it passes.

    Args:
        select: Only findings of these rules count; empty for all.
        ignore: Findings of these rules do not count.
        fail_on: The session passes if all findings are less severe.

    Raises:
        SettingsError: There is no such rule or severity.
    """
    if fail_on not in set(Severity):
        raise SettingsError(f"fail_on is {fail_on!r}; expected one of {', '.join(Severity)}")
    selected = replace(
        policy, select=check_selection(select, "select"), ignore=policy.ignore | check_selection(ignore, "ignore")
    )
    judgement = judge_held(held, selected)
    if all(finding.severity.weight < Severity(fail_on).weight for finding in judgement.findings):
        return ""
    session = held.session
    moments = {seq: moment_of(exchange, session.started_at) for seq, exchange in enumerate(held.exchanges, 1)}
    state = session.state(AsOf(now=session.last_event_at))
    subject = Subject(judgement=judgement, session=session, state=state, moments=moments)
    text = io.StringIO()
    screen = Screen(None, file=text)
    screen.print_line(session_heading(session, state))
    print_findings(screen, subject.findings, subject.place, otherwise="session")
    found = [finding.severity for finding in judgement.findings]
    counts = ", ".join(counted(found.count(severity), severity.value) for severity in Severity)
    to = "the protocol" if policy.plan is None else f"the protocol and {policy.plan.name}"
    return f"the session does not conform to {to}: {counts}\n{text.getvalue().rstrip()}"
