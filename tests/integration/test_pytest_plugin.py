"""The pytest plugin, as a test project of a user sees it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from proxy_addon.core.expectations import compare

# Loaded here so that they stay: pytester forgets what a run in this process has imported, down to its recorders.
from proxy_addon.files import plans  # noqa: F401
from proxy_addon.testing import conforming, expectations, recorders, replaying, tapes  # noqa: F401
from storage import exchanges, sessions  # noqa: F401
from tests import processes
from tests.builders import body, event_dict
from tests.reports import parts_of

pytest_plugins = ["pytester"]

ROOT = Path(__file__).resolve().parents[2]

PLAYER = """
from dataclasses import replace
from proxy_addon.core.urls import parse_server_url
from proxy_addon.demo.player import CLIP, play as playing, PlaybackError

def play(url, forget=(), **renamed):
    clip = [cue for cue in CLIP if cue.type not in forget]
    for name, value in renamed.items():
        clip = [replace(cue, params={key: value if key.endswith(name) else old for key, old in cue.params.items()})
                for cue in clip]
    return list(playing(clip, parse_server_url(url), speed=50))
"""


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A folder with a player, in which pytest runs as if it were alone."""
    for name in ("CI", "PYTEST_ADDOPTS", "PYTEST_XDIST_WORKER"):
        monkeypatch.delenv(name, raising=False)
    pytester.makepyfile(player=PLAYER)
    pytester.makeini("[pytest]\npythonpath = .\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n")
    return pytester


def run(project: pytest.Pytester, *arguments: str, **outcomes: int) -> str:
    """Run pytest in this process; return what it prints after checking the outcomes."""
    result = project.runpytest_inprocess("-p", "no:cacheprovider", "-p", "no:xdist", *arguments)
    result.assert_outcomes(**outcomes)
    return result.stdout.str()


def test_a_recorded_session_becomes_the_expectation_that_a_changed_player_fails(project):
    project.makepyfile(
        test_player="""
        from player import play

        CHANGES = {}

        def test_tracking(recorder, media_session, assert_same_tracking, assert_conforms):
            play(recorder.url, **CHANGES)
            assert recorder.wait_for("sessionEnd").status == 204
            [session] = recorder.sessions
            assert_conforms(session)
            assert_same_tracking(session, media_session("visit.json"))

        def test_replay(collector, media_session, replay):
            visit = media_session("visit.json")
            assert replay(visit, to=collector.url).verdict == "same"
            assert [e.type for e in collector.events()] == [e.type for e in visit.events()]
            assert replay(collector.sessions[0], to=collector.url).verdict == "same"
        """
    )
    told = run(project, failed=2)
    assert "there is no visit.json in the current folder or above it" in told
    assert "pytest --tape-update" in told
    assert "expectations.py" not in told

    told = run(project, "--tape-update", passed=2)
    path = project.path / "fixtures" / "visit.json"
    assert f"sessiontape: wrote {path.relative_to(project.path)}" in told
    written = path.read_text()
    kept = ("--tape-keep", "kept")  # a store that has the sessions of an earlier run of the same test
    assert "sessiontape sessions --store sqlite:///" in run(project, *kept, passed=2)
    assert "wrote" not in run(project, *kept, "--tape-update", passed=2), "what does not differ is left as it is"
    assert path.read_text() == written

    document = json.loads(written)
    assert document["compare"] == compare.document(None), "all that can be changed is there"
    document["compare"] = {"ignore": ["params/media.channel"]}
    path.write_text(json.dumps(document))
    test = project.path / "test_player.py"
    original = test.read_text()
    test.write_text(original.replace("CHANGES = {}", "CHANGES = {'channel': 'elsewhere'}"))
    run(project, passed=2)

    test.write_text(original.replace("CHANGES = {}", "CHANGES = {'podIndex': 7}"))
    told = run(project, passed=1, failed=1)
    assert re.search(r"adBreakStart.*media\.ad\.podIndex|media\.ad\.podIndex.*adBreakStart", told, re.DOTALL)
    assert len(re.findall(r"^\S+:\d+: ", told, re.MULTILINE)) == 1, "one frame: the line of the test"
    run(project, "--tape-update", passed=2)
    assert json.loads(path.read_text())["compare"] == document["compare"]

    test.write_text(original.replace("CHANGES = {}", "CHANGES = {'forget': ['adComplete'], 'podIndex': 7}"))
    result = project.runpytest_subprocess("-p", "no:cacheprovider", "-n", "1", "--tape-report=a.html")
    result.assert_outcomes(passed=1, failed=1)
    assert "adComplete" in result.stdout.str()
    parts = parts_of((project.path / "a.html").read_text(encoding="utf-8"))
    (compared,) = parts["value"]["comparisons"]
    assert compared["names"] == ["fixtures/visit.json", parts["value"]["rows"][0]["id"]]
    assert "1 missing" in parts["comparison-0"]["verdict"]["headline"]
    assert parts["value"]["names_recordings"]
    assert compared["recording"] == parts["value"]["rows"][0]["recording"]
    assert "::test_" in compared["recording"]

    document["exchanges"][3]["response"]["status"] = 503
    (project.path / "outage.json").write_text(json.dumps(document))
    project.makepyfile(
        test_outage="""
        import pytest
        from player import PlaybackError, play

        @pytest.mark.tape(answers="outage.json")
        def test_outage(collector):
            with pytest.raises(PlaybackError, match="play: .* answered 503"):
                play(collector.url)

        @pytest.mark.tape(answers="outgae.json")
        def test_misspelt(collector): ...
        """
    )
    for update in ((), ("--tape-update",)):
        told = run(project, "test_outage.py", *update, passed=1, errors=1)
        assert re.search(
            r"there is no outgae.json in .*\n.* 'sessiontape export SESSION --format fixture -o outgae.json' makes",
            told,
        )
        assert "--tape-update" not in told, "which does not write it"

    document["exchanges"][3]["request"]["method"] = 7
    path.write_text(json.dumps(document))
    told = run(project, "-k", "replay", failed=1, deselected=3)
    assert re.search(r"fixtures/visit.json: exchange 4: request: method is the number 7; expected a string", told)


