"""The net under all checks: one that fails becomes a finding of its own, and hides nothing that the others find."""

from __future__ import annotations

from traceback import extract_tb

from proxy_addon.core.findings import CHECKER_FAILED, Finding, Severity
from proxy_addon.core.rules.rule import Rule

SEVERITY = Severity.WARNING
"""Of what tells of a fault of ours: the traffic is not to blame."""
_LONGEST = 300
"""Characters of a message: an error may quote what a device sent, however long that is."""


def message_of(what: str, error: Exception) -> str:
    """Return what is said of a check that failed, in a line: what it was, the error, and where in our code it arose."""
    frames = extract_tb(error.__traceback__)
    where = f" ({frames[-1].name}, line {frames[-1].lineno})" if frames else ""
    message = f"{what} failed, which is a fault of sessiontape: {error!r}"
    return message[: _LONGEST - len(where)] + where


def message_of_rule(rule: Rule, error: Exception) -> str:
    """Return what is said of a rule whose check failed, in a line."""
    return message_of(f"rule {rule.id}", error)


def finding(message: str, pointer: str | None = None) -> Finding:
    """Return the finding that tells of a check that failed."""
    return Finding(rule=CHECKER_FAILED, severity=SEVERITY, message=message, pointer=pointer)


def kind(failed: Finding) -> str:
    """Return what failed, and not on what: the same for all findings that one fault of ours makes."""
    return failed.message.partition(": ")[0]
