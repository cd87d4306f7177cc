"""``bot backup`` and ``bot restore``: a state directory as one file, and back."""

import time
from pathlib import Path

import bot
from bot.adapters.state.backup import BackupManifest, pack, unpack
from bot.adapters.state.directory import StateDir

__all__ = ["BackupManifest", "back_up", "restore"]


def back_up(state_dir: Path, out: Path) -> BackupManifest:
    """Write a backup; works beside a running daemon, and checks everything that it keeps.

    Raises:
        BotError: there is nothing to keep, a journal is damaged, or the file cannot be written.
    """
    return pack(state_dir, out, code=bot.__version__, ts_ms=time.time_ns() // 1_000_000)


def restore(archive: Path, state_dir: Path, *, replace: bool) -> BackupManifest:
    """Put a backup back; no daemon may run on ``state_dir``.

    Raises:
        BotError: a bot runs there, something is there already, or the backup is damaged.
    """
    locked = StateDir(state_dir)
    try:
        return unpack(archive, state_dir, ts_ms=time.time_ns() // 1_000_000, replace=replace)
    finally:
        locked.close()
