"""What a store refuses is kept as a segment that can be moved back."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing

from proxy_addon.journal import aside
from proxy_addon.journal.entries import About, Exchanged
from proxy_addon.journal.reading import Folder

ABOUT = About(run="run1", worker=2, started_us=0, program="1", engine="lane")
REFUSED = [
    Exchanged(id=f"x{n}", received_us=n, outcome="answered", request=b"GET / HTTP/1.1\r\n\r\n") for n in range(3)
]


def test_what_is_kept_can_be_filed_again(tmp_path):
    for entry in [*REFUSED, *REFUSED]:
        path = aside.keep(tmp_path, ABOUT, entry, f"no room for {entry.id}")
    assert path.stat().st_mode & 0o777 == 0o600
    with closing(sqlite3.connect(path)) as db:
        reasons = db.execute("SELECT x FROM reasons ORDER BY n").fetchall()
    assert reasons == [(f"no room for {entry.id}",) for entry in REFUSED]
    shutil.move(path, tmp_path)
    with closing(Folder(tmp_path)) as folder:
        (writer,) = folder.look()
        assert (writer.is_alive, writer.segments[0].about) == (False, ABOUT)
        assert [entry for _, entry in writer.segments[0].more()] == REFUSED
        assert (writer.segments[0].more(), writer.segments[0].damage) == ([], None)
