"""A strategy that trades often and in every way: it makes work for everything that moves an order."""

import hashlib
from collections.abc import Mapping

import numpy as np

from bot.features.indicators import close, past, sma
from bot.strategy.portfolio import PortfolioView
from bot.strategy.signal import Target, View


class Coin:
    """Goes long, short or flat by a hash of ``seed``, symbol and bar, every ``hold_bars`` bars.

    It remembers nothing, so a restart cannot change what it wants. ``limit_share`` of its entries rest at a
    price 0.02 % away; half of them name a take-profit, ``stop_frac`` is the distance of the stop.
    ``take_share`` of them take profit in parts, half of these by distance; ``trail_share`` trail a stop.
    """

    def __init__(
        self,
        seed: int = 1,
        hold_bars: int = 1,
        leverage: float = 0.3,
        limit_share: float = 0.25,
        stop_frac: float = 0.02,
        take_share: float = 0.0,
        trail_share: float = 0.0,
    ) -> None:
        self.seed, self.hold_bars, self.leverage = seed, hold_bars, leverage
        self.limit_share, self.stop_frac = limit_share, stop_frac
        self.take_share, self.trail_share = take_share, trail_share

    def on_bar(self, view: View) -> Target | None:
        bar = view.bar
        turn, rest = divmod(bar.start_ms // bar.interval_ms, self.hold_bars)
        if rest:
            return None
        drawn = hashlib.sha256(f"{self.seed} {bar.symbol} {turn}".encode()).digest()
        side = (-1.0, 0.0, 1.0, 1.0, -1.0)[drawn[0] % 5]
        if not side:
            return Target(0.0, "coin")
        price = bar.close
        takes = drawn[5] < 256 * self.take_share
        near = ((price * (1.0 + side * 3e-4), 0.5), (price * (1.0 + side * 1e-3), 0.25))
        return Target(
            side * view.worth(self.leverage) * (0.5 + drawn[1] / 512),
            "coin",
            limit_price=price * (1.0 - side * 2e-4) if drawn[2] < 256 * self.limit_share else None,
            stop_loss=price * (1.0 - side * self.stop_frac) if drawn[3] % 2 else None,
            take_profit=price * (1.0 + side * self.stop_frac) if drawn[4] % 2 else None,
            trailing_stop=price * self.stop_frac if drawn[6] < 256 * self.trail_share else None,
            takes=near if takes and drawn[7] % 2 else None,
            takes_bps=((3.0, 0.5), (10.0, 0.25)) if takes and not drawn[7] % 2 else None,
        )


class Brackets:
    """Each bar another kind of target, in turn: what a venue must do for every kind of order.

    It remembers nothing. ``near_frac`` is how far away limit prices lie, ``trail_frac`` trailing stops.
    """

    def __init__(self, near_frac: float = 3e-4, trail_frac: float = 1e-3) -> None:
        self.near_frac, self.trail_frac = near_frac, trail_frac

    def on_bar(self, view: View) -> Target | None:
        bar, price, qty = view.bar, view.bar.close, view.worth(0.3)
        below = price * (1.0 - self.near_frac)
        match bar.start_ms // bar.interval_ms % 7:
            case 0:
                return Target(qty, "dip", limit_price=below, stop_loss=price * 0.98, expires_bars=1)
            case 2:
                takes = ((price * (1.0 + self.near_frac), 0.4), (price * (1.0 + 2.0 * self.near_frac), 0.3))
                trailing = price * self.trail_frac
                return Target(qty, "in", take_profit=price * 1.02, trailing_stop=trailing, takes=takes)
            case 3:
                return Target(qty * 1.5, "more", limit_price=below, expires_bars=2)
            case 5:
                distances = ((1e4 * self.near_frac, 0.5), (2e4 * self.near_frac, 0.25))
                return Target(-qty / 2, "turn", stop_loss=price * 1.02, takes_bps=distances)
            case 6:
                return Target(0.0, "out", limit_price=below, expires_bars=1)
        return None


class BracketsOfAll:
    """``Brackets`` for all symbols of a close: declared indicators give prices, ranks and sizes.

    The symbol that moved most at the last close, and the one that does now, may hold most.
    """

    indicators: Mapping[str, object] = {"mean": sma(close, 5), "span": past(np.ptp, 3)}
    longer_bars = ("15m",)

    def __init__(self) -> None:
        self.led = ""

    def on_close(self, view: PortfolioView) -> Mapping[str, Target | None]:
        moved = {symbol: seen.ind["span"] / seen.ind["mean"] for symbol, seen in view.closed.items()}
        led, self.led = self.led, max(moved, key=lambda symbol: moved[symbol])
        made = {}
        for place, (symbol, seen) in enumerate(view.closed.items()):
            qty = seen.worth(0.1 + 0.1 * (symbol == led) + 0.1 * (symbol == self.led))
            longer = seen.longer["15m"]
            if longer is not None and longer.close < longer.open:
                qty = -qty
            made[symbol] = self.turn(seen, qty, place)
        return made

    def turn(self, seen: View, qty: float, place: int) -> Target | None:
        price, side = seen.bar.close, 1.0 if qty > 0.0 else -1.0
        near, far = price - side * seen.ind["span"] / 16.0, price - side * (price * 0.02 + seen.ind["span"])
        match (seen.bar.start_ms // seen.bar.interval_ms + 2 * place) % 5:
            case 0:
                return Target(qty, "dip", limit_price=near, stop_loss=far, expires_bars=1)
            case 2:
                takes = ((price + side * seen.ind["span"] / 16.0, 0.5),)
                return Target(qty, "in", stop_loss=far, trailing_stop=price * 1e-3, takes=takes)
            case 4:
                return Target(0.0, "out")
        return None
