"""The options of ``sessiontape replay`` that say how to replay, and the run that they describe."""

from __future__ import annotations

import functools
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from proxy_addon.cli.options import SECONDS, SERVER_URL, SPEED, Parsed
from proxy_addon.core.replays.pacing import Speed
from proxy_addon.core.replays.runs import ReplayRun, RunOptions
from proxy_addon.core.replays.targets import Allowed, parse_allowed
from proxy_addon.core.replays.timestamps import Timestamps
from proxy_addon.core.urls import ServerUrl
from proxy_addon.errors import SettingsError

if TYPE_CHECKING:
    from proxy_addon.core.replays.changing import Change


class _Text(click.ParamType[str]):
    """A text that its own parser accepts; it is parsed again where it is used."""

    def __init__(self, name: str, check: Callable[[str], object]) -> None:
        self.name = name
        self._check = check

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        text = str(value)
        try:
            self._check(text)
        except SettingsError as e:
            self.fail(f"{e}; {e.hint}", param, ctx)
        return text


def _change(parser: str) -> Callable[[str], object]:
    def check(text: str) -> object:
        from proxy_addon.core.replays import changing  # noqa: PLC0415  # imports the JSONPath library

        return getattr(changing, parser)(text)

    return check


def _ignored(text: str) -> object:
    from proxy_addon.core.replays.comparing import Noise  # noqa: PLC0415  # only needed for --ignore

    return Noise.parse([text])


