"""``sessiontape expect``: a session as the expectation of tests."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from proxy_addon import __version__
from proxy_addon.cli import sources
from proxy_addon.cli.options import config_option, given, store_option, token_options
from proxy_addon.core.fixtures.held import HeldSession
from proxy_addon.core.wording import counted
from proxy_addon.errors import SettingsError


@click.command()
@click.argument("session", metavar="SESSION")
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    required=True,
    help="Where to write the expectation, a fixture.",
)
@click.option(
    "--ignore",
    multiple=True,
    metavar="[EVENT:]PLACE",
    help="Accept differences in this place, such as params/media.ad.id, adStart:playhead, or ping:*. May be repeated.",
)
@click.option(
    "--any-value",
    multiple=True,
    metavar="[EVENT:]PLACE",
    help="Expect a value of the same type in this place, whatever it is. May be repeated.",
)
@click.option(
    "--playhead-tolerance",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="How far playheads may be apart.  [default: 1]",
)
@click.option("--force", is_flag=True, help='Replace FILE if it exists, and keep its "compare" member.')
@token_options
@config_option
@store_option
def expect(
    *,
    session: str,
    output: Path,
    ignore: tuple[str, ...],
    any_value: tuple[str, ...],
    playhead_tolerance: float | None,
    force: bool,
    raw: bool,
    key_file: Path | None,
    config: Path | None,
    store_url: str,
) -> None:
    """Write a session to a file with which tests compare.

    SESSION is an id, a back-end session ID, a unique prefix of either, 'last', or a file (see 'sessiontape show
    --help'). The expectation is a fixture whose "compare" member says what may differ when 'sessiontape diff --as-test',
    'sessiontape run --expect' and the pytest plugin compare with it. Read it, change it, and commit it.
    """
    from proxy_addon.core.expectations.compare import Compare, document  # noqa: PLC0415  # --help does without
    from proxy_addon.core.fixtures import fixture  # noqa: PLC0415
    from proxy_addon.files import whole  # noqa: PLC0415

    if output.exists() and not force:
        raise SettingsError(
            f"{output} already exists",
            hint='--force replaces it and keeps its "compare" member; or name another file',
        )
    held = sources.held_anywhere(session, store_url)
    if not held.has_answers:
        raise SettingsError(
            f"{session} has no answers, so it cannot become an expectation",
            hint=f"'sessiontape diff --as-test {session} SESSION' compares with it directly",
        )
    Compare().with_rules(ignore, given("ignore"))
    Compare().with_rules(any_value, given("any_value"))
    before = _compare_in(output) if output.exists() else None
    kept = held.compare if before is None else before
    Compare.parsed(kept, session if before is None else str(output))
    compare = document(
        kept,
        ignore=ignore,
        any_value=any_value,
        playhead_tolerance_s=playhead_tolerance,
    )
    if not raw:
        held = _pseudonymised(held, key_file, config)
    text = fixture.document(held.session, held.exchanges, version=__version__, compare=compare)
    whole.write(output, [text.encode()], is_private=raw)
    click.echo(f"{output} expects {counted(held.session.events, 'event')}", err=True)


def _compare_in(path: Path) -> Any:
    """Return the ``"compare"`` member of an expectation that is replaced; None if it has none."""
    return sources.capture(str(path)).compare


def _pseudonymised(held: HeldSession, key_file: Path | None, config: Path | None) -> HeldSession:
    from proxy_addon.core.pseudonyms.exchanges import Pseudonymiser  # noqa: PLC0415  # as above
    from proxy_addon.files import keys, settings  # noqa: PLC0415

    if held.session.pseudonymised:
        return held
    key = keys.of_output([held.session.id]) if key_file is None else keys.key_of(key_file)
    change = Pseudonymiser(key, settings.load_personal(config))
    address = None if held.session.client_address is None else change.address(held.session.client_address)
    return replace(
        held,
        session=replace(held.session, pseudonymised=True, client_address=address),
        exchanges=tuple(change.session(held.exchanges)),
    )
