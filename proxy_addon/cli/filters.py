"""The filters of all commands that select sessions."""

from __future__ import annotations

import functools
import inspect
import re
import shlex
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from proxy_addon.cli.options import given
from proxy_addon.core.durations import parse_time
from proxy_addon.core.jsonforms import iso
from proxy_addon.core.sessions import SessionState
from proxy_addon.core.wording import counted, visible
from proxy_addon.errors import NotFound, SettingsError
from proxy_addon.files.sessions import is_file_name

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from storage.filters import Filters


class _Time(click.ParamType[datetime]):
    name = "TIME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if isinstance(value, datetime):
            return value
        try:
            return parse_time(value, now=datetime.now(UTC))
        except SettingsError as e:
            self.fail(str(e), param, ctx)


_OPTIONS = (
    click.option("--name", metavar="NAME", help="Only sessions of the recording with this name."),
    click.option(
        "--since",
        type=_Time(),
        metavar="TIME",
        help="Only sessions that started at this time or later: a time such as 2026-11-24T08:15Z, or how long ago: 2h, 7d.",
    ),
    click.option("--until", type=_Time(), metavar="TIME", help="Only sessions that started before this time."),
    click.option(
        "--state",
        "states",
        type=click.Choice([state.value for state in SessionState]),
        multiple=True,
        help="Only sessions in this state. May be repeated.",
    ),
    click.option("--player", metavar="TEXT", help="Only sessions of this player: its name or a part of it."),
    click.option("--media", metavar="TEXT", help="Only sessions with this media ID or name, or a part of either."),
    click.option("--user-agent", metavar="TEXT", help="Only sessions with this text in the User-Agent header."),
    click.option("--with-findings", is_flag=True, help="Only sessions with findings."),
)


_OF_THE_SETTINGS = {SessionState.OPEN, SessionState.EXPIRED}
"""States that depend on the settings file."""


def filter_options[F: Callable[..., Any]](command: F) -> F:
    """Add the filters to a command, which gets them as ``filters``, a `storage.filters.Filters`.

    If the command has ``--config``, the filters follow the settings file; the command itself gets ``config`` only if it
    has an argument of that name.
    """
    wants_config = "config" in inspect.signature(command).parameters

    @functools.wraps(command)
    def filtered(
        *args: Any,
        name: str | None,
        since: datetime | None,
        until: datetime | None,
        states: tuple[str, ...],
        player: str | None,
        media: str | None,
        user_agent: str | None,
        with_findings: bool,
        **kwargs: Any,
    ) -> Any:
        # Imported here because --help must not wait for the database, and most commands need no rules.
        from storage.filters import Filters  # noqa: PLC0415

        filters = Filters(
            name=name,
            since=since,
            until=until,
            states=frozenset(SessionState(state) for state in states),
            player=player,
            media=media,
            user_agent=user_agent,
            with_findings=with_findings,
        )
        if "config" in kwargs:
            filters = _following(filters, kwargs["config"])
        if not wants_config:
            kwargs.pop("config", None)
        return command(*args, filters=filters, **kwargs)

    decorated: Any = filtered
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated  # type: ignore[no-any-return]  # click sees a different signature


def _following(filters: Filters, config: Path | None) -> Filters:
    """Return filters that tell the states of sessions as the settings file says."""
    if not filters.with_findings and not filters.states & _OF_THE_SETTINGS:
        return filters
    from proxy_addon.core.judging.sessions import as_of  # noqa: PLC0415
    from proxy_addon.files import settings  # noqa: PLC0415

    at = as_of(datetime.now(UTC), settings.load(config))
    return replace(filters, idle_timeout=at.idle_timeout, unclosed_is_found=bool(at.unclosed))


_WRITTEN = ("name", "since", "until", "state", "player", "media", "user-agent")
"""Filters that can be written in one text, such as ``player=HTML5,since=7d``."""
_NEXT_FILTER = re.compile(rf",(?=(?:{'|'.join(_WRITTEN)})=)")
_FILTER = re.compile(r"([A-Za-z_-]+)=(.*)", re.DOTALL)


