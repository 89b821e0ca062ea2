"""The pytest plugin: a stand-in for the real server, a recorder, and assertions on what a player reported to them.

pytest imports this module in every run of everybody who has sessiontape installed. So it imports nothing but pytest
and has no fixture that works unasked; what a fixture needs is imported inside it. A fixture of the user's replaces ours
of the same name, and ours do not need each other by names that are likely to be taken.

A setting comes from the first of these that has it: the command line, the marker ``tape``, the ini file, the default.
Only the command line can ask for expectations to be rewritten.
"""

from __future__ import annotations

import functools
import os
import re
import secrets
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from proxy_addon.core.fixtures.held import HeldSession
    from proxy_addon.core.judging.policy import Policy
    from proxy_addon.core.replays.runs import SessionRun
    from proxy_addon.errors import SessiontapeError
    from proxy_addon.testing.expectations import Expectations
    from proxy_addon.testing.tapes import Collector, Recorder

# ruff: noqa: PLC0415  # importing the plugin has to cost next to nothing

__tracebackhide__ = True  # failures show the line of the test, and none of ours

_SETTINGS: Mapping[str, str] = {
    "upstream": "URL of the server that recorders forward to; by default the collector of the test",
    "config": "file with the settings of the rules; by default sessiontape.toml or pyproject.toml in the current folder",
    "plan": "file of a tracking plan that assert_conforms holds sessions against, too",
    "timeout": "how many seconds wait_for waits; 10 by default",
    "key-file": "file with the key of the tokens that --tape-update writes in place of personal values, as for "
    "'sessiontape export'; created if it does not exist",
}
"""What the command line, the marker and the ini file can set."""
_OF_MARKER = frozenset({*(name.replace("-", "_") for name in _SETTINGS), "answers", "faults"})
"""The arguments of the marker."""
_WRITTEN = "sessiontape-written"
_BEGAN = pytest.StashKey[datetime]()
"""When the test run began, in the process that writes its report."""
_RECORDED = pytest.StashKey[Path]()
"""The folder with what is recorded for the report alone, in that process."""
_KEY = pytest.StashKey[str]()
"""The key of the tokens in the report, in hexadecimal digits."""
_WHERE, _WITH = "sessiontape-recorded", "sessiontape-key"
"""What the processes of pytest-xdist are told: the folder, and the key."""
_REPORTED = pytest.StashKey[str]()
"""What became of the report, as a line."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add our options of the command line and the ini file."""
    group = parser.getgroup("sessiontape")
    group.addoption(
        "--tape-update",
        action="store_true",
        help="rewrite the files that assert_same_tracking compares with, if they differ or are missing",
    )
    group.addoption(
        "--tape-keep", metavar="DIR", help="keep what is recorded in DIR, in one store for each process of the test run"
    )
    group.addoption(
        "--tape-report",
        metavar="FILE.html",
        help="write all recorded sessions to FILE.html, a report without personal values",
    )
    for name, text in _SETTINGS.items():
        group.addoption(f"--tape-{name}", metavar=name.upper(), help=text)
        parser.addini(f"tape_{_in_python(name)}", text)


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line(
        "markers",
        "tape(*, upstream=URL, config=FILE, plan=FILE, timeout=SECONDS, key_file=FILE, answers=FILE, faults=[SPEC, …]): "
        "how the fixtures of sessiontape work in a test; answers and faults are the collector's",
    )
    if config.getoption("--tape-update") and os.environ.get("CI", "").lower() not in ("", "0", "false"):
        raise pytest.UsageError(
            "--tape-update is refused, because CI is set: a build that writes its own expectations cannot fail; "
            "update on your machine, and commit the files"
        )
    folder = _kept_in(config)
    if folder is not None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as e:
            raise pytest.UsageError(f"--tape-keep: cannot make the folder {folder}: {e.strerror}") from e
    report = _report_of(config)
    if report is None or _is_worker(config):
        return
    if report.suffix.lower() not in (".html", ".htm") or not report.parent.is_dir():
        raise pytest.UsageError(f"--tape-report: {report} has to end with .html, and its folder has to exist")
    config.stash[_BEGAN] = datetime.now(UTC)
    config.stash[_KEY] = secrets.token_hex(32)
    if folder is None:
        config.stash[_RECORDED] = Path(tempfile.mkdtemp(prefix="sessiontape-"))


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a process of pytest-xdist where all of them record, and the key of the report."""
    for name, key in ((_WHERE, _RECORDED), (_WITH, _KEY)):
        if key in node.config.stash:
            node.workerinput[name] = str(node.config.stash[key])


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the report, when all processes of the test run have recorded what they do."""
    config = session.config
    report, began_at, folder = _report_of(config), config.stash.get(_BEGAN, None), _recorded_in(config)
    if report is None or began_at is None or folder is None:
        return
    from proxy_addon.core.wording import counted
    from proxy_addon.errors import SessiontapeError
    from proxy_addon.files import settings
    from proxy_addon.reporting.pages.report import TrialVerdict
    from proxy_addon.testing import reports

    failed = session.testsfailed
    path = _named_file(config, "config")
    try:
        now, stores = datetime.now(UTC), [f"sqlite:///{each}" for each in sorted(folder.glob("*.db"))]
        found = reports.recorded_since(stores, began_at, now=now)
        line = reports.write(
            report,
            found,
            settings.load(path),
            settings.load_personal(path),
            now=now,
            kept=reports.taken(folder),
            names_recordings=True,  # each is named after its test
            trial=TrialVerdict(is_failed=True, reasons=(f"{counted(failed, 'test')} failed.",)) if failed else None,
            key=_report_key(config),
        )
    except SessiontapeError as e:
        line, session.exitstatus = _message(e), pytest.ExitCode.USAGE_ERROR
    config.stash[_REPORTED] = line