def test_a_collector_can_be_told_to_fail_and_forgets_it_with_the_test(project):
    project.makepyfile(
        test_faults="""
        import time
        import pytest
        from player import PlaybackError, play

        def test_fail(collector):
            collector.fail("events", status=503, nth=3)
            with pytest.raises(PlaybackError, match="play: .* answered 503"):
                play(collector.url)
            assert [(e.type, e.status) for e in collector.events()][-1] == ("play", 503)

        def test_gone(collector):
            collector.gone_after(2)
            with pytest.raises(PlaybackError, match="play: .* answered 410"):
                play(collector.url)
            collector.fail("ping", nth=2)
            with pytest.raises(PlaybackError, match="ping: .* answered 500"):
                play(collector.url)

        def test_gone_at_once_and_late(collector):
            collector.delay(0.3, "sessions", first=1)
            collector.gone_after(0)
            began = time.monotonic()
            with pytest.raises(PlaybackError, match="adBreakStart: .* answered 410"):
                play(collector.url)
            assert time.monotonic() - began > 0.3

        def test_fresh(collector):
            assert collector.sessions == [] and collector.events() == []
            play(collector.url)
            assert repr(collector.sessions) == f"[{collector.sessions[0]!r}]" and len(repr(collector.sessions)) < 120

        def test_nothing_comes(collector):
            play(collector.url, forget=["sessionEnd"])
            collector.wait_for("sessionEnd", timeout=0.1)

        def test_nothing_is_recorded(recorder):
            recorder.wait_for("sessionEnd", timeout=0.1)

        def test_unknown(collector):
            collector.fail("event")

        def test_unknown_argument(collector):
            collector.fail("sessions", drop=True)

        @pytest.mark.tape(faults=["sessions:status=404"])
        def test_marked(collector):
            with pytest.raises(PlaybackError, match="sessionStart: .* answered 404"):
                play(collector.url)
        """
    )
    told = run(project, passed=5, failed=4)
    assert "unknown argument 'drop': requests are chosen by every, nth, after, first; to fail in another way" in told
    assert "no sessionEnd within 0.1 s; received: sessionStart, adBreakStart, " in told
    assert "no sessionEnd within 0.1 s; recorded: nothing" in told
    assert "fault 'event:status=500': unknown" in told
    assert re.findall(r"^(\S+):\d+: (\w+)", told, re.MULTILINE) == [
        ("test_faults.py", "NothingCame"),
        ("test_faults.py", "NothingCame"),
        ("test_faults.py", "SettingsError"),
        ("test_faults.py", "TypeError"),
    ], "each traceback has one frame: the line of the test"


