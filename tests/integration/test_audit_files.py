"""An audit of a folder: its sessions can be shown, count once, and what is odd about its files is told in a few lines."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import re
import shlex
import shutil
import tracemalloc
import xml.etree.ElementTree as ET
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import click
import pytest

from proxy_addon.cli import sources
from proxy_addon.cli.held_files import HeldFiles
from proxy_addon.core.audits.auditing import By
from proxy_addon.core.fixtures import fixture, har_own, har_writing
from proxy_addon.core.fixtures.held import HeldSession, content_of
from proxy_addon.core.judging.files import judge_held
from proxy_addon.errors import SettingsError
from proxy_addon.reporting.audits import facts, tables
from tests import audited, versions
from tests.builders import event_dict
from tests.processes import run
from tests.reports import parts_of

SAMPLES = Path(__file__).parent.parent / "samples" / "captures"
WEB = "Web Player"
ODD = ("it's.json", "-dash.json", "new\nline.json", "plain")


REAL = ("hand-safari-17", "playwright-1.65-chromium-bodies-missing", "firefox-153-devtools-refused")
"""Files of browsers that lack bodies."""


def text_of(held: HeldSession) -> str:
    return fixture.document(held.session, held.exchanges, version="0")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with sessions under odd names, some of them twice, and much else."""
    root = tmp_path_factory.mktemp("audit") / "tapes"
    (root / "sub").mkdir(parents=True)
    for number, name in enumerate(("a.json", *ODD)):
        (root / name).write_text(text_of(audited.played(WEB, number)), encoding="utf-8")
    (root / "sub" / "z.json.gz").write_bytes(gzip.compress((root / "a.json").read_bytes()))
    shutil.copy(root / "plain", root / "sub" / "y.json")
    held = audited.played(WEB, 0)
    (root / "0 earlier.json").write_text(text_of(replace(held, exchanges=held.exchanges[:-3])), encoding="utf-8")
    shutil.copy(root / "0 earlier.json", root / "sub" / "earlier.json")
    edited = replace(held, exchanges=(*held.exchanges[:3], *held.exchanges[4:]))
    (root / "edited.json").write_text(text_of(edited), encoding="utf-8")
    (root / "empty.har").touch()
    (root / "cut.har").write_text('{"log": {"entries": [{"request": {"url"')
    for name in ("list.txt", "notes.txt", "todo.txt"):
        (root / name).write_text("notes")
    (root / ".hidden.json").write_text("hidden")
    (root / "loop").symlink_to(".")
    (root / "nowhere.har").symlink_to("gone.har")
    os.mkfifo(root / "pipe.har")
    return root


def test_sessions_of_a_folder_have_names_by_which_they_are_found(folder, monkeypatch):
    monkeypatch.chdir(folder)
    files = HeldFiles(["."])
    assert len(list(files)) == len(ODD) + 3
    assert files.is_to_be_read_again  # because what came first is the beginning of another
    audit = audited.audited(files, By.RECORDING)
    assert {group.name: group.sessions for group in audit.groups} == dict.fromkeys(["a.json", "edited.json", *ODD], 1)
    names = {name for group in audit.groups for rule in group.findings for name in rule.look_at}
    assert {name.rpartition("#")[0] for name in names} >= {"it's.json", "./-dash.json", "new\nline.json", "./plain"}
    for name in names:
        assert name.endswith(f"#{sources.held(name).session.id}")

    facts_ = list(csv.DictReader(io.StringIO("".join(facts.lines(audit)))))
    for fact in facts_:
        assert (fact["measure"] == "") == (fact["kind"] in ("verdict", "absent"))
        assert not fact["of"] or float(fact["share"]) == round(int(fact["value"]) / int(fact["of"]), 6)
    assert {word for fact in facts_ for word in words(fact["look_at"])} == names
    worst = {name for rule in audit.all.findings for name in rule.look_at}
    text = "".join(tables.as_text(audit))
    assert "for example" not in text, "of sessions that are gone"
    listed = re.findall(r"(?m)^  [a-z-]* +(\S.*#[0-9a-f]{16}'?)$", text)
    assert {word for line in listed for word in words(line)} == worst
    suite = "".join(facts.suite(audit, "never"))
    out = "\n".join(each.text or "" for each in ET.fromstring(suite).iter("system-out"))
    assert {word for each in re.findall("look at (.*)", out) for word in words(each)} == names


