"""The file of a tracking plan, ``PLAN.yaml``; docs/plans.md describes it, docs/plan.schema.json for editors.

Every key may be left out::

    extends: base.yaml                     # another plan, or a list of them; this one wins, key by key
    rules: {ping-gap: off}                 # a severity, or off
    further_events: true                   # whether event types that are not in the plan are fine
    further_keys: false                    # whether keys that are not in the plan are fine
    events:
      sessionStart:                        # an event type, or all
        params:                            # or qoeData, customMetadata
          required:
            media.id: {type: string, pattern: "[a-z0-9-]+"}
            media.contentType: {values: [vod, live]}
            media.length: {type: number, min: 1, max: 86400}
          optional: [media.show, media.season]
          forbidden: [analytics.visitorId]
      adStart:
        extends: play                      # says the same of its keys as of another event
        occurs: always                     # in a session; or never, or {min: 1, max: 3}
    pings:
      content: {every_s: 10, plus_minus_s: 2}
    groups:                                # what holds only for some sessions
      - where: {player: "web-*", app-version: ["2.0", "2.1"]}
        pings: {content: {every_s: 1, plus_minus_s: 0.5}}
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from proxy_addon.core.audits.auditing import By
from proxy_addon.core.audits.coverage import Section
from proxy_addon.core.audits.patterns import Pattern, PatternError, Work
from proxy_addon.core.audits.plan_parts import (
    ALL,
    TYPES,
    UNCHECKED,
    EventPlan,
    KeyPlan,
    Occurs,
    Part,
    Presence,
    Rate,
    SectionPlan,
    sections_with_more,
)
from proxy_addon.core.audits.plans import Plan, PlanGroup, Wanted
from proxy_addon.core.audits.walking import State
from proxy_addon.core.findings import Severity
from proxy_addon.core.judging.policy import Policy
from proxy_addon.core.protocol import EVENTS, PARAMS, QUALITY
from proxy_addon.core.rules.planned import KNOWN
from proxy_addon.core.wording import close_to, quoted, shown
from proxy_addon.errors import SettingsError
from proxy_addon.files.yaml import Steps, Yaml, read_yaml

OF_PART = ("further_events", "further_keys", "events", "pings")
OF_PLAN = ("extends", "rules", *OF_PART, "groups")
OF_GROUP = ("where", *OF_PART)
OF_SECTION = (*Presence, "further_keys")
OF_KEY = ("type", "values", "pattern", "min", "max")
OF_RATE = ("every_s", "plus_minus_s")
_RATE = "{every_s: 10, plus_minus_s: 2}"
OF_EVENT = ("extends", "occurs", *Section)
OF_OCCURS = ("min", "max")
_MISPLACED: Sequence[tuple[Sequence[str], Container[str], str]] = (
    (OF_EVENT, OF_SECTION, "write it below params, qoeData or customMetadata"),
    (OF_EVENT, OF_RATE, "write it below pings: at the top of the plan, by state of playback"),
    (
        OF_SECTION,
        {**PARAMS, **QUALITY},
        "write it below required, optional or forbidden, and indent it by two more spaces",
    ),
    (OF_KEY, tuple(Presence), "the key stands below required, optional or forbidden already: leave it out"),
    (OF_GROUP, tuple(By), "write it below where"),
    (OF_GROUP, OF_PLAN, "it is said of all sessions: write it at the top of the plan"),
)
"""Where people write what belongs elsewhere: what is known there, what they write, and what to do."""
OCCURS: Mapping[str, Occurs] = {"always": Occurs(least=1), "never": Occurs(most=0)}
STATES = tuple(state for state in State if state is not State.OVER)
"""The states of playback in which pings have a rate."""
_PROTOCOL: Mapping[str | int, Iterable[str]] = {Section.PARAMS.value: PARAMS, Section.QUALITY.value: QUALITY}
"""The keys of sections that the protocol knows; it allows others."""
_LIKE = 0.9
"""How similar a key must be to one of the protocol for that one to have been meant."""
_SHORTEST = 3
"""So many letters of a name tell which one was meant."""
SEVERITIES: Mapping[str, Severity | None] = {**{each.value: each for each in Severity}, "off": None}


def load(path: Path) -> Plan:
    """Return the plan in a file, with what it extends.

    Raises:
        SettingsError: The file, or one that it extends, cannot be read or is no plan: the message begins with file, line and
            column, and the hint says what is valid.
    """
    return _load(path, (), {})


def applied(path: Path | None, policy: Policy) -> Policy:
    """Return a policy by which sessions are also held against the plan in a file.

    Args:
        path: None for no plan.

    Raises:
        SettingsError: As for `load`.
    """
    return policy if path is None else load(path).applied_to(policy)


def _load(path: Path, within: tuple[Path, ...], known: dict[Path, Plan]) -> Plan:
    """Return the plan in a file.

    Args:
        within: The files that extend it, the outermost first.
        known: The plans that were read already.
    """
    whole = path.resolve()
    plan = known.get(whole)
    if plan is None:
        file = _File(read_yaml(path))
        plan = Plan(name=path.name)
        for steps, name in file.extended():
            base = path.parent / name
            if base.resolve() in (whole, *within):
                chain = " → ".join(each.name for each in (*within, whole, base))
                raise file.error(
                    steps, f"the plan extends itself: {chain}", hint="leave out one extends of this circle"
                )
            if not base.exists():
                raise file.error(steps, f"there is no {base}", hint="write the path relative to this file")
            plan = plan.with_more(_load(base, (*within, whole), known))
        plan = known[whole] = plan.with_more(file.plan(path.name, plan))
    return plan


class _File:
    """Checks what is in a file, and makes a plan of it."""

    def __init__(self, yaml: Yaml) -> None:
        self._yaml = yaml
        self._notes: list[str] = []
        self._document = self._mapping((), yaml.value, "a plan", OF_PLAN)

    def error(self, steps: Steps, problem: str, *, hint: str = "", of_key: bool = False) -> SettingsError:
        """Return an error at a place of the file."""
        return self._yaml.error(steps, problem, hint=hint, of_key=of_key)

    def extended(self) -> Iterable[tuple[Steps, str]]:
        """Return the names of the files that it extends, each with its place."""
        return self._names(("extends",), self._document.get("extends", []), "a file name")

    def plan(self, name: str, base: Plan) -> Plan:
        """Return the plan that is written here.

        Args:
            base: What it extends.
        """
        document = self._document
        part = self._part((), document, base.part.events)
        events = base.part.with_more(part).events
        return Plan(
            name=name,
            part=part,
            groups=tuple(
                self._group(("groups", index), group, events)
                for index, group in enumerate(
                    self._list(("groups",), document.get("groups", []), "groups", "a - before each group")
                )
            ),
            severities={
                rule: self._severity(("rules", rule), severity)
                for rule, severity in self._mapping(
                    ("rules",),
                    document.get("rules", {}),
                    "rules",
                    KNOWN,
                    "ping-gap: off, each rule in a line of its own",
                ).items()
            },
            notes=tuple(self._notes),
        )

    def _severity(self, at: Steps, value: Any) -> Severity | None:
        return SEVERITIES[self._one_of(at, value, SEVERITIES, "the severity")]

    def _group(self, at: Steps, value: Any, events: Mapping[str, EventPlan]) -> PlanGroup:
        group = self._mapping(at, value, "a group", OF_GROUP, "where: {player: NAME}, and below it what is said")
        where = self._mapping((*at, "where"), group.get("where", {}), "where", tuple(By), "{player: NAME}")
        if not where:
            raise self.error(
                (*at, "where"),
                "the group does not say which sessions it is for",
                hint=f"write where: {{NAME: VALUE}}, with a NAME of {', '.join(By)}",
            )
        wanted = {By(name): self._wanted((*at, "where", name), value) for name, value in where.items()}
        return PlanGroup(where=wanted, part=self._part(at, group, events))

    def _wanted(self, at: Steps, value: Any) -> Wanted:
        names = value if isinstance(value, list) else [value]
        for index, name in enumerate(names):
            if name is not None and not isinstance(name, str):
                steps = (*at, index) if isinstance(value, list) else at
                raise self.error(steps, f"{_kind(name)} is no name", hint=_in_quotes(name))
        if not names:
            raise self.error(at, "the list is empty", hint="name what the sessions have, with * for anything; or null")
        return Wanted(names=tuple(names))

    def _part(self, at: Steps, part: Mapping[str, Any], known: Mapping[str, EventPlan]) -> Part:
        pings = self._mapping((*at, "pings"), part.get("pings", {}), "pings", STATES, f"content: {_RATE}")
        steps, events = (*at, "events"), part.get("events", {})
        return Part(
            events=self._events(steps, events, known),
            further_events=self._flag((*at, "further_events"), part, "further_events"),
            further_keys=self._flag((*at, "further_keys"), part, "further_keys"),
            pings={State(state): self._rate((*at, "pings", state), rate) for state, rate in pings.items()},
            occurs={
                type: self._occurs((*steps, type, "occurs"), type, event["occurs"])
                for type, event in events.items()
                if event is not None and "occurs" in event
            },
        )

    def _occurs(self, at: Steps, type: str, value: Any) -> Occurs | None:
        if type == ALL:
            raise self.error(at, f"occurs is about events of one type, not of {ALL}", hint="say it of each type")
        if value is None:
            return None
        if isinstance(value, str):
            return OCCURS[self._one_of(at, value, OCCURS, "occurs")]
        if not isinstance(value, dict):
            raise self.error(at, f"occurs is {_kind(value)}", hint="write always, never, or {min: 1, max: 3}")
        bounds = self._mapping(at, value, "occurs", OF_OCCURS)
        for name, bound in bounds.items():
            if isinstance(bound, bool) or not isinstance(bound, int) or bound < 0:
                raise self.error((*at, name), f"{name} is {shown(bound)}; expected a whole number of events, from 0 on")
        occurs = Occurs(least=bounds.get("min", 0), most=bounds.get("max"))
        if not bounds:
            raise self.error(at, "occurs has neither min nor max", hint="leave it out for any number of events")
        if occurs.most is not None and occurs.most < occurs.least:
            raise self.error((*at, "max"), f"max is {occurs.most}, which is less than min, {occurs.least}")
        return occurs

    def _rate(self, at: Steps, value: Any) -> Rate | None:
        if value is None:
            return None
        rate = self._mapping(at, value, "a rate", OF_RATE, _RATE)
        for name in OF_RATE:
            if name not in rate:
                raise self.error(at, f"the rate has no {name}", hint=f"write {_RATE}")
        every_s, plus_minus_s = (self._number((*at, name), rate[name], name) for name in OF_RATE)
        if every_s <= 0 or plus_minus_s < 0:
            name, least = ("every_s", "above 0") if every_s <= 0 else ("plus_minus_s", "from 0 on")
            raise self.error((*at, name), f"{name} is {_plain(rate[name])}; expected a number of seconds {least}")
        return Rate(every_s=every_s, plus_minus_s=plus_minus_s)

    def _events(self, at: Steps, value: Any, known: Mapping[str, EventPlan]) -> Mapping[str, EventPlan]:
        events = self._mapping(at, value, "events", (ALL, *EVENTS), "sessionStart: and what is said of it below")
        own: dict[str, EventPlan] = {}
        extended: dict[str, list[tuple[Steps, str]]] = {}
        for type, each in events.items():
            said = {} if each is None else each
            sections = self._mapping((*at, type), said, type, OF_EVENT, "params: {required: [media.id]}")
            names = sections.get("extends", [])
            extended[type] = list(self._names((*at, type, "extends"), names, "an event type"))
            own[type] = {
                Section(name): self._section((*at, type, name), section)
                for name, section in sections.items()
                if name not in ("extends", "occurs")
            }
        whole: dict[str, EventPlan] = {}

        def resolve(type: str, within: tuple[str, ...]) -> EventPlan:
            found = whole.get(type)
            if found is None:
                found = {}
                for steps, name in extended[type]:
                    found = sections_with_more(found, self._extended(steps, name, (*within, type), known, own))
                    if name in own:
                        found = sections_with_more(found, resolve(name, (*within, type)))
                found = whole[type] = sections_with_more(found, own[type])
            return found

        return {type: resolve(type, ()) for type in own}

    def _extended(
        self,
        at: Steps,
        name: str,
        within: Sequence[str],
        known: Mapping[str, EventPlan],
        own: Mapping[str, EventPlan],
    ) -> EventPlan:
        """Return what is said elsewhere of an event that another one extends."""
        if name in within:
            chain = " → ".join((*within, name))
            raise self.error(at, f"the event extends itself: {chain}", hint="leave out one extends of this circle")
        if name not in own and name not in known:
            types = (ALL, *EVENTS)
            hint = f"write {name}: below events, with what is said of it" if name in types else _likely(name, types)
            raise self.error(at, f"the plan says nothing of {quoted(name)}", hint=hint)
        return known.get(name, {})

    def _section(self, at: Steps, value: Any) -> SectionPlan:
        section = self._mapping(
            at,
            {} if value is None else value,
            str(at[-1]),
            OF_SECTION,
            "required: [media.id], or optional or forbidden",
        )
        keys: dict[str, KeyPlan] = {}
        for presence in Presence:
            steps = (*at, presence.value)
            said = section.get(presence.value)
            for place, name, about in self._keys(steps, said, presence):
                if name in keys:
                    raise self.error(
                        place,
                        f"{quoted(name)} is {keys[name].presence} and {presence}",
                        hint="leave out one of them",
                        of_key=isinstance(said, dict),
                    )
                keys[name] = self._key(place, about, presence)
                self._note_unknown(place, name, at[-1], of_key=isinstance(said, dict))
        return SectionPlan(keys=keys, further_keys=self._flag((*at, "further_keys"), section, "further_keys"))

    def _note_unknown(self, at: Steps, name: str, section: str | int, *, of_key: bool) -> None:
        known = _PROTOCOL.get(section)
        if known is None or name in known:
            return
        elsewhere = next((other for other, names in _PROTOCOL.items() if name in names), None)
        ends_so = (each for each in known if each.endswith(f".{name}"))
        meant = close_to(name, known, least=_LIKE) or min(ends_so, key=len, default=None)
        if elsewhere is not None or meant is not None:
            hint = f"it belongs in {elsewhere}" if elsewhere is not None else f"did you mean {meant}?"
            problem = f"the protocol has no {quoted(name)} in {section}; {hint}"
            self._notes.append(str(self.error(at, problem, of_key=of_key)))

    def _keys(self, at: Steps, value: Any, presence: Presence) -> Iterable[tuple[Steps, str, Any]]:
        if value is None:
            return []
        if isinstance(value, list):
            return [(steps, name, None) for steps, name in self._names(at, value, "the name of a key")]
        if presence is Presence.FORBIDDEN:
            raise self.error(at, f"{presence} is {_kind(value)}; expected a list of names", hint="write [ONE, TWO]")
        if not isinstance(value, dict):
            raise self.error(
                at,
                f"{presence} is {_kind(value)}; expected names",
                hint="write [ONE, TWO], or ONE: string, each in a line of its own",
            )
        members = self._mapping(at, value, presence.value)
        return [((*at, name), name, about) for name, about in members.items()]

    def _key(self, at: Steps, value: Any, presence: Presence) -> KeyPlan:
        if value is None:
            return KeyPlan(presence=presence)
        if isinstance(value, str | list):
            return KeyPlan(presence=presence, types=self._types(at, value))
        about = self._mapping(at, value, quoted(str(at[-1])), OF_KEY, f"{{values: [{_plain(value)}]}} for a value")
        types = self._types((*at, "type"), about["type"]) if "type" in about else frozenset[str]()
        pattern = self._pattern((*at, "pattern"), about["pattern"]) if "pattern" in about else None
        lowest, highest = (
            self._number((*at, name), about[name], name) if name in about else None for name in ("min", "max")
        )
        if lowest is not None and highest is not None and highest < lowest:
            raise self.error((*at, "max"), f"max is {_plain(highest)}, which is less than min, {_plain(lowest)}")
        implied = {"string"} if pattern is not None else set[str]()
        implied |= {"number"} if lowest is not None or highest is not None else set()
        for name, kind in (("pattern", "string"), ("min", "number"), ("max", "number")):
            if name in about and types and not types & ({kind} | ({"integer"} if kind == "number" else set())):
                raise self.error(
                    (*at, name), f"{name} is for a {kind}, which the type excludes", hint="change the type"
                )
        key = KeyPlan(
            presence=presence,
            types=types or frozenset(implied),
            pattern=pattern,
            values=self._values((*at, "values"), about["values"]) if "values" in about else (),
            lowest=lowest,
            highest=highest,
        )
        rest = replace(key, values=())
        for index, each in enumerate(key.values):
            if not key.is_type(each):
                raise self.error(
                    (*at, "values", index), f"{shown(each)} is not {key.types_told}", hint="change the type"
                )
            if (wanted := rest.unlike(each, Work())) not in (None, UNCHECKED):
                raise self.error(
                    (*at, "values", index), f"{shown(each)} is not {wanted}", hint="leave out the value, or the other"
                )
        return key

    def _types(self, at: Steps, value: Any) -> frozenset[str]:
        names = list(self._names(at, value, "a JSON type"))
        for steps, name in names:
            if name not in TYPES:
                hint = _likely(name, TYPES)
                if "type" not in steps:
                    hint += f"; for values, write {{values: [{name}]}}"
                raise self.error(steps, f"the type is {shown(name)}", hint=hint)
        if not names:
            raise self.error(at, "the list of types is empty", hint="leave out type for any")
        return frozenset(name for _, name in names)

    def _pattern(self, at: Steps, value: Any) -> Pattern:
        if not isinstance(value, str):
            raise self.error(at, f"pattern is {_kind(value)}; expected a string", hint="write it in quotes")
        try:
            return Pattern(value)
        except PatternError as e:
            raise self.error(at, f"bad pattern {quoted(value)}: {e}", hint="docs/plans.md has what is supported") from e

    def _values(self, at: Steps, value: Any) -> tuple[str | int | float | bool | None, ...]:
        values = self._list(at, value, "values")
        if not values:
            raise self.error(at, "the list of values is empty", hint="leave out values for any")
        for index, each in enumerate(values):
            if isinstance(each, list | dict):
                raise self.error((*at, index), f"{shown(each)} is no value to compare with", hint="write type: object")
        return tuple(values)

    def _mapping(
        self,
        at: Steps,
        value: Any,
        what: str,
        known: Iterable[str] | None = None,
        like: str = "NAME: VALUE, each in a line of its own",
    ) -> dict[str, Any]:
        """Return a mapping.

        Args:
            what: What it is, for messages.
            known: The keys that it may have; None for any.
            like: How it is written, for messages.
        """
        if not isinstance(value, dict):
            is_empty = value is None and not at
            told = "the file is empty" if is_empty else f"{what} is {_kind(value)}; expected a mapping"
            raise self.error(at, told, hint=f"write {like}")
        names = tuple(value if known is None else known)
        for name in value:
            if name not in names:
                elsewhere = (hint for here, others, hint in _MISPLACED if here == names and name in others)
                hint = next(elsewhere, None) or _likely(name, names)
                raise self.error((*at, name), f"{what} has an unknown key {quoted(name)}", hint=hint, of_key=True)
        return value

    def _list(self, at: Steps, value: Any, what: str, like: str = "[ONE, TWO]") -> list[Any]:
        if not isinstance(value, list):
            raise self.error(at, f"{what} is {_kind(value)}; expected a list", hint=f"write {like}")
        return value

    def _names(self, at: Steps, value: Any, what: str) -> Iterable[tuple[Steps, str]]:
        """Return one name, or each of a list, with its place."""
        if isinstance(value, str):
            return [(at, value)]
        if not isinstance(value, list):
            raise self.error(at, f"{_kind(value)} is not {what}", hint=_in_quotes(value))
        seen: set[str] = set()
        for index, name in enumerate(value):
            if not isinstance(name, str):
                raise self.error((*at, index), f"{_kind(name)} is not {what}", hint=_in_quotes(name))
            if name in seen:
                raise self.error((*at, index), f"{quoted(name)} stands here twice", hint="leave out one of them")
            seen.add(name)
        return [((*at, index), name) for index, name in enumerate(value)]

    def _one_of(self, at: Steps, value: Any, choices: Mapping[str, object], what: str) -> str:
        if not isinstance(value, str) or value not in choices:
            hint = _likely(value if isinstance(value, str) else "", choices)
            raise self.error(at, f"{what} is {shown(value)}", hint=hint)
        return value

    def _number(self, at: Steps, value: Any, what: str) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.error(
                at, f"{what} is {_kind(value)}; expected a number", hint="write it without quotes and unit: 10"
            )
        return value

    def _flag(self, at: Steps, members: Mapping[str, Any], name: str) -> bool | None:
        value = members.get(name)
        if name in members and not isinstance(value, bool):
            raise self.error(at, f"{name} is {shown(value)}; expected true or false")
        return value


def _kind(value: Any) -> str:
    return "a mapping" if isinstance(value, dict) else "a list" if isinstance(value, list) else shown(value)


def _plain(value: object) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _in_quotes(value: Any) -> str:
    """Return what to do with a value that stands for a name."""
    if isinstance(value, dict):
        return "write the name alone; where more can be said of it, write NAME: … without the -"
    return "write the name alone" if isinstance(value, list) else f'write it in quotes: "{_plain(value)}"'


def _likely(name: str, names: Iterable[str]) -> str:
    names = tuple(names)
    close = close_to(name, names) or next((each for each in names if _begins_as(name, each)), None)
    if close:
        return f"did you mean {close}?"
    return f"expected one of {', '.join(names)}" if len(names) <= 40 else "'sessiontape rules' lists them"


def _begins_as(one: str, other: str) -> bool:
    """Whether one name is short for the other, as ``int`` is for ``integer``."""
    return min(len(one), len(other)) >= _SHORTEST and (one.startswith(other) or other.startswith(one))
