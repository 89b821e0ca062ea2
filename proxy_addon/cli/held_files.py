"""The sessions in files and folders, read one file after the other: what an audit of files adds up."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from proxy_addon.core.fixtures.held import content_of, requests_of, start_of
from proxy_addon.core.wording import counted, pasted, visible
from proxy_addon.errors import SettingsError
from proxy_addon.files.sessions import in_file, is_file_name, name_in, path_in

if TYPE_CHECKING:
    from proxy_addon.core.fixtures.captures import Tally
    from proxy_addon.core.fixtures.held import HeldSession

STDIN = "-"
_REASONS = 5
"""How many reasons why files are passed over are told."""
_TOLD = 2
"""How many files or sessions of a kind are named."""


@dataclass(frozen=True, slots=True)
class Source:
    """A file, as it was named or found.

    Attributes:
        is_sought: Whether it was found in a folder, which may hold files of all kinds.
        is_pipe: Whether it can be read only once.
    """

    name: str
    is_sought: bool
    is_pipe: bool = False


@dataclass(slots=True)
class _Files:
    """Files of which the same is to be said."""

    names: list[str] = field(default_factory=list)
    number: int = 0
    of: int = 0

    def add(self, name: str, of: int = 1) -> None:
        self.number += 1
        self.of += of
        if len(self.names) < _TOLD:
            self.names.append(name)

    def __str__(self) -> str:
        return _listed(self.names, self.number)

    def lines(self) -> list[str]:
        """Return what was added, one a line."""
        more = self.number - len(self.names)
        return [*self.names, *([f"and {more} more"] if more else [])]


class HeldFiles:
    """Sessions in files and folders, each once, and each with an id by which ``sessiontape show`` finds it.

    That is ``FILE#ID``, and of a list of bodies ``FILE``.

    Of a folder, it reads all files in it and in the folders below, except hidden ones. No more than the sessions of one file
    are in memory, beside two short hashes and the name of each session, by which it is known in another file.

    Attributes:
        is_to_be_read_again: Whether sessions were yielded, the first time, of which another file turned out to have more;
            they are left out from then on.
        notes: What is to be said of all of them, complete when all sessions were read once: what could not be read, and which
            sessions are in several files.
    """

    def __init__(self, names: Sequence[str]) -> None:
        """Find the files.

        Raises:
            click.UsageError: A name is that of no file.
        """
        self.notes: tuple[str, ...] = ()
        self.is_to_be_read_again = False
        self._left_out: set[bytes] = set()
        self._names = [*names]
        self._links = 0
        self._closed: list[str] = []
        self._sources = [*self._found(names)]
        self._kept: dict[str, Sequence[HeldSession]] = {}
        self._is_read = False

    def __iter__(self) -> Iterator[HeldSession]:
        """Yield the sessions, file by file; the first time, say on stderr what is wrong with files in the end.

        Raises:
            SettingsError: A file that was named cannot be read, or holds no sessions.
            NotFound: A file has no session, or several, with the name after ``#``.
        """
        from proxy_addon.reporting.progress import ReadingProgress  # noqa: PLC0415  # --help does without

        remarks = _Remarks()
        with ReadingProgress(len(self._sources), "files") as progress:
            for source in self._sources:
                for held in self._sought(source, remarks):
                    if remarks.is_new(held, source.name, self._left_out):
                        yield held
                progress.advance(1)
        if not self._is_read:
            self._is_read = True
            self._leave_out(remarks)
            self.is_to_be_read_again = bool(self._left_out)
            self._tell(remarks, {source.name for source in self._sources} - remarks.attached)

    def _leave_out(self, remarks: _Remarks) -> None:
        """Find sessions that are the beginning of one in another file, which was exported later, or that are a body of one."""
        self._left_out |= {content for content, file in remarks.known.items() if file in remarks.attached}
        several = [
            sorted(copies, key=_length, reverse=True)
            for copies in remarks.begun.values()
            if len({_file_in(copy.id) for copy in copies}) > 1
        ]
        longer = {copy.id: copies for copies in several for copy in copies if copy.requests > copies[-1].requests}
        beginnings: dict[str, _Copy] = {}
        for whole in self._again(longer):
            copies = longer[whole.session.id]
            of_whole = next(copy for copy in copies if copy.id == whole.session.id)
            lengths = {copy.requests for copy in copies if copy.requests < of_whole.requests}
            contents = {content_of(whole, length) for length in lengths}
            for copy in copies:
                known = beginnings.get(copy.id)
                if copy.content in contents and (known is None or known.requests < of_whole.requests):
                    beginnings[copy.id] = of_whole
        for longest, *others in several:
            for copy in others:
                if copy.id in beginnings:
                    self._left_out.add(copy.content)
                    remarks.shorter.add(f"{pasted(copy.id)} is the beginning of {pasted(beginnings[copy.id].id)}")
                else:
                    remarks.similar.add(f"{pasted(copy.id)} and {pasted(longest.id)}")

    def _sought(self, source: Source, remarks: _Remarks) -> Sequence[HeldSession]:
        try:
            return self._read(source, remarks)
        except SettingsError as e:
            if not source.is_sought:
                raise
            remarks.passed_over(source.name, e)
            return ()

    def named(self, ids: Collection[str]) -> dict[str, HeldSession]:
        """Return sessions by their ids; without those that are no longer there."""
        return {held.session.id: held for held in self._again(ids)}

    def _again(self, ids: Collection[str]) -> Iterator[HeldSession]:
        """Yield sessions with these ids, file by file."""
        files = {_file_in(id) for id in ids}.union(ids)
        for source in self._sources:
            if _prefix(source) not in files:
                continue
            try:
                found = self._read(source, _Remarks())
            except SettingsError:
                continue  # it was deleted meanwhile
            yield from (held for held in found if held.session.id in ids)

    def _read(self, source: Source, remarks: _Remarks) -> Sequence[HeldSession]:
        from proxy_addon.cli import sources  # noqa: PLC0415  # --help does without

        if source.name in self._kept:
            return self._kept[source.name]
        sessions, tally = sources.read(source.name)
        if len(self._sources) == 1 and not self._is_read:
            sources.tell(source.name, tally)
        remarks.missing(source.name, tally)
        if source.name != STDIN:
            sessions = [in_file(held, path_in(source.name)) for held in sessions]
        if source.is_pipe:
            self._kept[source.name] = sessions
        return sessions

    def _found(self, names: Sequence[str]) -> Iterator[Source]:
        """Yield all files, each once, in the order of their names within a folder."""
        met: set[str] = set()
        for name in names:
            folder = Path(name)
            is_folder = folder.is_dir()
            if not is_folder and not is_file_name(name) and name != STDIN:
                raise click.UsageError(
                    f"{visible(name)} is no file: name files or folders, or select sessions of the store by filters"
                )
            for path in sorted(self._below(folder)) if is_folder else [name]:
                real = os.path.realpath(path)
                if real not in met:
                    met.add(real)
                    yield Source(path, is_sought=is_folder, is_pipe=not is_folder and not _is_regular(path_in(path)))

    def _below(self, folder: Path) -> Iterator[str]:
        """Yield the files below a folder; links to folders are not followed, because they may lead back."""
        for parent, folders, files in os.walk(folder, onerror=self._refused):
            folders[:] = [name for name in folders if not name.startswith(".")]
            self._links += sum(Path(parent, name).is_symlink() for name in folders)
            for name in files:
                path = Path(parent, name)
                # A link that leads nowhere is told like a file that cannot be read; pipes and devices would never end.
                if not name.startswith(".") and (_is_regular(str(path)) or (path.is_symlink() and not path.exists())):
                    yield str(path)

    def _refused(self, error: OSError) -> None:
        self._closed.append(str(error.filename))

    def _tell(self, remarks: _Remarks, files: Collection[str]) -> None:
        """Say a line for each kind of thing that is to be said, with the files below it.

        Args:
            files: Those that are more than a part of another one.
        """
        of = counted(len(files), "file")
        told: list[tuple[str, list[str], str]] = []
        if self._closed:
            told.append((f"{counted(len(self._closed), 'folder')} cannot be read", [_listed(self._closed)], ""))
        if self._links:
            links, they = ("links to folders", "they lead") if self._links > 1 else ("a link to a folder", "it leads")
            told.append((f"{links} not followed: name what {they} to", [], ""))
        others = {name: reason for name, reason in remarks.others.items() if name in files}
        if others:
            number = len(others)
            how = "'sessiontape show FILE' says what to do"
            reasons = [f"{reason}: {those}" for reason, those in _most_first(others)]
            more = len(reasons) - _REASONS
            if more > 0:
                reasons[_REASONS:] = [f"and {counted(more, 'reason')} more"]
            told.append((f"{number} of {of} passed over", reasons, how))
        if remarks.odd.number and len(self._sources) > 1:
            gaps = []
            if remarks.bodies.number:
                lacking = counted(remarks.bodies.of, "request without its body", "requests without their bodies")
                gaps.append(f"{lacking}, not judged: {remarks.bodies}")
            if remarks.cut.number:
                gaps.append(f"{counted(remarks.cut.number, 'file')} cut off, so that the end is missing: {remarks.cut}")
            if remarks.broken.number:
                unread = counted(remarks.broken.of, "entry that cannot be read", "entries that cannot be read")
                gaps.append(f"{unread}: {remarks.broken}")
            if remarks.odd.number > max(remarks.bodies.number, remarks.cut.number, remarks.broken.number):
                gaps.append(f"remarks on what the tools that wrote them leave out: {remarks.odd}")
            lack = "lacks" if remarks.odd.number == 1 else "lack"
            told.append((f"{remarks.odd.number} of {of} {lack} something", gaps, "'sessiontape check FILE' says what"))
        if remarks.repeated.number:
            number = remarks.repeated.number
            said = f"{counted(number, 'session')} found in several files, counted once"
            told.append((said, remarks.repeated.lines(), ""))
        if remarks.shorter.number:
            number = remarks.shorter.number
            said = f"{counted(number, 'session')} found longer in another file, which counts"
            told.append((said, remarks.shorter.lines(), ""))
        if remarks.similar.number:
            number = remarks.similar.number
            said = f"{counted(number, 'session')} with the ID and start of one in another file, but other requests: both count"
            told.append((said, remarks.similar.lines(), ""))
        self.notes = tuple(f"{said}: {'; '.join(details)}" if details else said for said, details, _ in told)
        for said, details, how in told:
            click.echo(visible(f"sessiontape: {said}{f'; {how}' if how else ''}"), err=True)
            for detail in details:
                click.echo(visible(f"  {detail}"), err=True)


class _Copy(NamedTuple):
    """A session in a file, by which it is told from others with the same start.

    Attributes:
        requests: How many requests with events it has.
        content: A hash of them.
    """

    id: str
    requests: int
    content: bytes


@dataclass(slots=True)
class _Remarks:
    """What is to be said of files.

    Attributes:
        attached: Files that hold bodies of requests or answers in another one.
        others: Why files have no sessions, by their names.
        odd: Files of which there is something to say.
        bodies: Those that lack bodies of requests.
        cut: Those that end in the middle of an entry.
        broken: Those with other entries that cannot be read.
        repeated: Sessions that an earlier file has, too.
        shorter: Sessions that another file has with more requests.
        similar: Sessions that another file has with other requests.
        known: Where sessions were found, by what is in them.
        begun: Sessions by their starts.
    """

    attached: set[str] = field(default_factory=set)
    others: dict[str, str] = field(default_factory=dict)
    odd: _Files = field(default_factory=_Files)
    bodies: _Files = field(default_factory=_Files)
    cut: _Files = field(default_factory=_Files)
    broken: _Files = field(default_factory=_Files)
    repeated: _Files = field(default_factory=_Files)
    shorter: _Files = field(default_factory=_Files)
    similar: _Files = field(default_factory=_Files)
    known: dict[bytes, str] = field(default_factory=dict)
    begun: dict[bytes, list[_Copy]] = field(default_factory=dict)

    def is_new(self, held: HeldSession, file: str, left_out: Collection[bytes]) -> bool:
        """Note a session of a file, and return whether it was in no file before, and its content is not left out."""
        content = content_of(held)
        if content in left_out:
            return False
        before = self.known.setdefault(content, file)
        if before != file:
            self.repeated.add(f"{pasted(held.session.id)} is in {pasted(before)}, too")
            return False
        start = start_of(held.session)
        if start is not None:
            self.begun.setdefault(start, []).append(_Copy(held.session.id, len(requests_of(held)), content))
        return True

    def passed_over(self, name: str, error: SettingsError) -> None:
        """Note a file without sessions."""
        reason = str(error).replace(f"cannot read {name}", "cannot be read").removeprefix(name).strip(": ")
        self.others[name] = sys.intern(reason)

    def missing(self, name: str, tally: Tally) -> None:
        """Note what a file lacks."""
        if tally.remarks or tally.incomplete or tally.broken_count:
            self.odd.add(name)
        if tally.incomplete:
            self.bodies.add(name, tally.incomplete)
        if tally.is_cut_off:
            self.cut.add(name)
        if broken := tally.broken_count - tally.is_cut_off:
            self.broken.add(name, broken)
        self.attached.update(str(Path(path_in(name)).parent / each) for each in tally.attached)


def _prefix(source: Source) -> str:
    return "" if source.name == STDIN else name_in(path_in(source.name), None)


def _file_in(id: str) -> str:
    return id.rpartition("#")[0]


def _length(copy: _Copy) -> int:
    return copy.requests


def _most_first(reasons: dict[str, str]) -> list[tuple[str, _Files]]:
    """Return the reasons with the files that have them, the most frequent first."""
    found: dict[str, _Files] = {}
    for name, reason in reasons.items():
        found.setdefault(reason, _Files()).add(name)
    return sorted(found.items(), key=lambda item: -item[1].number)


def _listed(names: Sequence[str], number: int | None = None) -> str:
    number = len(names) if number is None else number
    more = number - min(_TOLD, len(names))
    return f"{', '.join(map(pasted, names[:_TOLD]))}{f' and {more} more' if more else ''}"


def _is_regular(path: str) -> bool:
    try:
        return stat.S_ISREG(Path(path).stat().st_mode)
    except (OSError, ValueError):
        return False
