"""The page of a search: what it found, and first of all how much of that is luck, in words."""

import platform
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

import bot
from bot.adapters.files.whole import write_text
from bot.app.runs.notes import limit_fill_words
from bot.app.runs.results import data_files
from bot.app.search.search import Search
from bot.app.search.sweep import Sweep
from bot.app.search.trial import Outcome
from bot.app.search.walk import WalkForward
from bot.app.search.words import BELIEVED, LUCKY, sampler_words
from bot.domain.market import DAY_MS
from bot.metrics import daily_equity
from bot.research.search.selection import (
    SPA_DAYS,
    Selection,
    choices_of_halves,
    minimum_track_record,
    spa_p_value,
)
from bot.web.numbers import MISSING, show
from bot.web.search.data import (
    Axis,
    Curve,
    Halves,
    Head,
    Objective,
    State,
    Step,
    SweepData,
    Told,
    Trial,
    WalkData,
)
from bot.web.search.pages import metric_of, render_sweep, render_walk

_TOTALS = ("total_return", "cagr", "volatility", "sharpe", "sortino", "calmar", "max_drawdown", "days")


def write_page(path: Path, found: Sweep | WalkForward) -> None:
    """Write one self-contained HTML file; missing folders are made.

    Raises:
        NotWritten: the place cannot be written.
    """
    text = render_sweep(sweep_data(found)) if isinstance(found, Sweep) else render_walk(walk_data(found))
    write_text(path, text)


# A sweep


def sweep_data(found: Sweep) -> SweepData:
    """Return the data of the page of a sweep."""
    search, hold = found.search, found.search.hold.unseen
    failed = [each for each in found.outcomes if each.error is not None]
    head = _head(
        search,
        span=(int(hold.ts_ms[0]), int(hold.ts_ms[-1])),
        verdict=_sweep_verdict(found),
        judgement=_sweep_judgement(found),
        hash_and_log=(found.sha256, found.log),
    )
    return SweepData(
        head=head,
        trials=[_trial(each) for each in (*found.ranked, *failed)],
        best=None if found.best is None else found.best.index,
        curve=curve_of_best(found),
        halves=_halves(found),
    )


def curve_of_best(found: Sweep) -> Curve | None:
    """Return the account of the best trial by days; after a halt it earns nothing."""
    if found.best is None:
        return None
    days, values = daily_equity(found.search.hold.unseen.ts_ms, found.search.hold.unseen.hold)
    if len(days) < 2:
        return None
    returns = found.returns_of([found.best])[:, 0]
    return Curve(
        ts_ms=days, equity=np.concatenate([[1.0], np.cumprod(1.0 + returns)]), hold=values / values[0]
    )


def _halves(found: Sweep) -> Halves | None:
    returns = found.returns_of([each for each in found.outcomes if each.error is None])
    choices = choices_of_halves(returns)
    if choices is None:
        return None
    return Halves(inside=choices.inside, outside=choices.outside, is_worse=choices.is_worse)


def _trial(each: Outcome) -> Trial:
    state: State = "failed" if each.error is not None else "halted" if each.halted is not None else "whole"
    return Trial(
        number=each.index,
        params=each.params,
        figures=each.figures,
        state=state,
        ended=each.error or each.halted or "",
    )


def _sweep_verdict(found: Sweep) -> str:
    search, best = found.search, found.best
    if best is None:
        return f"None of {len(found.outcomes):,} trials has the figure that was searched for."
    name = search.objective.removeprefix("-")
    figures = list(dict.fromkeys((name, "total_return")))
    told = ", ".join(f"{metric_of(each).label} {_shown(best.figures, each)}" for each in figures)
    hold = _shown(search.hold.unseen.buy_and_hold, "total_return")
    deflated = None if found.selection is None else found.selection.deflated_sharpe
    luck = {
        None: "How much of it is luck is not known.",
        True: "It is more than the luck of so many trials.",
        False: "This may be luck.",
    }[None if deflated is None else deflated >= BELIEVED]
    halted = f" It ended early: {best.halted}." if best.halted is not None else ""
    return (
        f"Best of {len(found.outcomes):,} trials: {told}.{halted} Buy and hold: total return {hold}. {luck}"
    )


