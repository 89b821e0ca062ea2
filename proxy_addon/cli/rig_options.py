"""What the commands that record a player by themselves have in common: their options, and how to find what they kept."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import Any

import click

from proxy_addon.cli.options import SERVER_URL


def upstream_option[F: Callable[..., Any]](command: F) -> F:
    """Add ``--upstream`` to a command, which gets ``upstream``, a URL or None."""
    return click.option(
        "--upstream",
        type=SERVER_URL,
        metavar="URL",
        help="Forward what the player sends to this server; by default, a collector answers.",
    )(command)


def keeping_option[F: Callable[..., Any]](command: F) -> F:
    """Add ``--store`` to a command, which gets ``store_url``, or None if nothing is kept."""
    return click.option(
        "--store",
        "store_url",
        metavar="URL",
        envvar="SESSIONTAPE_STORE",
        show_envvar=True,
        help="Keep the recording in this store, and find SESSION there; by default, the recording is dropped at the end.",
    )(command)


def listing_of(name: str, store_url: str) -> str:
    """Return the command that lists the sessions of a recording, as one types it in a shell.

    >>> listing_of("run-1", "postgresql://me:secret@db/tape?sslmode=require")
    "sessiontape sessions --name run-1 --store 'postgresql://me@db/tape?sslmode=require' (add the password to the URL)"
    """
    from storage.engine import hide_password  # noqa: PLC0415  # --help does without the database

    label = hide_password(store_url)
    remark = "" if label == store_url else " (add the password to the URL)"
    return f"sessiontape sessions --name {name} --store {shlex.quote(label)}{remark}"
