"""``audit --baseline`` through the installed command: two folders, and two recordings of a store."""

from __future__ import annotations

import csv
import io
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from proxy_addon.cli.filters import written
from proxy_addon.core.fixtures import fixture
from proxy_addon.errors import SettingsError
from tests.processes import on_terminal, printed, run
from tests.reports import parts_of
from tests.versions import NOTHING, Change, played

EXAMPLE = "for example:\n  ad-outside-break: adStart with no ad break open"
SESSIONS = 10
OUTSIDE = Change(
    what="ads outside of breaks, and no channel",
    said=frozenset(),
    cues=lambda cues: [cue for cue in cues if not cue.type.startswith("adBreak")],
    event=lambda value: value.get("params", {}).pop("media.channel", None),
)


def write(folder: Path, change: Change, first: int, sessions: int = SESSIONS) -> Path:
    folder.mkdir()
    for number in range(first, first + sessions):
        held = played(number, change)
        text = fixture.document(held.session, held.exchanges, version="0")
        (folder / f"{number}.json").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> tuple[str, str]:
    root = tmp_path_factory.mktemp("versions")
    return str(write(root / "old", NOTHING, 0)), str(write(root / "new", OUTSIDE, 100))


def test_two_folders(folders, tmp_path):
    old, new = folders
    document = printed("audit", new, "--baseline", old, code=1)
    found, verdict = document["baseline"], document["all"]["verdict"]
    assert found["baseline"] == old
    all_ = found["all"]
    assert (all_["before"], all_["after"]) == (SESSIONS, SESSIONS)
    said = {
        (each["change"], each["what"], each["event"], each["name"])
        for change in all_["changes"]
        for each in (change, *change["beneath"])
    }
    assert {
        ("appeared", "finding", "", "ad-outside-break"),
        ("appeared", "finding", "", "param-missing"),
        ("vanished", "event", "adBreakStart", ""),
        ("vanished", "key", "sessionStart", "media.channel"),
    } <= said
    breaks = next(each for each in all_["changes"] if each["event"] == "adBreakStart")
    assert len(breaks["look_at"]) == 3
    assert all(id.startswith(f"{old}/") for id in breaks["look_at"])
    assert (verdict["level"], verdict["changes"]) == ("fail", len(all_["changes"]))
    assert verdict["sentences"][0]["rule"] == "ad-outside-break"
    same = printed("audit", old, "--baseline", old, "--fail-on-change")
    assert (same["baseline"]["all"]["changes"], same["all"]["verdict"]["level"]) == ([], "pass")
    assert same["notes"][-1]["text"].startswith("10 sessions both in the audit and in its baseline")

    junit = run("audit", new, "--baseline", old, "--by", "player", "--format", "junit")
    assert junit.returncode == 1
    cases = {case.attrib["name"]: case for case in ET.fromstring(junit.stdout).iter("testcase")}
    assert list(cases) == ["all sessions", "Good Player"]
    for case in cases.values():
        (failure,) = case.findall("failure")
        assert failure.attrib["type"] == "ad-outside-break"
        assert failure.attrib["message"].endswith(f"before, 0 of {SESSIONS} sessions (0 %)")
    path = tmp_path / "known.XML"
    assert run("audit", new, "--baseline", new, "-o", str(path)).returncode == 1
    assert "<failure" in path.read_text()
    quiet = run(
        *("audit", new, "--baseline", new, "--fail-on", "never", "--fail-on-change", "--format", "junit"),
    )
    assert quiet.returncode == 0
    assert "<failure" not in quiet.stdout
    assert "error ad-outside-break" in quiet.stdout

    # no finding fails, but what changed does
    changed = run(
        *("audit", new, "--baseline", old, "--fail-on", "never", "--fail-on-change", "--by", "player"),
        *("--format", "junit"),
    )
    assert changed.returncode == 1
    for failure in ET.fromstring(changed.stdout).iter("failure"):
        assert failure.attrib["type"] == "vanished-event"
        assert failure.attrib["message"].endswith(f" (and {len(all_['changes']) - 1} more)")
        lines = (failure.text or "").splitlines()
        assert len(lines) == len(all_["changes"])
        assert (
            f"vanished: event adBreakStart, before {SESSIONS} of {SESSIONS} (100 %), after 0 of {SESSIONS} (0 %)"
            f"; look at {' '.join(breaks['look_at'])}; with it: error ad-outside-break appeared, event adBreakComplete vanished, "
            in lines[0]
        )
        assert lines[1].endswith("; with it: info param-missing appeared")
    assert "--fail-on-change needs --baseline" in run("audit", new, "--fail-on-change").stderr

    facts = list(csv.DictReader(io.StringIO(run("audit", new, "--baseline", old, "--format", "csv").stdout)))
    of_key = {fact["kind"]: fact for fact in facts if (fact["change"], fact["what"]) == ("vanished", "key")}
    assert (of_key["before"]["value"], of_key["before"]["of"]) == (str(SESSIONS), str(SESSIONS))
    assert (of_key["change"]["value"], of_key["change"]["of"]) == ("0", str(SESSIONS))
    assert (of_key["change"]["measure"], of_key["change"]["share"]) == ("sessions", "0.0")
    assert of_key["change"]["test"] == "fisher"
    assert float(of_key["change"]["p"]) < 0.001
    assert of_key["change"]["look_at"] == ""
    assert of_key["before"]["look_at"].startswith(f"{old}/")
    beneath = {fact["name"]: fact["beneath"] for fact in facts if fact["kind"] == "change"}
    assert beneath["param-missing"] == "key sessionStart params media.channel"
    assert sum(fact["change"] != "" and fact["beneath"] == "" for fact in facts) == 2 * len(all_["changes"])

    assert [fact["name"] for fact in facts if fact["kind"] == "verdict"] == ["fail"]

    few = write(tmp_path / "few", OUTSIDE, 200, sessions=2)
    options = ("--fail-on", "never", "--fail-on-change")
    lines = on_terminal("audit", str(few), "--baseline", old, *options, columns=120, code=1)
    text = "\n".join(lines)
    assert "may be chance; 10 sessions before and 2 after are not enough to say, but " in " ".join(text.split())
    assert f"{SESSIONS} sessions before, 2 after" in text
    assert EXAMPLE in text
    assert "none that is certain" in text
    assert "There are not enough sessions to compare with" in " ".join(text.split())
    assert "new, in few sessions: ad-outside-break (2 of 2), param-missing (2 of 2)" in text
    assert "not enough sessions to say that it is not chance, such as" in text
    assert f"  event adBreakStart: before {SESSIONS} of {SESSIONS} (100 %), after 0 of 2 (0 %)" in text


