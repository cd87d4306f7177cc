"""Messages to people: the daemon's messenger, and a test message to every address."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bot.adapters.notify.service import Hider, Service, check_installed
from bot.domain.addresses import Address
from bot.domain.alerts import Alert
from bot.domain.errors import BadSettings
from bot.service.notify.messenger import Messenger
from bot.service.notify.outbox import Batch
from bot.service.notify.pipe import Task
from bot.service.notify.wording import message_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bot.settings import Settings


def make_messenger(
    settings: Settings, folder: Path, *, pid: int, log: Any, redact: Callable[[str], str]
) -> Messenger | None:
    """Return the messenger of a daemon on the account in ``folder``; None if the settings name no address.

    Raises:
        BadSettings: apprise is not installed.
    """
    chosen = settings.notify
    if not chosen.urls:
        return None
    check_installed()
    task = Task(
        urls=tuple(url.get_secret_value() for url in chosen.urls),
        level=chosen.level,
        events=chosen.events,
        bot_name=bot_name(settings, folder.name),
        rate=chosen.per_minute,
        waiting_max=chosen.waiting_max,
        retry_s=chosen.retry_ms / 1000.0,
        max_retry_s=chosen.max_retry_ms / 1000.0,
        folder=str(folder.resolve()),
        pid=pid,
    )
    return Messenger(task, log, redact)


def bot_name(settings: Settings, account: str) -> str:
    """Return what begins each message: the name of the settings, else venue and account."""
    return settings.notify.name or f"bot {settings.venue.kind.upper()} {account}"


@dataclass(frozen=True)
class Delivery:
    """What became of the test message to one address. ``why`` is None if it arrived."""

    target: int
    service: str
    why: str | None


def send_test(settings: Settings, now_ms: int) -> list[Delivery]:
    """Send one message to each address, all at the same time, and wait for the answers.

    Raises:
        BadSettings: there is no address, or apprise is not installed.
    """
    addresses = settings.notify.addresses()
    if not addresses:
        raise BadSettings(
            "notify.urls: there is no address; set BOT_NOTIFY__URLS='ntfy://my-topic' or notify.urls_file "
            "(https://appriseit.com/services/ lists the forms)"
        )
    check_installed()
    words = "This is a test of `bot notify test`. If you read it, messages of the bot reach you here."
    alert = Alert(ts_ms=now_ms, level="info", name="test", words=words)
    message = message_of(Batch((alert,)), bot_name(settings, "test"))

    def send(number: int, address: Address) -> Delivery:
        try:
            service = Service(address)
        except BadSettings as error:
            return Delivery(number, address.schema, Hider(address)(str(error)))
        return Delivery(number, service.name, service.send(message.title, message.body, message.level))

    with ThreadPoolExecutor(len(addresses)) as pool:
        return list(pool.map(send, range(1, len(addresses) + 1), addresses))
