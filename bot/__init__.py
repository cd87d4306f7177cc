"""An event-driven trading bot for Bybit: a streaming Performer, one engine for backtest, paper and live.

For a notebook, ``import bot`` offers the names of ``__all__``, such as ``bot.backtest(candles, MyStrategy)``.
Each is imported when it is first used (PEP 562), so that ``import bot`` costs nothing. ``bot help python``
explains them.

Read in this order: ``domain`` (the nouns), ``engine.core`` (the only code that decides), ``service.driver``
(the loop around it), then the other packages:

``features``  causal indicators: one definition, a streaming and a batch executor
``model``     the Performer (FAVOR+) in a full, a chunked and a streaming form
``strategy``  from a forecast to a target and its intents; ``risk``: approves or refuses intents
``exchange``  the rules of a venue as a pure value; ``bybit``: the v5 protocol without I/O
``adapters``  files, sockets and clocks behind ``ports``; ``app`` wires it all, ``cli`` and ``lab`` call it
"""

import importlib
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bot.adapters.files.candles import Candles
    from bot.domain.errors import BotError
    from bot.domain.market import Bar, Forecast
    from bot.lab.backtest import backtest
    from bot.lab.candles import read_candles
    from bot.lab.checks import CheckResult, check_lookahead, check_warmup
    from bot.lab.features import FeatureRows, features
    from bot.lab.fitting import fit, unfitted
    from bot.lab.model import Evaluation, Model, evaluate, load_model, train
    from bot.lab.result import BacktestResult
    from bot.lab.screen import Rule, ScreenResult, screen
    from bot.lab.search import SweepResult, WalkForwardResult, sweep, walkforward
    from bot.strategy import PortfolioView, Strategy, Target, View
    from bot.web.figure import Figure

__version__ = "0.1.0"

__all__ = [
    "BacktestResult",
    "Bar",
    "BotError",
    "Candles",
    "CheckResult",
    "Evaluation",
    "FeatureRows",
    "Figure",
    "Forecast",
    "Model",
    "PortfolioView",
    "Rule",
    "ScreenResult",
    "Strategy",
    "SweepResult",
    "Target",
    "View",
    "WalkForwardResult",
    "backtest",
    "check_lookahead",
    "check_warmup",
    "evaluate",
    "features",
    "fit",
    "load_model",
    "read_candles",
    "screen",
    "sweep",
    "train",
    "unfitted",
    "walkforward",
]

_HOMES = {
    "BacktestResult": "lab.result",
    "Bar": "domain.market",
    "BotError": "domain.errors",
    "Candles": "adapters.files.candles",
    "CheckResult": "lab.checks",
    "Evaluation": "lab.model",
    "FeatureRows": "lab.features",
    "Figure": "web.figure",
    "Forecast": "domain.market",
    "Model": "lab.model",
    "PortfolioView": "strategy",
    "Rule": "lab.screen",
    "ScreenResult": "lab.screen",
    "Strategy": "strategy",
    "SweepResult": "lab.search",
    "Target": "strategy",
    "View": "strategy",
    "WalkForwardResult": "lab.search",
    "backtest": "lab.backtest",
    "check_lookahead": "lab.checks",
    "check_warmup": "lab.checks",
    "evaluate": "lab.model",
    "fit": "lab.fitting",
    "load_model": "lab.model",
    "read_candles": "lab.candles",
    "screen": "lab.screen",
    "sweep": "lab.search",
    "train": "lab.model",
    "unfitted": "lab.fitting",
    "walkforward": "lab.search",
}
"""Public name → its module. ``features`` is missing: it is also a package, which is callable."""


def __getattr__(name: str) -> object:
    if name == "features":
        return importlib.import_module("bot.features")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]


class CallablePackage(ModuleType):
    """A package that is also the public function of its name: ``bot.features(candles)``."""

    def __call__(self, *args: object, **kwargs: object) -> object:
        """Call the function of ``bot.lab``."""
        return self.__wrapped__(*args, **kwargs)

    @property
    def __wrapped__(self) -> Callable[..., object]:
        name = self.__name__.rpartition(".")[2]
        found: Callable[..., object] = getattr(importlib.import_module(f"bot.lab.{name}"), name)
        return found
