"""Where messages to people go: one address of the settings, and what of it is secret. Pure.

An address is a URL as apprise reads it, such as ``tgram://token/chat``. In front of it may stand what this
address gets: ``error=tgram://…`` gets errors alone, ``fill,trade=discord://…`` gets fills and closed trades.
"""

import re
from typing import get_args
from urllib.parse import unquote, urlsplit

import msgspec

from bot.domain.alerts import LEVELS, Alert, Kind, Level
from bot.domain.errors import BadInput

_ADDRESS = re.compile(r"(?:(?P<wanted>[a-z]+(?:,[a-z]+)*)=)?(?P<url>(?P<schema>[a-z][a-z0-9+-]*)://\S+)")
_KINDS: tuple[Kind, ...] = get_args(Kind)


class Address(msgspec.Struct, frozen=True):
    """One place for messages. ``level`` and ``kinds`` are None where the settings' own are in force."""

    url: str
    schema: str
    level: Level | None = None
    kinds: tuple[Kind, ...] | None = None

    @classmethod
    def of(cls, text: str) -> "Address":
        """Read an address.

        Raises:
            BadInput: it is none; the words repeat nothing of it, because it may hold a secret.
        """
        found = _ADDRESS.fullmatch(text)
        if found is None:
            raise BadInput("is no address such as tgram://TOKEN/CHAT or error=json://HOST/PATH")
        level: Level | None = None
        kinds: list[Kind] = []
        for word in (found["wanted"] or "").split(","):
            known_level = next((each for each in LEVELS if each == word), None)
            known_kind = next((each for each in _KINDS if each == word), None)
            if word and known_level is None and known_kind is None:
                raise BadInput(f"may begin with levels ({', '.join(LEVELS)}) or kinds ({', '.join(_KINDS)})")
            level = known_level or level
            kinds += [known_kind] if known_kind is not None else []
        return cls(found["url"], found["schema"], level, tuple(kinds) or None)

    def wants(self, alert: Alert, level: Level, kinds: tuple[Kind, ...]) -> bool:
        """Return True if this address gets ``alert``; ``level`` and ``kinds`` are the settings' own."""
        least = LEVELS.index(self.level or level)
        return LEVELS.index(alert.level) >= least and alert.kind in (self.kinds or kinds)

    def secrets(self) -> list[str]:
        """Return the whole URL and each part that may be a secret, longest first.

        A host that has a dot or is this machine's is a name and no secret; any other is a token.
        """
        parts = urlsplit(self.url.replace(self.schema, "https", 1))  # urlsplit reads hosts of known schemas
        netloc, _, host = parts.netloc.rpartition("@")
        host = host.partition(":")[0]
        is_name = "." in host or host == "localhost" or host.startswith("[")
        found = {self.url, self.url.partition("://")[2]}
        found |= {netloc, *netloc.split(":")}
        found |= set() if is_name else {host, parts.netloc, *parts.netloc.split(":")}
        found |= set(parts.path.split("/")) | {parts.path.strip("/")}
        found |= {value for pair in parts.query.split("&") for value in pair.split("=")[1:]} | {
            parts.fragment
        }
        found |= {unquote(each) for each in found}
        return sorted(found - {""}, key=lambda each: (-len(each), each))