def test_the_rules_are_applied_with_the_settings_of_the_project(project):
    project.makefile(".toml", sessiontape="[rules.ad-not-closed]\nseverity = 'error'\nreason = 'we count ads'\n")
    project.makefile(".toml", lenient="[rules.ad-not-closed]\nseverity = 'off'\nreason = 'we do not'\n")
    project.makepyfile(
        test_rules="""
        import pytest
        from player import play

        @pytest.fixture
        def session(collector):
            play(collector.url, forget=["adComplete"])
            return collector.sessions[0]

        def test_found(session, assert_conforms):
            assert_conforms(session)

        def test_ignored(session, assert_conforms):
            assert_conforms(session, ignore="ad-not-closed")
            assert_conforms(session, select=["param-missing"])

        @pytest.mark.tape(config="lenient.toml")
        def test_lenient(session, assert_conforms):
            assert_conforms(session, fail_on="info")

        def test_unknown(session, assert_conforms):
            assert_conforms(session, ignore="ad-not-close")
        """
    )
    told = run(project, passed=2, failed=2)
    assert "AssertionError: the session does not conform to the protocol: 1 error, 0 warnings, 0 infos" in told
    assert re.search(r"#\d+ \S+ adBreakComplete  error   ad-not-closed: ", told)
    assert "ad-not-closed?" in told or "is no rule" in told
    assert told.count("conforming.py") == 0


def test_a_setting_comes_from_the_command_line_then_the_marker_then_the_ini_file(project, monkeypatch):
    project.makepyfile(
        test_settings="""
        import pytest

        def test_plain(tape_upstream, collector):
            print("plain:", tape_upstream, collector.wait_s)

        @pytest.mark.tape(timeout=3, upstream="http://127.0.0.1:9")
        class TestMarked:
            @pytest.mark.tape(upstream="http://127.0.0.1:1")
            def test_marked(self, tape_upstream, collector):
                print("marked:", tape_upstream, collector.wait_s)

        class TestOverridden:
            @pytest.fixture
            def tape_upstream(self):
                return "http://127.0.0.1:2"

            def test_overridden(self, recorder):
                print("overridden:", recorder.upstream)
        """
    )

    def told(*arguments: str) -> list[str]:
        return re.findall(r"(?:plain|marked|overridden): .*", run(project, "-s", *arguments, passed=3))

    assert told() == ["plain: None 10.0", "marked: http://127.0.0.1:1 3.0", "overridden: http://127.0.0.1:2"]
    ini = ("-o", "tape_timeout=4", "-o", "tape_upstream=http://127.0.0.1:3")
    assert told(*ini)[:2] == ["plain: http://127.0.0.1:3 4.0", "marked: http://127.0.0.1:1 3.0"]
    typed = ("--tape-timeout=5", "--tape-upstream=http://127.0.0.1:4")
    assert told(*ini, *typed) == [
        "plain: http://127.0.0.1:4 5.0",
        "marked: http://127.0.0.1:4 5.0",
        "overridden: http://127.0.0.1:2",
    ]
    assert "tape_timeout is 'soon'; expected a number of seconds" in run(
        project, "-o", "tape_timeout=soon", "-k", "plain", errors=1, deselected=2
    )
    project.makepyfile(test_settings="import pytest\n@pytest.mark.tape(upsteam=1)\ndef test_misspelt(recorder): pass\n")
    assert (
        "the marker tape takes only keyword arguments: answers, config, faults, key_file, plan, timeout, upstream"
        in run(project, errors=1)
    )


def test_a_fixture_of_the_project_replaces_ours_and_ours_do_not_use_it(project):
    project.makeconftest(
        """
        import pytest

        @pytest.fixture
        def collector():
            return "a collector of stamps"

        @pytest.fixture
        def recorder():
            return "a flute"

        @pytest.fixture
        def replay(recorder):
            return f"{recorder}, again"
        """
    )
    project.makepyfile(
        test_mine="""
        from player import play

        def test_mine(collector, recorder, replay):
            assert (collector, recorder, replay) == ("a collector of stamps", "a flute", "a flute, again")

        def test_both(recorder, tape_recorder, tape_collector, tape_replay):
            play(tape_recorder.url)
            assert tape_collector.wait_for("sessionEnd") and tape_recorder.wait_for("sessionEnd")
            again = tape_replay(tape_recorder.sessions[0], to=tape_collector.url)
            assert (recorder, again.verdict, len(tape_collector.sessions)) == ("a flute", "same", 2)

        def test_none(request):
            assert [name for name in request.fixturenames if "tape" in name] == []
        """
    )
    run(project, passed=3)


