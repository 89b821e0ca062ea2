"""Prepare a replay before its first request: check the target, and store the run."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from proxy_addon.core.pseudonyms.personal import PERSONAL
from proxy_addon.core.replays.changing import SAFE, Changer
from proxy_addon.core.replays.plans import SessionPlan, cut_short, plan_session, repeated_starts
from proxy_addon.core.replays.runs import ReplayRun, RunChange, RunOptions, Step, run_changes
from proxy_addon.core.replays.targets import Allowed
from proxy_addon.core.sessions import Session
from proxy_addon.core.urls import ServerUrl, parse_host
from proxy_addon.process import recorders
from proxy_addon.replay.connecting import Proxy, ProxyUrl, check_proxy
from proxy_addon.replay.planner import Planner, Planning
from proxy_addon.replay.resolving import CheckedTarget, Role, check_target
from storage import exchanges, runs, sessions
from storage.engine import Store
from storage.filters import Filters

if TYPE_CHECKING:
    from sqlalchemy import Connection

GONE = "it is no longer in the store"


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """The sessions that a command names.

    Attributes:
        names: Names of sessions; empty for all that pass the filters.
    """

    names: Sequence[str]
    filters: Filters

    def find(self, db: Connection) -> Iterable[Session]:
        """Return the sessions, each once, in the order of their names, or oldest first.

        Raises:
            NotFound: A name means no session or several.
        """
        if not self.names:
            return sessions.newest(db, self.filters, now=datetime.now(UTC), oldest_first=True)
        return {session.id: session for session in (sessions.find(db, name) for name in self.names)}.values()


def checked(
    stores: Iterable[Store], url: ServerUrl, allowed: Sequence[Allowed], proxy: ProxyUrl | None, host: str | None
) -> tuple[CheckedTarget, Proxy | None]:
    """Return the checked target, and the proxy, which is checked like a target.

    Args:
        stores: Those whose upstreams are refused.
        host: The ``Host`` that the changes set, which is checked like a target too; None if they set none.

    Raises:
        TargetRefused: The target, the proxy or the ``Host`` may not be used.
        TargetUnreachable: The name of either cannot be resolved.
        SettingsError: The proxy cannot reach the target.
    """
    upstreams: list[str] = []
    servers: list[tuple[str, str, int]] = []
    for store in stores:
        with store.read() as db:
            upstreams += sessions.upstreams(db)
            servers += sessions.servers(db)
    judge = functools.partial(
        check_target, upstreams=upstreams, servers=servers, recorders=list(recorders.running()), allowed=allowed
    )
    target = judge(url)
    if host is not None and judge(parse_host(host, url.scheme), role=Role.HOST).needed_leave:
        target = replace(target, needed_leave=True)
    if proxy is None:
        return target, None
    return target, check_proxy(proxy, target, upstreams=upstreams, servers=servers, allowed=allowed)


def unchecked(url: ServerUrl) -> CheckedTarget:
    """Return a target without addresses, for planning when the real one is refused. Nothing can be sent to it."""
    return CheckedTarget(url, addresses=(), needed_leave=True)


def planning_of(options: RunOptions, *, is_safe: bool) -> Planning:
    """Return how sessions become plans. The safe profile comes first, so that the user's own changes prevail.

    Args:
        is_safe: Whether the safe profile is on if the options do not say.
    """
    safe = SAFE if (is_safe if options.safe is None else options.safe) else ()
    personal = PERSONAL.with_more(members=options.members, headers=options.headers)
    key = bytes.fromhex(options.key)
    changer = Changer([*safe, *options.changes], key=key, profile=len(safe), personal=personal)
    return Planning(changer=changer, spreads_equal_ts=options.spread_equal_ts)


def changes_of(options: RunOptions, planning: Planning) -> list[RunChange]:
    """Return the changes of a run that has not sent anything yet."""
    return list(run_changes(options.changes, is_safe=planning.changer.profile > 0))


def plans_of(store: Store, chosen: Chosen, planning: Planning) -> Iterator[SessionPlan]:
    """Yield the plans of sessions in order, without sending anything."""
    with store.read() as db:
        found = list(chosen.find(db))
    with closing(Planner(store.url, planning, repeated_starts(found))) as planner:
        for session in found:
            yield planner(session)


def begin(store: Store, run: ReplayRun, *, options: RunOptions, changes: Iterable[RunChange], chosen: Chosen) -> int:
    """Store a run with its sessions; return how many there are."""
    with store.read() as db:
        found = chosen.find(db)
        with store.write() as writing:
            runs.begin(writing, run, options, changes)
            return runs.choose(writing, run.id, ((session.id, session.session_id) for session in found))


def take_up(store: Store, run: ReplayRun, *, changes: Iterable[RunChange]) -> int:
    """Resume a run: settle sessions that were cut short, and set unsent ones to waiting; return how many wait."""
    _close_cut_short(store, run.id)
    with store.write() as db:
        runs.add_changes(db, run.id, changes)
        runs.wait_again(db, run.id)
        number = runs.size(db, run.id, waiting=True)
        if number:
            runs.finish(db, run.id, None)
        return number


def _close_cut_short(store: Store, run_id: str) -> None:
    """Settle the sessions in whose middle a run was killed: their missing steps are stored and never sent."""
    with store.write() as db:
        for position, source, noted, announced in list(runs.cut_short(db, run_id)):
            found = sessions.get(db, [source])
            missing: list[Step] = []
            if found:
                plan = plan_session(found[0], exchanges.of_session(db, source))
                missing = list(cut_short(plan, noted, announced))
            reason = missing[0].reason if missing else None if found else GONE
            steps = [(position, step) for step in missing]
            runs.note(db, run_id, runs.LedgerEntries(steps=steps, ended={position: reason}))
