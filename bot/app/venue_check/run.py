"""Runs the script at the venue and at a local exchange, compares, and writes the record."""

import asyncio
import contextlib
import json
import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import bot
from bot.adapters.net.signed_rest import Credentials, signed_rest
from bot.adapters.state.clock import WallClock
from bot.adapters.venue.config import VenueConfig
from bot.app.venue.account import check_keys, signed_account
from bot.app.venue_check.script import Script
from bot.app.venue_check.transcript import Transcript, compare
from bot.bybit.hosts import SignedUrls, local_urls
from bot.domain.errors import BadUsage, BotError, VenueError
from bot.service.commands import NoDaemon, ask
from bot.simulator.config import ExchangeConfig
from bot.simulator.server import running

if TYPE_CHECKING:
    from bot.logs import Redactor
    from bot.settings import Settings

TIMEOUT_MS = 5_000
RECORD_VERSION = 1


@dataclass
class Report:
    """What came out. ``left``: what could not be taken back. ``error``: why the check ended early."""

    venue: str
    host: str
    symbol: str
    found: Transcript
    expected: Transcript
    differences: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    error: str = ""

    def told(self) -> dict[str, object]:
        """Return the result as JSON values, without the answers themselves."""
        return {
            "equal": not self.differences and not self.error,
            "venue": self.venue,
            "host": self.host,
            "symbol": self.symbol,
            "steps": len(self.found.steps),
            "differences": self.differences,
            "flat": not self.left,
            "left": self.left,
            "error": self.error or None,
        }


def check_venue(
    settings: "Settings", symbol: str, redactor: "Redactor", record: Path, on_part: Callable[[str], None]
) -> Report:
    """Run the check; whatever happens at the venue, the record is written and the account is left flat.

    ``on_part`` is called with what is done next.

    Raises:
        BadUsage: the venue is paper, or a bot runs on this state directory.
        BadSettings: no keys, or an address that signed requests may not reach.
        VenueError: the venue does not answer or refuses the key, the account is not flat in the symbol at the
            start, or it could not be left flat.
        KeyboardInterrupt: the user has stopped it; the account was left flat before.
    """
    if settings.venue.kind == "paper":
        raise BadUsage("bot check venue: --venue paper has no venue to check; choose testnet, demo or local")
    check_keys(settings)
    with contextlib.suppress(NoDaemon):
        ask(settings.state_dir, "status", timeout_s=3.0)
        raise BadUsage(f"a bot runs on {settings.state_dir}; stop it first, or check with another state_dir")
    config = VenueConfig.of(settings)
    on_part("a local exchange, for what is expected")
    expected = asyncio.run(_expected(symbol, config))
    on_part(config.urls.rest)
    report = Report(config.kind, config.urls.rest, symbol, Transcript(), expected)
    try:
        asyncio.run(_at_venue(settings, config, report))
    except BotError as error:
        report.error = str(error)
        raise
    except BaseException as error:
        report.error = type(error).__name__
        raise
    finally:
        _write(record, report, redactor)
    if report.left:
        raise VenueError(f"{symbol} could not be left flat: {', '.join(report.left)}; look there yourself")
    return report


async def _expected(symbol: str, config: VenueConfig) -> Transcript:
    try:
        exchange_config = ExchangeConfig(port=0, symbols=(symbol,))
        async with running(exchange_config) as exchange:
            urls = local_urls(exchange.http_url)
            if config.urls.trade_ws is None:
                urls = SignedUrls(urls.rest, urls.private_ws, None)
            keys = Credentials(exchange_config.key, exchange_config.secret)
            rng = random.Random(1)  # noqa: S311 (jitter)
            async with signed_rest(urls.rest, keys, WallClock(), rng) as rest:
                await rest.measure()
                script = Script(rest, urls, symbol, "check1-1", asks_key=config.kind != "demo")
                await script.run()
    except VenueError as error:
        raise VenueError(f"the local exchange, which says what is expected: {error}") from error
    return script.transcript


async def _at_venue(settings: "Settings", config: VenueConfig, report: Report) -> None:
    name = f"{settings.venue.prefix}{time.time_ns() // 1_000_000}-0"  # `bot kill` knows these as ours
    async with signed_account(settings, TIMEOUT_MS) as rest:
        script = Script(rest, config.urls, report.symbol, name, asks_key=config.kind != "demo")
        report.found = script.transcript
        try:
            await script.run()
        finally:
            report.left = script.left
            report.differences = compare(script.transcript, report.expected)


def _write(path: Path, report: Report, redactor: "Redactor") -> None:
    """Write the record: codes, texts and shapes, no values; for its owner alone until they publish it."""
    body = {
        "record": RECORD_VERSION,
        "bot": bot.__version__,
        "ts_ms": time.time_ns() // 1_000_000,
        **report.told(),
        "found": report.found.told(),
        "expected": report.expected.told(),
    }
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with open(path, "w", encoding="utf-8", opener=_private) as file:
        file.write(redactor(json.dumps(body, indent=1)) + "\n")


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
