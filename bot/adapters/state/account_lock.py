"""One bot an account: a lock in the user's runtime folder, named by account and prefix.

Two state directories on one account would send orders under one name and undo each other's positions. The
lock holds for the processes of one user on one machine. A bot on another machine is noticed by its orders.
"""

import hashlib
import os
import tempfile
from pathlib import Path

from bot.adapters.state.lock import exclusive


def runtime_folder() -> Path:
    """Return where this user's locks live: in ``XDG_RUNTIME_DIR``, else in the temporary folder."""
    given = os.environ.get("XDG_RUNTIME_DIR")
    if given:
        return Path(given) / "bot"
    try:
        temporary = tempfile.gettempdir()
    except FileNotFoundError:  # nothing can be written; whoever locks an account there will say so
        temporary = "/tmp"  # noqa: S108 (only a name)
    return Path(temporary) / f"bot-{os.getuid()}"


class AccountLock:
    """Holds an account until closed. Its file is empty but for the holder.

    Args:
        folder: where locks live; it is made private (0700).
        account: names the account and the prefix of its orders, the same in every process.
        holder: who holds it, for the message that a second bot gets.

    Raises:
        Occupied: another bot holds the account.
        OSError: the folder cannot be used.
    """

    def __init__(self, folder: Path, account: str, holder: str) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if folder.stat().st_uid != os.getuid():
            raise PermissionError(f"{folder} belongs to another user")
        folder.chmod(0o700)
        name = hashlib.sha256(account.encode()).hexdigest()[:16]
        self._file = exclusive(folder / f"account-{name}.lock", _occupied, holder)

    def close(self) -> None:
        """Release the account."""
        self._file.close()


def _occupied(other: str) -> str:
    return (
        f"another bot trades this account under the same prefix{f' ({other})' if other else ''}; "
        "stop it, or give this one its own venue.prefix"
    )
