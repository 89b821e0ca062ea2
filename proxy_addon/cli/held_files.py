"""The sessions in files and folders, read one file after the other: what an audit of files adds up."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from proxy_addon.core.fixtures.held import content_of, requests_of, start_of
from proxy_addon.core.wording import counted, pasted, visible
from proxy_addon.errors import SettingsError
from proxy_addon.files.sessions import in_file, is_file_name, name_in, path_in

if TYPE_CHECKING:
    from proxy_addon.core.audits.results import FileNote
    from proxy_addon.core.fixtures.captures import Tally
    from proxy_addon.core.fixtures.held import HeldSession

STDIN = "-"
_KINDS = 5
"""How many reasons why files are passed over are told on stderr."""
_TOLD = 2
"""How many files or sessions are named on stderr; the notes name all."""


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


class HeldFiles:
    """Sessions in files and folders, each once, and each with an id by which ``sessiontape show`` finds it.

    That is ``FILE#ID``, and of a list of bodies ``FILE``.

    Of a folder, it reads all files in it and in the folders below, except hidden ones. No more than the sessions of one file
    are in memory, beside two short hashes and the name of each session, by which it is known in another file.

    Attributes:
        is_to_be_read_again: Whether sessions were yielded, the first time, of which another file turned out to have more;
            they are left out from then on.
        notes: What is to be said of all of them, complete when all sessions were read once: what could not be read, what files
            lack, and which sessions are in several files.
    """

    def __init__(self, names: Sequence[str]) -> None:
        """Find the files.

        Raises:
            click.UsageError: A name is that of no file.
        """
        self.notes: tuple[FileNote, ...] = ()
        self.is_to_be_read_again = False
        self._left_out: set[bytes] = set()
        self._contents: frozenset[bytes] = frozenset()
        self._names = [*names]
        self._links: list[str] = []
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
            self._contents = frozenset(remarks.known) - self._left_out
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
                    remarks.shorter.append(f"{pasted(copy.id)} is the beginning of {pasted(beginnings[copy.id].id)}")
                else:
                    remarks.similar.append(f"{pasted(copy.id)} and {pasted(longest.id)}")

    def _sought(self, source: Source, remarks: _Remarks) -> Sequence[HeldSession]:
        try:
            return self._read(source, remarks)
        except SettingsError as e:
            if not source.is_sought:
                raise
            remarks.passed_over(source.name, e)
            return ()

    def shared(self, others: HeldFiles) -> int:
        """Return how many sessions are in other files, too; both were read once."""
        return len(self._contents & others._contents)

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
            self._links += (str(path) for path in (Path(parent, name) for name in folders) if path.is_symlink())
            for name in files:
                path = Path(parent, name)
                # A link that leads nowhere is told like a file that cannot be read; pipes and devices would never end.
                if not name.startswith(".") and (_is_regular(str(path)) or (path.is_symlink() and not path.exists())):
                    yield str(path)

    def _refused(self, error: OSError) -> None:
        self._closed.append(str(error.filename))

    def _tell(self, remarks: _Remarks, files: Collection[str]) -> None:
        """Note what is to be said, and say it on stderr in a few lines.

        Args:
            files: Those that are more than a part of another one.
        """
        of = counted(len(files), "file")
        unread, unused = [*self._unread()], [*remarks.without_sessions(files, of)]
        lacking, remarked = [*remarks.lacking(of)], [*remarks.remarked(of)]
        several = [*remarks.of_sessions()]
        self.notes = (*unread, *unused, *lacking, *remarked, *several)
        _say(unread)
        _say(unused, "'sessiontape show FILE' says what to do")
        if len(self._sources) > 1:  # of one file, it was said when it was read
            _say(lacking)
            if remarked:
                names = dict.fromkeys(name for note in remarked for name in note.files)
                _say(
                    [_of_files(names, of, "with remarks on what their tools leave out")],
                    "'sessiontape check FILE' says which",
                )
        _say(several)

    def _unread(self) -> Iterator[FileNote]:
        from proxy_addon.core.audits.results import FileNote  # noqa: PLC0415  # --help does without the rules

        if self._closed:
            yield FileNote(text=f"{counted(len(self._closed), 'folder')} cannot be read", files=tuple(self._closed))
        if self._links:
            links, they = (
                ("links to folders", "they lead") if len(self._links) > 1 else ("a link to a folder", "it leads")
            )
            yield FileNote(text=f"{links} not followed: name what {they} to", files=tuple(self._links))


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
        others: Files without sessions, by the reason.
        bodies: How many bodies of requests files lack.
        cut: Files that end in the middle of an entry.
        broken: How many other entries of files cannot be read.
        remarks: Files by what else is to be said of them.
        repeated: Sessions that an earlier file has, too.
        shorter: Sessions that another file has with more requests.
        similar: Sessions that another file has with other requests.
        known: Where sessions were found, by what is in them.
        begun: Sessions by their starts.
    """

    attached: set[str] = field(default_factory=set)
    others: dict[str, list[str]] = field(default_factory=dict)
    bodies: dict[str, int] = field(default_factory=dict)
    cut: list[str] = field(default_factory=list)
    broken: dict[str, int] = field(default_factory=dict)
    remarks: dict[str, list[str]] = field(default_factory=dict)
    repeated: list[str] = field(default_factory=list)
    shorter: list[str] = field(default_factory=list)
    similar: list[str] = field(default_factory=list)
    known: dict[bytes, str] = field(default_factory=dict)
    begun: dict[bytes, list[_Copy]] = field(default_factory=dict)

    def is_new(self, held: HeldSession, file: str, left_out: Collection[bytes]) -> bool:
        """Note a session of a file, and return whether it was in no file before, and its content is not left out."""
        content = content_of(held)
        if content in left_out:
            return False
        before = self.known.setdefault(content, file)
        if before != file:
            self.repeated.append(f"{pasted(held.session.id)} is in {pasted(before)}, too")
            return False
        start = start_of(held.session)
        if start is not None:
            self.begun.setdefault(start, []).append(_Copy(held.session.id, len(requests_of(held)), content))
        return True

    def passed_over(self, name: str, error: SettingsError) -> None:
        """Note a file without sessions."""
        reason = str(error).replace(f"cannot read {name}", "cannot be read").removeprefix(name).strip(": ")
        self.others.setdefault(reason, []).append(name)

    def missing(self, name: str, tally: Tally) -> None:
        """Note what a file lacks."""
        for remark in tally.remarks:
            self.remarks.setdefault(remark, []).append(name)
        if tally.incomplete:
            self.bodies[name] = tally.incomplete
        if tally.is_cut_off:
            self.cut.append(name)
        if broken := tally.broken_count - tally.is_cut_off:
            self.broken[name] = broken
        self.attached.update(str(Path(path_in(name)).parent / each) for each in tally.attached)

    def without_sessions(self, files: Collection[str], of: str) -> Iterator[FileNote]:
        """Say why some of these files were passed over, the most frequent reason first."""
        others = {reason: [name for name in names if name in files] for reason, names in self.others.items()}
        for reason, names in _most_first(others):
            yield _of_files(names, of, f"passed over: {reason}")

    def lacking(self, of: str) -> Iterator[FileNote]:
        """Say what files lack, and which: the gravest first."""
        if self.bodies:
            requests = counted(sum(self.bodies.values()), "request")
            yield _of_files(self.bodies, of, f"without the bodies of {requests}, not judged")
        if self.cut:
            yield _of_files(self.cut, of, "cut off, so that the end is missing")
        if self.broken:
            number = sum(self.broken.values())
            yield _of_files(self.broken, of, f"with {counted(number, 'entry that', 'entries that')} cannot be read")

    def remarked(self, of: str) -> Iterator[FileNote]:
        """Say what else is to be said of files, such as what the tools that wrote them leave out."""
        for remark, names in _most_first(self.remarks):
            yield _of_files(names, of, remark, ": ")

    def of_sessions(self) -> Iterator[FileNote]:
        """Say which sessions are in several files, and what counts."""
        from proxy_addon.core.audits.results import FileNote  # noqa: PLC0415  # as above

        for sessions, text in (
            (self.repeated, "found in several files, counted once"),
            (self.shorter, "found longer in another file, which counts"),
            (self.similar, "with the ID and start of one in another file, but other requests: both count"),
        ):
            if sessions:
                yield FileNote(text=f"{counted(len(sessions), 'session')} {text}", sessions=tuple(sessions))


