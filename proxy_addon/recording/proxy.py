"""The proxy process of ``sessiontape record``: mitmproxy with only the addons that a recorder needs.

This is about twice as fast as mitmdump with all its addons. The same recorder also runs under ``mitmdump -s``.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from mitmproxy import exceptions, log
from mitmproxy.addons.core import Core
from mitmproxy.addons.disable_h2c import DisableH2C
from mitmproxy.addons.dns_resolver import DnsResolver
from mitmproxy.addons.next_layer import NextLayer
from mitmproxy.addons.proxyserver import Proxyserver
from mitmproxy.addons.tlsconfig import TlsConfig
from mitmproxy.master import Master
from mitmproxy.options import CONF_BASENAME, Options
from mitmproxy.proxy.mode_specs import ProxyMode, ReverseMode

from proxy_addon.core.news import News
from proxy_addon.core.wording import suggestion
from proxy_addon.errors import RecorderError, SettingsError
from proxy_addon.journal.entries import About
from proxy_addon.process import logs, signals
from proxy_addon.process.logs import TOLD
from proxy_addon.process.sockets import cannot_listen, in_url
from proxy_addon.recording.announcing import Announcing
from proxy_addon.recording.at_rest import AtRest
from proxy_addon.recording.crowds import Crowds, raise_open_files
from proxy_addon.recording.ending import CLOSE_S, STOP_S, settle
from proxy_addon.recording.hooks import Tape
from proxy_addon.recording.ingesting import Hearing, Ingesting, folder_of
from proxy_addon.recording.internals import listen_for_many
from proxy_addon.recording.judging import Judge
from proxy_addon.recording.lane.conversation import Settings
from proxy_addon.recording.lane.layer import Lanes
from proxy_addon.recording.loops import Loops, refuse_itself
from proxy_addon.recording.meters import Meter
from proxy_addon.recording.notices import Notices
from proxy_addon.recording.options import RecordOptions
from proxy_addon.recording.recorder import Recorder, about_of
from proxy_addon.recording.standing import Lookout, Told
from storage.engine import Store

logger = logs.logger(__name__)

_LOUD_WITH_WIREGUARD = "mitmproxy.proxy.mode_servers"
"""The logger of the profile that a device needs, at level INFO."""
_CONNECTIONS = "mitmproxy.proxy.server"
"""The logger of problems on connections, which writes a line for each."""


@dataclass(frozen=True, kw_only=True)
class Listening:
    """One address that the proxy listens on.

    Attributes:
        upstream: The URL of the upstream, or mitmproxy's name of another mode.
        is_public: Whether other machines can reach it.
    """

    url: str
    upstream: str
    is_public: bool


def serve(
    options: RecordOptions,
    ready: Callable[[list[Listening]], None],
    watch: Callable[[News], None] | None = None,
    stored: Callable[[], None] | None = None,
) -> bool:
    """Run the recording proxy until a signal ends it.

    Options are checked before the store is created or upgraded.

    Args:
        ready: Called with the addresses once connections are accepted.
        watch: Called with news of sessions, from our threads; it must not block. None if nobody watches.
        stored: Called each time exchanges were stored, like ``watch``.

    Returns:
        Whether all exchanges were stored, and are in the store that was named.

    Raises:
        SettingsError: An option does not exist or is invalid.
        StorageError: The store cannot be used.
        RecorderError: The proxy could not start.
    """
    return asyncio.run(_serve(options, ready, watch, stored))


async def _serve(
    options: RecordOptions,
    ready: Callable[[list[Listening]], None],
    watch: Callable[[News], None] | None,
    stored: Callable[[], None] | None,
) -> bool:
    store = Store(options.store_url)
    _check_address(options)
    modes = _modes(options)
    at_rest = AtRest(options.pseudonymiser)
    startup = _Startup(lambda: ready(_listening(master, options)))
    startup.install()
    notices = Notices(options.upstream, at_rest)
    connections = logging.getLogger(_CONNECTIONS)
    ends_s: float | None = None

    def end() -> None:
        nonlocal ends_s
        ends_s = ends_s or time.monotonic()
        master.shutdown()

    try:
        master = Master(Options())
        server = Proxyserver()
        about = _about(options)
        loops = Loops(about.run, server.listen_addrs)
        tape = Tape(is_told=True)
        master.addons.add(
            *(Core(), server, NextLayer(), _TlsConfig(), DisableH2C(), DnsResolver()),
            *(notices, tape, Announcing(), startup),
        )
        _configure(master, options, modes)
        folder = folder_of(store, options.journal)
        judge = Judge(options.policy, at_rest, options.store_url)
        hearing = Hearing(filed=stored, news=watch, learned=judge.learn if options.reject_invalid else None)
        ingesting = Ingesting(folder, options.store_url, about.run, hearing, keep_days=options.keep_days)
        await asyncio.to_thread(ingesting.start)
        try:
            if options.reject_invalid:
                await asyncio.to_thread(judge.learn)
            is_durable = options.durability == "commit"
            lost = end if options.stops_on_loss else None
            meter = None if options.metrics is None else Meter()
            recorder = Recorder(folder, about, at_rest, judge, is_durable=is_durable, lost=lost, meter=meter)
            lanes = _lanes(options, recorder, notices, loops, server)
            tape.use(recorder, loops, lanes)
            if lanes is not None:
                master.addons.add(lanes)
            master.addons.add(Crowds(raise_open_files(), lanes.make_room if lanes is not None else lambda: False))
            listen_for_many(share_port=False)
            try:
                if any(mode.startswith("wireguard") for mode in modes):
                    logging.getLogger(_LOUD_WITH_WIREGUARD).setLevel(logging.INFO)
                connections.addFilter(notices.warned)
                async with _metrics(options, lambda: [recorder.standing()], ingesting):
                    with signals.calling_on_signals(end):
                        await master.run()
            finally:
                counts = await asyncio.to_thread(recorder.close, CLOSE_S)
        finally:
            filed = await asyncio.to_thread(ingesting.end, STOP_S - (time.monotonic() - (ends_s or time.monotonic())))
        return settle(counts, filed, folder)
    finally:
        connections.removeFilter(notices.warned)
        startup.uninstall()


@asynccontextmanager
async def _metrics(
    options: RecordOptions, processes: Callable[[], Sequence[Told]], ingesting: Ingesting
) -> AsyncIterator[None]:
    """Serve the pages of ``--metrics``, if they are wanted, until the block ends.

    Raises:
        SettingsError: The address cannot be listened on.
    """
    if options.metrics is None:
        yield
        return
    # The library takes a tenth of a second, and most recorders do without.
    from proxy_addon.recording.metrics import Metrics  # noqa: PLC0415

    pages = Metrics(*options.metrics, Lookout(ingesting.folder, processes, ingesting.counts).look)
    host, port = await pages.start()
    try:
        url = f"http://{in_url(options.metrics[0])}:{port}"
        logger.info(f"metrics are on {url}/metrics, and whether all is well on {url}/healthz")
        if not ipaddress.ip_address(host.partition("%")[0]).is_loopback:
            logger.warning(
                f"anyone who can reach {url} can read how much is recorded; --metrics 127.0.0.1:PORT restricts it to this "
                "machine"
            )
        yield
    finally:
        await pages.close()


def _lanes(
    options: RecordOptions, recorder: Recorder, notices: Notices, loops: Loops, server: Proxyserver
) -> Lanes | None:
    """Return what carries HTTP/1.1 to the upstream; None if mitmproxy is to do that."""
    upstream = options.upstream
    if upstream is None or options.engine == "hooks":
        return None
    settings = Settings(
        authority=upstream.authority.encode("ascii"),
        prefix=upstream.path.encode("ascii"),
        arrive=recorder.arrive,
        waits=recorder.is_durable,
        judges=options.reject_invalid,
        mark=recorder.about.run.encode("ascii"),
        max_body=options.max_body,
        upstream_timeout_us=round(options.upstream_timeout_s * 1_000_000),
    )
    return Lanes(settings, recorder, notices, loops, server.connections)


def _about(options: RecordOptions) -> About:
    return about_of(
        name=options.name,
        engine={"auto": "lane+hooks", "lane": "lane", "hooks": "hooks"}[
            options.engine if options.upstream else "hooks"
        ],
        upstream=options.upstream,
        checks=options.check,
        pseudonymised=options.pseudonymiser is not None,
        policy=options.policy,
    )


def _configure(master: Master, options: RecordOptions, modes: list[str]) -> None:
    """Set mitmproxy's options.

    Raises:
        SettingsError: An option does not exist or is invalid.
    """
    try:
        master.options.update(http3=False, connection_strategy="lazy", mode=modes)
        master.options.update(
            tape_store=options.store_url,
            tape_upstream=str(options.upstream or ""),
            tape_check=options.check,
            tape_reject_invalid=options.reject_invalid,
            tape_upstream_timeout=repr(options.upstream_timeout_s),
        )
        _check_set(options.mitmproxy, master.options.keys())
        master.options.set(*options.mitmproxy)
    except (exceptions.OptionsError, TypeError, ValueError) as e:
        raise SettingsError(str(e), hint="'mitmproxy --options' describes mitmproxy's options") from e
    _read_authority(master)
    if options.certificate is not None:
        try:
            master.options.update(certs=[str(options.certificate)])
        except (exceptions.OptionsError, ValueError) as e:
            raise SettingsError(
                f"{options.certificate} cannot be used as a certificate: {e}",
                hint="give a PEM file with the certificate and its private key",
            ) from e


def _read_authority(master: Master) -> None:
    """Create or read mitmproxy's CA now, because mitmproxy would do so later and fail with a traceback.

    Raises:
        SettingsError: The CA cannot be created or read.
    """
    folder = Path(master.options.confdir).expanduser()
    authority = folder / f"{CONF_BASENAME}-ca.pem"
    try:
        master.addons.get("tlsconfig").configure({"confdir"})
    except OSError as e:
        raise SettingsError(
            f"mitmproxy cannot keep its certificates in {folder}: {e.strerror or e}",
            hint="name a folder that can be written: --set confdir=FOLDER",
        ) from e
    except TypeError as e:  # a passphrase is missing, or was given without need
        raise SettingsError(f"{authority}: {e}", hint="give its passphrase: --set cert_passphrase=TEXT") from e
    except (ValueError, IndexError) as e:
        raise SettingsError(
            f"{authority} does not hold the certificate and key of a CA",
            hint="remove it to get a new CA, which devices then have to trust; or name another folder: "
            "--set confdir=FOLDER",
        ) from e


class _TlsConfig(TlsConfig):
    """mitmproxy's addon for TLS, which reads the CA when `_read_authority` tells it to."""

    name = "tlsconfig"

    def running(self) -> None:
        """Do nothing: mitmproxy's would read the CA a second time, which takes a third of the start."""


