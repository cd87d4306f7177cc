"""The page of a screen: its best points by the engine beside the screen, and how much of that is luck."""

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import bot
from bot.adapters.files.whole import write_text
from bot.app.runs.results import data_files
from bot.app.search.screens import Tried
from bot.app.search.words import BELIEVED
from bot.app.wiring import RunPlan
from bot.metrics import Metrics, daily_equity
from bot.service.backtest.run import Result
from bot.web.numbers import MISSING, describe, show
from bot.web.run import Floats
from bot.web.search.data import Axis, Confirmed, Curve, Head, Objective, ScreenData, Told, Trial
from bot.web.search.pages import render_screen

DRAWN_MAX = 20_000
"""Points behind the maps; of more, so many are drawn evenly."""
LISTED_MAX = 1_000
"""Points of the table, the best first."""


@dataclass(frozen=True, kw_only=True)
class Screened:
    """A screen that has ended. ``ranked`` and the confirmed points are places in ``points``, best first."""

    plan: RunPlan
    points: Sequence[Mapping[str, Any]]
    figures: Mapping[str, Floats]
    ranked: Sequence[int]
    confirmed: Sequence[tuple[int, Metrics]]
    best: int | None
    curve: Curve | None
    objective: str
    earlier: Tried
    deflated_sharpe: float | None
    notes: Sequence[str]
    log: Path


def write_screen(path: Path, found: Screened) -> None:
    """Write one self-contained HTML file; missing folders are made.

    Raises:
        NotWritten: the place cannot be written.
    """
    write_text(path, render_screen(screen_data(found)))


def curve_of_run(result: Result) -> Curve | None:
    """Return the account of a run beside buy and hold by days; None without two of them."""
    part = result.unseen
    days, equity = daily_equity(part.ts_ms, part.equity)
    _, hold = daily_equity(part.ts_ms, part.hold)
    if len(days) < 2:
        return None
    return Curve(ts_ms=days, equity=equity / equity[0], hold=hold / hold[0])


def screen_data(found: Screened) -> ScreenData:
    """Return the data of the page."""
    count = len(found.points)
    drawn = range(count) if count <= DRAWN_MAX else np.linspace(0, count - 1, DRAWN_MAX).astype(int).tolist()
    return ScreenData(
        head=_head(found),
        drawn=[_trial(found, at) for at in drawn],
        listed=[_trial(found, at) for at in found.ranked[:LISTED_MAX]],
        count=count,
        confirmed=[
            Confirmed(
                params=_texts(found.points[at]),
                figures={
                    name: (_known(values[at]), engine.get(name)) for name, values in found.figures.items()
                },
            )
            for at, engine in found.confirmed
        ],
        best=found.best,
        curve=found.curve,
    )


def _trial(found: Screened, at: int) -> Trial:
    figures = {name: _known(values[at]) for name, values in found.figures.items()}
    return Trial(number=at, params=_texts(found.points[at]), figures=figures, state="whole", ended="")


def _texts(point: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in point.items()}


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _head(found: Screened) -> Head:
    plan, history = found.plan, found.plan.history
    axes = {name: tuple(dict.fromkeys(str(each[name]) for each in found.points)) for name in found.points[0]}
    return Head(
        strategy="bot.Rule",
        symbols=history.symbols,
        from_ms=min(each.first_ms for each in history.candles),
        to_ms=max(each.end_ms for each in history.candles),
        axes=[Axis.ordered(name, values) for name, values in axes.items()],
        objective=Objective(name=found.objective, is_small=False),
        verdict=_verdict(found),
        judgement=_judgement(found),
        origin=[
            ("Seed", plan.settings.seed),
            ("Settings", plan.settings.hash),
            ("Log of the points", found.log),
            ("Version of bot", bot.__version__),
            ("Version of python", platform.python_version()),
        ],
        files=data_files(history.candles),
    )


def _verdict(found: Screened) -> str:
    engine = dict(found.confirmed).get(-1 if found.best is None else found.best)
    if engine is None:
        return f"None of {len(found.points):,} points has the figure that was searched for."
    names = dict.fromkeys((found.objective, "total_return"))
    told = ", ".join(
        f"{describe(name).label} {show(engine.get(name), describe(name).kind)}" for name in names
    )
    luck = {
        None: "How much of it is luck is not known.",
        True: "It is more than the luck of so many points.",
        False: "This may be luck.",
    }[None if found.deflated_sharpe is None else found.deflated_sharpe >= BELIEVED]
    return f"Best of {len(found.points):,} points by the engine: {told}. {luck}"


def _judgement(found: Screened) -> list[Told]:
    before, deflated = found.earlier, found.deflated_sharpe
    return [
        Told(
            name="Points",
            value=f"{len(found.points):,}",
            meaning="All of them count: the more are tried, the better the best one looks. Before, "
            f"{before.points:,} other points and {before.trials:,} parameters of strategies were tried here.",
        ),
        Told(
            name="Confirmed by the engine",
            value=f"{len(found.confirmed):,}",
            meaning="The screen ignores lot sizes, volume, impact, funding, liquidation and risk limits; the "
            "engine does not. Believe its figures.",
        ),
        Told(
            name="Deflated Sharpe ratio",
            value=MISSING if deflated is None else f"{deflated:.3f}",
            meaning="Probability that the engine's Sharpe ratio of the best point is better than the best of "
            f"as many points without skill. At least {BELIEVED} is asked.",
        ),
        *(
            Told(name="Note", value="", meaning=f"{note[0].upper()}{note[1:]}.") for note in found.notes[1:]
        ),  # the first says what "Points" does
    ]
