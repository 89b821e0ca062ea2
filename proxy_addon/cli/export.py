"""``sessiontape export``: sessions as files, for tests, other tools and other people."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import click

from proxy_addon import __version__
from proxy_addon.cli.engines import Engine, engine_option
from proxy_addon.cli.filters import all_options, filter_options, require_any, require_selection
from proxy_addon.cli.opening import reading
from proxy_addon.cli.options import config_option, given, json_option, store_option, token_options
from proxy_addon.cli.output import while_read
from proxy_addon.core.exchange import Exchange
from proxy_addon.core.sessions import Session
from proxy_addon.core.wording import counted
from proxy_addon.errors import ProtocolError, SettingsError

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from proxy_addon.core.fixtures.held import HeldSession
    from proxy_addon.core.judging.policy import Policy
    from proxy_addon.core.pseudonyms.exchanges import Pseudonymiser
    from storage.filters import Filters

FORMATS = ("fixture", "har", "ndjson", "csv", "flow", "parquet")
_OF_NAMES = {".json": "fixture", ".har": "har", ".ndjson": "ndjson", ".csv": "csv", ".flow": "flow", ".flows": "flow"}
"""Formats by the endings of names."""
_STDOUT = "-"
_SLASHES = ("/", os.sep)


@click.command()
@click.argument("names", metavar="[SESSION...]", nargs=-1)
@all_options
@click.option(
    "--format",
    "format_name",
    type=click.Choice(FORMATS),
    help="By default, as the name of --output ends: .json (fixture), .har, .ndjson, .csv or .flow. fixture: a JSON file for each session, to read, commit and test with. har: for browsers' tools and proxies. "
    "ndjson: one exchange per line. csv: one event per line, for spreadsheets. flow: for mitmproxy. parquet: one event per "
    "row, a folder for each day, for databases; needs the extra 'scale'.",
)
@click.option(
    "-o",
    "--output",
    metavar="PATH",
    required=True,
    help="Where to write: a file, or - for stdout. For fixtures of several sessions, a folder, which gets a file for each; for "
    "parquet, a new folder.",
)
@engine_option
@token_options
@filter_options
@config_option
@json_option
@store_option
def export(
    *,
    names: tuple[str, ...],
    everything: bool,
    allow_empty: bool,
    format_name: str | None,
    output: str,
    engine: Engine | None,
    raw: bool,
    key_file: Path | None,
    filters: Filters,
    config: Path | None,
    as_json: bool,
    store_url: str,
) -> None:
    """Write sessions to files, without personal values.

    SESSION is an id, a back-end session ID, a unique prefix of either, 'last', or a file (see 'sessiontape show
    --help'); name several, or use --all with filters.

    Values that say who a viewer is, or which device it was, are replaced by tokens: the same value has the same token
    within one export. --raw keeps them.
    """
    require_selection(names, filters, everything=everything, verb="exported", of_files=True)
    format_name = format_name or _OF_NAMES.get(Path(output).suffix.lower())
    if format_name is None:
        raise click.UsageError(f"the name of --output does not say a format: add --format {'|'.join(FORMATS)}")
    from proxy_addon.files import settings  # noqa: PLC0415  # --help does without the rules

    if engine is not None and not (everything and format_name == "parquet"):
        raise click.UsageError(f"{given('engine')} is for --all with --format parquet: leave it out")
    policy = settings.load(config)
    if everything and format_name == "parquet":
        from proxy_addon.cli import parquet  # noqa: PLC0415

        number, paths = parquet.of_store(
            store_url,
            filters,
            policy,
            Path(output),
            raw=raw,
            key_file=key_file,
            config=config,
            engine=engine,
            allow_empty=allow_empty,
        )
    else:
        with _Sessions(names, filters, policy, store_url, allow_empty=allow_empty) as sessions:
            if not raw:
                sessions.pseudonymise(key_file, config)
            paths = _WRITERS[format_name](sessions, output)
            number = sessions.number
    if as_json and output != _STDOUT:
        click.echo(json.dumps({"sessions": number, "files": paths}, indent=2))
    elif output != _STDOUT:
        where = paths[0] if len(paths) == 1 and format_name != "parquet" else output
        click.echo(f"{counted(number, 'session')} written to {where}", err=True)


class _Sessions:
    """The sessions to export, which may be read several times; a context manager.

    Attributes:
        policy: By which they are judged, for formats that have findings.
    """

    def __init__(
        self, names: Sequence[str], filters: Filters, policy: Policy, store_url: str, *, allow_empty: bool
    ) -> None:
        self._names = list(dict.fromkeys(names))
        self._filters = filters
        self.policy = policy
        self._store_url = store_url
        self._allow_empty = allow_empty
        self._stack = ExitStack()
        self._db: Connection | None = None
        self._sources: list[str | HeldSession] = []  # our id of a stored session, or one of a file
        self._pseudonymiser: Pseudonymiser | None = None

    def __enter__(self) -> Self:
        from proxy_addon.cli import sources  # noqa: PLC0415
        from proxy_addon.files.sessions import is_file_name  # noqa: PLC0415
        from storage import sessions  # noqa: PLC0415

        if not self._names or not all(map(is_file_name, self._names)):
            self._db = self._stack.enter_context(reading(self._store_url))
        if not self._names:
            assert self._db is not None
            if not self._allow_empty:
                require_any(self._db, self._filters)
            found = sessions.newest(self._db, self._filters, now=datetime.now(UTC), oldest_first=True)
            self._sources = [session.id for session in found]
        for name in self._names:
            if is_file_name(name):
                self._sources += sources.sessions_of(name)
            else:
                assert self._db is not None
                self._sources.append(sessions.find(self._db, name).id)
        self._sources = list({_id(source): source for source in self._sources}.values())
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def number(self) -> int:
        """How many there are."""
        return len(self._sources)

    def pseudonymise(self, key_file: Path | None, config: Path | None) -> None:
        """Replace personal values from now on; sessions that were recorded without them stay as they are."""
        from proxy_addon.core.pseudonyms.exchanges import Pseudonymiser  # noqa: PLC0415
        from proxy_addon.files import keys, settings  # noqa: PLC0415

        key = keys.of_output(map(_id, self._sources)) if key_file is None else keys.key_of(key_file)
        self._pseudonymiser = Pseudonymiser(key, settings.load_personal(config))

    @property
    def are_raw(self) -> bool:
        """Whether personal values are written as they are."""
        return self._pseudonymiser is None

    @property
    def have_holes(self) -> bool:
        """Whether one of them lacks exchanges. That bodies are missing, the exchanges say themselves."""
        return any(
            self._session(source).has_holes and all(each.request.body_state.is_known for each in self._of(source)[1])
            for source in self._sources
        )

    @property
    def recording(self) -> str | None:
        """The name of the recording, if all are of one."""
        from proxy_addon.core.pseudonyms.sessions import named  # noqa: PLC0415  # as above

        names = {named(self._session(source), self._pseudonymiser) for source in self._sources}
        return names.pop() if len(names) == 1 else None

    @property
    def are_pseudonymised(self) -> bool:
        """Whether no personal value is left in any of them."""
        if self._pseudonymiser is not None:
            return True
        return all(self._session(source).pseudonymised for source in self._sources)

    def alike(self) -> Iterator[_Exported]:
        """Yield all, with what holds for each of them: readers of one file need to know it before they have read it all."""
        common: dict[str, Any] = {
            "pseudonymised": self.are_pseudonymised,
            "has_holes": self.have_holes,
            "recording": self.recording,
        }
        for each in self:
            yield replace(each, session=replace(each.session, **common))

    def exchanges(self) -> Iterator[Exchange]:
        """Yield the exchanges of all, session after session."""
        for each in self:
            yield from each.exchanges

    def __iter__(self) -> Iterator[_Exported]:
        from proxy_addon.core.pseudonyms.sessions import masked  # noqa: PLC0415  # as above

        for source in self._sources:
            session, exchanges, compare = self._of(source)
            with closing(exchanges):  # before the store is closed, even if nobody reads on
                change = self._pseudonymiser
                if change is None:
                    yield _Exported(session, exchanges, compare)
                else:
                    yield _Exported(*masked(session, exchanges, change), compare)

    def _of(self, source: str | HeldSession) -> tuple[Session, Generator[Exchange], Any]:
        from storage import exchanges  # noqa: PLC0415

        if not isinstance(source, str):
            return source.session, (each for each in source.exchanges), source.compare
        assert self._db is not None
        return self._session(source), exchanges.of_session(self._db, source), None

    def _session(self, source: str | HeldSession) -> Session:
        from storage import sessions  # noqa: PLC0415

        if not isinstance(source, str):
            return source.session
        assert self._db is not None
        return sessions.get(self._db, [source])[0]  # in one transaction, so it is still there


def _id(source: str | HeldSession) -> str:
    return source if isinstance(source, str) else source.session.id


@dataclass(frozen=True, slots=True)
class _Exported:
    """A session as it is written.

    Attributes:
        exchanges: Consumed once.
        compare: As in `core.fixtures.held.HeldSession`.
    """

    session: Session
    exchanges: Iterator[Exchange]
    compare: Any


def _fixtures(sessions: _Sessions, output: str) -> list[str]:
    from proxy_addon.core.fixtures import fixture  # noqa: PLC0415
    from proxy_addon.files import whole  # noqa: PLC0415

    def text(each: _Exported, path: Path) -> str:
        compare = each.compare if each.compare is not None else _compare_in(path)
        return fixture.document(each.session, each.exchanges, version=__version__, compare=compare)

    folder = Path(output)
    if sessions.number == 1 and not output.endswith(_SLASHES) and not folder.is_dir():
        _write_one(output, (text(each, folder) for each in sessions), raw=sessions.are_raw)
        return [output]
    if output == _STDOUT:
        raise click.UsageError(
            f"{counted(sessions.number, 'session')} need a fixture file each: name a folder with --output, or use --format ndjson"
        )
    paths: list[str] = []
    for each in sessions:
        path = _free(folder / _file_name(each.session), paths)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as e:
            raise SettingsError(f"cannot make the folder {folder}: {e.strerror}", hint="name another with -o") from e
        whole.write(path, [text(each, path).encode()], is_private=sessions.are_raw)
        paths.append(str(path))
    return paths


def _compare_in(path: Path) -> Any:
    """Return the ``"compare"`` member of a fixture that is about to be replaced, because people have reviewed it."""
    from proxy_addon.core import jsontext  # noqa: PLC0415
    from proxy_addon.core.fixtures import fixture  # noqa: PLC0415

    try:
        value = jsontext.loads(path.read_bytes()) if path.is_file() else None
    except (OSError, ProtocolError):
        return None
    if value is None or not fixture.is_fixture(value) or value.get("compare") is None:
        return None
    click.echo(f'sessiontape: the "compare" member of {path} is kept', err=True)
    return value["compare"]


def _file_name(session: Session) -> str:
    """Return a name that is the same each time, sorts by time, and tells people what the session is."""
    about = _plain(session.media_id or session.player_name or "session")[:40]
    id = _plain(session.session_id or session.id)[:8]
    return f"{session.started_at:%Y%m%dT%H%M%SZ}-{about or 'session'}-{id or session.id[:8]}.json"


def _plain(text: str) -> str:
    """Return text of a device as a part of a file's name."""
    return re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-")


def _free(path: Path, taken: Sequence[str]) -> Path:
    """Return a path under which this export has not written a session yet."""
    names = chain([path], (path.with_stem(f"{path.stem}-{number}") for number in count(2)))
    return next(each for each in names if str(each) not in taken)


Pieces = Generator[str] | Generator[bytes]


def _one_file(pieces: Callable[[_Sessions], Pieces]) -> Callable[[_Sessions, str], list[str]]:
    def write(sessions: _Sessions, output: str) -> list[str]:
        if output.endswith(_SLASHES) or Path(output).is_dir():
            raise click.UsageError(f"{output} is a folder, but this format is one file: name a file with --output")
        _write_one(output, pieces(sessions), raw=sessions.are_raw)
        return [output]

    return write


def _write_one(output: str, pieces: Pieces, *, raw: bool) -> None:
    from proxy_addon.files import whole  # noqa: PLC0415

    with closing(pieces):  # before the store is closed, even if nobody reads on
        written = (piece.encode() if isinstance(piece, str) else piece for piece in pieces)
        if output != _STDOUT:
            whole.write(Path(output), written, is_private=raw)
            return
        with while_read():
            sys.stdout.buffer.writelines(written)


def _ndjson(sessions: _Sessions) -> Generator[str]:
    from proxy_addon.core.fixtures.ndjson import line  # noqa: PLC0415
    from proxy_addon.core.judging.exchanges import judge_exchange  # noqa: PLC0415
    from proxy_addon.core.sessions import AsOf  # noqa: PLC0415
    from proxy_addon.reporting.documents import exchange_document, session_document  # noqa: PLC0415

    for each in sessions.alike():
        session = each.session
        about = session_document(session, AsOf(now=session.last_event_at))
        for seq, exchange in enumerate(each.exchanges, 1):
            document = exchange_document(exchange, seq, judge_exchange(exchange, sessions.policy))
            yield f"{json.dumps(line(document, about), separators=(',', ':'))}\n"


def _csv(sessions: _Sessions) -> Generator[str]:
    from proxy_addon.core.fixtures import events_csv  # noqa: PLC0415
    from proxy_addon.core.judging.exchanges import judge_exchange  # noqa: PLC0415

    columns: set[str] = set()
    for each in sessions:
        columns |= events_csv.columns_of(each.exchanges)
    yield events_csv.header(columns)
    for each in sessions:
        judged = ((exchange, judge_exchange(exchange, sessions.policy)) for exchange in each.exchanges)
        yield from events_csv.lines(each.session, judged, columns)


def _har(sessions: _Sessions) -> Generator[str]:
    from proxy_addon.core.fixtures import har_writing  # noqa: PLC0415

    yield from har_writing.document(
        sessions.exchanges(),
        version=__version__,
        pseudonymised=sessions.are_pseudonymised,
        has_holes=sessions.have_holes,
        recording=sessions.recording,
    )


def _flows(sessions: _Sessions) -> Generator[bytes]:
    from proxy_addon.recording import flow_files  # noqa: PLC0415

    for each in sessions.alike():
        yield from flow_files.pieces(each.session, each.exchanges)


def _parquet(sessions: _Sessions, output: str) -> list[str]:
    from proxy_addon.cli import parquet  # noqa: PLC0415

    folder = Path(output)
    parquet.check_output(folder)
    files = parquet.files_of(((each.session, each.exchanges) for each in sessions), sessions.policy)
    return parquet.write(folder, [files], raw=sessions.are_raw)


_WRITERS: Mapping[str, Callable[[_Sessions, str], list[str]]] = {
    "fixture": _fixtures,
    "har": _one_file(_har),
    "ndjson": _one_file(_ndjson),
    "csv": _one_file(_csv),
    "flow": _one_file(_flows),
    "parquet": _parquet,
}