def _shown(figures: Mapping[str, float | None], name: str) -> str:
    return show(figures.get(name), metric_of(name).kind)


def _sweep_judgement(found: Sweep) -> list[Told]:
    judged = found.selection
    told = [_trials(found), *_sampler(found.search), *_endings(found.outcomes)]
    return told if judged is None else [*told, *_luck(judged)]


def _trials(found: Sweep) -> Told:
    before = 0 if found.selection is None else found.selection.earlier_trials
    more = (
        f" {before:,} other parameters of this strategy were tried on these symbols before." if before else ""
    )
    return Told(
        name="Trials",
        value=f"{len(found.outcomes):,}",
        meaning=f"All of them count: the more are tried, the better the best one looks.{more}",
    )


def _sampler(search: Search) -> list[Told]:
    note = sampler_words(search)
    return [] if note is None else [Told(name="Sampler", value=search.sampler, meaning=f"{note}.")]


def _endings(outcomes: Sequence[Outcome]) -> list[Told]:
    halted = sum(each.halted is not None for each in outcomes)
    failed = sum(each.error is not None for each in outcomes)
    return [
        Told(
            name="Halted by risk",
            value=f"{halted:,}",
            meaning="A limit stopped these trials early; afterwards they earn nothing, on days that count.",
        ),
        Told(
            name="Without a result",
            value=f"{failed:,}",
            meaning="The strategy refused these parameters or failed with them; the reason is in the table.",
        ),
    ]


def _luck(judged: Selection) -> list[Told]:
    asked = f"At least {BELIEVED} is asked"
    return [
        Told(
            name="Independent trials",
            value=MISSING if judged.effective_trials is None else f"{judged.effective_trials:.1f}",
            meaning="Trials that earn on the same days are nearly one; these count as so many.",
        ),
        Told(
            name="Sharpe of the best",
            value=show(judged.best_sharpe, "ratio"),
            meaning=f"Annual, from all {judged.days:,} days; those after a halt earn nothing. It is too "
            "high, as it is the best of many.",
        ),
        Told(
            name="Deflated Sharpe ratio",
            value=_probability(judged.deflated_sharpe),
            meaning="Probability that the best one is better than the best of as many trials without skill. "
            + _verdict(judged.deflated_sharpe, asked),
        ),
        Told(
            name="… of independent trials",
            value=_probability(judged.deflated_sharpe_effective),
            meaning="The same, if only the independent trials of this search count.",
        ),
        Told(
            name="Probability of overfitting",
            value=_probability(judged.overfit_probability),
            meaning="How often the best trial of one half of the days is in the worse half of the trials on "
            "the other days. 0.5 is pure chance, 0 is a choice that holds."
            if judged.overfit_probability is not None
            else "Not known: it needs 20 days and two trials.",
        ),
        Told(
            name="Loss after the choice",
            value=show(judged.loss_probability, "percent"),
            meaning="How often that best trial lost money on the other days.",
        ),
        _against_hold(judged.spa_p_value, "if no trial is better than it"),
        _record(judged.track_record_days, judged.days, "best trial"),
    ]


def _probability(value: float | None) -> str:
    return MISSING if value is None else f"{value:.3f}"


def _verdict(value: float | None, asked: str) -> str:
    if value is None:
        return "Not known: too few days or trials that move."
    return f"{asked}: {'it is more than luck' if value >= BELIEVED else 'this may be luck'}."


