"""Collector, recorder and control API around a test command."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from proxy_addon.collector.server import Address, serving
from proxy_addon.core.fixtures.held import HeldSession
from proxy_addon.core.judging.policy import Policy
from proxy_addon.core.pseudonyms.personal import Personal
from proxy_addon.core.urls import ServerUrl
from proxy_addon.reporting.pages.report import TrialVerdict
from proxy_addon.testing import reports, verdicts
from proxy_addon.testing.control import Control, Faults, refusal
from proxy_addon.testing.rigs import Rig
from proxy_addon.testing.threads import in_thread
from proxy_addon.testing.verdicts import Judged
from storage.filters import Filters


class Stage:
    """What a test command plays on; a context manager.

    Attributes:
        rig: The recorder, and what is behind it.
        variables: What the command finds in its environment.
    """

    def __init__(
        self,
        *,
        upstream: ServerUrl | None,
        recorded: Sequence[HeldSession],
        faults: Iterable[str],
        store_url: str | None,
        policy: Policy,
        threshold: int | None,
    ) -> None:
        """Describe a stage; entering the context builds it.

        Args:
            upstream: As for `Rig`, like all that is not named here.
            threshold: As for `Control`.
        """
        self.rig = Rig(
            "run",
            upstream=upstream,
            recorded=recorded,
            faults=faults,
            store_url=store_url,
            policy=policy,
            stored=self._changed,
        )
        self.variables: Mapping[str, str] = {}
        self._policy = policy
        self._threshold = threshold
        self._control: Control | None = None
        self._controlling = ExitStack()
        self._all = ExitStack()

    def __enter__(self) -> Self:
        """Start everything.

        Raises:
            SessiontapeError: A part of it cannot start.
        """
        with ExitStack() as building:
            collector = building.enter_context(self.rig).collector
            faults = None if collector is None else Faults(order=collector.order, forgive=collector.forgive)
            self._control = control = Control(self._since, faults, policy=self._policy, threshold=self._threshold)
            controlling = building.enter_context(ExitStack())
            address = controlling.enter_context(
                in_thread(lambda: serving(control.handle, Address(port=0), refusal), "sessiontape control")
            )
            self.variables = {
                "SESSIONTAPE_URL": self.rig.url,
                "SESSIONTAPE_HOST": self.rig.host,
                "SESSIONTAPE_CONTROL": address,
            }
            self._controlling = controlling
            self._all = building.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        """Stop everything, and drop the recording unless it is kept."""
        self._all.close()

    def stop(self) -> None:
        """Store what is in flight, and stop recorder and control; the recording can still be read."""
        self._controlling.close()
        self.rig.stop()

    def _changed(self) -> None:
        if self._control is not None:
            self._control.changed()

    def case_of(self, judged: Judged) -> int:
        """Return the number of the case, as the command began them, that a recorded session belongs to."""
        assert self._control is not None
        return self._control.case_of(judged.session.started_at)

    def sessions(self) -> list[Judged]:
        """Return what was recorded, oldest session first, each judged as over.

        Raises:
            StorageError: The store cannot be read.
        """
        return self._judged(Filters(name=self.rig.name), closed=True)

    def report(
        self,
        path: Path,
        judged: Iterable[Judged],
        personal: Personal,
        compared: Iterable[reports.Compared],
        trial: TrialVerdict,
    ) -> str:
        """Write what was recorded as one HTML file without personal values, and return what was written, as a line.

        Args:
            path: An existing file is replaced.
            judged: What `sessions` returned.
            personal: Which values are personal.
            compared: What some of it was compared with.
            trial: What the command came to.

        Raises:
            SettingsError: The file cannot be written.
            StorageError: The store cannot be read.
        """
        found = {self.rig.store_url: [each.session for each in judged]}
        return reports.write(
            path,
            found,
            self._policy,
            personal,
            now=datetime.now(UTC),
            are_judged=True,
            compared=compared,
            trial=trial,
        )

    def _since(self, began_at: datetime) -> list[Judged]:
        return self._judged(Filters(name=self.rig.name, since=began_at), closed=False)

    def _judged(self, filters: Filters, *, closed: bool) -> list[Judged]:
        return verdicts.judged(self.rig.store_url, filters, self._policy, now=datetime.now(UTC), closed=closed)