def same_but_for_sessions(one: Any, other: Any) -> bool:
    """Whether two comparisons say the same, though not of the same sessions to look at, whose ids differ."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(
            key == "look_at" or same_but_for_sessions(one[key], other[key]) for key in one
        )
    return all(map(same_but_for_sessions, one, other)) if isinstance(one, list) else one == other


def test_two_recordings_and_baselines_that_mean_nothing(folders, tmp_path):
    old, new = folders
    page = tmp_path / "changed.html"
    assert run("audit", new, "--baseline", old, "-o", str(page)).returncode == 1
    value = parts_of(page.read_text(encoding="utf-8"))["value"]
    changes = value["audit"]["all"]["changes"]["changes"]
    assert {id for each in changes for id in each["look_at"]} <= value["sessions"].keys()
    assert {id.rpartition("/")[0] for id in value["sessions"]} == {old, new}
    store = f"sqlite:///{tmp_path / 'store.db'}"
    for name, folder in (("4.1", old), ("4.2", new)):
        files = [str(path) for path in sorted(Path(folder).iterdir())]
        assert run("import", *files, "--name", name, "--store", store).returncode == 0
    of_files = printed("audit", new, "--baseline", old, code=1)["baseline"]["all"]
    by_name = printed("audit", "--store", store, "--name", "4.2", "--baseline", "4.1", code=1)["baseline"]
    assert same_but_for_sessions(by_name["all"], of_files)
    filters = ("--baseline", "player=Good,name=4.1,since=2020-01-01")
    assert printed("audit", "--store", store, "--name", "4.2", *filters, code=1)["baseline"]["all"] == by_name["all"]
    with_old = printed("audit", "--store", store, "--by", "recording", "--baseline", "4.1", code=1)
    assert [note["text"].split(",")[0] for note in with_old["notes"]] == [
        "10 sessions both in the audit and in its baseline"
    ]
    grouped = with_old["baseline"]
    assert [changes["name"] for changes in grouped["groups"]] == ["4.1"]
    assert (grouped["only_before"], grouped["only_after"]) == ([], ["4.2"])

    text = "\n".join(on_terminal("audit", "--store", store, "--name", "4.2", "--baseline", "4.1", columns=120, code=1))
    assert "Fail: An ad event is sent outside of an ad break" in text
    assert "Events no longer sent: adBreakStart." in " ".join(text.split())
    assert "changes do not fail the audit without --fail-on-change" in text
    assert EXAMPLE in text
    for words in ("50 % progress marker", "accepted with 2xx", "ping to ping, content"):
        assert words in text
    assert "progress_" not in text
    row = next(line.split() for line in text.splitlines() if line.startswith("vanished  media.channel on sessionStart"))
    assert " ".join(row[4:12]) == "10 of 10 (100 %) 0 of 10"

    for baseline, why in (
        ("4.0", "no session matches the filters: name=4.0 matches none of 20 sessions"),
        (old, f"{old} is there as a path, but files can only be compared with files"),
        ("plyer=Good", "plyer is no filter"),
    ):
        refused = run("audit", "--store", store, "--name", "4.2", "--baseline", baseline)
        assert refused.returncode == 2
        assert refused.stderr.startswith(f"sessiontape: --baseline {baseline}: ")
        assert why in refused.stderr
    for baseline, why in (
        ("player=", "player= lacks a value"),
        ("since=yesterday-ish", "yesterday-ish"),
        ("state=lost", "lost is no state"),
        ("name=4.1,name=4.2", "name= is there twice"),
    ):
        with pytest.raises(SettingsError, match=why):
            written(baseline, None)
    empty = tmp_path / "empty"
    empty.mkdir()
    for baseline, why in (
        ("nowhere.json", "cannot read nowhere.json"),
        ("name=4.1", "files can only be compared with"),
        (str(empty), "there are no sessions in it\n  add --allow-empty to exit with 0 nevertheless\n"),
    ):
        missing = run("audit", new, "--baseline", baseline)
        assert missing.returncode == 2
        assert missing.stderr.startswith(f"sessiontape: --baseline {baseline}")
        assert why in missing.stderr
        assert "Traceback" not in missing.stderr