def _against_hold(p_value: float | None, without: str) -> Told:
    if p_value is None:
        meaning = f"Not known: it needs {SPA_DAYS} days."
    else:
        verdict = (
            "the lead is more than luck" if p_value < LUCKY else "the lead may be luck, or there is none"
        )
        meaning = (
            f"Probability of such a lead over buy and hold {without} (Hansen's test). "
            f"Less than {LUCKY} is asked: {verdict}."
        )
    return Told(name="Test against buy and hold", value=_probability(p_value), meaning=meaning)


def _record(needed: float | None, days: int, what: str) -> Told:
    if needed is None:
        meaning = f"Not defined: the Sharpe ratio of the {what} is not above 0."
    else:
        enough = "long enough, for a single trial" if days >= needed else "too short"
        meaning = (
            f"So long must a record be before such a Sharpe ratio is above 0 with 95 % confidence. "
            f"This one has {days:,} days: {enough}."
        )
    return Told(
        name="Minimum track record",
        value=MISSING if needed is None else f"{needed:,.0f} days",
        meaning=meaning,
    )


# A walk-forward


def walk_data(found: WalkForward) -> WalkData:
    """Return the data of the page of a walk-forward."""
    folds = [step.fold for step in found.steps]
    hold = found.numbers()["buy_and_hold"]
    assert isinstance(hold, dict)
    head = _head(
        found.search,
        span=(folds[0].test_from_ms, folds[-1].test_to_ms),
        verdict=_walk_verdict(found, hold),
        judgement=_walk_judgement(found),
        hash_and_log=(str(found.numbers()["results_sha256"]), found.log),
    )
    name = found.search.objective.removeprefix("-")
    return WalkData(
        head=head,
        steps=[
            Step(
                test_from_ms=step.fold.test_from_ms,
                test_to_ms=step.fold.test_to_ms,
                params=None if step.chosen is None else step.chosen.params,
                trained=None if step.chosen is None else step.chosen.figures.get(name),
                tested=None if step.test is None else step.test.figures.get(name),
                earned=None if step.test is None else step.test.figures.get("total_return"),
                overfit=step.overfit,
                ended="no choice" if step.test is None else step.test.error or step.test.halted or "",
            )
            for step in found.steps
        ],
        curve=curve_of_tests(found),
        figures=[(each, found.metrics.get(each), hold.get(each)) for each in _TOTALS],
    )


def curve_of_tests(found: WalkForward) -> Curve:
    """Return the account of all tests, joined, by days."""
    begin_ms = found.steps[0].fold.test_from_ms
    return Curve(
        ts_ms=begin_ms + DAY_MS * np.arange(len(found.returns) + 1, dtype=np.int64),
        equity=np.concatenate([[1.0], np.cumprod(1.0 + found.returns)]),
        hold=np.concatenate([[1.0], np.cumprod(1.0 + found.hold_returns)]),
    )


def _walk_verdict(found: WalkForward, hold: Mapping[str, float | None]) -> str:
    return (
        f"{len(found.steps):,} steps of {found.search.count:,} trials: the tests earned "
        f"{_shown(found.metrics, 'total_return')}, Sharpe {_shown(found.metrics, 'sharpe')}. "
        f"Buy and hold: {_shown(hold, 'total_return')}, Sharpe {_shown(hold, 'sharpe')}."
    )