def pytest_unconfigure(config: pytest.Config) -> None:
    """Drop what was recorded for the report alone."""
    if _RECORDED in config.stash:
        shutil.rmtree(config.stash[_RECORDED], ignore_errors=True)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say what was written: expectations, the report, and the stores that are kept."""
    reports = [report for reports in terminalreporter.stats.values() for report in reports]
    told = [value for report in reports for name, value in getattr(report, "user_properties", ()) if name == _WRITTEN]
    for path in sorted(set(told)):
        terminalreporter.write_line(f"sessiontape: wrote {path}")
    if _REPORTED in config.stash:
        terminalreporter.write_line(f"sessiontape: {config.stash[_REPORTED]}")
    folder = _kept_in(config)
    for store in sorted(folder.glob("*.db")) if folder else ():
        terminalreporter.write_line(
            f"sessiontape: to list what was recorded: sessiontape sessions --store sqlite:///{store}"
        )


@pytest.fixture
def collector(tape_collector: Collector) -> Collector:
    """A stand-in for the real server on a free port, fresh for each test; the same as ``tape_collector``."""
    return tape_collector


@pytest.fixture
def recorder(tape_recorder: Recorder) -> Recorder:
    """A recording proxy in front of the collector or ``tape_upstream``; the same as ``tape_recorder``."""
    return tape_recorder


@pytest.fixture
def replay(tape_replay: Callable[..., SessionRun]) -> Callable[..., SessionRun]:
    """A function that sends a session to a server; the same as ``tape_replay``."""
    return tape_replay


@pytest.fixture
def tape_upstream(request: pytest.FixtureRequest) -> str | None:
    """URL of the server that recorders forward to; None for the collector. Override it if a fixture knows the URL."""
    return _setting(request, "upstream")


@pytest.fixture
def tape_collector(request: pytest.FixtureRequest, _tape_files: Expectations) -> Iterator[Collector]:
    """A stand-in for the real server on a free port, fresh for each test."""
    with ExitStack() as running:
        with _plainly():
            from proxy_addon.testing.tapes import Collector

            marked = _marked(request)
            collector = Collector(
                wait_s=_wait_s(request),
                recorded=_tape_files.read(marked["answers"], is_compared=False) if "answers" in marked else None,
                faults=marked.get("faults", ()),
                policy=_policy(request),
            )
            running.enter_context(collector)
        yield collector


@pytest.fixture
def tape_recorder(request: pytest.FixtureRequest, tape_upstream: str | None, _tape_store: str) -> Iterator[Recorder]:
    """A recording proxy on a free port, fresh for each test; its warnings are printed on stderr after the test."""
    upstream = tape_upstream or request.getfixturevalue("tape_collector").url
    with ExitStack() as running:
        with _plainly():
            from proxy_addon.testing.tapes import Recorder

            policy, wait_s = _policy(request), _wait_s(request)
            recorder = Recorder(upstream, _tape_store, name=request.node.nodeid, policy=policy, wait_s=wait_s)
            running.enter_context(recorder)
        yield recorder
    sys.stderr.writelines(f"{line}\n" for line in recorder.warnings)


@pytest.fixture
def tape_replay(request: pytest.FixtureRequest) -> Callable[..., SessionRun]:
    """A function that sends a session to a server, and returns what came of each step."""

    @_plain
    def replay(
        session: HeldSession,
        *,
        to: str,
        speed: float | str = "max",
        timestamps: str = "now",
        allow_host: str | Iterable[str] = (),
    ) -> SessionRun:
        """Send a session, and return once all of it has been sent.

        Args:
            to: URL of the server: the collector or the recorder of the test, or what ``sessiontape replay`` allows.
            speed: ``max``, or a multiple of the recorded speed.
            timestamps: As for ``--timestamps``.
            allow_host: As for ``--allow-host``.
        """
        from proxy_addon.errors import TargetRefused
        from proxy_addon.files import settings
        from proxy_addon.testing.replaying import replayed

        names = request.fixturenames
        stand_ins = [request.getfixturevalue("tape_collector").url] if "tape_collector" in names else []
        try:
            return replayed(
                session,
                to,
                speed=str(speed),
                timestamps=timestamps,
                allowed=_several(allow_host),
                stand_ins=stand_ins,
                personal=settings.load_personal(_file(request, "config")),
            )
        except TargetRefused as e:
            hint = re.sub(r"--allow-host (\S+)", r'allow_host="\1"', e.hint)
            raise TargetRefused(str(e), hint=hint) from None

    return replay


@pytest.fixture
def media_session(_tape_files: Expectations) -> Callable[[str], HeldSession]:
    """A function that reads a session from a file."""

    @_plain
    def media_session(name: str) -> HeldSession:
        """Return the session in a file of any form that ``sessiontape show`` reads.

        Args:
            name: Path of a file in the folder of the test or one above it, up to pytest's rootdir, or in a folder
                ``fixtures`` or ``tapes`` there; ``FILE#SESSION`` for one of several sessions.
        """
        return _tape_files.read(name)

    return media_session


@pytest.fixture
def assert_conforms(request: pytest.FixtureRequest, _tape_files: Expectations) -> Callable[..., None]:
    """A function that fails the test if the rules find an error in a session."""

    @_plain
    def assert_conforms(
        session: HeldSession,
        *,
        select: str | Iterable[str] = (),
        ignore: str | Iterable[str] = (),
        fail_on: str = "error",
    ) -> None:
        """Fail if the rules find something in a session, which is judged as if it were over.

        Args:
            select: Only findings of these rules count.
            ignore: Findings of these rules do not count.
            fail_on: The severity from which a finding fails the test: ``error``, ``warning`` or ``info``.
        """
        from proxy_addon.testing.conforming import complaint

        policy = _policy(request)
        for note in () if policy.plan is None else policy.plan.notes:
            warnings.warn(pytest.PytestWarning(note), stacklevel=2)
        told = complaint(
            _tape_files.in_recording(session),
            policy,
            select=_several(select),
            ignore=_several(ignore),
            fail_on=fail_on,
        )
        if told:
            raise AssertionError(told)

    return assert_conforms


@pytest.fixture
def assert_same_tracking(request: pytest.FixtureRequest, _tape_files: Expectations) -> Callable[..., None]:
    """A function that fails the test if a session does not report what is expected."""

    @_plain
    def assert_same_tracking(
        actual: HeldSession,
        expected: HeldSession,
        *,
        ignore: str | Iterable[str] = (),
        playhead_tolerance: float | None = None,
    ) -> None:
        """Fail if a session does not report the same as another one.

        With ``--tape-update``, rewrite the file that `media_session` read instead.

        Args:
            ignore: What may differ, in addition to what the expectation says under ``compare``.
            playhead_tolerance: By how many seconds playheads may differ; None for what the expectation says.
        """
        told = _tape_files.complaint(actual, expected, _several(ignore), playhead_tolerance)
        if told and request.config.getoption("--tape-update"):
            request.node.user_properties.append((_WRITTEN, _tape_files.write(actual, expected)))
        elif told:
            _keep_for_report(request, _tape_files)
            raise AssertionError(told)

    return assert_same_tracking


def _keep_for_report(request: pytest.FixtureRequest, files: Expectations) -> None:
    """Keep what is not as expected, if a report is written."""
    folder, key = _recorded_in(request.config), _report_key(request.config)
    if folder is None or key is None:
        return
    from proxy_addon.core.pseudonyms.exchanges import Pseudonymiser
    from proxy_addon.files import settings
    from proxy_addon.testing import reports

    expected, comparison = files.unmet[-1]
    change = Pseudonymiser(key, settings.load_personal(_file(request, "config")))
    compared = reports.Compared(comparison=comparison, expected=expected)
    reports.keep(folder, compared, _policy(request), change, now=datetime.now(UTC))


@pytest.fixture
def _tape_files(request: pytest.FixtureRequest) -> Expectations:
    from proxy_addon.testing.expectations import Expectations

    return Expectations(
        request.path.parent,
        request.config.rootpath,
        writes=request.config.getoption("--tape-update"),
        key_file=_file(request, "key-file"),
        config=_file(request, "config"),
    )


@pytest.fixture(scope="session")
def _tape_store(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> str:
    """URL of the store of this process, shared by its recorders: they start faster if the store exists."""
    from proxy_addon.testing.recorders import prepare

    prepare()  # what takes longest comes first, because it happens in another process
    folder = _recorded_in(pytestconfig) or tmp_path_factory.mktemp("sessiontape")
    process = getattr(pytestconfig, "workerinput", {}).get("workerid", "tape")  # of pytest-xdist
    return f"sqlite:///{folder / process}.db"


def _kept_in(config: pytest.Config) -> Path | None:
    folder: str | None = config.getoption("--tape-keep")
    return None if folder is None else config.invocation_params.dir / folder


def _recorded_in(config: pytest.Config) -> Path | None:
    """Return the folder of the stores of all processes; None if each process has one of its own."""
    told = getattr(config, "workerinput", {}).get(_WHERE)
    return _kept_in(config) or config.stash.get(_RECORDED, None) or (Path(told) if told else None)


def _report_of(config: pytest.Config) -> Path | None:
    name: str | None = config.getoption("--tape-report")
    return None if name is None else config.invocation_params.dir / name


def _report_key(config: pytest.Config) -> bytes | None:
    """Return the key of the tokens in the report; None if none is written."""
    key: str | None = config.stash.get(_KEY, None) or getattr(config, "workerinput", {}).get(_WITH)
    return None if key is None else bytes.fromhex(key)


def _is_worker(config: pytest.Config) -> bool:
    """Return whether this is a process that pytest-xdist has started."""
    return hasattr(config, "workerinput")


def _setting(request: pytest.FixtureRequest, name: str) -> str | None:
    """Return a setting from the first place that has it; None if none has."""
    typed = request.config.getoption(f"--tape-{name}")
    if typed is not None:
        return str(typed)
    marked, name = _marked(request), _in_python(name)
    return str(marked[name]) if name in marked else request.config.getini(f"tape_{name}") or None


def _in_python(name: str) -> str:
    """Return the name of a setting as the marker and the ini file have it."""
    return name.replace("-", "_")


def _file(request: pytest.FixtureRequest, name: str) -> Path | None:
    """Return a setting that is a file: relative to the current folder if typed, otherwise to pytest's rootdir."""
    if request.config.getoption(f"--tape-{name}") is not None:
        return _named_file(request.config, name)
    path = _setting(request, name)
    return None if path is None else request.config.rootpath / path


