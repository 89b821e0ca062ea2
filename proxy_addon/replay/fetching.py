"""Fetch documents from a server that the user named: by GET, without redirects or the environment's proxies."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import aiohttp

TIMEOUT_S = 10.0
AT_ONCE = 4


def fetch_all(urls: Mapping[str, str], *, insecure: bool = False) -> dict[str, bytes | str]:
    """Fetch URLs that are given by name; return, in the same order, each body or a text that says why there is none.

    Args:
        insecure: Do not check certificates.
    """
    return asyncio.run(_fetch_all(urls, insecure=insecure))


async def _fetch_all(urls: Mapping[str, str], *, insecure: bool) -> dict[str, bytes | str]:
    free = asyncio.Semaphore(AT_ONCE)
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    async with aiohttp.ClientSession(timeout=timeout, trust_env=False, cookie_jar=aiohttp.DummyCookieJar()) as client:

        async def fetch(url: str) -> bytes | str:
            try:
                async with free, client.get(url, allow_redirects=False, ssl=not insecure) as answer:
                    body = await answer.read()
            except TimeoutError:
                return f"no answer within {TIMEOUT_S:g} s"
            except aiohttp.ClientConnectorError as e:
                return f"no connection: {e.os_error.strerror or e.os_error}"
            except (aiohttp.ClientError, OSError) as e:
                return f"no answer: {e}"
            return body if answer.status == 200 else f"answered {answer.status}"

        bodies = await asyncio.gather(*(fetch(url) for url in urls.values()))
    return dict(zip(urls, bodies, strict=True))
