"""The evidence for scenarios while it is gathered: sessions are judged, and what is found is printed and written."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from proxy_addon.cli.opening import reading
from proxy_addon.cli.output import say
from proxy_addon.core.sessions import Session

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from proxy_addon.cli.reports import Source
    from proxy_addon.core.judging.policy import Policy
    from proxy_addon.core.pseudonyms.exchanges import Pseudonymiser
    from proxy_addon.core.scenarios.judging import Evidence
    from proxy_addon.core.scenarios.scenario import Scenario


class Gathered:
    """The evidence of one command.

    Attributes:
        found: The evidence so far, with values as they were sent.
        shown: The same as the page shows it; empty if there is none.
    """

    def __init__(self, fail_on: str, config: Path | None, key_file: Path | None, *, raw: bool, with_page: bool) -> None:
        from proxy_addon.core.findings import Severity  # noqa: PLC0415  # --help does without
        from proxy_addon.files import settings  # noqa: PLC0415

        self.found: list[Evidence] = []
        self.shown: list[Evidence] = []
        self.policy: Policy = settings.load(config)
        self._fail_on = None if fail_on == "never" else Severity(fail_on)
        self._config = config
        self._key_file = key_file
        self._raw = raw
        self._with_page = with_page
        self._change: Pseudonymiser | None = None
        self._printed = 0

    @property
    def has_sessions(self) -> bool:
        """Whether a session was recorded at all."""
        return any(each.pictures for each in self.found)

    def of_recorded(self, scenario: Scenario, names: Sequence[str], store_url: str) -> None:
        """Judge sessions of a store, or of files.

        Raises:
            SessiontapeError: There is no such session, or it cannot be read.
        """
        from proxy_addon.cli import sources  # noqa: PLC0415  # as above
        from proxy_addon.core.fixtures.held import content_of  # noqa: PLC0415
        from proxy_addon.files.sessions import in_file, is_file_name, path_in  # noqa: PLC0415
        from storage import sessions  # noqa: PLC0415

        with ExitStack() as stack:
            db = None if all(map(is_file_name, names)) else stack.enter_context(reading(store_url))
            found: list[Source] = []
            known: dict[bytes, str] = {}
            for name in names:
                if is_file_name(name):
                    for held in sources.sessions_of(name):
                        told = in_file(held, path_in(name))
                        before = known.setdefault(content_of(held), told.session.id)
                        if before == told.session.id:
                            found.append(told)
                        else:
                            say(f"{told.session.id} counts once: it is the same as {before}")
                else:
                    assert db is not None
                    found.append(sessions.find(db, name))
            self.judge(scenario, sorted(found, key=_began), db)

    def judge(
        self,
        scenario: Scenario,
        sessions: Sequence[Source],
        db: Connection | None,
        exit_code: int | None = None,
    ) -> None:
        """Judge sessions, the oldest first.

        Args:
            exit_code: Of the command that played the scenario; None if no command did.
        """
        from proxy_addon.cli import reports  # noqa: PLC0415  # as above
        from proxy_addon.core.scenarios.judging import judge, told_with  # noqa: PLC0415

        def judged(change: Pseudonymiser | None) -> Evidence:
            how = reports.Reading(policy=self.policy, now=datetime.now(UTC), change=change, closed=True)
            pictures = (each.picture() for each in reports.reported(sessions, db, how))
            return judge(scenario, pictures, self._fail_on, exit_code=exit_code)

        evidence = judged(None)
        self.found.append(evidence)
        if self._with_page:
            if self._raw:
                self.shown.append(evidence)
            else:
                if self._change is None:  # one for all, so that a value has the same token in the whole file
                    self._change = reports.pseudonymiser(sessions, self._key_file, self._config)
                self.shown.append(told_with(evidence, judged(self._change)))

    def print(self) -> None:
        """Print the evidence that was not printed before."""
        from proxy_addon.reporting import evidence  # noqa: PLC0415  # as above
        from proxy_addon.reporting.terminal import console  # noqa: PLC0415

        new, self._printed = self.found[self._printed :], len(self.found)
        for each in new:
            evidence.print_evidence(console(), each)

    def write(self, path: Path) -> None:
        """Write the page.

        Raises:
            SettingsError: The file cannot be written.
        """
        from proxy_addon.files import whole  # noqa: PLC0415  # as above
        from proxy_addon.reporting.pages.evidence import evidence_file  # noqa: PLC0415

        pieces = evidence_file(self.shown, made_at=datetime.now(UTC), pseudonymised=not self._raw)
        size = whole.write(path, (piece.encode("utf-8", "replace") for piece in pieces), is_private=self._raw)
        say(f"evidence written to {path}, {size / 1000:.0f} kB")


def _began(source: Source) -> datetime:
    return source.started_at if isinstance(source, Session) else source.session.started_at
