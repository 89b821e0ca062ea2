"""The recorder and its peers, each a reverse proxy in front of the same upstream, and what their processes use."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks import parts

READY_S = 60
_SERVER = """
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  keepalive_requests 1000000000;
  {more}
  server {{
    listen 127.0.0.1:{port};
    location / {{ {what} }}
  }}
}}
"""


@dataclass(frozen=True)
class Peer:
    """A running proxy.

    Attributes:
        url: Where it listens, over http.
        pid: Its first process; others are below that.
    """

    url: str
    pid: int

    def cpu_s(self) -> float:
        """Return the CPU time that all its processes have used, those that have ended too."""
        return sum(_stat(pid)[0] for pid in family(self.pid))

    def memory_mib(self) -> float:
        """Return the resident memory of all its processes."""
        return sum(_stat(pid)[1] for pid in family(self.pid))

    def below(self, part: str) -> list[int]:
        """Return the processes below the first one with this in their command."""
        return [pid for pid in family(self.pid) if pid != self.pid and part in _command(pid)]


def family(pid: int) -> list[int]:
    """Return a process and all below it."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended
            parent = (folder / "stat").read_text(errors="replace").rpartition(") ")[2].split()[1]
            children.setdefault(int(parent), []).append(int(folder.name))
    found, waiting = [], [pid]
    while waiting:
        each = waiting.pop()
        found.append(each)
        waiting += children.get(each, [])
    return found


def _stat(pid: int) -> tuple[float, float]:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(") ")[2].split()
    except OSError:
        return 0.0, 0.0
    return sum(map(int, fields[11:15])) * parts.TICK_S, int(fields[21]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def _command(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace").replace("\0", " ")
    return ""


@contextmanager
def upstream() -> Iterator[str]:
    """Run a server that answers every request with 204: nginx, or one of ours where there is none."""
    if not shutil.which("nginx"):
        with parts.upstream() as url:
            yield url
        return
    with _nginx("return 204;") as peer:
        yield peer.url


@contextmanager
def nginx(to: str) -> Iterator[Peer]:
    """Run nginx as a proxy that stores nothing: the limit."""
    more = f"upstream there {{ server {urlsplit(to).netloc}; keepalive 64; }}"
    what = 'proxy_pass http://there; proxy_http_version 1.1; proxy_set_header Connection "";'
    with _nginx(what, more) as peer:
        yield peer


@contextmanager
def _nginx(what: str, more: str = "") -> Iterator[Peer]:
    with tempfile.TemporaryDirectory(prefix="sessiontape-bench-") as folder:
        Path(folder).chmod(0o755)  # started by root, its workers have no rights
        port = free_port()
        config = Path(folder) / "nginx.conf"
        config.write_text(_SERVER.format(folder=folder, port=port, what=what, more=more), encoding="utf-8")
        with _running(["nginx", "-p", folder, "-c", str(config), "-e", f"{folder}/error.log"], port) as peer:
            yield peer


@contextmanager
def mitmdump(to: str, *options: str) -> Iterator[Peer]:
    """Run plain mitmdump."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="sessiontape-bench-") as folder:
        command = [str(parts.BIN / "mitmdump"), "-q", "--mode", f"reverse:{to}@127.0.0.1:{port}"]
        with _running([*command, "--set", f"confdir={folder}", *options], port, cwd=folder) as peer:
            yield peer


@contextmanager
def record(to: str, store_url: str, *options: str) -> Iterator[Peer]:
    """Run our recorder."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="sessiontape-bench-") as folder:
        command = [str(parts.BIN / "sessiontape"), "record", "--upstream", to, "--listen", f"127.0.0.1:{port}"]
        with _running([*command, "--store", store_url, "--quiet", *options], port, cwd=folder) as peer:
            yield peer


@contextmanager
def mountebank(to: str) -> Iterator[Peer]:
    """Run mountebank as a proxy that keeps what it sees in memory.

    Raises:
        FileNotFoundError: There is no Node to install it with.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise FileNotFoundError("mountebank needs Node")
    admin, port = free_port(), free_port()
    with tempfile.TemporaryDirectory(prefix="sessiontape-bench-") as folder:
        install = [npm, "install", "--silent", "--no-audit", "--no-fund", "--prefix", folder, "mountebank"]
        subprocess.run(install, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        command = [
            f"{folder}/node_modules/.bin/mb",
            "start",
            "--port",
            str(admin),
            "--loglevel",
            "error",
            "--nologfile",
        ]
        with _running([*command, "--localOnly"], admin, cwd=folder) as peer:
            proxy = {"proxy": {"to": to, "mode": "proxyAlways", "predicateGenerators": []}}
            imposter = {"port": port, "protocol": "http", "stubs": [{"responses": [proxy]}]}
            with closing(http.client.HTTPConnection("127.0.0.1", admin, timeout=READY_S)) as connection:
                connection.request("POST", "/imposters", json.dumps(imposter), {"Content-Type": "application/json"})
                assert connection.getresponse().status == 201
            yield Peer(f"http://127.0.0.1:{port}", peer.pid)


@contextmanager
def _running(command: Sequence[str], port: int, cwd: str | None = None) -> Iterator[Peer]:
    process = subprocess.Popen(
        command,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=_environment(),
    )
    try:
        _await(port, process)
        yield Peer(f"http://127.0.0.1:{port}", process.pid)
    finally:
        process.terminate()
        process.wait()
        if process.stderr is not None:
            process.stderr.close()


def _environment() -> Mapping[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("SESSIONTAPE_")}


def _await(port: int, process: subprocess.Popen[bytes]) -> None:
    until_s = time.monotonic() + READY_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if process.poll() is not None or time.monotonic() > until_s:
                process.kill()
                said = process.stderr.read().decode(errors="replace") if process.stderr is not None else ""
                raise RuntimeError(f"{process.args!r} does not listen: {said}") from None
            time.sleep(0.05)


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port
