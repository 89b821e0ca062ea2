"""The page that ``sessiontape diff --report`` writes."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from proxy_addon.core.fixtures.held import HeldSession
from proxy_addon.core.judging.policy import Policy
from proxy_addon.errors import SettingsError
from proxy_addon.files import keys, whole

if TYPE_CHECKING:
    from proxy_addon.core.expectations.comparison import Comparison
    from proxy_addon.core.pseudonyms.exchanges import Pseudonymiser
    from proxy_addon.core.pseudonyms.personal import Personal
    from proxy_addon.core.replays.runs import SessionRun
    from proxy_addon.core.timelines.pictures import Picture
    from proxy_addon.reporting.pages.compare import ComparePage


def check_path(path: Path) -> None:
    """Check that a page can be written, before anything is compared.

    Raises:
        SettingsError: The name does not end in ``.html``, or the file cannot be written.
    """
    if path.suffix.lower() not in {".html", ".htm"}:
        raise SettingsError(f"{path} does not name the format of the report", hint="end its name with .html")
    if not path.parent.is_dir() or not os.access(path.parent, os.W_OK) or path.is_dir():
        raise SettingsError(f"cannot write {path}", hint="does its folder exist, and may you write there?")


@dataclass(frozen=True, kw_only=True)
class Compared:
    """One of two sessions that were compared.

    Attributes:
        name: As the user named it.
        picture: Returns the session judged and ready to be drawn, with tokens in place of personal values if it gets a
            pseudonymiser.
    """

    held: HeldSession
    name: str
    picture: Callable[[Pseudonymiser | None], Picture]


@dataclass(frozen=True, kw_only=True)
class Report:
    """A page to write.

    Attributes:
        raw: Whether personal values stay as they are.
    """

    path: Path
    raw: bool
    personal: Personal

    def of_sessions(self, a: Compared, b: Compared) -> None:
        """Write the comparison of two sessions.

        Raises:
            SettingsError: The page cannot be written.
        """
        from proxy_addon.reporting.pages.compare import Side, sessions_page  # noqa: PLC0415  # --help does without

        tokens = self._tokens(a.held, b.held)
        one, other = (Side(picture=each.picture(tokens), name=each.name) for each in (a, b))
        self._write(sessions_page(one, other, answers=a.held.has_answers and b.held.has_answers))

    def of_replay(self, a: Compared, run: SessionRun, *, run_id: str) -> None:
        """Write the comparison of a session with its replay.

        Raises:
            SettingsError: The page cannot be written.
        """
        from proxy_addon.reporting.pages.compare import Side, replay_page  # noqa: PLC0415  # as above

        tokens = self._tokens(a.held)
        one = Side(picture=a.picture(tokens), name=a.name)
        recorded = () if a.held.session.pseudonymised else a.held.exchanges
        self._write(replay_page(one, run, name=f"run {run_id}", pseudonymise=tokens, recorded=recorded))

    def of_test(self, comparison: Comparison, *, expected: str, actual: str, now: datetime, policy: Policy) -> None:
        """Write the comparison of a session with an expectation.

        Raises:
            SettingsError: The page cannot be written.
        """
        from proxy_addon.reporting.pages.compare import expectation_page  # noqa: PLC0415  # as above

        tokens = self._tokens(comparison.expected, comparison.actual)
        self._write(
            expectation_page(comparison, expected=expected, actual=actual, now=now, policy=policy, pseudonymise=tokens)
        )

    def _tokens(self, *held: HeldSession) -> Pseudonymiser | None:
        from proxy_addon.core.pseudonyms.exchanges import Pseudonymiser  # noqa: PLC0415  # as above

        if self.raw:
            return None
        return Pseudonymiser(keys.of_output(each.session.id for each in held), self.personal)

    def _write(self, page: ComparePage) -> None:
        from proxy_addon.reporting.pages.compare import html  # noqa: PLC0415  # as above

        whole.write(self.path, (piece.encode() for piece in html(page)), is_private=self.raw)