def written(text: str, config: Path | None) -> Filters:
    """Return the filters in a text, such as ``player=HTML5,since=7d``; any other text is the name of a recording.

    Args:
        config: The settings file, which says when a session has expired.

    Raises:
        SettingsError: There is no such filter, or its value is not valid.
    """
    from storage.filters import Filters  # noqa: PLC0415  # --help does without the database

    if _FILTER.match(text) is None:
        return Filters(name=text)
    values: dict[str, Any] = {}
    for part in _NEXT_FILTER.split(text):
        name, value = cast("re.Match[str]", _FILTER.match(part)).groups()
        if name not in _WRITTEN:
            raise SettingsError(
                f"{visible(name)} is no filter",
                hint=f"use {', '.join(_WRITTEN)}; for a recording of this name, write name={visible(text)}",
            )
        if not value:
            raise SettingsError(f"{name}= lacks a value")
        field = "states" if name == "state" else name.replace("-", "_")
        if field in values:
            raise SettingsError(f"{name}= is there twice")
        match name:
            case "since" | "until":
                values[field] = parse_time(value, now=datetime.now(UTC))
            case "state":
                if value not in set(SessionState):
                    raise SettingsError(f"{visible(value)} is no state", hint=f"use {', '.join(SessionState)}")
                values[field] = frozenset({SessionState(value)})
            case _:
                values[field] = value
    return _following(Filters(**values), config)


def all_options[F: Callable[..., Any]](command: F) -> F:
    """Add ``--all`` and ``--allow-empty`` to a command, which gets ``everything`` and ``allow_empty``."""
    command = click.option(
        "--allow-empty", is_flag=True, help="With --all: exit with 0 even if no session matches the filters."
    )(command)
    return click.option("--all", "everything", is_flag=True, help="All sessions that match the filters.")(command)


def require_any(db: Connection, filters: Filters, *, is_written: bool = False) -> None:
    """Check that a session passes the filters.

    Args:
        is_written: Whether they are those of a text such as ``player=HTML5,since=7d``.

    Raises:
        NotFound: None does; the message names the filter that leaves none.
    """
    from storage.filters import emptied  # noqa: PLC0415  # --help does without the database

    why = emptied(db, filters, now=datetime.now(UTC))
    if why is None:
        return
    hint = "add --allow-empty to exit with 0 nevertheless"
    if why.by is None:
        raise NotFound("the store has no sessions", hint=hint)
    left = counted(why.left, "session")
    if why.before:
        left = f"the {left} with {' '.join(_typed(name, filters, is_written=is_written) for name in why.before)}"
    by = _typed(why.by, filters, is_written=is_written)
    raise NotFound(f"no session matches the filters: {by} matches none of {left}", hint=hint)


def _typed(name: str, filters: Filters, *, is_written: bool = False) -> str:
    """Return a filter as it was typed, written in one text, or set in the environment."""
    value = getattr(filters, name)
    option = ("state" if name == "states" else name.replace("_", "-")) if is_written else given(name)
    said = [each.value for each in sorted(value)] if isinstance(value, frozenset) else [value]
    texts = [iso(each) if isinstance(each, datetime) else str(each) for each in said]
    if not option.startswith("-"):
        return f"{option}={shlex.quote(' '.join(texts))}"
    return option if value is True else " ".join(f"{option} {shlex.quote(text)}" for text in texts)


def require_selection(
    names: tuple[str, ...], filters: Filters, *, everything: bool, verb: str, of_files: bool = False
) -> None:
    """Check that the user selected sessions for a command, either by name or by ``--all``.

    Args:
        verb: What the command does with sessions, as a past participle, for messages.
        of_files: Whether names may be those of files.

    Raises:
        click.UsageError: Neither or both of names and ``--all`` were given, filters were given without ``--all``, or a
            file was named although none may be.
    """
    if not of_files and (files := [name for name in names if is_file_name(name)]):
        raise click.UsageError(f"{files[0]} is the name of a file; only sessions in the store can be {verb}")
    if names and everything:
        raise click.UsageError("name sessions or use --all, not both")
    if not everything and filters.asked:
        raise click.UsageError(
            f"{given(filters.asked[0])} is a filter for --all: "
            + ("name sessions without filters, or use --all instead of names" if names else "add --all")
        )
    if not names and not everything:
        raise click.UsageError(f"name the sessions to be {verb}, or use --all")
