"""The live line of ``bot run`` on a terminal: one symbol now, the hour ahead, and the next close."""

import os
from collections.abc import Callable
from math import exp, isfinite, sqrt
from typing import TYPE_CHECKING

import click

from bot.cli.terminal.numbers import money, percent, price, quantity, span

if TYPE_CHECKING:
    from bot.domain.market import Forecast
    from bot.logs import Stderr
    from bot.service.views.glance import Glance

_COLUMNS = 100


def show_on(stderr: "Stderr | None") -> "Callable[[Glance], None] | None":
    """Return what shows glances below the log; None if stderr is no terminal."""
    if stderr is None or not stderr.isatty():
        return None

    def show(glance: "Glance") -> None:
        try:
            columns = os.get_terminal_size(stderr.fileno()).columns
        except OSError:
            columns = _COLUMNS
        stderr.footer(click.style(glance_line(glance, columns - 1), dim=True))

    return show


def glance_line(glance: "Glance", columns: int) -> str:
    """Return the line; what does not fit ``columns`` is left out, the last parts first."""
    parts = _parts(glance)
    while len(parts) > 1 and len(" · ".join(parts)) > columns:
        parts.pop()
    return " · ".join(parts)[:columns]


def _next_hour(forecast: "Forecast") -> str:
    """Return mean and deviation of the next hour's return, as far as the model forecasts them."""
    mean, variance = forecast.ret_60m, forecast.rv_60m
    told = [
        percent(exp(mean) - 1.0, signed=True) if isfinite(mean) else "",
        f"± {percent(sqrt(max(0.0, variance)))}" if isfinite(variance) else "",
    ]
    return " ".join(filter(None, told)) or "unknown"


def _parts(glance: "Glance") -> list[str]:
    """Return the parts of the line, the most important first."""
    symbol = glance.symbol + (f" (1 of {glance.symbols})" if glance.symbols > 1 else "")
    now = f"{symbol} {price(glance.price)}"
    if glance.open is not None and glance.price is not None:
        now += f" {percent(glance.price / glance.open[0] - 1.0, signed=True)}"
    parts = [now]
    if glance.next_close_ms is not None:
        parts.append(f"closes in {span(glance.next_close_ms - glance.now_ms)}")
    if glance.state != "trading":
        parts.append(glance.state_words.partition(";")[0])
    if glance.forecast is not None:
        parts.append(f"next hour {_next_hour(glance.forecast)}")
    if glance.qty:
        side = "long" if glance.qty > 0 else "short"
        parts.append(f"{side} {quantity(abs(glance.qty))} {money(glance.unrealised, signed=True)}")
    if glance.open is not None:
        start, high, low = glance.open
        parts.append(f"open {price(start)} high {price(high)} low {price(low)}")
    if glance.equity is not None:
        parts.append(f"equity {money(glance.equity)}")
    return parts