def _check_address(options: RecordOptions) -> None:
    """Check the listening address now, because mitmproxy's own errors are hard to understand.

    Raises:
        SettingsError: The address cannot be listened on, or the proxy would be its own upstream.
    """
    if options.upstream is None:
        return
    host, port = options.listen
    try:
        address = _address(host)
        refuse_itself(options.upstream, [(address, port)])
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((address, port))
    except OSError as e:
        raise cannot_listen(host, port, e) from e


def _address(host: str) -> str:
    """Return the address of a name, preferably IPv4: not everything in mitmproxy that listens accepts names."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return str(min(found, key=lambda each: each[0] != socket.AF_INET)[4][0])


def _check_set(given: Iterable[str], known: Iterable[str]) -> None:
    """Check the options given with ``--set``.

    Raises:
        SettingsError: There is no such option, or the recorder sets it itself.
    """
    known = set(known)
    for name in (each.partition("=")[0].strip() for each in given):
        if name.startswith("tape_") or name in _MANAGED:
            raise SettingsError(f"--set {name}: this option cannot be set here", hint="see 'sessiontape record --help'")
        if name not in known:
            raise SettingsError(
                f"--set {name}: mitmproxy has no such option in this proxy{suggestion(name, known)}",
                hint="'mitmproxy --options' lists mitmproxy's options; some belong to addons that 'sessiontape record' does "
                "not load",
            )


_MANAGED = {"mode", "listen_host", "listen_port", "server", "connection_strategy", "keep_host_header", "certs"}


class _Startup(log.MitmLogHandler):
    """Turns errors that are logged while the proxy starts into one exception, and reports when it is ready.

    mitmproxy's Master looks for an addon with the name ``errorcheck``.
    """

    name = "errorcheck"

    def __init__(self, ready: Callable[[], None]) -> None:
        super().__init__(logging.ERROR)  # type: ignore[no-untyped-call]
        self._ready = ready
        self._errors: list[str] = []
        self._over = False

    def install(self) -> None:
        """Become the first handler of records."""
        logging.getLogger().handlers.insert(0, self)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep an error."""
        if not self._over:
            self._errors.append(" ".join(record.getMessage().split("\n")))
            setattr(record, TOLD, True)

    async def shutdown_if_errored(self) -> None:
        """Raise the errors that were logged.

        Raises:
            RecorderError: An error was logged.
        """
        await asyncio.sleep(0)
        if self._errors:
            self._over = True
            raise RecorderError("; ".join(self._errors), hint="see 'sessiontape record --help'")

    def finish(self) -> None:
        """Report that the proxy is ready; called when everything has started."""
        self._over = True
        self._ready()