def _walk_judgement(found: WalkForward) -> list[Told]:
    steady, numbers = found.stability, found.numbers()
    efficiency, same = steady["efficiency"], steady["same_choice_frac"]
    deflated, overfit = numbers["deflated_sharpe"], found.overfit_probability
    assert isinstance(efficiency, float | None)
    assert isinstance(same, float | None)
    assert isinstance(deflated, float | None)
    tests = [step.test for step in found.steps if step.test is not None]
    lost = sum((each.figures.get("total_return") or 0.0) < 0.0 for each in tests)
    excess = (found.returns - found.hold_returns)[:, None]
    count = len(found.steps) * found.search.count
    return [
        Told(
            name="Trials",
            value=f"{count:,}",
            meaning=f"{found.search.count:,} in each of {len(found.steps):,} steps. Only the choice of "
            "each step was tested, on later days.",
        ),
        Told(
            name="Walk-forwards before this",
            value=f"{found.earlier:,}",
            meaning="Other walk-forwards of this strategy on these symbols. A walk-forward that is repeated "
            "until it looks good is a search again.",
        ),
        Told(
            name="Sweeps before this",
            value=f"{found.earlier_sweeps:,}",
            meaning="Sweeps of this strategy on these symbols. What they showed is known to who chose the "
            "parameters here, so each counts as one trial more.",
        ),
        *_sampler(found.search),
        *_endings(found.outcomes),
        Told(
            name="Tests that lost",
            value=f"{lost:,} of {len(tests):,}",
            meaning="Tests that ended with less money than they began with.",
        ),
        Told(
            name="Efficiency",
            value=show(efficiency, "ratio"),
            meaning="Mean figure of the tests by the mean figure of their choices in training. 1: nothing "
            "was lost. 0: all of it was luck."
            if efficiency is not None
            else "Not defined: the choices lost in training.",
        ),
        Told(
            name="Same choice as before",
            value=show(same, "percent"),
            meaning="Steps that chose what the step before had chosen. If few: the choice follows noise.",
        ),
        Told(
            name="Probability of overfitting",
            value=_probability(overfit),
            meaning="How often, in the mean of all steps, the best trial of one half of the training days is "
            "in the worse half of the trials on the other ones. 0.5 is pure chance, 0 is a choice that holds."
            if overfit is not None
            else "Not known: it needs 20 days of training and two trials.",
        ),
        Told(
            name="Deflated Sharpe ratio",
            value=_probability(deflated),
            meaning="Probability that the tests are better than the best of as many walk-forwards without "
            "skill. " + _verdict(deflated, f"At least {BELIEVED} is asked"),
        ),
        _against_hold(
            spa_p_value(excess, seed=found.search.seed) if len(excess) else None, "if the tests are no better"
        ),
        _record(minimum_track_record(found.returns), len(found.returns), "tests"),
    ]


# Both


def _head(
    search: Search,
    *,
    span: tuple[int, int],
    verdict: str,
    judgement: Sequence[Told],
    hash_and_log: tuple[str, Path],
) -> Head:
    plan = search.plan
    sha256, log = hash_and_log
    origin: list[tuple[str, object]] = [
        ("Strategy", plan.strategy_name),
        *((f"Parameter {name}", value) for name, value in plan.params.items()),
        *((f"Searched {axis.name}", axis.range or _listed(axis.values)) for axis in search.axes),
        ("Sampler", search.sampler),
        ("Search seed", search.seed),
        ("Model", None if plan.model is None else plan.model.hash),
        ("Limit orders", limit_fill_words(plan.terms)),
        ("Seed", plan.settings.seed),
        ("Settings", plan.settings.hash),
        ("Results", sha256),
        ("Log of the trials", log),
        ("Version of bot", bot.__version__),
        ("Version of python", platform.python_version()),
    ]
    return Head(
        strategy=plan.strategy_name,
        symbols=plan.history.symbols,
        from_ms=span[0],
        to_ms=span[1],
        axes=[
            Axis.ordered(axis.name, tuple(dict.fromkeys(axis.values)), is_range=bool(axis.range))
            for axis in search.axes
        ],
        objective=Objective(
            name=search.objective.removeprefix("-"), is_small=search.objective.startswith("-")
        ),
        verdict=verdict,
        judgement=judgement,
        origin=[(name, value) for name, value in origin if value is not None],
        files=data_files(plan.history.candles),
    )


def _listed(values: Sequence[str]) -> str:
    if len(values) <= 12:
        return ", ".join(values)
    return f"{', '.join(values[:6])}, … {values[-1]} ({len(values):,} values)"
