"""``bot kill`` for people: what is halted, what was taken back, and what stays at the venue.

Lines of text, without rich: a kill must be fast.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import click

from bot.cli.terminal.numbers import price, quantity

_OFF = "; paper: a stop acts only while the bot runs"


def killed_lines(reply: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines of an answer to a kill; ``positions`` None means that nobody could read them."""
    who = f" ({str(reply['daemon']).partition(';')[0]})" if "daemon" in reply else ""
    yield click.style("halted", "red", bold=True) + f"{who}; no entries until `bot unhalt`"
    survivors = ", ".join(map(str, reply.get("survivors") or ()))
    left = click.style(survivors, "red", bold=True) if survivors else click.style("none", "green")
    yield f"orders that could open a position, left at {reply.get('venue', 'the venue')}: {left}"
    yield from _positions(reply)
    exits = reply.get("exits")
    if exits is None:
        exits = [order["order_id"] for order in reply.get("open_orders") or () if order.get("reduce_only")]
    if exits:
        yield f"exit orders that stay: {', '.join(map(str, exits))}"


def _positions(reply: Mapping[str, Any]) -> Iterator[str]:
    rows = reply.get("positions")
    if rows is None:
        yield click.style("positions: could not be read; look at the account yourself", "red", bold=True)
        return
    if not rows:
        yield "positions: none"
        return
    leaving = reply.get("on_halt") == "flatten"
    is_off = reply.get("venue") == "paper" and "daemon" in reply
    for each in rows:
        size = str(each["qty"])
        side = "short" if size.startswith("-") else "long"
        does = "is being closed (risk.on_halt)" if leaving else "stays"
        stops = click.style(_OFF, "yellow") if is_off else _stops(each)
        yield f"position {each['symbol']} {side} {quantity(size.lstrip('-'))} {does}{stops}"
    if not leaving:
        yield f"to close them: {'`bot run`, then ' if 'daemon' in reply else ''}`bot flatten`"


def _stops(position: Mapping[str, Any]) -> str:
    fixed, trailing, take = (position.get(name) for name in ("stop_loss", "trailing_stop", "take_profit"))
    if fixed is None and trailing is None:
        return click.style("; WITHOUT A STOP at the venue", "red", bold=True)
    words = [f"its stop at {price(fixed)}"] if fixed is not None else []
    words += [f"a stop that trails by {price(trailing)}"] if trailing is not None else []
    words += [f"its take profit at {price(take)}"] if take is not None else []
    return ", with " + " and ".join(words)
