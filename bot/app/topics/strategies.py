"""``bot help strategy``: the shipped strategies, and all that a strategy of one's own sees and returns."""

import inspect
from collections.abc import Iterable
from importlib.resources import files

from bot.app.topics.page import Entry, Page, Section
from bot.app.topics.sources import first_words, members
from bot.app.wiring import WARMUP_BARS
from bot.domain.market import Bar
from bot.domain.refusals import FLAT
from bot.strategy import SHIPPED, Target, View
from bot.strategy.memory import Remembering
from bot.strategy.portfolio import PortfolioStrategy, PortfolioView
from bot.strategy.signal import Strategy

_PLACES = (
    Entry(
        "name",
        "`--strategy ema_cross`, or `strategy.name` in the settings: one of the shipped names.",
    ),
    Entry(
        "package.module:Class",
        "`--strategy mypkg.mymodule:MyStrategy`: the module is imported as Python does, first from the "
        "working directory, then from PYTHONPATH and the environment's packages. `breakout:Breakout` is the "
        "class Breakout in ./breakout.py.",
    ),
    Entry(
        "path/file.py:Class",
        "`--strategy strategies/breakout.py:Breakout`: the file is read, wherever it lies; its folder is "
        "searched first for what it imports.",
    ),
    Entry(
        "--param NAME=VALUE",
        "An argument of the constructor, converted to its annotation: int, float, bool, str, Decimal, Enum, "
        "Literal, None. `strategy.params` in the settings belongs to the strategy named there.",
    ),
)
_ORDERS = (
    Entry(
        "scale in or out: `Target(2.0)`, later `Target(3.0)` or `Target(1.0)`",
        "The quantity is the whole position wanted, so the bot buys or sells the difference. A larger one "
        "moves the average entry price; a smaller one keeps it and books the result of the part sold. Stops "
        "cover what is then held.",
    ),
    Entry(
        "bracket: `Target(2.0, limit_price=99.0, stop_loss=97.0, take_profit=103.0)`",
        "Stop and profit travel with the entry. The venue holds them from the first fill on, for what has "
        "been filled so far, and closes all of it at the market when the last price touches one of them; the "
        "other then ends. A later target of the same quantity moves the prices that it names.",
    ),
    Entry(
        "limit entry with an end: `Target(2.0, limit_price=99.0, expires_bars=3)`",
        "The bot, not the venue, cancels what is left at the third close after this one, after the strategy "
        "has decided there. A backtest fills a limit order only if the price goes through it, or by an "
        "estimated queue (`bot help fills`). When the bot "
        "or its stream was down, it takes resting entries back.",
    ),
    Entry(
        "trailing stop: `Target(2.0, trailing_stop=1.5, trailing_from=104.0)`",
        "The venue moves the stop with each new best last price and closes the position at the market when "
        "the price falls back by the distance. It lives at the venue, also while the bot is down. It is set "
        "after the first fill; in a backtest that is the close of the bar of the entry. Inside a bar a "
        "backtest takes the order of high and low that is worse for the position: first the low, if it "
        "reaches the stop as it stood at the open, else first the high, which lifts the stop for the low "
        "(for a short position the other way round).",
    ),
    Entry(
        "profits in parts: `Target(2.0, stop_loss=97.0, takes=[(103.0, 0.5), (106.0, 0.3)])`",
        "After the first fill the bot sends a limit order for each part: 1.0 at 103 and 0.6 at 106; 0.4 "
        "stays. The orders only make the position smaller, follow its size, and end with it; a new process "
        "keeps them. A price that was reached is done, until a target names other takes. A part below the "
        "contract's minimum goes to the last one. Return None afterwards, or the smaller quantity: the same "
        "quantity again buys back what was taken. In a backtest they are there from the close of the bar of "
        "the entry on, and fill as limit entries do. In a bar that also reaches the stop, "
        "the stop comes first.",
    ),
    Entry(
        "profits in parts by distance: `Target(2.0, stop_loss=97.0, takes_bps=[(150, 0.5), (400, 0.3)])`",
        "The same, 1.5 % and 4 % from the average entry price: the prices follow the fill instead of the "
        "close of the decision. When the average moves, because an entry fills on or the position grows, the "
        "orders that are left are cancelled and sent again at their new prices; while an entry still fills, "
        "at closes only.",
    ),
)
_CALLS = (
    Entry(
        "one instance",
        "Each symbol has its own. `on_bar` is called once for each of its closed bars, in order.",
    ),
    Entry(
        "on_close instead of on_bar",
        "One instance trades all symbols. It is called once for each close, with all bars that closed then. "
        "A bar that comes too late gets a call of its own with `live` False, about that symbol alone. Orders "
        "that make a position smaller are sent first.",
    ),
    Entry(
        "backtest",
        f"Bars before --start are shown, too: {WARMUP_BARS:,}, or as many as the model, the indicators, "
        "`longer_bars` or `volatility_hours` need if that is more. "
        "Targets returned there are dropped, and a note says how many. Without --start every bar counts.",
    ),
    Entry(
        "daemon, first start",
        f"The warm-up ({WARMUP_BARS:,} bars, or what model or indicators need) is read over REST, shown to "
        "`on_bar`, and no order follows from it; the log says once how many positions were asked for.",
    ),
    Entry(
        "daemon, restart",
        "With `state()` and `restore()` the instance goes on where it ended. Without them it is shown past "
        "bars again, and no order follows from these. Bars that were missed are shown in both cases.",
    ),
    Entry(
        "an entry without room",
        "An entry that a limit on all positions refuses (leverage, total value, money of spot) waits while "
        "others are closed at the market, and is sent as soon as they are: at a venue at once. A bar tells "
        "of its fills when it closes, so a backtest enters at the open of the bar after. A newer target "
        'takes its place, and it is refused once its decision is too old. With `execution.policy = "maker"` '
        "it does not wait.",
    ),
    Entry(
        "late bars",
        "A bar that came too late to act on is shown with `view.live` False; its target is dropped. "
        "`view.live` is False in the warm-up, too.",
    ),
    Entry(
        "an error",
        "A strategy that raises ends a backtest with file, line, bar and symbol. Live, its symbol takes no "
        "entries until `bot unhalt`; exits and stops go on, other symbols too. An error of `on_close` stops "
        "the entries of all symbols. A target for a symbol that the run does not trade is such an error.",
    ),
)
_REASONS = {
    "edge": "of performer: the forecast return pays for a round trip",
    "base": "of vol_target: its trend or its forecast asks for another size",
    "cross_up": "of ema_cross: the fast average is above the slow one, and was below",
    "cross_down": "of ema_cross: the fast average is below the slow one",
    "stretched": "of mean_reversion: the last move was larger than `entry_z` deviations",
    "hold": "of buy_and_hold: its one purchase",
    "coin": "of random: the coin chose this side",
    "stop_loss": "the stop of the position was hit",
    "take": "a part of the position was closed at a price of `takes`",
    "take_profit": "the profit order of the position was filled",
    "liquidation": "the venue closed the position, because its margin was used up",
    "adl": "the venue reduced the position (auto-deleveraging)",
    "settle": "the contract ended",
}
"""Reasons of orders and fills that the shipped strategies and the venue give."""


