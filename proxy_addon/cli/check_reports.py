"""The files that ``check --report`` asks for, filled while subjects are judged."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

from proxy_addon.cli.reports import Reading, Source, pseudonymiser, write
from proxy_addon.core.sessions import FindingCounts, Session
from proxy_addon.errors import SettingsError

if TYPE_CHECKING:
    from proxy_addon.reporting.judged import Subject


class Reports:
    """The reports of a check; a context manager.

    Attributes:
        failed: Whether a finding so far is as severe as the threshold.
        sessions: How many of the subjects so far are sessions.
        plan_groups: The places of the groups of the plan that any of them is in.
    """

    def __init__(
        self, paths: Sequence[Path], threshold: int | None, how: Reading, *, config: Path | None, store_url: str
    ) -> None:
        """Prepare to write reports.

        Args:
            paths: Their names say their formats.
            threshold: The weight from which a finding is a failure; None if no finding is.
            how: How sessions are read for a page.
            config: The settings file, which says which values are personal.
            store_url: Where stored sessions are.

        Raises:
            SettingsError: A name says no format, or its file cannot be written.
        """
        from proxy_addon.reporting import check_files  # noqa: PLC0415  # --help does without

        for path in paths:
            check_files.check_path(path)
        self.failed = False
        self.sessions = 0
        self.plan_groups: set[int] = set()
        self._threshold = threshold
        self._how = how
        self._config = config
        self._store_url = store_url
        self._pages = [path for path in paths if path.suffix.lower() in check_files.PAGES]
        self._files = [check_files.FindingsFile(path, threshold) for path in paths if path not in self._pages]
        self._sources: list[Source] = []
        self._has_bodies_alone = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files:
            file.close()

    def noting(self, subjects: Iterable[Subject]) -> Iterator[Subject]:
        """Yield subjects, and note what the reports tell of them."""
        for subject in subjects:
            weights = (finding.severity.weight for finding in subject.judgement.findings)
            if self._threshold is not None and max(weights, default=0) >= self._threshold:
                self.failed = True
            self.sessions += subject.session is not None or subject.held is not None
            self.plan_groups.update(subject.judgement.plan_groups)
            for file in self._files:
                file.add(subject)
            if self._pages:
                self._note_session(subject)
            yield subject

    def write(self) -> None:
        """Write all reports.

        Raises:
            SettingsError: A file cannot be written, or a page is asked for of what is no session.
        """
        from proxy_addon.files import whole  # noqa: PLC0415  # as above

        for file in self._files:
            whole.write(file.path, file.end(ok=not self.failed))
        for path in self._pages:
            if self._has_bodies_alone:
                raise SettingsError(
                    f"{path} was not written: an HTML report shows sessions, and what was checked is none",
                    hint="end its name with .json, .xml or .sarif",
                )
            self._write_page(path)

    def _note_session(self, subject: Subject) -> None:
        counts = FindingCounts().plus(subject.judgement.findings)
        if subject.held is not None:
            held = subject.held
            self._sources.append(replace(held, session=replace(held.session, findings=counts)))
        elif subject.session is not None:
            self._sources.append(replace(subject.session, findings=counts))
        else:
            self._has_bodies_alone = True

    def _write_page(self, path: Path) -> None:
        from storage import opening  # noqa: PLC0415  # as above

        is_stored = any(isinstance(source, Session) for source in self._sources)
        with opening.reading(self._store_url) if is_stored else nullcontext() as db:
            change = pseudonymiser(self._sources, None, self._config)
            write(str(path), self._sources, db, replace(self._how, change=change))
