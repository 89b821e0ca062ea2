"""Collector, recorder and control API around a test command."""

from __future__ import annotations

import secrets
import tempfile
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
from proxy_addon.testing.collecting import RunningCollector
from proxy_addon.testing.control import Control, Faults, refusal
from proxy_addon.testing.recorders import Legacy, RunningRecorder
from proxy_addon.testing.threads import in_thread
from proxy_addon.testing.verdicts import Judged
from storage.filters import Filters


class Stage:
    """What a test command plays on; a context manager.

    Attributes:
        variables: What the command finds in its environment.
        name: Name of the recording, unique in its store.
        url: Where the command's player sends its requests.
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
            upstream: The server to record; None for a collector.
            recorded: The session that the collector answers from, with all attempts to start it; empty for answers by the
                protocol.
            faults: Of the collector, from the beginning.
            store_url: Where the recording is kept; None if it is dropped when the context ends.
            policy: How strictly to judge.
            threshold: As for `Control`.
        """
        self.variables: Mapping[str, str] = {}
        self.url = ""
        self.name = f"run-{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
        self._upstream = upstream
        self._recorded = recorded
        self._faults = tuple(faults)
        self._store_url = store_url
        self._policy = policy
        self._threshold = threshold
        self._recorder: RunningRecorder | None = None
        self._collector: RunningCollector | None = None
        self._control: Control | None = None
        self._playing = ExitStack()
        self._all = ExitStack()

    def __enter__(self) -> Self:
        """Start everything.

        Raises:
            SessiontapeError: A part of it cannot start.
        """
        with ExitStack() as building:
            upstream: ServerUrl | str
            if self._upstream is not None:
                upstream, faults = self._upstream, None
            else:
                self._collector = collector = building.enter_context(
                    RunningCollector(self._recorded, self._faults, self._policy)
                )
                upstream, faults = collector.url, Faults(order=collector.order, forgive=collector.forgive)
            folder = None
            store_url = self._store_url
            if store_url is None:
                folder = Path(building.enter_context(tempfile.TemporaryDirectory(prefix="sessiontape-")))
                store_url = f"sqlite:///{folder}/run.db"
            playing = building.enter_context(ExitStack())
            self._control = control = Control(self._since, faults, policy=self._policy, threshold=self._threshold)
            self._recorder = RunningRecorder(
                upstream,
                store_url,
                name=self.name,
                policy=self._policy,
                check=self._store_url is not None,  # otherwise nobody reads the findings that it would store
                stored=control.changed,
                legacy=Legacy(folder, variable="SESSIONTAPE_URL"),
            )
            playing.enter_context(self._recorder)
            address = playing.enter_context(
                in_thread(lambda: serving(control.handle, Address(port=0), refusal), "sessiontape control")
            )
            self.url = self._recorder.url
            self.variables = {
                "SESSIONTAPE_URL": self._recorder.url,
                "SESSIONTAPE_HOST": self._recorder.host,
                "SESSIONTAPE_CONTROL": address,
            }
            self._playing = playing
            self._all = building.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        """Stop everything, and drop the recording unless it is kept."""
        self._all.close()

    def stop(self) -> None:
        """Store what is in flight, and stop recorder and control; the recording can still be read."""
        self._playing.close()

    @property
    def remarks(self) -> Sequence[str]:
        """Warnings of the recorder, and requests that the collector found no recorded answer for, one per line."""
        warnings = self._recorder.warnings if self._recorder else ()
        return [*warnings, *(self._collector.remarks if self._collector else ())]

    @property
    def is_complete(self) -> bool:
        """Whether all exchanges were stored; known after `stop`."""
        return self._recorder is not None and self._recorder.is_complete

    def case_of(self, judged: Judged) -> int:
        """Return the number of the case, as the command began them, that a recorded session belongs to."""
        assert self._control is not None
        return self._control.case_of(judged.session.started_at)

    def sessions(self) -> list[Judged]:
        """Return what was recorded, oldest session first, each judged as over.

        Raises:
            StorageError: The store cannot be read.
        """
        return self._judged(Filters(name=self.name), closed=True)

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
        assert self._recorder is not None
        found = {self._recorder.store_url: [each.session for each in judged]}
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
        return self._judged(Filters(name=self.name, since=began_at), closed=False)

    def _judged(self, filters: Filters, *, closed: bool) -> list[Judged]:
        assert self._recorder is not None
        return verdicts.judged(self._recorder.store_url, filters, self._policy, now=datetime.now(UTC), closed=closed)
