"""Who ran on a state directory last: left for a ``bot kill`` that finds that daemon dead. Imports little."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from bot.app.context import Context
    from bot.settings import Settings

_LAST_DAEMON = "daemon.json"


def note_daemon(settings: Settings, identity: Mapping[str, object]) -> None:
    """Write down what runs here, for ``bot kill`` of a dead daemon; no secrets."""
    told = {**identity, "local_url": settings.local.url, "prefix": settings.venue.prefix}
    with contextlib.suppress(OSError):
        (settings.state_dir / _LAST_DAEMON).write_text(json.dumps(told), encoding="utf-8")


def last_daemon(state_dir: Path) -> dict[str, object]:
    """Return what the last daemon on this directory was; empty if that is unknown."""
    try:
        told = json.loads((state_dir / _LAST_DAEMON).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}


def traded_before(settings: Settings) -> frozenset[str]:
    """Return the symbols that the last daemon on this directory traded on the same feed."""
    told = last_daemon(settings.state_dir)
    symbols = told.get("symbols")
    if told.get("feed") != settings.feed.kind or not isinstance(symbols, list):
        return frozenset()
    return frozenset(str(symbol) for symbol in symbols)


def settings_of_last(context: Context, state_dir: Path, venue: str | None = None) -> Settings | None:
    """Return the settings with the venue, the address and the prefix of the last daemon's orders.

    None if that was paper: paper orders end with the daemon that simulates them. ``venue`` overrides where
    the orders went.

    Raises:
        BadSettings: an unknown key or variable, or a wrong value.
    """
    last = last_daemon(state_dir)
    kind = venue or last.get("venue") or context.settings().venue.kind
    if kind == "paper":
        return None
    where = {"local.url": last.get("local_url"), "venue.prefix": last.get("prefix")}
    return context.settings({"venue.kind": kind, **where})
