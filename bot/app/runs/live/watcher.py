"""Who looks on while a daemon runs."""

from collections.abc import Callable
from dataclasses import dataclass

from bot.domain.alerts import Alert
from bot.service.views.glance import Glance


@dataclass(frozen=True)
class Watcher:
    """A person at the terminal.

    ``show`` gets a glance once a second, ``on_page`` the page's address, ``on_alert`` each alert.
    """

    show: Callable[[Glance], None] | None = None
    on_page: Callable[[str], None] | None = None
    on_alert: Callable[[Alert], None] | None = None

    def sound(self, alert: Alert) -> None:
        """``ports.Alarm``."""
        if self.on_alert is not None:
            self.on_alert(alert)