def _of_files(names: Collection[str], of: str, text: str, between: str = " ") -> FileNote:
    from proxy_addon.core.audits.results import FileNote  # noqa: PLC0415  # as above

    return FileNote(text=f"{len(names):,} of {of}{between}{text}", files=tuple(names))


def _most_first(names: Mapping[str, Sequence[str]]) -> list[tuple[str, Sequence[str]]]:
    found = [(reason, those) for reason, those in names.items() if those]
    return sorted(found, key=lambda item: -len(item[1]))


def _say(notes: Iterable[FileNote], how: str = "") -> None:
    """Say notes of a kind on stderr, each with the first files or sessions.

    Args:
        how: How one learns more.
    """
    said = [*notes]
    for note in said[:_KINDS]:
        click.echo(visible(f"sessiontape: {note.text}{how and f'; {how}'}"), err=True)
        how = ""
        more = len(note.files) + len(note.sessions) - _TOLD
        lines = [", ".join(map(pasted, note.files[:_TOLD]))] if note.files else [*note.sessions[:_TOLD]]
        if more > 0 and note.files:
            lines = [f"{lines[0]} and {more:,} more"]
        elif more > 0:
            lines.append(f"and {more:,} more")
        for line in lines:
            click.echo(visible(f"  {line}"), err=True)
    if len(said) > _KINDS:
        click.echo(f"  and {counted(len(said) - _KINDS, 'reason')} more", err=True)


def _prefix(source: Source) -> str:
    return "" if source.name == STDIN else name_in(path_in(source.name), None)


def _file_in(id: str) -> str:
    return id.rpartition("#")[0]


def _length(copy: _Copy) -> int:
    return copy.requests


def _is_regular(path: str) -> bool:
    try:
        return stat.S_ISREG(Path(path).stat().st_mode)
    except (OSError, ValueError):
        return False