def test_a_list_of_bodies_is_called_as_its_file(tmp_path):
    path = str(tmp_path / "list.json")
    Path(path).write_text(json.dumps([event_dict("sessionStart"), event_dict("play", ts=1)]))
    files = HeldFiles([path])
    audit = audited.audited(files, None)
    assert {name for rule in audit.all.findings for name in rule.look_at} == {path}
    assert files.named([path])[path].session.id == path
    assert f"  {path}\n" in "".join(tables.as_text(audit))


def test_the_page_of_a_folder_names_files_and_says_what_is_odd_about_them(folder, monkeypatch):
    monkeypatch.chdir(folder)
    done = run("audit", ".", "--fail-on", "never", "--format", "html", "-o", "-")
    parts = parts_of(done.stdout)
    value = parts["value"]
    assert value["audit"]["all"]["sessions"] == len(ODD) + 2
    for name, told in value["sessions"].items():
        assert parts[f"session-{told['part']}"]["session"]["id"] == name
        assert "#" in name
    notes = {note["text"]: note["files"] + note["sessions"] for note in value["audit"]["notes"]}
    passed_over = "of 16 files passed over"
    assert {text: names for text, names in notes.items() if "session" not in text.split(": ")[0]} == {
        "a link to a folder not followed: name what it leads to": ["loop"],
        f"1 {passed_over}: cannot be read: No such file or directory": ["nowhere.har"],
        f"3 {passed_over}: does not hold sessions in a known format": ["list.txt", "notes.txt", "todo.txt"],
        f"1 {passed_over}: is empty": ["empty.har"],
        f"1 {passed_over}: the file is cut off, and no request in it belongs to a session": ["cut.har"],
    }
    twice, (shorter,), (similar,) = list(notes.values())[-3:]
    assert list(notes)[-3:] == [
        "3 sessions found in several files, counted once",
        "1 session found longer in another file, which counts",
        "1 session with the ID and start of one in another file, but other requests: both count",
    ]
    assert re.search(
        r"^sub/earlier\.json#\w+ is in '0 earlier\.json', too\nsub/y\.json#\w+ is in plain, too\n", "\n".join(twice)
    )
    assert re.search(r"^'0 earlier\.json#\w+' is the beginning of a\.json#\w+$", shorter)
    assert re.search(r"^edited\.json#\w+ and a\.json#\w+$", similar)
    assert len(done.stderr.splitlines()) == 18
    assert "\n  list.txt, notes.txt and 1 more\n" in done.stderr
    assert "\n  and 1 more\n" in done.stderr


def words(text: str) -> list[str]:
    """Return what a shell makes of words; one that has characters which need an escape is as bash reads it."""
    plain = re.sub(
        r"\$'((?:[^'\\]|\\.)*)'", lambda found: shlex.quote(found[1].encode().decode("unicode_escape")), text
    )
    return shlex.split(plain)