def test_a_replay_goes_to_a_recorded_server_only_if_the_test_allows_it(project):
    project.makepyfile(
        test_replays="""
        import pytest
        from player import play
        from proxy_addon.testing.collecting import RunningCollector

        @pytest.fixture
        def production():
            with RunningCollector() as server:
                yield server

        @pytest.fixture
        def tape_upstream(production):
            return production.url

        @pytest.fixture
        def session(recorder):
            play(recorder.url)
            return recorder.sessions[0]

        def test_allowed(session, production, replay):
            assert replay(session, to=production.url, allow_host=production.host).verdict == "same"
            recorded, sent = [event.params["analytics.reportSuite"] for event in production.events("sessionStart")]
            assert recorded == "demo" != sent, "the safe profile is on"

        def test_refused(session, production, replay):
            replay(session, to=production.url)

        def test_refused_behind_the_recorder(session, recorder, replay):
            replay(session, to=recorder.url)
        """
    )
    told = run(project, passed=1, failed=2)
    assert len(re.findall(r"Failed: refused to replay to http://127\.0\.0\.1:[0-9]+: ", told)) == 2
    assert re.search(r'allow_host="127\.0\.0\.1:[0-9]+"', told)
    assert len(re.findall(r"^test_replays\.py:\d+: Failed", told, re.MULTILINE)) == 2


def test_it_works_under_xdist_in_coroutines_and_in_classes_of_unittest(project):
    project.makepyfile(
        test_everywhere="""
        import asyncio
        import unittest
        import pytest
        from player import play

        @pytest.mark.parametrize("number", range(2))
        def test_function(recorder, number):
            play(recorder.url)
            assert recorder.wait_for("sessionEnd") and len(recorder.sessions) == 1

        async def test_coroutine(recorder, replay, collector):
            await asyncio.to_thread(play, recorder.url)
            await asyncio.to_thread(recorder.wait_for, "sessionEnd")
            assert replay(recorder.sessions[0], to=collector.url).verdict == "same"

        class TestOfUnittest(unittest.TestCase):
            @pytest.fixture(autouse=True)
            def tape(self, recorder, assert_conforms):
                self.recorder, self.assert_conforms = recorder, assert_conforms

            def test_method(self):
                play(self.recorder.url)
                self.recorder.wait_for("sessionEnd")
                self.assert_conforms(self.recorder.sessions[0])
        """
    )
    result = project.runpytest_subprocess(
        "-p", "no:cacheprovider", "-n", "2", "--tape-keep", "kept", "--tape-report=a.html"
    )
    result.assert_outcomes(passed=4)
    stores = sorted((project.path / "kept").glob("*.db"))
    assert [store.name for store in stores] == ["gw0.db", "gw1.db"]
    names: list[str] = []
    for store in stores:
        assert f"sessiontape sessions --store sqlite:///{store}" in result.stdout.str()
        names += [each["recording"] for each in processes.printed("sessions", "--store", f"sqlite:///{store}")]
    functions = [f"test_everywhere.py::test_function[{number}]" for number in range(2)]
    others = ["test_everywhere.py::test_coroutine", "test_everywhere.py::TestOfUnittest::test_method"]
    assert sorted(names) == sorted([*functions, *others])
    page = parts_of((project.path / "a.html").read_text(encoding="utf-8"))["value"]
    assert sorted(row["recording"] for row in page["rows"]) == sorted(names)
    assert "sessiontape: 4 sessions written to " in result.stdout.str()
    options = ("-k", "test_function", "-n", "2", "--tape-report=b.html")
    result = project.runpytest_subprocess("-p", "no:cacheprovider", *options)
    assert "sessiontape: 2 sessions written to " in result.stdout.str(), "of both processes, though nothing is kept"


