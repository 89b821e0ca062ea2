"""``sessiontape record``, from its options to its books: one process, or several with a supervisor, and ingest beside them."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

from proxy_addon.core.news import News
from proxy_addon.errors import SettingsError
from proxy_addon.journal.entries import About
from proxy_addon.process import logs, signals, threads
from proxy_addon.process.sockets import cannot_listen, in_url
from proxy_addon.recording.ending import FILE_S, STOP_S, settle, tell_of_cut
from proxy_addon.recording.ingesting import Hearing, Ingesting, folder_of
from proxy_addon.recording.loops import refuse_itself
from proxy_addon.recording.options import RecordOptions
from proxy_addon.recording.proxy import Listening, Proxy, address_of
from proxy_addon.recording.recorder import about_of
from proxy_addon.recording.standing import Lookout, Told
from proxy_addon.recording.workers import Order, Supervisor, reserved
from storage.engine import Store

logger = logs.logger(__name__)


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
    return threads.run(_serve(options, ready, Hearing(filed=stored, news=watch)))


async def _serve(options: RecordOptions, ready: Callable[[list[Listening]], None], hearing: Hearing) -> bool:
    store = Store(options.store_url)
    _check_address(options)
    about = _about(options)
    with Proxy(options, about, ready) as proxy:
        folder = folder_of(store, options.journal)
        if options.workers == 1:
            return await _carry(proxy, options, about, folder, hearing)
    # The options are right, and the CA that the workers read exists.
    return await _supervise(ready, options, about, folder, hearing)


async def _ingesting(
    options: RecordOptions, about: About, folder: Path, hearing: Hearing, learned: Callable[[str], object]
) -> Ingesting:
    """Start ingest, and return it.

    Args:
        learned: Called with the upstream of which a schema has come in, if requests may be refused because of it.
    """
    hearing = replace(hearing, learned=learned if options.reject_invalid else None)
    ingesting = Ingesting(folder, options.store_url, about.run, hearing, keep_days=options.keep_days)
    await asyncio.to_thread(ingesting.start)
    return ingesting


async def _carry(proxy: Proxy, options: RecordOptions, about: About, folder: Path, hearing: Hearing) -> bool:
    """Record in this process."""
    ingesting = await _ingesting(options, about, folder, hearing, proxy.judge.learn)
    try:
        lost = proxy.end_on_loss if options.stops_on_loss else None
        async with _metrics(options, proxy.standing, ingesting):
            with signals.calling_on_signals(proxy.end, lambda: tell_of_cut(proxy.counts(), folder)):
                counts = await proxy.carry(folder, lost)
    finally:
        took_s = time.monotonic() - proxy.ended_s if proxy.ended_s is not None else 0.0
        filed = await threads.aside(ingesting.end, STOP_S - took_s)
    return settle(counts, filed, folder)


async def _supervise(
    ready: Callable[[list[Listening]], None], options: RecordOptions, about: About, folder: Path, hearing: Hearing
) -> bool:
    """Record in several processes."""
    host, port = options.listen
    ends = asyncio.Event()
    loop = asyncio.get_running_loop()
    with reserved(address_of(host), port) as keeping:
        shared = replace(options, listen=(host, keeping.getsockname()[1]))
        order = Order(options=shared, about=about, folder=folder)
        supervisor = Supervisor(order, options.workers, lambda: loop.call_soon_threadsafe(ends.set))
        ingesting = await _ingesting(options, about, folder, hearing, supervisor.learn)
        until_s = None
        try:
            try:
                async with _metrics(options, supervisor.standing, ingesting):
                    with signals.calling_on_signals(ends.set, lambda: tell_of_cut(supervisor.counts(), folder)):
                        ready(await asyncio.to_thread(supervisor.start))
                        await ends.wait()
            finally:
                until_s = time.monotonic() + STOP_S
                counts = await threads.aside(supervisor.end, until_s - FILE_S)
        finally:
            left_s = until_s - time.monotonic() if until_s is not None else STOP_S
            filed = await threads.aside(ingesting.end, left_s)
    return settle(counts, filed, folder)


def _check_address(options: RecordOptions) -> None:
    """Check the listening address now, because mitmproxy's own errors are hard to understand.

    Raises:
        SettingsError: The address cannot be listened on, or is that of ``--metrics``; or the proxy would be its own upstream.
    """
    if options.upstream is None:
        return
    host, port = options.listen
    try:
        address = address_of(host)
        refuse_itself(options.upstream, [(address, port)])
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((address, port))
    except OSError as e:
        raise cannot_listen(host, port, e) from e
    if options.metrics is not None and port == options.metrics[1] != 0:
        with suppress(OSError):  # the pages will say that there is no such host
            metrics = address_of(options.metrics[0])
            if address == metrics or any(ipaddress.ip_address(each).is_unspecified for each in (address, metrics)):
                raise SettingsError(
                    f"--listen and --metrics are the same address, {in_url(host)}:{port}",
                    hint="name another port with --metrics; port 0 takes a free one",
                )


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

    pages = Metrics(*options.metrics, Lookout(ingesting.folder, processes, ingesting.counts, ingesting.silent_s).look)
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