def _proxy_text(text: str) -> object:
    from proxy_addon.replay.connecting import FROM_ENVIRONMENT, parse_proxy  # noqa: PLC0415  # as above

    return text if text == FROM_ENVIRONMENT else parse_proxy(text)


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to replay, as the user typed it.

    Attributes:
        safe: Whether the safe profile is on; None if the user did not say.
        spread_s: Over how many seconds the first starts are spread.
        timeout_s: How long an answer may take, connecting included.
        proxy: URL of a proxy, ``env``, or None for no proxy.
    """

    target: ServerUrl | None
    allowed: tuple[Allowed, ...]
    speed: Speed
    timestamps: Timestamps
    spread_equal_ts: bool
    sets: tuple[str, ...]
    only_present: bool
    drops: tuple[str, ...]
    header_sets: tuple[str, ...]
    header_drops: tuple[str, ...]
    change_files: tuple[Path, ...]
    safe: bool | None
    ignored: tuple[str, ...]
    concurrency: int
    spread_s: float
    timeout_s: float
    insecure: bool
    ca: Path | None
    proxy: str | None


_OPTIONS = (
    click.option(
        "--target",
        type=SERVER_URL,
        metavar="URL",
        allow_from_autoenv=False,
        help="The server to send to: http[s]://HOST[:PORT][/PATH]; PATH is put in front of the recorded paths.",
    ),
    click.option(
        "--allow-host",
        "allowed",
        type=Parsed("HOST", parse_allowed, Allowed),
        metavar="NAME|ADDRESS[:PORT]",
        multiple=True,
        allow_from_autoenv=False,
        help="Allow a target that is not on this machine, or is a recorded upstream. May be repeated.",
    ),
    click.option(
        "--speed",
        type=SPEED,
        metavar="N|max",
        default="1",
        show_default=True,
        help="Send at N times the recorded pace, or with max as fast as the target answers.",
    ),
    click.option(
        "--timestamps",
        type=Parsed("TIMESTAMPS", Timestamps.parse, Timestamps),
        metavar="now|keep|shift:SECONDS",
        default="now",
        show_default=True,
        help="What to do with playerTime.ts. now: set the session's start to the time of sending, and move its other events "
        "by the same amount. keep: change nothing. shift: move all by this many seconds.",
    ),
    click.option(
        "--spread-equal-ts",
        is_flag=True,
        help="If events have the same ts, move them 1 ms apart, in the order that SDKs intend.",
    ),
    click.option(
        "--set",
        "sets",
        type=_Text("SET", _change("set_value")),
        metavar="JSONPATH=VALUE",
        multiple=True,
        help="Set a value in bodies. VALUE is JSON, or else a string. A missing member is added. May be repeated.",
    ),
    click.option("--only-present", is_flag=True, help="Let --set change existing values only, and add none."),
    click.option(
        "--drop",
        "drops",
        type=_Text("DROP", _change("drop_value")),
        metavar="JSONPATH",
        multiple=True,
        help="Remove a value from bodies. May be repeated.",
    ),
    click.option(
        "--set-header",
        "header_sets",
        type=_Text("HEADER", _change("set_header")),
        metavar="NAME=VALUE",
        multiple=True,
        help="Set a header. Requests go to --target whatever Host is; a Host that names a recorded upstream needs "
        "--allow-host. May be repeated.",
    ),
    click.option(
        "--drop-header",
        "header_drops",
        type=_Text("HEADER", _change("drop_header")),
        metavar="NAME",
        multiple=True,
        help="Remove a header. May be repeated.",
    ),
    click.option(
        "--changes",
        "change_files",
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="FILE.toml",
        multiple=True,
        help="Make the changes listed in this file, and after them those of the options above. May be repeated.",
    ),
    click.option(
        "--safe/--no-safe",
        default=None,
        allow_from_autoenv=False,
        help="Replace report suite, org ID and tracking server, replace visitor IDs with pseudonyms, and remove "
        "credentials. On by default if the target needs --allow-host.",
    ),
    click.option(
        "--ignore",
        "ignored",
        type=_Text("WHERE", _ignored),
        metavar="WHERE",
        multiple=True,
        help="Do not compare this: status, header.NAME, body, or a part such as body/a/*. May be repeated.",
    ),
    click.option(
        "--concurrency",
        type=click.IntRange(min=1),
        metavar="N",
        default=8,
        show_default=True,
        help="Send at most this many sessions at the same time.",
    ),
    click.option(
        "--spread-starts",
        "spread_s",
        type=click.FloatRange(min=0, max=86_400),
        metavar="SECONDS",
        default=0.0,
        show_default=True,
        help="Spread the starts of the first --concurrency sessions over this time, instead of starting all at once.",
    ),
    click.option(
        "--timeout",
        "timeout_s",
        type=SECONDS,
        metavar="SECONDS",
        default=10.0,
        show_default=True,
        help="How long each answer may take, connecting included.",
    ),
    click.option("--insecure", is_flag=True, allow_from_autoenv=False, help="Do not check the target's certificate."),
    click.option(
        "--ca",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        metavar="FILE",
        help="Trust the certificate authorities in this PEM file instead of the system's.",
    ),
    click.option(
        "--proxy",
        type=_Text("PROXY", _proxy_text),
        metavar="URL|env",
        allow_from_autoenv=False,
        help="Send through this HTTP proxy; env means the one that the environment names. By default none is used. The "
        "proxy may need --allow-host too.",
    ),
)


def replay_options[F: Callable[..., Any]](command: F) -> F:
    """Add the options to a command, which gets them as ``options``."""

    @functools.wraps(command)
    def collected(*args: Any, **kwargs: Any) -> Any:
        mine = {name: kwargs.pop(name) for name in Options.__dataclass_fields__}
        return command(*args, options=Options(**mine), **kwargs)

    decorated: Any = collected
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated  # type: ignore[no-any-return]  # click sees a different signature


def new_run(options: Options) -> ReplayRun:
    """Return a run that begins now."""
    from storage.saving import new_id  # noqa: PLC0415

    return ReplayRun(
        id=new_id(),
        target=str(options.target),
        started_at=datetime.now(UTC),
        finished_at=None,
        speed=str(options.speed),
        timestamps=str(options.timestamps),
    )


def run_options(options: Options, config: Path | None) -> RunOptions:
    """Return the options that are stored with a run for ``--resume``.

    Args:
        config: The settings file, which may say what else is personal; None for the one in the current folder.

    Raises:
        SettingsError: A file of changes or the settings file cannot be read, or is invalid.
    """
    from proxy_addon.core.pseudonyms.personal import PERSONAL  # noqa: PLC0415
    from proxy_addon.files import settings  # noqa: PLC0415

    personal = settings.load_personal(config)
    return RunOptions(
        spread_equal_ts=options.spread_equal_ts,
        ignore=options.ignored,
        safe=options.safe,
        changes=tuple(_changes(options)),
        key=secrets.token_hex(32),
        members=tuple(sorted(personal.members - PERSONAL.members)),
        headers=tuple(sorted(personal.headers - PERSONAL.headers)),
    )


def _changes(options: Options) -> list[Change]:
    """Return the changes that the user asked for, each with its option."""
    from proxy_addon.core.replays import changing  # noqa: PLC0415
    from proxy_addon.files import changes  # noqa: PLC0415

    only = {"only": "present"} if options.only_present else {}
    return [
        *({**each, "option": f"--changes {path}"} for path in options.change_files for each in changes.load(path)),
        *({**changing.set_value(text), **only, "option": "--set"} for text in options.sets),
        *({**changing.drop_value(text), "option": "--drop"} for text in options.drops),
        *({**changing.set_header(text), "option": "--set-header"} for text in options.header_sets),
        *({**changing.drop_header(text), "option": "--drop-header"} for text in options.header_drops),
    ]
