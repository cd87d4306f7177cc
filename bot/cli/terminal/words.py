"""Words that an option takes, old ones included."""

from collections.abc import Mapping, Sequence

import click

from bot.domain.symbols import spelled


class Words(click.Choice[str]):
    """A choice that still takes a word's old name, and says on stderr what the word is called now."""

    def __init__(self, words: Sequence[str], old: Mapping[str, str]) -> None:
        super().__init__(words)
        self._old = old

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the word of today."""
        now = self._old.get(str(value))
        if now is None:
            return super().convert(value, param, ctx)
        option = param.opts[0] if param is not None else "option"
        click.echo(f"{option} {value} is called {option} {now} now; the old word still works", err=True)
        return now


class Symbol(click.ParamType[str]):
    """A symbol as people write it, ``btcusdt`` or ``BTC/USDT`` → ``BTCUSDT``."""

    name = "SYMBOL"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the symbol as Bybit spells it; whether it exists, others must tell."""
        return spelled(str(value))


SYMBOL = Symbol()
FILLS = Words(["quotes", "bars"], {"book": "quotes"})
"""Where fills come from: an order book as it is, or closed bars."""
