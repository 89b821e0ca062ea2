"""Recorders that are killed and started again on their port, and a PostgreSQL that is stopped, killed and hung."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg

from proxy_addon.journal import folders
from storage.engine import hide_password
from tests import postgres, processes

ENDS_WITHIN_S = 60


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


class Recorder:
    """``sessiontape record`` on a port of its own, run as often as a test likes."""

    def __init__(
        self, folder: Path, upstream: str, store_url: str, *options: str, files: tuple[int, int] | None = None
    ) -> None:
        """Describe one; ``files`` are the limits of open files, soft and hard, with which it starts."""
        self.port = free_port()
        listen = f"127.0.0.1:{self.port}"
        self._command = [processes.COMMAND, "record", "--upstream", upstream, "--listen", listen, "--store", store_url]
        self._command += options
        if files is not None:
            self._command[:0] = ["sh", "-c", f'ulimit -Sn {files[0]} && ulimit -Hn {files[1]} && exec "$@"', "sh"]
        self._folder = folder
        self._journal = journal_of(store_url, options)
        self.runs: list[processes.Process] = []

    @property
    def process(self) -> processes.Process:
        """The newest run."""
        return self.runs[-1]

    @property
    def output(self) -> str:
        """What all runs have said."""
        return "\n".join(run.output for run in self.runs)

    def start(self) -> None:
        """Start it and wait until it listens."""
        process = processes.Process(self._command, self._folder, "listening on")
        self.runs.append(process)
        process.wait_until_ready()

    def stop(self, *codes: int) -> float:
        """End it in good order, with an exit code of these, or 0; return how many seconds that took."""
        began_s = time.monotonic()
        found = self.process.stop()
        assert found in (codes or (0,)), self.process.output
        return time.monotonic() - began_s

    def kill(self) -> None:
        self.process.popen.kill()
        self.process.wait()

    def kill_ingest(self) -> None:
        """Kill the process that files; wait for it, if there is none at the moment."""
        deadline = time.monotonic() + ENDS_WITHIN_S
        while (pid := self.ingest()) is None:
            assert time.monotonic() < deadline, self.output
            time.sleep(0.01)
        os.kill(pid, signal.SIGKILL)

    def ingest(self) -> int | None:
        """Return the pid of the process that files; None if there is none."""
        with suppress(OSError):
            pid: int = json.loads((self._journal / folders.INGEST).read_bytes())["pid"]
            lock = str(self._journal / folders.INGEST_LOCK)
            # Another process may have the pid of one that was killed.
            if lock in {str(file.readlink()) for file in Path(f"/proc/{pid}/fd").iterdir()}:
                return pid
        return None

    def end(self) -> None:
        """Leave nothing running, whatever the test has come to."""
        if self.runs and self.process.popen.poll() is None:
            self.kill()
        if (pid := self.ingest()) is not None:
            os.kill(pid, signal.SIGKILL)


def journal_of(store_url: str, options: tuple[str, ...] = ()) -> Path:
    """Return the journal folder of a store."""
    if "--journal" in options:
        return Path(options[options.index("--journal") + 1])
    path = store_url.removeprefix("sqlite:///") if store_url.startswith("sqlite") else None
    return folders.default(Path(path) if path else None, hide_password(store_url))


class Cluster:
    """A PostgreSQL of its own, which can be taken away and given back."""

    def __init__(self, server: postgres.Server) -> None:
        self._server = server
        self._data = server.folder / "data"
        self._command = Path(f"/proc/{self.pid}/cmdline").read_text(encoding="utf-8").split("\0")[:-1]
        self._user = self._data.stat().st_uid
        self._started: list[subprocess.Popen[bytes]] = []

    @property
    def server(self) -> postgres.Server:
        return self._server

    @property
    def pid(self) -> int:
        return int((self._data / "postmaster.pid").read_text(encoding="utf-8").split()[0])

    def stop(self) -> None:
        """Stop it; open connections are cut, new ones refused."""
        self._end([self.pid], signal.SIGINT)

    def kill(self) -> None:
        """Kill all its processes."""
        self._end(self._family(), signal.SIGKILL)
        # They may stay zombies of a shell that waits for something else, which a new server takes for a running one.
        for lock in (self._data / "postmaster.pid", *self._server.folder.glob(".s.PGSQL.*")):
            lock.unlink()

    def pause(self) -> None:
        """Hang it: it takes connections and says nothing any more."""
        for pid in self._family():
            processes.hang(pid)

    def resume(self) -> None:
        for pid in self._family():
            os.kill(pid, signal.SIGCONT)

    def start(self) -> None:
        """Start it as it was started before, and wait until it answers."""
        is_root = os.geteuid() == 0
        with (self._server.folder / "log").open("ab") as log:
            process = subprocess.Popen(
                self._command,
                cwd=self._server.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                user=self._user if is_root else None,
                group=self._user if is_root else None,
                extra_groups=[] if is_root else None,
                start_new_session=True,
            )
        self._started.append(process)
        while True:
            with suppress(psycopg.OperationalError):
                psycopg.connect(self._server.url("postgres")).close()
                return
            assert process.poll() is None, (self._server.folder / "log").read_text(encoding="utf-8", errors="replace")

    def close(self) -> None:
        for process in self._started:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
            process.wait(ENDS_WITHIN_S)

    def _family(self) -> list[int]:
        """Return the postmaster and its children; these have process groups of their own."""
        found = [self.pid]
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):
                fields = stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
                if int(fields[1]) == found[0]:
                    found.append(int(stat.parent.name))
        return found

    @staticmethod
    def _end(pids: list[int], number: signal.Signals) -> None:
        files = [os.pidfd_open(pid) for pid in pids]
        for pid in pids:
            os.kill(pid, number)
        for file in files:
            select.select([file], [], [], ENDS_WITHIN_S)
            os.close(file)


@contextmanager
def cluster() -> Iterator[Cluster]:
    with postgres.running() as server:
        found = Cluster(server)
        try:
            yield found
        finally:
            found.close()
