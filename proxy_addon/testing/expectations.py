"""Files with the sessions that a test expects: finding, reading, comparing and writing them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from proxy_addon import __version__
from proxy_addon.core import jsontext
from proxy_addon.core.expectations.compare import Compare, document
from proxy_addon.core.expectations.comparison import Comparison
from proxy_addon.core.expectations.tracking import compare_tracking
from proxy_addon.core.fixtures import fixture
from proxy_addon.core.fixtures.held import HeldSession
from proxy_addon.core.pseudonyms.exchanges import Pseudonymiser
from proxy_addon.errors import ProtocolError, SettingsError
from proxy_addon.files import keys, sessions, settings
from proxy_addon.files.whole import write
from proxy_addon.recording import captures
from proxy_addon.reporting.tracking import text

FOLDERS = ("", "fixtures", "tapes")
"""Where a file is looked for, in the folder of a test and in each one above it."""


class Missing:
    """What stands for a session whose file is not there yet, and is about to be written."""

    def __init__(self, path: Path) -> None:
        """Stand for the session in a file that will be at a path."""
        self.path = path

    def __getattr__(self, name: str) -> Any:
        """Fail, because there is nothing to look at yet.

        Raises:
            SettingsError: Whatever is asked for.
        """
        if name.startswith("__"):  # Python itself asks, and needs to hear it in its own way
            raise AttributeError(name)
        raise SettingsError(
            f"{_shortened(self.path)} does not exist yet",
            hint="with --tape-update, the test that compares with it writes it; run that one first",
        )


class Expectations:
    """The files that one test uses."""

    def __init__(
        self,
        beside: Path,
        root: Path,
        *,
        writes: bool = False,
        key_file: Path | None = None,
        config: Path | None = None,
    ) -> None:
        """Use the files around a test.

        Args:
            beside: The folder of the test.
            root: The last folder to look in when going up.
            writes: Whether a file that is missing is about to be written.
            key_file: File with the key of the tokens that replace personal values in what is written; None for a key
                that follows from the session.
            config: The settings file that says what else is personal; None for the one in the current folder.
        """
        self._beside = beside
        self._root = root
        self._writes = writes
        self._key_file = key_file
        self._config = config
        self._paths: dict[int, tuple[object, Path]] = {}
        self.unmet: list[tuple[str, Comparison]] = []
        """What was not as expected, with the name of the expectation."""

    def read(self, name: str, *, is_compared: bool = True) -> HeldSession:
        """Return the session in a file.

        Args:
            name: Path of the file, in one of `FOLDERS` of a folder; ``FILE#SESSION`` for one of several sessions.
            is_compared: Whether a test can be about to write the file, because it compares with it.

        Raises:
            SettingsError: There is no such file, or it holds no session.
            NotFound: It holds several, and the name does not say which, or none with the name.
        """
        path, mark, wanted = name.partition("#")
        found = next(filter(Path.is_file, self._places(path)), None)
        held: Any
        if found is not None:
            where = f"{_shortened(found)}{mark}{wanted}"
            held = sessions.one(_sessions_in(_shortened(found)), where)
        elif self._writes and is_compared and not mark:
            found = self._new(path)
            held = Missing(found)
        else:
            updating = "'pytest --tape-update' writes it, if the test compares with it; "
            makes = f"'sessiontape export SESSION --format fixture -o {path}' makes one from a recording"
            raise SettingsError(
                f"there is no {path} in {_shortened(self._beside)} or above it, nor in a folder fixtures or tapes there",
                hint=f"{updating if is_compared else ''}{makes}",
            )
        self._paths[id(held)] = (held, found)
        return held  # type: ignore[no-any-return]

    def in_recording(self, held: HeldSession) -> HeldSession:
        """Return a session as `sessiontape check` would judge it: a file that does not name its recording is one itself."""
        path = self._paths.get(id(held), (None, None))[1]
        if path is None:
            return held
        session = held.session
        return replace(held, session=replace(session, recording=session.recording or _shortened(path)))

    def _places(self, name: str) -> Iterator[Path]:
        for folder in (self._beside, *self._beside.parents):
            yield from (folder / each / name for each in FOLDERS)
            if folder == self._root:
                return

    def _new(self, name: str) -> Path:
        """Return the path for a new file: in the first of `FOLDERS` that exists beside the test."""
        if len(Path(name).parts) > 1:
            return self._beside / name
        there = [self._beside / each for each in FOLDERS[1:] if (self._beside / each).is_dir()]
        return (there[0] if there else self._beside / FOLDERS[1]) / name

    def complaint(
        self, actual: HeldSession, expected: HeldSession, ignore: Iterable[str], playhead_tolerance_s: float | None
    ) -> str:
        """Return where a session does not report what is expected; empty if it does.

        Args:
            ignore: What may differ, in addition to what the expectation says.
            playhead_tolerance_s: By how much playheads may differ; None for what the expectation says.

        Raises:
            SettingsError: A rule of what to ignore names no place, or ``compare`` of the expectation is invalid.
        """
        if isinstance(expected, Missing):
            return f"{_shortened(expected.path)} is not there"
        path = self._paths.get(id(expected), (None, None))[1]
        name = "expected" if path is None else _shortened(path)
        compare = Compare.parsed(expected.compare, name, settings.load_personal(self._config)).with_rules(
            ignore, "ignore"
        )
        if playhead_tolerance_s is not None:
            compare = replace(compare, playhead_tolerance_s=playhead_tolerance_s)
        comparison = compare_tracking(actual, expected, compare)
        if comparison.is_same:
            return ""
        self.unmet.append((name, comparison))
        return text(comparison, expected=name)

    def write(self, actual: HeldSession, expected: HeldSession) -> str:
        """Replace what was expected by what a player did, and keep ``compare``.

        Returns:
            The path for a message: from the current folder, if it is below it.

        Raises:
            SettingsError: The expectation is not one that `read` returned or its file is no fixture, or it cannot be
                written.
        """
        path = self._paths.get(id(expected), (None, None))[1]
        if path is None:
            raise SettingsError(
                "--tape-update has no file to write: what the test expects does not come from media_session"
            )
        if path.exists() and not is_fixture(path.read_bytes()):
            raise SettingsError(
                f"--tape-update does not write {_shortened(path)}, because it is not a fixture",
                hint="'sessiontape export FILE --format fixture' makes a fixture of any file with sessions",
            )
        before = None if isinstance(expected, Missing) else expected
        written = as_fixture(actual, before, key_file=self._key_file, config=self._config)
        with suppress(OSError):  # the next line says what is wrong
            path.parent.mkdir(parents=True, exist_ok=True)
        write(path, [written.encode()])
        return _shortened(path)


def as_fixture(
    recorded: HeldSession, before: HeldSession | None, *, key_file: Path | None = None, config: Path | None = None
) -> str:
    """Return a recorded session as the fixture that takes an expectation's place, for everybody who sees the repository.

    Args:
        before: The expectation, of which ``"compare"`` is kept, and the names of recording and upstream, because those of
            a test are new each time; None if there is none. Without a ``"compare"`` it gets the one with the defaults.
        key_file: File with the key of the tokens that replace personal values; None for a key that follows from the
            session.
        config: As for `Expectations`.

    Raises:
        SettingsError: The file with the key or the settings cannot be used.
    """
    session, exchanges = recorded.session, recorded.exchanges
    if not session.pseudonymised:
        key = keys.of_output([session.id]) if key_file is None else keys.key_of(key_file)
        pseudonymise = Pseudonymiser(key, settings.load_personal(config))
        address = None if session.client_address is None else pseudonymise.address(session.client_address)
        session = replace(session, pseudonymised=True, client_address=address)
        exchanges = tuple(pseudonymise.session(exchanges))
    if before is None:
        session = replace(session, recording=None)
    else:
        session = replace(session, recording=before.session.recording, upstream=before.session.upstream)
    compare = document(None if before is None else before.compare)
    return fixture.document(session, exchanges, version=__version__, compare=compare)


def _sessions_in(path: str) -> Sequence[HeldSession]:
    """Return the sessions in a file, at least one.

    Raises:
        SettingsError: The file cannot be read, or holds no session in a form that we know.
    """
    found, tally = captures.sessions(*captures.opened(path))
    if tally.broken_count:
        raise SettingsError(
            f"{path}: {tally.broken[0]}",
            hint="tests need a file that can be read completely: repair it, or write it again",
        )
    return found


def is_fixture(raw: bytes) -> bool:
    """Whether a file is a fixture, so that it can be rewritten without losing anything else."""
    try:
        return fixture.is_fixture(jsontext.loads(raw))
    except ProtocolError:
        return False


def _shortened(path: Path) -> str:
    """Return a path for a message: as it is from the current folder, if it is below it."""
    here = Path.cwd()
    if path == here:
        return "the current folder"
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
