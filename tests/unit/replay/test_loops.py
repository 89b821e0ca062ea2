"""A connection that failed when nobody waited for it any more leaves no traceback; other lost errors do."""

from __future__ import annotations

import asyncio
import gc
import ssl

import pytest

from proxy_addon.replay import loops


@pytest.mark.parametrize(
    ("error", "is_told"),
    [(ssl.SSLError("handshake"), False), (ConnectionResetError(), False), (ZeroDivisionError(), True)],
)
def test_only_failed_connections_are_dropped_without_a_word(caplog, error, is_told):
    async def main() -> int:
        asyncio.get_running_loop().create_future().set_exception(error)
        gc.collect()
        return 1

    assert loops.run(main()) == 1
    assert ("never retrieved" in caplog.text) == is_told
