"""How ingest says that it is ready."""

from __future__ import annotations

import json
import os

from proxy_addon.ingest.process import _Ready


def test_what_is_opened_after_it_was_said_does_not_get_the_number_of_the_pipe():
    read, write = os.pipe()
    ready = _Ready(write)
    ready.say({"ready": True})
    ready.say({"ready": "again"})
    try:
        with os.fdopen(read) as said:
            assert json.loads(said.read()) == {"ready": True}, "and the pipe has ended"
        os.write(write, b"lost")
    finally:
        os.close(write)
