"""Maintenance as Bybit announces it: ``GET /v5/system/status`` and the topic ``system.status``.

A stop shorter than ten seconds is not announced. https://bybit-exchange.github.io/docs/v5/system-status
"""

from collections.abc import Callable

import msgspec

UNANNOUNCED_S = 10.0
KEPT = 100


class Maintenance(msgspec.Struct, kw_only=True):
    """One maintenance; ``begin`` and ``end`` are milliseconds as text."""

    id: str
    title: str = "maintenance"
    state: str = "ongoing"
    begin: str
    end: str
    href: str = ""
    serviceTypes: tuple[int, ...] = (1, 2, 3, 4, 5)  # noqa: N815 (the wire's word)
    product: tuple[int, ...] = (1,)
    uidSuffix: tuple[int, ...] = ()  # noqa: N815
    maintainType: int = 2  # noqa: N815
    env: int = 1


class Notices:
    """The maintenances of the exchange, newest first; ``listen`` is called with each one that changes."""

    def __init__(self) -> None:
        self.all: list[Maintenance] = []
        self.listen: Callable[[Maintenance], None] = lambda notice: None
        self._made = 0

    def begin(self, now_ms: int, for_s: float) -> None:
        """Announce that the venue stops now, for ``for_s`` seconds of the machine's time."""
        if for_s < UNANNOUNCED_S:
            return
        self._made += 1
        end = str(now_ms + int(for_s * 1000)) if for_s < 1e9 else ""
        notice = Maintenance(id=f"00000000-0000-4000-9000-{self._made:012d}", begin=str(now_ms), end=end)
        self.all = [notice, *self.all[: KEPT - 1]]
        self.listen(notice)

    def end(self, now_ms: int) -> None:
        """Announce that the venue is back."""
        for notice in self.all:
            if notice.state == "ongoing":
                notice.state, notice.end = "completed", str(now_ms)
                self.listen(notice)
