"""A strategy that trades often and in every way: it makes work for everything that moves an order."""

import hashlib

from bot.strategy.signal import Target, View


class Coin:
    """Goes long, short or flat by a hash of ``seed``, symbol and bar, every ``hold_bars`` bars.

    It remembers nothing, so a restart cannot change what it wants. ``limit_share`` of its entries rest at a
    price 0.02 % away; half of them name a take-profit, ``stop_frac`` is the distance of the stop.
    """

    def __init__(
        self,
        seed: int = 1,
        hold_bars: int = 1,
        leverage: float = 0.3,
        limit_share: float = 0.25,
        stop_frac: float = 0.02,
    ) -> None:
        self.seed, self.hold_bars, self.leverage = seed, hold_bars, leverage
        self.limit_share, self.stop_frac = limit_share, stop_frac

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
        return Target(
            side * view.worth(self.leverage) * (0.5 + drawn[1] / 512),
            "coin",
            limit_price=price * (1.0 - side * 2e-4) if drawn[2] < 256 * self.limit_share else None,
            stop_loss=price * (1.0 - side * self.stop_frac) if drawn[3] % 2 else None,
            take_profit=price * (1.0 + side * self.stop_frac) if drawn[4] % 2 else None,
        )
