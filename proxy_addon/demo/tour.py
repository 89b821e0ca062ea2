"""The demo: real processes record, check and replay a session over loopback, step by step.

A player reports through the recording proxy to a stand-in for the back end. The session is listed, shown, judged, and
replayed to a second stand-in. Finally, the hashes of the stored and received bodies are compared.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from proxy_addon.demo.processes import ProcessFailed, Server, Workplace
from proxy_addon.errors import SettingsError

_ANY_PORT = ("--listen", "127.0.0.1:0")
_REPLAY_SPEED = "5"
_BROKEN = '{"eventType": "pause", "playerTime": {"playhead": "12.5", "ts": 1731672012}}'

_PAGE = "session.html"

Say = Callable[[str], None]


def run(say: Say, keep: Path | None = None) -> None:
    """Run the demo, and leave nothing behind but the page of the session.

    Args:
        keep: A folder in which all of it stays, the store and the logs too; it is made, or empty.

    Raises:
        ProcessFailed: A step failed.
        SettingsError: The folder cannot be used.
    """
    if keep is not None:
        _make(keep)
        _Tour(keep.absolute(), say).run()
        _tell(say, keep.absolute() / _PAGE)
        return
    with tempfile.TemporaryDirectory(prefix="sessiontape-demo-") as folder:
        _Tour(Path(folder), say).run()
        page = Path(tempfile.mkdtemp(prefix="sessiontape-demo-")) / _PAGE
        shutil.move(Path(folder) / _PAGE, page)
    _tell(say, page)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        is_empty = not any(folder.iterdir())
    except OSError as e:
        raise SettingsError(f"cannot make the folder {folder}: {e.strerror}", hint="name another with --keep") from e
    if not is_empty:
        raise SettingsError(f"the folder {folder} is not empty", hint="name a new one with --keep")


def _tell(say: Say, page: Path) -> None:
    say(f"\nThe page of the session is {page}; open it in a browser.")


class _Tour:
    def __init__(self, folder: Path, say: Say) -> None:
        self._folder = folder
        self._say = say
        self._workplace = Workplace(folder, {"SESSIONTAPE_STORE": "sqlite:///demo.db"})

    def run(self) -> None:
        self._say("sessiontape records what a video player reports, checks it, and replays it to another server.")
        self._say("Everything below is real: processes on this machine that speak HTTP over loopback.")
        self._heading("1. A server that players report to; here a stand-in for the real one")
        with self._server("collector", *_ANY_PORT, "--log", "upstream.jsonl") as upstream:
            self._heading("2. The recording proxy in front of it")
            with self._server("record", "--upstream", upstream.url, "--name", "demo", *_ANY_PORT) as proxy:
                self._heading("3. A player plays a short clip with an ad, and reports to the proxy")
                self._module("proxy_addon.demo.player", proxy.url)
            self._say("\nThe proxy is stopped; what it saw is in the store, demo.db.")
            session = self._look()
            self._replay(session, upstream)

    def _look(self) -> dict[str, Any]:
        self._heading("4. What was recorded")
        self._command("sessions")
        sessions = json.loads(self._workplace.ask("sessions", "--json"))
        _require(len(sessions) == 1, f"one session should have been recorded, not {len(sessions)}")
        self._heading("5. The session as a timeline")
        self._command("show", sessions[0]["id"])
        session: dict[str, Any] = sessions[0]
        self._judge(session)
        return session

    def _judge(self, session: dict[str, Any]) -> None:
        self._heading("6. Is anything wrong with it? The rules check each request and the whole session")
        self._command("check", session["id"])
        self._say("\nThis player works correctly. Here is an event of one that does not:")
        self._say(_BROKEN)
        (self._folder / "event.json").write_text(_BROKEN, encoding="utf-8")
        self._command("check", "--file", "event.json", "--as", "events", expected=1)

    def _replay(self, session: dict[str, Any], upstream: Server) -> None:
        self._heading("7. A replay goes only where it is allowed to, and the recorded server is not allowed")
        sent_before = len(self._received("upstream.jsonl"))
        self._command("replay", session["id"], "--target", upstream.url, expected=2)
        _require(len(self._received("upstream.jsonl")) == sent_before, "the refused replay reached the server")
        self._heading(f"8. The same session, replayed to a second server, {_REPLAY_SPEED} times as fast")
        with self._server("collector", *_ANY_PORT, "--log", "target.jsonl") as target:
            self._command("replay", session["id"], "--target", target.url, "--speed", _REPLAY_SPEED)
        self._heading("9. The session as a page, to look at and to mail: one file, and no personal values in it")
        self._command("report", session["id"], "-o", _PAGE)
        self._summary(session)

    def _summary(self, session: dict[str, Any]) -> None:
        shown = json.loads(self._workplace.ask("show", session["id"], "--json"))
        stored = [exchange["request"]["body_sha256"] for exchange in shown["exchanges"]]
        received = [entry["body_sha256"] for entry in self._received("upstream.jsonl")]
        replayed = [entry["event_type"] for entry in self._received("target.jsonl")]
        events = [exchange["event_type"] for exchange in shown["exchanges"]]
        _require(stored == received, "the stored requests are not those that the server received")
        _require(replayed == events, "the second server did not receive the recorded events in order")
        self._heading("What you have seen")
        self._say(f"  recorded   {len(stored)} requests of session {session['session_id'][:16]}…")
        self._say("  stored     each with its answer; the bytes are those that the server received (SHA-256)")
        self._say("  checked    against every rule of the protocol; each finding has its place and its reason")
        self._say("  refused    a replay to the recorded server: not one request left")
        self._say(
            f"  replayed   {len(replayed)} requests to another server, under the new ID it gave, each answered alike"
        )
        self._say("\nYour turn: put the proxy between your player and its server, and look at what it says.")
        self._say("  sessiontape record --upstream https://YOUR-SERVER")
        self._say("  sessiontape sessions")

    @contextmanager
    def _server(self, *arguments: str) -> Iterator[Server]:
        self._say(f"$ sessiontape {' '.join(arguments)} &")
        with self._workplace.server(*arguments) as server:
            self._say(f"listening on {server.url}")
            yield server

    def _command(self, *arguments: str, expected: int = 0) -> None:
        self._say(f"$ sessiontape {' '.join(arguments)}")
        code = self._workplace.run(*arguments)
        if expected:
            self._say(f"(exit code {code})")
        _require(code == expected, f"'sessiontape {arguments[0]}' ended with {code}, not {expected}")

    def _module(self, *arguments: str) -> None:
        self._say(f"$ python -m {' '.join(arguments)}")
        code = self._workplace.module(*arguments)
        _require(code == 0, f"{arguments[0]} ended with {code}")

    def _received(self, log: str) -> list[dict[str, Any]]:
        """Return what a collector received, from its log."""
        return [json.loads(line) for line in (self._folder / log).read_text(encoding="utf-8").splitlines()]

    def _heading(self, text: str) -> None:
        self._say(f"\n── {text}")


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ProcessFailed(otherwise)