def _modes(options: RecordOptions) -> list[str]:
    modes = list(options.modes)
    for spec in modes:
        try:
            mode = ProxyMode.parse(spec)
        except ValueError as e:
            raise SettingsError(
                f"{spec!r} is not a mode of mitmproxy: {e}", hint="modes are, for example, local:NAME and wireguard"
            ) from e
        if isinstance(mode, ReverseMode):
            raise SettingsError(f"{spec!r}: name the upstream of a reverse proxy with --upstream")
    if options.upstream is not None:
        host, port = options.listen
        modes.insert(0, f"reverse:{options.upstream.origin}@{_address(host)}:{port}")
    if not modes:
        raise SettingsError("there is nothing to record", hint="name the real server: --upstream URL")
    return modes


def _listening(master: Master, options: RecordOptions) -> list[Listening]:
    found = []
    server: Proxyserver = master.addons.get("proxyserver")
    for instance in server.servers:
        addresses = [(host, port) for host, port, *_ in instance.listen_addrs]
        is_public = any(not ipaddress.ip_address(host.partition("%")[0]).is_loopback for host, _ in addresses)
        if isinstance(instance.mode, ReverseMode):
            # One URL, however many addresses the host has. If the upstream speaks https, mitmproxy also listens for
            # HTTP/3, which is not recorded.
            url = f"http://{in_url(options.listen[0])}:{addresses[0][1]}"
            found.append(Listening(url=url, upstream=str(options.upstream), is_public=is_public))
            continue
        mode = instance.mode
        scheme = "http" if mode.transport_protocol == "tcp" else mode.type_name
        urls = [f"{scheme}://{in_url(host)}:{port}" for host, port in addresses] or [mode.full_spec]
        found += [Listening(url=url, upstream=mode.full_spec, is_public=is_public) for url in urls]
    return found
