"""The sessions of a test run as one HTML file, without personal values."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import Any
from uuid import uuid4

from proxy_addon.core.expectations.comparison import Comparison
from proxy_addon.core.judging.policy import Policy
from proxy_addon.core.pseudonyms.exchanges import Pseudonymiser
from proxy_addon.core.pseudonyms.personal import Personal
from proxy_addon.core.sessions import Session
from proxy_addon.files import keys, whole
from proxy_addon.journal.awaiting import await_filed
from proxy_addon.reporting.pages import report
from proxy_addon.reporting.pages.compare import expectation_page
from storage import sessions
from storage.engine import hide_password, sqlite_path
from storage.filters import Filters
from storage.opening import reading
from storage.pictures import Pictures

_KEPT = ".comparison.json"


@dataclass(frozen=True, kw_only=True)
class Compared:
    """A session that was compared with what is expected of it.

    Attributes:
        expected: Name of the expectation, such as its file.
    """

    comparison: Comparison
    expected: str


def recorded_since(stores: Iterable[str], began_at: datetime, *, now: datetime) -> dict[str, list[Session]]:
    """Return the sessions that began in these stores since a time, by the URLs of the stores.

    Raises:
        StorageError: A store cannot be read.
    """
    found = {}
    for url in stores:
        await_filed(sqlite_path(url), hide_password(url))
        with reading(url) as db:
            found[url] = [*sessions.newest(db, Filters(since=began_at), now=now)]
    return found


def keep(folder: Path, compared: Compared, policy: Policy, change: Pseudonymiser, *, now: datetime) -> None:
    """Keep a comparison for the report, which another process may write.

    Args:
        folder: What `taken` is called with.
        policy: How strictly to judge.
        change: Replaces personal values, with the key of the report.

    Raises:
        SettingsError: The file cannot be written.
    """
    text = json.dumps(_document(compared, policy, change, now))
    whole.write(folder / f"{uuid4().hex}{_KEPT}", [text.encode()])


def taken(folder: Path) -> list[dict[str, Any]]:
    """Return the comparisons that were kept in a folder, by the names of expectations, and delete them there."""
    found = []
    for path in folder.glob(f"*{_KEPT}"):
        found.append(json.loads(path.read_bytes()))
        path.unlink()
    return sorted(found, key=lambda each: [side["name"] for side in each["sides"]])


def _document(compared: Compared, policy: Policy, change: Pseudonymiser, now: datetime) -> dict[str, Any]:
    page = expectation_page(
        compared.comparison,
        expected=compared.expected,
        actual=compared.comparison.actual.session.id,
        now=now,
        policy=policy,
        pseudonymise=change,
    )
    return page.document()


def write(
    path: Path,
    found: Mapping[str, Sequence[Session]],
    policy: Policy,
    personal: Personal,
    *,
    now: datetime,
    are_judged: bool = False,
    compared: Iterable[Compared] = (),
    kept: Iterable[Mapping[str, Any]] = (),
    trial: report.TrialVerdict | None = None,
    names_recordings: bool = False,
    key: bytes | None = None,
) -> str:
    """Write sessions, each judged as over, and return what was written, as a line.

    Args:
        path: An existing file is replaced.
        found: The sessions, by the URL of the store that they are in.
        policy: How strictly to judge.
        personal: Which values are personal.
        now: The time at which they are judged.
        are_judged: Whether their counts are those of such a judgement.
        compared: What some of them were compared with; those that are as expected are left out.
        kept: More such comparisons, as `taken` returns them.
        trial: What the test run came to; None to judge by the sessions alone.
        names_recordings: Whether the list says of which recording each session is.
        key: Of the tokens that replace personal values; None for one that follows from the sessions.

    Raises:
        SettingsError: The file cannot be written.
        StorageError: A store cannot be read.
    """
    ids = [session.id for some in found.values() for session in some]
    change = Pseudonymiser(keys.of_output(ids) if key is None else key, personal)
    with ExitStack() as stack:
        reported = []
        for url, some in found.items():
            pictures = Pictures(stack.enter_context(reading(url)), policy, now, change, closed=True)
            reported += [pictures.reported(session, is_judged=are_judged) for session in some]
        pieces = report.report(
            reported,
            made_at=now,
            pseudonymised=True,
            are_over=True,
            comparisons=chain(
                (_document(each, policy, change, now) for each in compared if not each.comparison.is_same), kept
            ),
            trial=trial,
            names_recordings=names_recordings,
        )
        size = whole.write(path, (piece.encode("utf-8", "replace") for piece in pieces))
    return report.told(len(reported), str(path), size)
