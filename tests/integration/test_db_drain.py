"""``sessiontape db drain``: what a recorder has left in its journal gets into the store."""

from __future__ import annotations

from pathlib import Path

from proxy_addon.journal import folders
from proxy_addon.journal.entries import Entry
from tests import journals
from tests.builders import event, start
from tests.processes import printed, run


def played(number: int) -> list[Entry]:
    return [
        journals.entry(each)
        for each in (
            start(id=f"{number}-1"),
            event("play", id=f"{number}-2", after_s=1),
            event(id=f"{number}-3", after_s=2),
        )
    ]


def test_what_a_killed_recorder_left_is_filed_and_the_books_balance(store, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    folder = folders.default(store.path, store.label)
    elsewhere = tmp_path / "elsewhere"
    folders.note_elsewhere(store.path, store.label, elsewhere)
    journals.write(folder, [journals.counted(0), *played(1), journals.counted(3)], journals.about("aaaa1"))
    journals.write(elsewhere, [journals.counted(0), *played(1)[:1]], journals.about("aaaa2"))
    listed = run("sessions", "--store", store.url)
    assert "no sessions yet" in listed.stderr
    assert "3 exchanges wait in the journal" in listed.stderr, "not their counts"
    assert "1 exchange waits in the journal" in listed.stderr
    assert "'sessiontape db drain' files them" in listed.stderr

    done = run("db", "drain", "--store", store.url)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"3 exchanges filed from {folder}\n0 exchanges filed from {elsewhere}\n"
    (session,) = printed("sessions", "--store", store.url)
    assert (session["exchanges"], session["lost"]) == (3, 0)
    (run2, run1) = sorted(printed("ledger", "--store", store.url), key=lambda each: each["id"], reverse=True)
    assert (run1["state"], run1["seen"], run1["filed"], run1["late"], run1["balanced"]) == ("killed", 3, 3, 3, True)
    assert run2["balanced"]
    again = run("db", "drain", "--store", store.url)
    assert again.stdout.startswith(f"0 exchanges filed from {folder}\n")


def test_a_journal_can_be_named_and_what_hinders_is_said(store, tmp_path):
    folder = tmp_path / "journal"
    missing = run("db", "drain", "--store", store.url, "--journal", str(folder))
    assert missing.returncode == 2
    assert f"there is no journal at {folder}" in missing.stderr
    journals.write(folder, played(1))
    assert "3 exchanges filed" in run("db", "drain", "--store", store.url, "--journal", str(folder)).stdout
    journals.write(folder, played(2), journals.about("late"))
    away = run("db", "drain", "--store", f"sqlite:///{tmp_path / 'nowhere' / 'tape.db'}", "--journal", str(folder))
    assert away.returncode == 2
    assert away.stderr.startswith("sessiontape: ")
    assert "Traceback" not in away.stderr
    assert len(list(folder.glob("late.*.tape"))) == 1, "it stays"
    none = run("db", "drain", "--store", f"sqlite:///{tmp_path / 'other.db'}")
    assert (none.returncode, none.stdout) == (0, f"sqlite:///{tmp_path / 'other.db'} has no journal on this machine\n")
    assert not Path(tmp_path / "other.db").exists()
