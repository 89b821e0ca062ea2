"""Work in several processes can be given up at any time."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from functools import partial

import pytest

from proxy_addon.engines.here import in_processes
from proxy_addon.errors import SettingsError


def test_work_that_is_given_up_ends_at_once_and_leaves_no_process():
    before = multiprocessing.active_children()
    with closing(in_processes(time.sleep, [0, 600, 600, 600], 2)) as parts:
        assert next(parts) is None
        began = time.monotonic()
    assert time.monotonic() - began < 60
    assert multiprocessing.active_children() == before


def test_a_process_that_dies_is_told_in_a_sentence_and_leaves_no_process():
    before = multiprocessing.active_children()
    with pytest.raises(SettingsError, match="a process that read the store died"):
        list(in_processes(os._exit, [1, 1], 2))
    assert multiprocessing.active_children() == before


def test_ctrl_c_in_a_terminal_is_not_heard_by_the_processes():
    masks = list(in_processes(partial(signal.pthread_sigmask, signal.SIG_BLOCK), [(), ()], 2))
    assert [signal.SIGINT in mask for mask in masks] == [True, True]
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


_KILLED = """
import time
from proxy_addon.engines.here import in_processes
parts = in_processes(time.sleep, [0, 600, 600, 600], 2)
next(parts)
print(flush=True)
time.sleep(600)
"""


def test_processes_end_if_the_one_that_started_them_is_killed():
    with subprocess.Popen([sys.executable, "-c", _KILLED], stdout=subprocess.PIPE) as killed:
        assert killed.stdout is not None
        assert killed.stdout.readline() == b"\n"
        killed.kill()
        killed.communicate(timeout=60)  # all of them have this pipe, so it ends with the last one
