"""The safety net under all checks: a check that fails becomes a finding, and the others still count."""

from __future__ import annotations

from traceback import extract_tb

from proxy_addon.core.findings import CHECKER_FAILED, Finding, Severity
from proxy_addon.core.rules.rule import Rule

SEVERITY = Severity.WARNING
"""Severity of a finding about a fault of ours, for which the traffic is not to blame."""
_LONGEST = 300
"""Longest message in characters: an error may quote what a device sent, which can be very long."""


def message_of(what: str, error: Exception) -> str:
    """Return one line about a check that failed: what failed, the error, and its place in our code."""
    frames = extract_tb(error.__traceback__)
    where = f" ({frames[-1].name}, line {frames[-1].lineno})" if frames else ""
    message = f"{what} failed because of a bug in sessiontape: {error!r}"
    return message[: _LONGEST - len(where)] + where


def message_of_rule(rule: Rule, error: Exception) -> str:
    """Return one line about a rule whose check failed."""
    return message_of(f"rule {rule.id}", error)


def finding(message: str, pointer: str | None = None) -> Finding:
    """Return the finding that reports a failed check."""
    return Finding(rule=CHECKER_FAILED, severity=SEVERITY, message=message, pointer=pointer)


def kind(failed: Finding) -> str:
    """Return what failed, without its input: the same text for all findings that come from one fault."""
    return failed.message.partition(": ")[0]
