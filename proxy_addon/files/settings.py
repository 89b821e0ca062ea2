"""The settings file: ``sessiontape.toml``, or ``[tool.sessiontape]`` in ``pyproject.toml``.

It is read from the current folder; ``--config FILE`` names another file. Every table may be left out::

    [rules.ping-gap]                 # change a severity or switch a rule off; both need a reason
    severity = "off"                 # error, warning, info, off
    reason = "our players ping every 30 s"

    [[params]]                       # a param of your own
    key = "media.customKey"
    type = "string"                  # string, number, integer, boolean, object, array, any
    events = ["sessionStart"]        # left out: allowed on any event

    [pings]
    profile = "10/1"                 # seconds between pings in content / in ads; the default 10/10 accepts both in ads

    [thresholds]                     # the limits that rules use
    ping_gap_s = 15

    [pseudonyms]                     # what else is personal, and replaced by tokens
    members = ["loyaltyNumber", "crm.*"]
    headers = ["X-Tenant"]
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from proxy_addon.core import protocol
from proxy_addon.core.findings import CHECKER_FAILED, Severity
from proxy_addon.core.judging.policy import DEFAULT, Policy
from proxy_addon.core.protocol import Key
from proxy_addon.core.pseudonyms.personal import PERSONAL, Personal
from proxy_addon.core.rules.limits import Limits
from proxy_addon.core.rules.planned import KNOWN
from proxy_addon.core.wording import close_to
from proxy_addon.errors import SettingsError
from proxy_addon.files.toml import NotToml, read_toml

FILES = ("sessiontape.toml", "pyproject.toml")
TABLES = ("rules", "params", "pings", "thresholds", "pseudonyms")
PROFILES: Mapping[str, float | None] = {"10/10": None, "10/1": 2.0}
"""Ping profiles: the longest median interval of pings in ads, in seconds; None if ads may ping as content does."""
_OFF = "off"
_TYPES = ("string", "number", "integer", "boolean", "object", "array", "any")
_WHOLE = ("states", "frozen_pings")
THRESHOLDS = tuple(field.name for field in fields(Limits) if field.name != "ad_ping_median_s")


def load(path: Path | None = None) -> Policy:
    """Return the policy that a settings file sets.

    Args:
        path: The file; None for the one in the current folder, or the defaults if there is none.

    Raises:
        SettingsError: The file cannot be read, or a setting is invalid: the message names it and what is valid.
    """
    document, found = _found(path)
    return DEFAULT if found is None else parse(document, found)


def load_personal(path: Path | None = None) -> Personal:
    """Return which members and headers are personal: `PERSONAL`, and what a settings file adds to it.

    Args:
        path: As for `load`.

    Raises:
        SettingsError: As for `load`.
    """
    document, found = _found(path)
    if found is None:
        return PERSONAL
    file = _File(found)
    return file.personal(file.table(document, "the file", TABLES).get("pseudonyms", {}))


def _found(path: Path | None) -> tuple[Any, Path | None]:
    """Return the decoded settings and their file; None for the file if there is none."""
    if path is not None:
        return _read(path), path
    for name in FILES:
        found = Path(name)
        if found.is_file():
            document: Any = _read(found)
            if name == "pyproject.toml":
                tools = document.get("tool")
                document = tools.get("sessiontape") if isinstance(tools, dict) else None
                if document is None:
                    continue
            return document, found
    return {}, None


def check_selection(names: Iterable[str], where: str) -> frozenset[str]:
    """Return the names by which findings are selected: those of rules, and `CHECKER_FAILED`.

    Args:
        where: What the names come from, for the message.

    Raises:
        SettingsError: There is no such name; the hint suggests a similar one.
    """
    names = frozenset(names)
    check_rules(names - {CHECKER_FAILED}, where)
    return names


def check_rules(names: Iterable[str], where: str) -> frozenset[str]:
    """Return the names of rules, without duplicates.

    Args:
        where: What the names come from, for the message.

    Raises:
        SettingsError: There is no such rule; the hint suggests a similar one.
    """
    names = frozenset(names)
    for name in sorted(names - KNOWN.keys()):
        raise SettingsError(f"{where}: unknown rule {name!r}", hint=_suggestion(name, KNOWN))
    return names


def parse(document: Any, path: Path) -> Policy:
    """Return the policy that a decoded settings file sets.

    Raises:
        SettingsError: A setting is invalid.
    """
    file = _File(path)
    document = file.table(document, "the file", TABLES)
    rules = file.table(document.get("rules", {}), "[rules]")
    check_rules(rules, f"{path}: [rules]")
    severities = {name: file.severity(name, value) for name, value in rules.items()}
    params = document.get("params", [])
    if not isinstance(params, list):
        raise file.error("params must be a list of tables: write [[params]]")
    limits = file.limits(document.get("thresholds", {}))
    file.personal(document.get("pseudonyms", {}))
    pings = file.table(document.get("pings", {}), "[pings]", ("profile",))
    if "profile" in pings:
        limits = replace(limits, ad_ping_median_s=file.one_of(pings["profile"], PROFILES, "[pings] profile"))
    return Policy(severities=severities, params=tuple(file.param(value) for value in params), limits=limits)


class _File:
    """Checks the values of a settings file, and names the file in errors."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def error(self, message: str, hint: str = "") -> SettingsError:
        return SettingsError(f"{self._path}: {message}", hint=hint or "docs/rules.md describes the file")

    def table(self, value: Any, where: str, known: Iterable[str] | None = None) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise self.error(f"{where} is not a table")
        if known is not None:
            known = tuple(known)
            for name in value:
                if name not in known:
                    raise self.error(f"{where} has an unknown key {name!r}", _suggestion(name, known))
        return value

    def one_of[T](self, value: Any, choices: Mapping[str, T], where: str) -> T:
        if not isinstance(value, str) or value not in choices:
            raise self.error(f"{where} is {value!r}; expected one of {', '.join(choices)}")
        return choices[value]

    def severity(self, rule: str, value: Any) -> Severity | None:
        where = f"[rules.{rule}]"
        table = self.table(value, where, ("severity", "reason"))
        choices: dict[str, Severity | None] = {**{each.value: each for each in Severity}, _OFF: None}
        if "severity" not in table:
            raise self.error(f"{where} has no severity; expected one of {', '.join(choices)}")
        reason = table.get("reason")
        if not isinstance(reason, str) or not reason.strip():
            raise self.error(f"{where} has no reason", 'say why, for later readers of the file: reason = "…"')
        return self.one_of(table["severity"], choices, f"{where} severity")

    def param(self, value: Any) -> Key:
        table = self.table(value, "[[params]]", ("key", "type", "events"))
        name = table.get("key")
        if not isinstance(name, str) or not name:
            raise self.error("[[params]] has no key, the name of the param")
        where = f"[[params]] {name}"
        type = self.one_of(table.get("type"), {each: each for each in _TYPES}, f"{where}: type")
        events = table.get("events", [])
        if not isinstance(events, list):
            raise self.error(f"{where}: events is not a list of event types")
        for event in events:
            if not isinstance(event, str) or event not in protocol.EVENTS:
                raise self.error(f"{where}: unknown event {event!r}", _suggestion(str(event), protocol.EVENTS))
        return Key(name=name, type=type, events=frozenset(events))

    def limits(self, value: Any) -> Limits:
        table = self.table(value, "[thresholds]", THRESHOLDS)
        for name, number in table.items():
            is_number = isinstance(number, int | float) and not isinstance(number, bool)
            if not is_number or not 0 <= number < math.inf:
                raise self.error(f"[thresholds] {name} is {number!r}; expected a number, 0 or more")
            if name in _WHOLE and not isinstance(number, int):
                raise self.error(f"[thresholds] {name} is {number!r}; expected a whole number")
        return Limits(**table)

    def personal(self, value: Any) -> Personal:
        where = "[pseudonyms]"
        table = self.table(value, where, ("members", "headers"))
        for key, names in table.items():
            if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
                raise self.error(f'{where} {key} is not a list of names: write {key} = ["NAME"]')
            form = _HEADER if key == "headers" else _MEMBER
            for name in names:
                if not form.fullmatch(name):
                    hint = (
                        "a * may stand at the end of a member's name: crm.*"
                        if "*" in name
                        else "write it as it is sent"
                    )
                    raise self.error(f"{where} {key}: {name!r} is not a name", hint)
        return PERSONAL.with_more(**table)


_MEMBER = re.compile(r"[^*]*[\w][^*]*\*?")
_HEADER = re.compile(r"[!#$%&'+.^_`|~0-9A-Za-z-]+")


def _suggestion(name: str, names: Iterable[str]) -> str:
    names = tuple(names)
    close = close_to(name, names)
    if close:
        return f"did you mean {close}?"
    return f"known are {', '.join(names)}" if len(names) <= 30 else "'sessiontape rules' lists them"


def _read(path: Path) -> dict[str, Any]:
    try:
        return read_toml(path)
    except NotToml:
        if path == Path(FILES[1]) and b"sessiontape" not in path.read_bytes():
            return {}  # a broken pyproject.toml without settings of ours is for other tools to report
        raise
