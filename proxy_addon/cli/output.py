"""Messages on stderr, and what becomes of output whose reader, such as ``head``, has left."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

from proxy_addon.core.wording import visible


def say(line: str) -> None:
    """Print a line on stderr if somebody reads it, with control characters made visible."""
    with while_heard():
        click.echo(f"sessiontape: {visible(line)}", err=True)


@contextmanager
def while_read() -> Iterator[None]:
    """End the block, without an error, once nobody reads the output; what is printed from then on is dropped.

    For commands whose exit code is a verdict, which counts all the same.
    """
    try:
        yield
    except OSError as e:
        if not _is_gone(e):
            raise
        drop_output()


@contextmanager
def while_heard() -> Iterator[None]:
    """End the block, without an error, if nobody reads what it prints on stderr."""
    try:
        yield
    except OSError as e:
        if not _is_gone(e):
            raise


def _is_gone(error: OSError) -> bool:
    """Whether output failed because its reader, or the terminal, has gone."""
    return isinstance(error, BrokenPipeError) or error.errno == errno.EIO


def drop_output() -> None:
    """Discard output, buffered output too, on which the interpreter would otherwise fail again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
