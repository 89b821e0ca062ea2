"""What players are recorded with: a recorder, with a collector behind it unless there is a real upstream."""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from proxy_addon.core.fixtures.held import HeldSession
from proxy_addon.core.judging.policy import Policy
from proxy_addon.core.urls import ServerUrl
from proxy_addon.testing.collecting import RunningCollector
from proxy_addon.testing.recorders import Legacy, RunningRecorder


class Rig:
    """A recorder, and what is behind it; a context manager.

    Attributes:
        url: Where players send their requests.
        host: The same without the scheme.
        name: Name of the recording, unique in its store.
        store_url: The store that has it.
        collector: What answers; None if that is a real upstream.
    """

    def __init__(
        self,
        made_by: str,
        *,
        upstream: ServerUrl | None,
        recorded: Sequence[HeldSession] = (),
        faults: Iterable[str] = (),
        listen: tuple[str, int] = ("127.0.0.1", 0),
        store_url: str | None,
        policy: Policy,
        stored: Callable[[], object],
    ) -> None:
        """Describe a rig; entering the context builds it.

        Args:
            made_by: The command, with which the name of the recording begins.
            upstream: The server to record; None for a collector.
            recorded: The session that the collector answers from, with all attempts to start it; empty for answers by the
                protocol.
            faults: Of the collector, from the beginning.
            listen: Where the recorder listens; port 0 takes a free one.
            store_url: Where the recording is kept; None if it is dropped when the context ends.
            policy: How strictly to judge.
            stored: Called each time something was stored or warned of, from a thread of ours; it must not block.
        """
        self.url = ""
        self.host = ""
        self.name = f"{made_by}-{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
        self.store_url = store_url or ""
        self.collector = None if upstream is not None else RunningCollector(recorded, faults, policy)
        self._made_by = made_by
        self._upstream = upstream
        self._listen = listen
        self._policy = policy
        self._stored = stored
        self._recorder: RunningRecorder | None = None
        self._recording = ExitStack()
        self._all = ExitStack()

    def __enter__(self) -> Self:
        """Start everything.

        Raises:
            SessiontapeError: A part of it cannot start.
        """
        with ExitStack() as building:
            upstream: ServerUrl | str | None = self._upstream
            if self.collector is not None:
                upstream = building.enter_context(self.collector).url
            assert upstream is not None
            is_kept, folder = bool(self.store_url), None
            if not is_kept:
                folder = Path(building.enter_context(tempfile.TemporaryDirectory(prefix="sessiontape-")))
                self.store_url = f"sqlite:///{folder}/{self._made_by}.db"
            recording = building.enter_context(ExitStack())
            self._recorder = recording.enter_context(
                RunningRecorder(
                    upstream,
                    self.store_url,
                    listen=self._listen,
                    name=self.name,
                    policy=self._policy,
                    check=is_kept,  # otherwise nobody reads the findings that it would store
                    stored=self._stored,
                    legacy=Legacy(folder, variable="SESSIONTAPE_URL"),
                )
            )
            self.url, self.host = self._recorder.url, self._recorder.host
            self._recording = recording
            self._all = building.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        """Stop everything, and drop the recording unless it is kept."""
        self._all.close()

    def stop(self) -> None:
        """Store what is in flight, and stop the recorder; the recording can still be read."""
        self._recording.close()

    @property
    def remarks(self) -> Sequence[str]:
        """Warnings of the recorder, and requests that the collector found no recorded answer for, one per line."""
        warnings = () if self._recorder is None else self._recorder.warnings
        return [*warnings, *(() if self.collector is None else self.collector.remarks)]

    @property
    def is_complete(self) -> bool:
        """Whether all exchanges were stored; known after `stop`."""
        return self._recorder is not None and self._recorder.is_complete