def test_what_is_named_must_hold_sessions_and_counts_once(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(folder)
    assert len(list(HeldFiles(["a.json", "./a.json", "sub/../a.json"]))) == 1
    twice = HeldFiles(["a.json", "sub/z.json.gz"])
    assert [held.session.id.partition("#")[0] for held in twice] == ["a.json"]
    (note,) = twice.notes
    assert note.text == "1 session found in several files, counted once"
    assert re.fullmatch(r"sub/z\.json\.gz#[0-9a-f]{16} is in a\.json, too", note.sessions[0])
    names = ["a.json", "0 earlier.json", "edited.json", "sub/earlier.json", "sub/y.json"]
    contents = []
    for order in (names, names[::-1]):
        files = HeldFiles(order)
        list(files)
        contents.append(sorted(map(content_of, files)))
    assert contents[0] == contents[1]
    assert len(contents[0]) == 3
    with pytest.raises(click.UsageError, match="nothing is no file"):
        HeldFiles(["nothing"])
    for name in ("empty.har", "nowhere.har"):
        with pytest.raises(Exception, match=name):
            list(HeldFiles([name]))


def test_a_file_of_another_form_has_the_same_session(tmp_path):
    held = audited.played(WEB, 0)
    har = json.loads("".join(har_writing.document(held.exchanges, version="1.0")))
    for entry in har["log"]["entries"]:
        del entry[har_own.MEMBER]  # as another tool writes it, times to the millisecond
    (tmp_path / "a.har").write_text(json.dumps(har))
    for name, later in (("b.json", timedelta(microseconds=300)), ("c.json", timedelta(days=1))):
        exchanges = tuple(replace(each, received_at=each.received_at + later) for each in held.exchanges)
        (tmp_path / name).write_text(text_of(replace(held, exchanges=exchanges)))
    files = HeldFiles([str(tmp_path)])
    assert [Path(each.session.recording or "").name for each in files] == ["a.har", "c.json"]
    assert len(files.notes) == 1


def test_an_edited_copy_that_is_longest_hides_no_beginning_of_another(tmp_path):
    held = audited.played(WEB, 0)
    last = held.exchanges[-1]
    more = replace(last, id="f" * 32, received_at=last.received_at + timedelta(seconds=1))
    copies = {
        "beginning": held.exchanges[:-3],
        "edited": (*held.exchanges[:3], *held.exchanges[4:], more, replace(more, id="e" * 32)),
        "whole": held.exchanges,
    }
    for name, exchanges in copies.items():
        (tmp_path / name).write_text(text_of(replace(held, exchanges=tuple(exchanges))), encoding="utf-8")
    files = HeldFiles([str(tmp_path)])
    assert len(list(files)) == 3
    assert [Path(each.session.recording or "").name for each in files] == ["edited", "whole"]
    shorter, similar = files.notes
    assert re.search(r"beginning#\w+ is the beginning of \S+/whole#\w+$", shorter.sessions[0])
    assert re.search(r"whole#\w+ and \S+/edited#\w+$", similar.sessions[0])


def test_files_that_hold_bodies_of_a_har_are_a_part_of_it_and_a_file_that_is_cut_off_is_told(tmp_path):
    shutil.copytree(SAMPLES / "playwright-1.65-chromium-attach", tmp_path / "attach")
    text = "".join(har_writing.document(audited.played(WEB, 0).exchanges, version="1.0"))
    (tmp_path / "cut.har").write_text(text[: text.rindex('"startedDateTime"')])
    har = json.loads(text)
    for entry in har["log"]["entries"]:
        del entry[har_own.MEMBER]
    post = har["log"]["entries"][-1]["request"]["postData"]
    (tmp_path / "body.json").write_text(f"[{post.pop('text')}]")  # a list, which might be a session
    post["_file"] = "body.json"
    har["log"]["entries"].append({})
    (tmp_path / "z.har").write_text(json.dumps(har))
    files = HeldFiles([str(tmp_path)])
    list(files)
    assert files.is_to_be_read_again
    assert {Path(each.session.id.rpartition("#")[0]).name for each in files} == {"session.har", "z.har"}
    cut, broken, *remarks, longer = files.notes
    assert (cut.text, *cut.files) == ("1 of 3 files cut off, so that the end is missing", f"{tmp_path}/cut.har")
    assert (broken.text, *broken.files) == ("1 of 3 files with 1 entry that cannot be read", f"{tmp_path}/z.har")
    assert "1 of 3 files: Playwright leaves out preflights" in remarks[0].text
    assert longer.text.startswith("1 session found longer in another file")
    alone = HeldFiles([f"{tmp_path}/cut.har"])
    (going_on,) = alone
    assert going_on.session.has_holes
    assert "1 of 1 file cut off, so that the end is missing" in [note.text for note in alone.notes]
    (tmp_path / "z.har").write_text('{"log": {"entries": [{"request": {"url"')
    with pytest.raises(SettingsError, match="the file is cut off, and no request in it belongs to a session"):
        list(HeldFiles([str(tmp_path / "z.har")]))


def test_what_files_lack_is_not_held_against_the_player(tmp_path):
    """Safari leaves out the bodies of beacons, and a file may be cut off: neither is a loss, or a change since a baseline."""
    har = json.loads(
        "".join(har_writing.document([each for n in range(10) for each in versions.played(n).exchanges], version="1"))
    )
    har["log"]["creator"]["name"] = "WebKit Web Inspector"
    for entry in har["log"]["entries"]:
        del entry[har_own.MEMBER]
    (tmp_path / "whole.har").write_text(json.dumps(har))
    for entry in har["log"]["entries"]:
        if re.search('"(play|sessionComplete|sessionEnd)"', entry["request"]["postData"]["text"]):
            del entry["request"]["postData"]
    (tmp_path / "holes.har").write_text(json.dumps(har))
    whole, holed = ([*HeldFiles([f"{tmp_path}/{name}.har"])] for name in ("whole", "holes"))
    found = audited.audited(holed, None, baseline=("whole.har", whole))
    assert found.all.with_holes == 10
    assert {loss.loss for loss in found.all.losses if loss.sessions} == set()
    assert {(metric.sessions, metric.left_out) for metric in found.all.metrics} == {(0, 10)}
    assert found.baseline is not None
    changes = found.baseline.all
    assert (changes.before, changes.after, changes.left_out_before, changes.left_out_after) == (10, 0, 0, 10)
    assert (changes.changes, changes.undecided, changes.is_undecided) == ((), 0, True)
    left_out = "without 0 before and 10 after of which requests or bodies are not known"
    text, suite = "".join(tables.as_text(found)), "".join(facts.suite(found, "never", changes_fail=True))
    assert f"10 sessions before, 0 after, {left_out}" in text
    assert "no-end, timed-out, stalled: without 10 sessions of which requests or bodies are not known" in text
    assert (
        f"undecided: 10 sessions before and 0 after are not enough to say, but {changes.enough} each are, {left_out}"
        in suite
    )
    assert "Sessions of which requests or bodies are not known are not compared: 0 before, 10 after." in text

    # Half of the sessions have holes: the others are compared.
    half = audited.audited([*whole[:5], *holed[5:]], None, baseline=("whole.har", whole))
    assert half.baseline is not None
    assert (half.baseline.all.after, half.baseline.all.left_out_after, half.baseline.all.undecided) == (5, 5, 0)
    assert {loss.share for loss in half.all.losses} == {0.0}
    contents = {each.metric: each for each in half.all.metrics}["content_starts"]
    assert (contents.total, contents.per_session, contents.sessions, contents.left_out) == (5, 1, 5, 5)

    cut = json.dumps(har).partition(har["log"]["entries"][-20]["startedDateTime"])[0]
    (tmp_path / "cut.har").write_text(cut)
    for held in HeldFiles([f"{tmp_path}/cut.har"]):
        assert not judge_held(held).of_session
    real = audited.audited([*HeldFiles([str(SAMPLES / f"{name}.har") for name in REAL])], None).all
    assert not {"no-end", "never-played"} & {loss.loss for loss in real.losses if loss.sessions}
    assert next(each.total for each in real.metrics if each.metric == "seconds_since_last_call_s") == 0


def test_memory_does_not_grow_with_the_number_of_files(tmp_path):
    text = text_of(audited.played(WEB, 0))
    own = audited.played(WEB, 0).session.session_id
    assert own is not None

    def peak(files: int) -> int:
        folder = tmp_path / str(files)
        folder.mkdir()
        for number in range(files):
            (folder / f"{number}.json").write_text(text.replace(own, f"{number:064x}"))
        tracemalloc.start()
        assert sum(1 for _ in HeldFiles([str(folder)])) == files
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    few = peak(5)
    assert peak(15) < few * 1.5
