"""Strategies: from a forecast, or from prices alone, to a target position and the orders that reach it.

A strategy turns a ``View`` into a ``Target``. ``sizing.to_intents`` turns the target into intents: orders
that ``bot.risk`` has not yet approved. Imports the domain only. Read ``signal.py`` first; ``shipped``
holds the product and the strategies that it is compared with.
"""

from bot.strategy.params import build
from bot.strategy.portfolio import AnyStrategy, PortfolioStrategy, PortfolioView
from bot.strategy.ranges import NextHour
from bot.strategy.shipped.baselines import BuyAndHold, EmaCross, Flat, MeanReversion, RandomSignal
from bot.strategy.shipped.performer import PerformerStrategy
from bot.strategy.shipped.vol_target import VolTarget
from bot.strategy.signal import Strategy, Target, View
from bot.strategy.sizing import round_stops, to_intents

__all__ = [
    "SHIPPED",
    "AnyStrategy",
    "BuyAndHold",
    "EmaCross",
    "Flat",
    "MeanReversion",
    "NextHour",
    "PerformerStrategy",
    "PortfolioStrategy",
    "PortfolioView",
    "RandomSignal",
    "Strategy",
    "Target",
    "View",
    "VolTarget",
    "build",
    "round_stops",
    "to_intents",
]

SHIPPED: dict[str, type] = {
    "performer": PerformerStrategy,
    "vol_target": VolTarget,
    "ema_cross": EmaCross,
    "mean_reversion": MeanReversion,
    "buy_and_hold": BuyAndHold,
    "flat": Flat,
    "random": RandomSignal,
}
"""Name on the command line → class. The class's constructor defines its ``--param`` names."""