def _named_file(config: pytest.Config, name: str) -> Path | None:
    """Return a setting that is a file and holds for all tests."""
    typed = config.getoption(f"--tape-{name}")
    if typed is not None:
        return config.invocation_params.dir / str(typed)
    path = config.getini(f"tape_{_in_python(name)}")
    return config.rootpath / path if path else None


def _marked(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Return the arguments of the markers of a test; those of a function override those of its class and module."""
    marked: dict[str, Any] = {}
    for mark in request.node.iter_markers("tape"):
        marked = {**mark.kwargs, **marked}
        if mark.args or not mark.kwargs.keys() <= _OF_MARKER:
            pytest.fail(f"the marker tape takes only keyword arguments: {', '.join(sorted(_OF_MARKER))}", pytrace=False)
    return marked


def _wait_s(request: pytest.FixtureRequest) -> float:
    from proxy_addon.testing.collecting import WAIT_S

    text = _setting(request, "timeout")
    try:
        return WAIT_S if text is None else float(text)
    except ValueError:
        return pytest.fail(f"tape_timeout is {text!r}; expected a number of seconds", pytrace=False)


def _policy(request: pytest.FixtureRequest) -> Policy:
    from proxy_addon.files import plans, settings

    return plans.applied(_file(request, "plan"), settings.load(_file(request, "config")))


def _several(names: str | Iterable[str]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names)


def _plain[**P, R](function: Callable[P, R]) -> Callable[P, R]:
    """Turn an error that the user can fix into a failure of the test, at the line that calls the function."""

    @functools.wraps(function)
    def called(*args: P.args, **kwargs: P.kwargs) -> R:
        from proxy_addon.errors import SessiontapeError

        try:
            return function(*args, **kwargs)
        except SessiontapeError as e:
            raise pytest.fail.Exception(_message(e)) from None

    return called


@contextmanager
def _plainly() -> Iterator[None]:
    """Turn an error that the user can fix into a failure of the set-up, without a traceback: no line of the test is in it."""
    from proxy_addon.errors import SessiontapeError

    try:
        yield
    except SessiontapeError as e:
        raise pytest.fail.Exception(_message(e), pytrace=False) from None


def _message(e: SessiontapeError) -> str:
    return f"{e}\n  {e.hint}" if e.hint else str(e)
