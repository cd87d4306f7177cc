"""Symbols as people write them, and the right name for one that does not exist."""

import re
from collections.abc import Collection
from difflib import get_close_matches

_PAIR = re.compile(r"([^\W_]+)[/_-](USDT|USDC|USD)")
_TAIL = re.compile(r"(:[^\W_]+|\.P)$")
"""What other programs append: ccxt the settlement (``BTC/USDT:USDT``), charts ``.P`` for a perpetual."""
_QUOTES = ("USDT", "USDC", "USD", "PERP")
_OLD_NAMES = {"XBT": "BTC"}
_NEAR = 0.8


_LONGEST = 40
"""Characters of a symbol; with it, a file's name stays below what file systems allow."""


def is_symbol(text: str) -> bool:
    """Return whether a text can be a symbol: letters, digits, and after the first one ``-`` and ``.``.

    Letters of every script count, as Bybit lists coins with Chinese names; those with two cases must be
    capitals. No such text is a path, so it may be part of a file's name.
    """
    return (
        1 <= len(text) <= _LONGEST
        and text[0].isalnum()
        and all(sign.isalnum() or sign in "-." for sign in text)
        and text == text.upper()
    )


def is_inverse(symbol: str) -> bool:
    """Return whether a contract of this name counts in its coin: ``BTCUSD``, Binance's ``BTCUSD_PERP``.

    A pair of spot may have such a name, too.
    """
    return symbol.endswith(("USD", "USD_PERP", "USD-PERP"))


def spelled(text: str) -> str:
    """Return a symbol as Bybit spells it: ``btcusdt``, ``BTC/USDT``, ``BTC-USDT:USDT`` → ``BTCUSDT``.

    A text in another form is returned in capitals and otherwise as it is.
    """
    upper = text.strip().upper()
    pair = _PAIR.fullmatch(_TAIL.sub("", upper))
    if pair is not None:
        return pair[1] + pair[2]
    chart = upper.removeprefix("BYBIT:")
    return chart.removesuffix(".P") if chart.endswith(".P") or chart != upper else upper


def is_another(text: str, symbol: str) -> bool:
    """Return whether a text that stands beside rows is the name of another symbol.

    Publishers spell a symbol in many ways (``tBTCUSD``, ``BTC-USDT-SWAP``, ``XBTUSDT``); its coin must be in
    the text.
    """
    plain = re.sub(r"[\W_]", "", text.upper())
    for old, new in _OLD_NAMES.items():
        plain = plain.replace(old, new)
    return re.sub(r"^10+", "", _base_of(symbol)) not in plain and any(sign.isalpha() for sign in plain)


def nearest(symbol: str, known: Collection[str]) -> str | None:
    """Return the symbol of ``known`` that was probably meant; None if none is near.

    ``PEPEUSDT`` → ``1000PEPEUSDT``: contracts of cheap coins count by the thousand. ``BTC``, ``BTCUSD`` and
    ``XBTUSDT`` → ``BTCUSDT``.
    """
    base = _base_of(symbol)
    base = _OLD_NAMES.get(base, base)
    for coin in (base, *(f"1{'0' * zeros}{base}" for zeros in range(1, 8)), f"{base}1000"):
        if coin and (name := f"{coin}USDT") in known and name != symbol:
            return name
    by_coin = {re.sub(r"^10+", "", _base_of(name)): name for name in sorted(known, reverse=True)}
    if (coin := re.sub(r"^10+", "", base)) and coin in by_coin:
        return by_coin[coin]
    return next(iter(get_close_matches(symbol, sorted(known), n=1, cutoff=_NEAR)), None)


def no_such_symbol(symbol: str, known: Collection[str]) -> str:
    """Say that a symbol is not among ``known``, with the one that was probably meant."""
    near = nearest(symbol, known)
    return f"{symbol}: no such symbol" + (f"; did you mean {near}?" if near else "")


def _base_of(symbol: str) -> str:
    for quote in _QUOTES:
        if symbol.endswith(quote) and len(symbol) > len(quote):
            return symbol.removesuffix(quote)
    return symbol
