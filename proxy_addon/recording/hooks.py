"""The addon: its options, and the hooks that turn flows into stored exchanges.

A hook converts, queues, and at most waits for the commit; it must never keep an answer from the device. If the store is
unreachable, answers do not wait for it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from mitmproxy import ctx
from mitmproxy.addonmanager import Loader
from mitmproxy.connection import Client
from mitmproxy.exceptions import OptionsError
from mitmproxy.http import HTTPFlow
from mitmproxy.proxy.layer import NextLayer
from mitmproxy.proxy.mode_specs import ReverseMode

from proxy_addon import __version__
from proxy_addon.core.durations import parse_seconds
from proxy_addon.core.exchange import Exchange, Outcome
from proxy_addon.core.findings import Finding, Verdict
from proxy_addon.core.judging.exchanges import refusal
from proxy_addon.core.judging.policy import DEFAULT, Policy
from proxy_addon.core.news import News
from proxy_addon.core.pseudonyms.exchanges import Pseudonymiser
from proxy_addon.core.routes import Operation, parse_route
from proxy_addon.core.urls import ServerUrl, parse_server_url
from proxy_addon.errors import SessiontapeError, SettingsError, StorageUnavailable
from proxy_addon.files import settings
from proxy_addon.files.keys import key_of
from proxy_addon.process import logs
from proxy_addon.recording import inside, stream
from proxy_addon.recording.at_rest import AtRest, NotPseudonymised, is_large
from proxy_addon.recording.flows import Arrival, Arrivals, address_to_upstream, exchange_of, upstream_url
from proxy_addon.recording.inspecting import Inspector
from proxy_addon.recording.live import LiveJudge
from proxy_addon.recording.options import (
    DURABILITIES,
    DURABILITY_HELP,
    KEY_FILE_HELP,
    PSEUDONYMISE_HELP,
    REJECT_HELP,
    TIMEOUT_HELP,
    UPSTREAM_TIMEOUT_S,
)
from proxy_addon.recording.watching import Watcher
from proxy_addon.recording.writer import LINGER_S, Writer
from storage import DEFAULT_STORE, exchanges, migrate, opening, revision, saving
from storage.engine import Store, check_url

logger = logs.logger(__name__)

COMMIT_BUDGET_S = 1.0
"""How long an answer waits for its commit at most. SDKs give up after 5 s."""
STOP_S = 8.0
"""How long stopping may take in all: requests in flight, then the queue, then judging. Ten seconds are promised."""
DRAIN_S = 4.0
"""How much of that requests in flight may take."""
JUDGE_S = 1.0
"""How much of that is reserved for judging."""
_FIXED = (
    *("tape_check", "tape_config", "tape_store", "tape_name", "tape_durability", "tape_upstream"),
    *("tape_pseudonymise", "tape_key_file"),
)
_PERSONAL = frozenset({"tape_pseudonymise", "tape_key_file", "tape_config"})


@dataclass(frozen=True, slots=True)
class _InFlight:
    arrival: Arrival
    flow: HTTPFlow


class _Recorder:
    """What exists from the first connection to the end: the store, its writer, and the requests in flight."""

    def __init__(
        self,
        store_url: str,
        name: str | None,
        inspector: Inspector,
        watcher: Watcher,
        stored: Callable[[], None] | None,
        *,
        at_rest: AtRest,
        durable: bool,
    ) -> None:
        self.store = Store(store_url, durable=durable)
        self.inspector = inspector
        self.at_rest = at_rest
        self._watcher = watcher
        self._stored = stored
        self.marks = inside.Marks(asyncio.get_running_loop())
        self.live = LiveJudge(self.store, inspector, self.marks, watcher)
        self.arrivals = Arrivals()
        self.in_flight: dict[str, _InFlight] = {}
        self.writer = Writer(self._save, linger_s=0.0 if durable else LINGER_S, name=at_rest.name)
        self._run = saving.RecordingRun(
            id=saving.new_id(),
            name=name or None,
            started_at=datetime.now(UTC),
            version=__version__,
            checks=inspector.is_on,
            pseudonymised=at_rest.is_on,
        )

    def _save(self, batch: Sequence[tuple[Exchange, Verdict]]) -> None:
        batch = [(self.at_rest.in_thread(exchange), verdict) for exchange, verdict in batch]
        judged = [saving.Judged(exchange, verdict) for exchange, verdict in batch]
        try:
            saved = saving.save_batch(self.store, self._run, judged, findings_due=self.inspector.is_on)
        except Exception as e:
            reason = revision.remedy(self.store)
            if reason is None:
                raise
            raise StorageUnavailable(reason) from e
        try:
            self._follow_up(batch, saved)
        except Exception as e:  # noqa: BLE001  # the batch is stored, whatever goes wrong afterwards
            self.inspector.failures.of_ours("following up what was stored", f"a batch of {len(batch)}", e)

    def _follow_up(self, batch: Sequence[tuple[Exchange, Verdict]], saved: saving.Saved) -> None:
        self.at_rest.stored(exchange.id for exchange, _ in batch)
        self._watcher.stored(batch, saved.touched)
        if self._stored is not None:
            self._stored()
        if self.inspector.is_on:
            self.live.see(saved)
        for exchange, _ in batch:
            if exchange.route.operation is Operation.SCHEMAS and exchange.is_accepted:
                self.inspector.learn(self.store, exchange.upstream)

    def store_exchange(self, flow: HTTPFlow, exchange: Exchange) -> Future[bool]:
        """Hand an exchange to the writer, and mark its flow with its findings: now, or later if judging takes long.

        Raises:
            NotPseudonymised: It must not be stored.
        """
        exchange = self.at_rest.at_once(exchange)
        verdict = None if self.at_rest.is_waiting(exchange) else self.inspector.at_once(exchange)
        self.marks.follow(exchange.id, flow)
        if verdict is not None:
            self.marks.judged(flow, verdict)
        return self.writer.put(exchange, verdict)

    def kept_elsewhere(self) -> int:
        """Return how many exchanges of this recording are in the store's file, which was moved; 0 if it was deleted."""
        moved_to = self.store.moved_to()
        if moved_to is None:
            return 0
        try:
            with opening.reading(f"sqlite:///{moved_to}") as db:
                return exchanges.count_of_recording(db, self._run.id)
        except SessiontapeError as e:
            logger.warning(f"the file that was moved cannot be read: {e}")
            return 0