def _example() -> Section:
    return Section(
        "An example: a file breakout.py",
        [
            Entry(
                "--strategy breakout:Breakout --param bars=36",
                "Options of `bot backtest` and `bot run` that use it, from the folder of breakout.py.",
            )
        ],
        code=_source("example.py"),
    )


def _rotation() -> Section:
    return Section(
        "An example for many symbols: a file rotation.py",
        [
            Entry(
                "--strategy rotation:Rotation --param days=20 --data candles/*_1h.parquet",
                "Options of `bot backtest` that use it: one candle file for each symbol.",
            )
        ],
        code=_source("rotation.py"),
    )


def _source(name: str) -> str:
    return files("bot.strategy").joinpath(name).read_text("utf-8").split('"""', 2)[2].strip()


def page() -> Page:
    """Return an example, places, the interface, the calls and the shipped strategies."""
    return Page(
        "strategy",
        "A strategy is a class with `on_bar(view)`: it sees a closed bar and returns the position that it "
        "wants. With `on_close(view)` instead it sees all symbols that closed together. Sizing, limits and "
        "orders are not its business.",
        [
            _example(),
            Section("Where strategies are looked for", _PLACES),
            Section(
                "Strategy",
                [
                    *members(Strategy),
                    *members(Remembering),
                    Entry(
                        "needs_forecast",
                        "True on the class asks for the model: `view.forecast` is then set once the model is "
                        "warm.",
                        {"type": "bool", "default": "False"},
                    ),
                    Entry(
                        "forecaster",
                        "Models of your own for `needs_forecast`, on the class: what `bot.fit` returns for "
                        'a target such as `"rv_60m"`, or a list of several. They make the forecasts offline '
                        "and live, in place of the model of the settings.",
                        {"type": "fitted model(s)", "default": "None"},
                    ),
                    Entry(
                        "forecast_fields",
                        'The columns of `view.forecast` that it reads, such as `("rv_60m", "ret_60m")`: '
                        "models that do not make them are refused. Without it, such a field is NaN. "
                        '`"variance"` takes a model of any horizon: `forecast.hourly_variance` is known.',
                        {"type": "tuple[str, ...]", "default": "()"},
                    ),
                    Entry(
                        "longer_bars",
                        'Lengths on the class, such as `longer_bars = ("4h", "1d")`. Then '
                        '`view.longer["4h"]` is the bar of four hours that closed last. It is made from the '
                        "bars of the run, live as offline, and begins at whole multiples of its length since "
                        "1970 (a day: 00:00 UTC). The run's bars must divide it. If one of them is missing, "
                        "the longer bar is None.",
                        {"type": "tuple[str, ...]", "default": "()"},
                    ),
                    Entry(
                        "volatility_hours",
                        "Hours on the class, such as `volatility_hours = 240`. Then "
                        "`view.trailing_volatility` is the volatility of about so many hours: an exponential "
                        "mean of squared log returns, weight 2 / (bars + 1), so older bars fade instead of "
                        "leaving at once. `Target.volatility` uses it where there is no forecast. It is not "
                        "known before so many hours have passed.",
                        {"type": "float", "unit": "hours", "default": "None"},
                    ),
                    Entry(
                        "indicators",
                        'A dict on the class, or set in its constructor: `{"fast": ema(close, 12)}` is read '
                        'as `view.ind["fast"]`. The warm-up follows from it. An indicator is NaN while it is '
                        "unknown, and after a hole in the bars; `view.warm` says whether all are known.",
                        {"type": "dict[str, indicator]", "default": "{}"},
                    ),
                ],
                "`state` and `restore` are optional.",
            ),
            Section("View: what a strategy sees", [*members(View)], first_words(View)),
            Section(
                "One strategy for many symbols", [*members(PortfolioStrategy)], first_words(PortfolioStrategy)
            ),
            Section(
                "PortfolioView: what `on_close` sees", [*members(PortfolioView)], first_words(PortfolioView)
            ),
            _rotation(),
            Section("Bar: `view.bar`", [*members(Bar)], first_words(Bar)),
            Section("Target: what a strategy returns", [*members(Target)], first_words(Target)),
            Section("What a target does", _ORDERS, "The same in a backtest, on paper and at a venue."),
            Section(
                "Indicators: `from bot.features.indicators import close, ema`",
                [*_indicators()],
                "They have TA-Lib's names. `+`, `-`, `*` and `/` combine them.",
            ),
            Section("When it is called", _CALLS),
            Section(
                "Reasons",
                [*_reasons()],
                "Why a bar was spent without a position, and why an order was sent or filled. Your own "
                "strategy gives its own with `Target(qty, reason)`.",
            ),
            Section("Strategies that ship", [*_shipped()], "Each name takes these `--param` names."),
        ],
    )


def _reasons() -> Iterable[Entry]:
    for reason, words in {**FLAT, **_REASONS}.items():
        if reason:
            yield Entry(reason, f"{words[0].upper()}{words[1:]}.")


def _indicators() -> Iterable[Entry]:
    from bot.features import indicators  # they load a compiler

    yield Entry("open, high, low, close, volume", "A field of the bar.")
    for name in indicators.__all__:
        found = getattr(indicators, name)
        if inspect.isfunction(found):
            parameters = inspect.signature(found).parameters.values()
            told = ", ".join(
                each.name if each.default is each.empty else f"{each.name}={each.default}"
                for each in parameters
            )
            yield Entry(name, first_words(found), {"parameters": told or "none"})


def _shipped() -> Iterable[Entry]:
    for name, cls in SHIPPED.items():
        parameters = inspect.signature(cls).parameters.values()
        told = ", ".join(f"{each.name}={each.default}" for each in parameters)
        yield Entry(name, first_words(cls), {"parameters": told or "none"})
