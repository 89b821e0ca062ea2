"""The addon: its options, and the hooks that turn flows into entries of the journal.

A hook converts, and waits at most until the journal has the exchange; it must never keep an answer from the device. If the
journal cannot be written, the traffic goes on.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace
from pathlib import Path

from mitmproxy import ctx
from mitmproxy.addonmanager import Loader
from mitmproxy.connection import Client
from mitmproxy.exceptions import OptionsError
from mitmproxy.http import HTTPFlow
from mitmproxy.proxy.layer import NextLayer
from mitmproxy.proxy.mode_specs import ReverseMode

from proxy_addon.core.durations import parse_seconds
from proxy_addon.core.exchange import Exchange, Outcome
from proxy_addon.core.judging.policy import DEFAULT
from proxy_addon.core.pseudonyms.exchanges import Pseudonymiser
from proxy_addon.core.routes import parse_route
from proxy_addon.core.urls import ServerUrl, parse_server_url
from proxy_addon.errors import SessiontapeError, SettingsError
from proxy_addon.files import settings
from proxy_addon.files.keys import key_of
from proxy_addon.journal.entries import Dropped
from proxy_addon.journal.writing import Done
from proxy_addon.process import logs, threads
from proxy_addon.recording import gate, inside, stream
from proxy_addon.recording.at_rest import AtRest
from proxy_addon.recording.ending import CLOSE_S, STOP_S, settle
from proxy_addon.recording.flows import Arrival, address_to_upstream, arrival_of, began_us, exchange_of, upstream_url
from proxy_addon.recording.ingesting import Hearing, Ingesting, folder_of
from proxy_addon.recording.judging import Judge
from proxy_addon.recording.lane.layer import Lanes
from proxy_addon.recording.loops import Loops
from proxy_addon.recording.options import (
    DURABILITIES,
    DURABILITY_HELP,
    JOURNAL_HELP,
    KEY_FILE_HELP,
    PSEUDONYMISE_HELP,
    REJECT_HELP,
    TIMEOUT_HELP,
    UPSTREAM_TIMEOUT_S,
)
from proxy_addon.recording.recorder import Recorder, about_of
from storage import DEFAULT_STORE
from storage.engine import Store, check_url, hide_password

logger = logs.logger(__name__)

DRAIN_S = 4.0
"""How long requests in flight may take when the recorder ends. Ten seconds are promised for all."""
INTERRUPT_S = 0.5
"""How long it may take to tell devices that they get no answer."""
_FIXED = (
    *("tape_check", "tape_config", "tape_store", "tape_name", "tape_durability", "tape_upstream"),
    *("tape_journal", "tape_pseudonymise", "tape_key_file"),
)
_PERSONAL = frozenset({"tape_pseudonymise", "tape_key_file", "tape_config"})


@dataclass(frozen=True, slots=True)
class _InFlight:
    arrival: Arrival
    flow: HTTPFlow


class Tape:
    """Records what players send."""

    def __init__(self, *, is_told: bool = False) -> None:
        """Make the addon.

        Args:
            is_told: Whether `use` will give a recorder. Otherwise, as inside mitmdump, mitmproxy's options describe it, and
                the addon also starts ingest.
        """
        self._is_told = is_told
        self._recorder: Recorder | None = None
        self._loops: Loops | None = None
        self._lanes: Lanes | None = None
        self._ingesting: Ingesting | None = None
        self._at_rest = AtRest(None)
        self._policy = DEFAULT
        self._marks: inside.Marks | None = None
        self._gate: gate.Gate | None = None
        self._upstream: ServerUrl | None = None
        self._keep_host: bool | None = None
        self._in_flight: dict[str, _InFlight] = {}
        # mitmproxy adds them with this one.
        self.addons = [] if is_told else [inside.Commands(self._judging)]

    def use(self, recorder: Recorder, loops: Loops, lanes: Lanes | None) -> None:
        """Record as told. Call it before the first connection.

        Args:
            recorder: Writes what is recorded.
            loops: Keeps requests from going round.
            lanes: Takes connections that speak HTTP/1.1 to a reverse proxy; None if mitmproxy's own layer has all of them.
        """
        self._recorder, self._loops, self._lanes = recorder, loops, lanes
        self._at_rest = recorder.at_rest

    # Options -----------------------------------------------------------------------------------------------------

    def load(self, loader: Loader) -> None:
        """Declare the options; hold connections until `running` has ended well, and all other addons run too."""
        if not self._is_told:
            self._gate = gate.closed(lambda: self._ingesting is not None)
        loader.add_option(
            "tape_store", str, DEFAULT_STORE, "The database to record into: sqlite:///FILE or postgresql://…"
        )
        loader.add_option("tape_name", str, "", "Name of the recording.")
        loader.add_option("tape_journal", str, "", JOURNAL_HELP)
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
        """Begin to file what is recorded; an error logged here ends mitmdump."""
        if self._is_told:
            return
        try:
            recorder = self._begin()
            assert self._ingesting is not None
            await asyncio.to_thread(self._ingesting.start)
        except SessiontapeError as e:
            logger.error("; ".join(filter(None, (str(e), e.hint))))  # noqa: TRY400  # a user's mistake has no traceback
            self._ingesting = None
            return
        await asyncio.to_thread(recorder.judging.learn)
        logger.info(f"recording into store {hide_password(ctx.options.tape_store)}")

    async def done(self) -> None:
        """Accept no more connections, wait for the requests in flight, and interrupt the rest."""
        recorder = self._recorder
        if recorder is None:
            return
        began_s = time.monotonic()
        ctx.options.update(server=False)
        await self._drain(recorder)
        if self._is_told:
            return
        counts = await threads.aside(recorder.close, CLOSE_S)
        if self._ingesting is not None:
            filed = await threads.aside(self._ingesting.end, STOP_S - (time.monotonic() - began_s))
            settle(counts, filed, self._ingesting.folder)

    async def _drain(self, recorder: Recorder) -> None:
        until_s = time.monotonic() + DRAIN_S
        interrupted = 0 if self._lanes is None else await self._lanes.end(DRAIN_S)
        if not await recorder.idle(until_s - time.monotonic()):
            left = list(self._in_flight.values())
            interrupted += len(left)
            for waiting in left:
                stream.interrupt(waiting.flow, ctx.master.addons.get("proxyserver").connections)
            await recorder.idle(INTERRUPT_S)
            for waiting in list(self._in_flight.values()):  # their devices have yet to send the rest
                self._write(waiting.flow, Outcome.INTERRUPTED)
        if interrupted:
            logger.warning(f"stopping; requests that have no answer yet: {interrupted}")

    def _judging(self) -> inside.Judging:
        judging = self._begin().judging
        assert self._marks is not None
        return inside.Judging(judging.inspector, self._marks, self._upstream, self._at_rest.told)

    def _begin(self) -> Recorder:
        """Return the recorder, making it on first use: the first connection may come before `running`.

        Raises:
            SettingsError: There is none, because the journal cannot be written.
        """
        if self._keep_host is None:
            options = ctx.options
            self._keep_host = options.keep_host_header
            # With the eager strategy, a device would be disconnected if upstream refuses, with nothing to record.
            # Without keep_host_header, the device's Host would be lost before the first hook; address_to_upstream
            # replaces it later.
            options.update(connection_strategy="lazy", keep_host_header=True)
        if self._recorder is None:
            self._recorder = self._made()
        return self._recorder

    def _made(self) -> Recorder:
        """Return a recorder, and prepare ingest and what is shown, as mitmproxy's options say."""
        options = ctx.options
        folder = folder_of(Store(options.tape_store), _path(options.tape_journal))
        about = about_of(
            name=options.tape_name,
            engine="hooks",
            upstream=self._upstream,
            checks=options.tape_check,
            pseudonymised=self._at_rest.is_on,
            policy=self._policy,
        )
        judge = Judge(self._policy, self._at_rest, options.tape_store)
        recorder = Recorder(folder, about, self._at_rest, judge, is_durable=options.tape_durability == "commit")
        marks = self._marks = inside.Marks(asyncio.get_running_loop())
        hearing = Hearing(marks=marks.tell_of_session, learned=judge.learn)
        self._ingesting = Ingesting(folder, options.tape_store, about.run, hearing)
        return recorder

    # Traffic -----------------------------------------------------------------------------------------------------

    async def next_layer(self, layer: NextLayer) -> None:
        """Put our streams on connections that speak HTTP."""
        if self._gate is not None:
            # Not in `client_connected`: mitmproxy fails if a device that was held there has left meanwhile.
            await self._gate.wait()
        self._begin()
        if layer.layer is None:
            # A script's hooks run before mitmproxy's own addon has chosen the layer.
            ctx.master.addons.get("nextlayer").next_layer(layer)
        mode = layer.context.client.proxy_mode
        if isinstance(mode, ReverseMode) and not self._keep_host and layer.context.server.sni is None:
            # mitmproxy would have done this if we had not set keep_host_header.
            layer.context.server.sni = mode.address[0]
        if self._lanes is None or not self._lanes.take(layer):
            stream.install(layer, self._loops)

    def requestheaders(self, flow: HTTPFlow) -> None:
        """Copy what the device sent, and address the request to upstream."""
        recorder = self._begin()
        if parse_route(flow.request.method, flow.request.path) is not None:
            flow.request.stream = False
            recorder.began()
            try:
                arrived = recorder.arrivals.arrive(began_us(flow))
                arrival = arrival_of(flow, upstream_url(flow, self._upstream), arrived)
                self._in_flight[flow.id] = _InFlight(arrival, flow)
            except Exception as e:  # noqa: BLE001  # the traffic goes on whatever happens here
                self._drop(flow, e)
                recorder.ended()
        else:
            flow.request.stream = True  # a body that is not recorded need not be kept in memory
        address_to_upstream(flow, self._upstream, keep_host=bool(self._keep_host))

    async def request(self, flow: HTTPFlow) -> None:
        """With ``tape_reject_invalid``, refuse a request that has an error; upstream never sees it."""
        waiting = self._in_flight.get(flow.id)
        if waiting is None or not ctx.options.tape_reject_invalid or flow.response is not None:
            return
        judged = asyncio.get_running_loop().create_future()
        self._begin().judging.refuse(exchange_of(flow, waiting.arrival, Outcome.REJECTED), judged.set_result)
        message = await judged
        if message is not None:
            flow.response = stream.own_answer(400, message)

    def responseheaders(self, flow: HTTPFlow) -> None:
        """Buffer the answers to recorded requests, and stream all others."""
        if flow.response is not None:
            flow.response.stream = flow.id not in self._in_flight

    async def response(self, flow: HTTPFlow) -> None:
        """Write an answered exchange; the answer waits until the journal has it."""
        answered = stream.went_upstream(flow)
        await self._written(flow, Outcome.ANSWERED if answered else Outcome.REJECTED)

    async def error(self, flow: HTTPFlow) -> None:
        """Write an exchange that ended without an answer from upstream."""
        await self._written(flow, stream.outcome(flow))

    async def client_disconnected(self, client: Client) -> None:
        """Write the requests of a disconnected device that no other hook has written."""
        left = [waiting.flow for waiting in self._in_flight.values() if waiting.flow.client_conn.id == client.id]
        for flow in left:
            # With an error, mitmproxy closed the connection because of invalid data; its error hook comes later.
            self._write(flow, stream.outcome(flow) if flow.error is not None else Outcome.CLIENT_GONE)

    async def _written(self, flow: HTTPFlow, outcome: Outcome) -> None:
        """Write an exchange, and wait for it as durability demands."""
        done = asyncio.Event()
        if self._write(flow, outcome, lambda _: done.set()):
            recorder = self._begin()
            if recorder.is_durable:
                await done.wait()
            recorder.ended()

    def _write(self, flow: HTTPFlow, outcome: Outcome, done: Done | None = None) -> bool:
        """Hand an exchange to the journal; return whether there was one.

        Args:
            done: Called when it is written; then the caller says that the exchange has ended.
        """
        waiting = self._in_flight.pop(flow.id, None)
        if waiting is None:
            return False
        recorder = self._begin()
        try:
            exchange = exchange_of(flow, waiting.arrival, outcome)
            if outcome is Outcome.INTERRUPTED:
                exchange = replace(exchange, reason=stream.STOPPED)
            recorder.put_exchange(exchange, done)
        except Exception as e:  # noqa: BLE001  # the traffic goes on whatever happens here
            self._drop(flow, e, done)
        else:
            self._mark(flow, exchange)
        if done is None:
            recorder.ended()
        return True

    def _mark(self, flow: HTTPFlow, exchange: Exchange) -> None:
        """Mark a flow with the findings of its exchange, where somebody may look at flows."""
        marks = self._marks
        if marks is None:
            return
        marks.follow(exchange.id, flow)
        if ctx.options.tape_check:
            self._begin().judging.judge(exchange, lambda found: marks.found(exchange.id, found))

    def _drop(self, flow: HTTPFlow, error: Exception, done: Done | None = None) -> None:
        """Count what could not be read as lost."""
        quoted = "" if self._at_rest.is_on else f": {error}"  # it may quote what the device sent
        dropped = Dropped(
            id=flow.id,
            received_us=began_us(flow),
            method=flow.request.method,
            path=self._at_rest.path(flow.request.path),
            reason=f"it cannot be read ({type(error).__name__}{quoted})",
        )
        self._begin().drop(dropped, done)


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
