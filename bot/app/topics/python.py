"""``bot help python``: every public name of ``import bot``, from its own docstring and signature."""

import inspect

import bot
from bot.app.topics.page import Entry, Page, Section
from bot.app.topics.sources import arguments, first_words, members

_SHOWN = (
    "BacktestResult",
    "SweepResult",
    "WalkForwardResult",
    "Rule",
    "ScreenResult",
    "CheckResult",
    "Model",
    "Evaluation",
    "FeatureRows",
    "Figure",
)
"""Classes whose members are told here; those of a strategy stand in ``bot help strategy``."""


def page() -> Page:
    """Return functions with their arguments, then results with their members, then the other names."""
    public = {name: getattr(bot, name) for name in bot.__all__}
    classes = {name: value for name, value in public.items() if isinstance(value, type)}
    functions = {name: inspect.unwrap(public[name]) for name in public if name not in classes}
    return Page(
        "python",
        "`import bot` in a notebook or a script: the same backtests, models and features as on the command "
        "line. Names are imported when they are first used. Every error is a `bot.BotError` of one line. "
        "Times are UTC.",
        [
            Section(
                "Functions", [Entry(f"bot.{name}", first_words(each)) for name, each in functions.items()]
            ),
            *(
                Section(f"Arguments of bot.{name}", [*arguments(function)])
                for name, function in functions.items()
            ),
            Section(
                "Values",
                [
                    Entry(f"bot.{name}", first_words(value), {"kind": "class"})
                    for name, value in classes.items()
                ],
                "`bot help strategy` explains Strategy, View, Target, Bar and PortfolioView; `bot help "
                "forecasts` a forecast.",
            ),
            *(Section(f"bot.{name}", [*members(classes[name])]) for name in _SHOWN),
        ],
    )