def test_all_that_a_test_run_records_is_reported_without_personal_values_and_nothing_else_is_left(project, monkeypatch):
    (temporary := project.path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    project.makepyfile(
        test_report="""
        import pytest
        from player import play

        @pytest.mark.parametrize("id", ["zoe@shop.example.org", "guest"])
        def test_function(recorder, id):
            play(recorder.url, name=id)
            recorder.wait_for("sessionEnd")
            assert id == "guest"
        """
    )
    options = ("-p", "no:cacheprovider", "-p", "no:xdist", "--basetemp=base", "--tape-report")
    result = project.runpytest_subprocess(*options, "a.html")
    result.assert_outcomes(passed=1, failed=1)
    page = (project.path / "a.html").read_text(encoding="utf-8")
    parts = parts_of(page)
    assert [row["state"] for row in parts["value"]["rows"]] == ["ended", "ended"]
    assert "zoe@" not in json.dumps(parts), "not in the names of tests either"
    assert (parts["value"]["level"], parts["value"]["remarks"]) == ("fail", ["1 test failed."])
    assert f"2 sessions written to {project.path / 'a.html'}" in result.stdout.str()
    assert [*temporary.glob("sessiontape-*")] == []
    refused = project.runpytest_subprocess(*options, "a.json")
    assert refused.ret == pytest.ExitCode.USAGE_ERROR
    assert "has to end with .html" in refused.stderr.str()


def test_each_option_and_fixture_is_documented(project):
    text = (ROOT / "docs" / "pytest.md").read_text(encoding="utf-8")
    options = set(re.findall(r"--tape-[a-z-]+", project.runpytest_inprocess("--help").stdout.str()))
    ours = (
        run(project, "--fixtures")
        .partition("fixtures defined from proxy_addon.pytest_plugin")[2]
        .partition("\n----")[0]
    )
    fixtures = re.findall(r"^(\w+) -- ", ours, re.MULTILINE)
    assert len(options) == 8
    assert len(fixtures) == 10
    assert [name for name in (*options, *fixtures) if name not in text] == []


def test_the_plugin_can_be_left_out_and_imports_nothing_before_it_is_used(project):
    project.makepyfile(
        test_other="""
        import sys

        def test_other():
            heavy = {"mitmproxy", "sqlalchemy", "click", "rich", "aiohttp", "storage", "proxy_addon.core"}
            assert heavy & sys.modules.keys() == set()
            assert "proxy_addon.pytest_plugin" in sys.modules
        """
    )
    options = ("-p", "no:cacheprovider", "-p", "no:xdist")
    project.runpytest_subprocess(*options).assert_outcomes(passed=1)
    left_out = project.runpytest_subprocess(*options, "-p", "no:sessiontape", "--tape-update")
    assert "unrecognized arguments: --tape-update" in left_out.stderr.str()


def test_sessions_conform_to_a_tracking_plan(project):
    project.makepyfile(
        test_plan="""
        import pytest
        from player import play

        def test_of_a_recorder(recorder, assert_conforms):
            play(recorder.url)
            recorder.wait_for("sessionEnd")
            assert_conforms(recorder.sessions[0])

        @pytest.mark.tape(plan="none.yaml")
        def test_of_a_file(media_session, assert_conforms):
            assert_conforms(media_session("visit.json"), select=["plan-missing", "plan-occurs"])
        """
    )
    (project.path / "PLAN.yaml").write_text(
        "events: {play: {customMetadata: {required: [tier]}, params: {optional: [media.lenght]}}}\n"
        "groups:\n"
        "  - where: {player: sample*, user-agent: '*', media: demo*, app-version: '1.0', content-type: vod, recording: '*recorder'}\n"
        "    events: {error: {occurs: {min: 2}}, play: {occurs: {max: 1}}}\n"
        "  - {where: {recording: visit.json}, events: {error: {occurs: {min: 3}}}}\n",
        encoding="utf-8",
    )
    (project.path / "visit.json").write_text(
        body([event_dict("sessionStart"), event_dict("play")]).decode(), encoding="utf-8"
    )
    noted = ("-W", "default::pytest.PytestWarning")
    told = run(project, "--tape-plan", "PLAN.yaml", *noted, failed=2, warnings=2)
    assert "does not conform to the protocol and PLAN.yaml" in told
    assert told.count("tier is missing in customMetadata; the plan requires it on play") == 2
    for error in (2, 3):
        assert told.count(f"error is never sent in this session; the plan says at least {error} in a session") == 1
    assert told.count("times in this session; the plan says at most 1 in a session") == 1
    assert "PLAN.yaml:1:73: the protocol has no 'media.lenght' in params" in told
    assert "none.yaml: No such file or directory" in run(project, "-k", "file", failed=1)