def _whereabouts(stored: int, kept: int) -> str:
    if kept == stored:
        return "all of them in the file that was moved"
    return f"{kept} of them in the file that was moved" if kept else "lost with it"


class Tape:
    """Records what players send into a store.

    Attributes:
        lost: How many exchanges could not be stored; known after `done`.
        is_store_gone: Whether the file with exchanges was removed, moved or replaced; known after `done`.
    """

    def __init__(
        self,
        policy: Policy | None = None,
        watch: Callable[[News], None] | None = None,
        stored: Callable[[], None] | None = None,
        pseudonymiser: Pseudonymiser | None = None,
    ) -> None:
        """Make the addon.

        Args:
            policy: How strictly to judge; None to read the settings file (``tape_config``).
            watch: Called with news of sessions, from our threads; it must not block. None if nobody watches.
            stored: Called each time exchanges were stored, like ``watch``.
            pseudonymiser: Replaces personal values in what is stored. Without a policy, ``tape_pseudonymise`` decides.
        """
        self._watcher = Watcher(watch)
        self._stored = stored
        self._at_rest = AtRest(pseudonymiser)
        self._recorder: _Recorder | None = None
        self._upstream: ServerUrl | None = None
        self._is_told = policy is not None
        self._policy = policy or DEFAULT
        self._keep_host = False
        self._unconverted = 0
        self.lost = 0
        self.is_store_gone = False
        self.addons = [inside.Commands(self._judging)]  # mitmproxy adds them with this one
        self._idle = asyncio.Condition()

    # Options -----------------------------------------------------------------------------------------------------

    def load(self, loader: Loader) -> None:
        """Declare the options."""
        loader.add_option(
            "tape_store", str, DEFAULT_STORE, "The database to record into: sqlite:///FILE or postgresql://…"
        )
        loader.add_option("tape_name", str, "", "Name of the recording.")
        loader.add_option(
            "tape_durability",
            str,
            "commit",
            DURABILITY_HELP,
            choices=DURABILITIES,
        )
        loader.add_option(
            "tape_upstream",
            str,
            "",
            "The upstream's URL in reverse mode, needed only if it has a path: http[s]://HOST[:PORT]/PATH.",
        )
        loader.add_option("tape_check", bool, default=True, help="Check requests against the rules while recording.")
        loader.add_option(
            "tape_config",
            str,
            "",
            "Settings file for the rules; by default sessiontape.toml or pyproject.toml in the current folder.",
        )
        loader.add_option("tape_pseudonymise", bool, default=False, help=PSEUDONYMISE_HELP)
        loader.add_option("tape_key_file", str, "", KEY_FILE_HELP)
        loader.add_option(
            "tape_reject_invalid",
            bool,
            default=False,
            help=REJECT_HELP,
        )
        # A string, because mitmproxy has no options that are floats.
        loader.add_option("tape_upstream_timeout", str, f"{UPSTREAM_TIMEOUT_S:g}", TIMEOUT_HELP)
        try:
            inside.take_options(ctx.options)
        except OptionsError as e:
            logger.error(f"{e}")  # noqa: TRY400  # as in `configure`

    def configure(self, updated: set[str]) -> None:
        """Check the options.

        Raises:
            OptionsError: An option is invalid, or cannot be changed while recording.
        """
        is_loading = self._recorder is None and updated == ctx.options.keys()
        try:
            if is_loading:
                inside.refuse_unknown_options(ctx.options)
            self._check_options(updated)
        except OptionsError as e:
            if not is_loading:
                raise
            # While a script is loaded, mitmproxy would show a traceback. A logged error ends mitmproxy as well.
            logger.error(f"{e}")  # noqa: TRY400  # a user's mistake

    def _check_options(self, updated: set[str]) -> None:
        if self._recorder is not None and (late := sorted(updated.intersection(_FIXED))):
            raise OptionsError(f"{', '.join(late)} cannot be changed while recording")
        try:
            if "tape_store" in updated:
                check_url(ctx.options.tape_store)
            if "tape_upstream" in updated:
                url = ctx.options.tape_upstream
                self._upstream = parse_server_url(url) if url else None
            if "tape_upstream_timeout" in updated:
                parse_seconds(ctx.options.tape_upstream_timeout)
            if "tape_config" in updated and not self._is_told:
                self._policy = settings.load(_path(ctx.options.tape_config))
            if updated & _PERSONAL and not self._is_told:
                self._at_rest = AtRest(_pseudonymiser())
        except SettingsError as e:
            raise OptionsError("; ".join(filter(None, (str(e), e.hint)))) from e
        if ctx.options.tape_key_file and not ctx.options.tape_pseudonymise and not self._is_told:
            raise OptionsError(
                "tape_key_file needs tape_pseudonymise: without tokens there is nothing to make with a key"
            )
        if "tape_durability" in updated and ctx.options.tape_durability not in DURABILITIES:
            raise OptionsError(
                f"tape_durability is {ctx.options.tape_durability!r}; expected {' or '.join(DURABILITIES)}"
            )
        if ctx.options.tape_reject_invalid and not ctx.options.tape_check:
            raise OptionsError("tape_reject_invalid needs tape_check: requests that are not checked cannot be refused")

    # Life --------------------------------------------------------------------------------------------------------

    async def running(self) -> None:
        """Open the store; an error logged here ends mitmdump."""
        recorder = self._begin()
        try:
            await asyncio.to_thread(migrate.upgrade, recorder.store)
            await asyncio.to_thread(recorder.inspector.learn_all, recorder.store)
        except SessiontapeError as e:
            logger.error(f"{e}; {e.hint}")  # noqa: TRY400  # a user's mistake has no traceback
            return
        if recorder.store.encoding != "utf-8":
            logger.warning(
                f"{recorder.store.label} is encoded in {recorder.store.encoding}: lists show ? for characters that it "
                "lacks; bodies, paths and headers are stored exactly"
            )
        recorder.writer.start()
        recorder.live.start()
        if not self._is_told:  # `record` says so itself
            logger.info(f"recording into store {recorder.store.label}")

    async def done(self) -> None:
        """Accept no more connections, wait for the requests in flight, and write what is queued."""
        recorder = self._recorder
        if recorder is None:
            return
        until_s = time.monotonic() + STOP_S
        ctx.options.update(server=False)
        async with self._idle:
            try:
                await asyncio.wait_for(self._idle.wait_for(lambda: not recorder.in_flight), DRAIN_S)
            except TimeoutError:
                logger.warning(f"stopping; requests that have no answer yet: {len(recorder.in_flight)}")
        for waiting in list(recorder.in_flight.values()):
            self._store(waiting.flow, Outcome.UPSTREAM_TIMEOUT)
        counts = await asyncio.to_thread(recorder.writer.close, until_s - JUDGE_S - time.monotonic())
        await asyncio.to_thread(recorder.live.close, max(0.1, until_s - time.monotonic()))
        stored, lost = counts.stored, counts.lost + self._unconverted
        if stored:
            try:
                recorder.store.require_file()
            except StorageUnavailable as e:
                kept = await asyncio.to_thread(recorder.kept_elsewhere)
                logger.error(f"{e}; exchanges stored before: {stored}, {_whereabouts(stored, kept)}")  # noqa: TRY400
                stored, lost = kept, lost + stored - kept
                self.is_store_gone = True
        recorder.store.close()
        self.lost = lost
        failed = recorder.inspector.failures.count
        told = f"{stored} exchanges stored, {lost} lost" + (f"; judging failed {failed} times" if failed else "")
        logger.log(logging.WARNING if lost or failed else logging.INFO, told)

    def _judging(self) -> inside.Judging:
        recorder = self._begin()
        return inside.Judging(recorder.inspector, recorder.marks, self._upstream, recorder.at_rest.told)

    def _begin(self) -> _Recorder:
        """Return the recorder, making it on first use: the first connection may come before `running`."""
        if self._recorder is None:
            options = ctx.options
            self._keep_host = options.keep_host_header
            # With the eager strategy, a device would be disconnected if upstream refuses, with nothing to record.
            # Without keep_host_header, the device's Host would be lost before the first hook; address_to_upstream
            # replaces it later.
            options.update(connection_strategy="lazy", keep_host_header=True)
            durable = options.tape_durability == "commit"
            inspector = Inspector(self._policy, is_on=options.tape_check)
            self._recorder = _Recorder(
                options.tape_store,
                options.tape_name,
                inspector,
                self._watcher,
                self._stored,
                at_rest=self._at_rest,
                durable=durable,
            )
        return self._recorder

    # Traffic -----------------------------------------------------------------------------------------------------

    def next_layer(self, layer: NextLayer) -> None:
        """Put our streams on connections that speak HTTP."""
        self._begin()
        if layer.layer is None:
            # A script's hooks run before mitmproxy's own addon has chosen the layer.
            ctx.master.addons.get("nextlayer").next_layer(layer)
        stream.install(layer)
        mode = layer.context.client.proxy_mode
        if isinstance(mode, ReverseMode) and not self._keep_host and layer.context.server.sni is None:
            # mitmproxy would have done this if we had not set keep_host_header.
            layer.context.server.sni = mode.address[0]

    def requestheaders(self, flow: HTTPFlow) -> None:
        """Copy what the device sent, and address the request to upstream."""
        recorder = self._begin()
        if parse_route(flow.request.method, flow.request.path) is not None:
            flow.request.stream = False
            try:
                arrival = recorder.arrivals.take_down(flow, upstream_url(flow, self._upstream))
                recorder.in_flight[flow.id] = _InFlight(arrival, flow)
            except Exception as e:  # noqa: BLE001  # the traffic goes on whatever happens here
                self._lose(flow, e)
        else:
            flow.request.stream = True  # a body that is not recorded need not be kept in memory
        address_to_upstream(flow, self._upstream, keep_host=self._keep_host)

    async def request(self, flow: HTTPFlow) -> None:
        """With ``tape_reject_invalid``, refuse a request that has an error; upstream never sees it."""
        waiting = self._begin().in_flight.get(flow.id)
        if waiting is None or not ctx.options.tape_reject_invalid or flow.response is not None:
            return
        exchange = exchange_of(flow, waiting.arrival, Outcome.REJECTED)
        message = refusal(await self._findings(exchange))
        if message is not None:
            flow.response = stream.own_answer(400, message)

    def responseheaders(self, flow: HTTPFlow) -> None:
        """Buffer the answers to recorded requests, and stream all others."""
        if flow.response is not None:
            flow.response.stream = flow.id not in self._begin().in_flight

    async def response(self, flow: HTTPFlow) -> None:
        """Store an answered exchange; the answer waits for the commit."""
        answered = stream.went_upstream(flow)
        await self._commit(self._store(flow, Outcome.ANSWERED if answered else Outcome.REJECTED))
        await inside.show_update(flow)

    async def error(self, flow: HTTPFlow) -> None:
        """Store an exchange that ended without an answer from upstream."""
        await self._commit(self._store(flow, stream.outcome(flow)))
        await inside.show_update(flow)

    async def client_disconnected(self, client: Client) -> None:
        """Store the requests of a disconnected device that no other hook has stored."""
        recorder = self._begin()
        left = [waiting.flow for waiting in recorder.in_flight.values() if waiting.flow.client_conn.id == client.id]
        for flow in left:
            # With an error, mitmproxy closed the connection because of invalid data; its error hook comes later.
            self._store(flow, stream.outcome(flow) if flow.error is not None else Outcome.CLIENT_GONE)
        async with self._idle:
            self._idle.notify_all()

    def _store(self, flow: HTTPFlow, outcome: Outcome) -> Future[bool] | None:
        """Hand an exchange to the writer; return None if there is nothing to store."""
        recorder = self._begin()
        waiting = recorder.in_flight.pop(flow.id, None)
        if waiting is None:
            return None
        try:
            return recorder.store_exchange(flow, exchange_of(flow, waiting.arrival, outcome))
        except Exception as e:  # noqa: BLE001  # the traffic goes on whatever happens here
            self._lose(flow, e)
            return None

    async def _findings(self, exchange: Exchange) -> Sequence[Finding]:
        recorder = self._begin()
        inspector, at_rest = recorder.inspector, recorder.at_rest
        if is_large(exchange):
            return await asyncio.to_thread(lambda: inspector.findings(at_rest.told(exchange)))
        return inspector.findings(at_rest.told(exchange))

    async def _commit(self, stored: Future[bool] | None) -> None:
        if stored is None:
            return
        recorder = self._begin()
        if ctx.options.tape_durability == "commit" and not recorder.writer.is_stuck:
            _, late = await asyncio.wait({asyncio.wrap_future(stored)}, timeout=COMMIT_BUDGET_S)
            if late:
                recorder.writer.overdue()
        if not recorder.in_flight:
            async with self._idle:
                self._idle.notify_all()

    def _lose(self, flow: HTTPFlow, error: Exception) -> None:
        self._unconverted += 1
        at_rest = self._at_rest
        told = f"lost: {flow.request.method} {at_rest.path(flow.request.path)} of flow {flow.id}"
        if at_rest.is_on:  # the error may quote what the device sent
            logger.error(
                f"{told}: {type(error).__name__} {error if isinstance(error, NotPseudonymised) else ''}".rstrip()
            )
        else:
            logger.error(told, exc_info=error)


def _path(text: str) -> Path | None:
    return Path(text) if text else None


def _pseudonymiser() -> Pseudonymiser | None:
    """Return what replaces personal values, by mitmproxy's options; None if it is not wanted.

    Raises:
        SettingsError: The key file or the settings file is invalid.
    """
    options = ctx.options
    if not options.tape_pseudonymise:
        return None
    return Pseudonymiser(key_of(_path(options.tape_key_file)), settings.load_personal(_path(options.tape_config)))
