"""Runs the local exchange until it is stopped."""

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from bot.app.wiring import make_terms
from bot.domain.errors import BadUsage
from bot.domain.money import to_decimal
from bot.settings import Settings
from bot.simulator.config import DEFAULT_SYMBOLS, AccessRules, ExchangeConfig
from bot.simulator.market.invented import symbols as invented
from bot.simulator.server import ExchangeServer, serve


def exchange_config(
    settings: Settings,
    *,
    data: tuple[Path, ...],
    symbols: int | None,
    fills: Literal["quotes", "bars"],
    wallet: float,
    order_quota: int,
    **rest: Any,  # fields of ExchangeConfig as they are
) -> ExchangeConfig:
    """Return the configuration of a local exchange.

    Raises:
        BadUsage: both candle files and a number of invented symbols, or two recordings.
    """
    if data and symbols is not None:
        raise BadUsage(
            "--symbols sizes an invented market; with --data the files say which symbols there are"
        )
    recordings = [path for path in data if path.is_dir()]
    if len(recordings) > 1:
        raise BadUsage(f"--data {recordings[1]}: one recording at a time; {recordings[0]} is one already")
    if recordings and fills == "bars":
        raise BadUsage(
            f"--fills bars goes with candle files; {recordings[0]} is a recording, with an order book"
        )
    return ExchangeConfig(
        data=tuple(path for path in data if path not in recordings),
        recording=recordings[0] if recordings else None,
        symbols=DEFAULT_SYMBOLS if symbols is None else invented(symbols),
        seed=settings.seed,
        fills=fills,
        wallet_quote=to_decimal(wallet),
        terms=make_terms(settings),
        rules=AccessRules(order_quota=order_quota),
        **rest,
    )


def run_exchange(config: ExchangeConfig, log: Any, on_ready: Callable[[dict[str, str]], None]) -> None:
    """Serve until SIGTERM or Ctrl-C; ``on_ready`` is given the addresses and the key."""
    asyncio.run(_serve(config, log, on_ready))


async def _serve(config: ExchangeConfig, log: Any, on_ready: Callable[[dict[str, str]], None]) -> None:
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)

    def ready(server: ExchangeServer) -> None:
        on_ready({"http": server.http_url, "ws": server.ws_url, "key": config.key, "secret": config.secret})
        log.info(
            "exchange_started",
            symbols=len(server.market.symbols),
            now_ms=server.clock.now_ms(),
            speed=config.speed,
            fills=config.fills,
        )

    await serve(config, ready, log.info, stopped)
