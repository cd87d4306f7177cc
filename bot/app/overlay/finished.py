"""Finished results that can be compared: JSON of backtests, sweeps and walk-forwards; runs of a journal."""

from collections.abc import Sequence
from pathlib import Path
from typing import assert_never

import msgspec

from bot.adapters.state.journal import Journal
from bot.app.overlay import pages
from bot.app.overlay.kept import Journaled, read_run
from bot.app.state import journals
from bot.domain.errors import BadFile, BadUsage
from bot.domain.market import DAY_MS

Curve = list[tuple[int, float]]
"""The account's value by time (UTC ms), oldest first."""


class Data(msgspec.Struct, frozen=True):
    """One candle file of a result, or the bars that a run has kept."""

    symbol: str
    interval: str
    sha256: str


class Headline(msgspec.Struct, frozen=True):
    """The span that the figures are of; a backtest without a model begins at its first bar."""

    from_ms: int
    to_ms: int


class Point(msgspec.Struct, frozen=True):
    """The account's value at one close."""

    ts_ms: int
    equity: float


class Tables(msgspec.Struct, frozen=True):
    """Tables that the file carries if they were asked for."""

    equity: list[Point] | None = None


class _Made(msgspec.Struct, frozen=True, tag_field="kind", kw_only=True):
    version: str
    strategy: str
    params: dict[str, object]
    settings_hash: str
    model_hash: str | None
    form: str
    seed: int
    data: list[Data]
    costs: dict[str, object]
    first_ms: int
    headline: Headline
    buy_and_hold: dict[str, float | None]


class BacktestFile(_Made, frozen=True, tag="backtest", kw_only=True):
    """``bot backtest --json``."""

    risk: str
    halt: dict[str, object] | None
    metrics: dict[str, float | None]
    tables: Tables = Tables()


class Best(msgspec.Struct, frozen=True):
    """The best trial of a sweep."""

    params: dict[str, object]
    halted: str | None
    metrics: dict[str, float | None]
    returns: list[float] = []
    """One a UTC day, from the begin of the headline span on; none in a file of an older version."""


class SweepFile(_Made, frozen=True, tag="sweep", kw_only=True):
    """``bot sweep --json``: its figures are those of the best trial."""

    trials: int
    halted: int
    best: Best | None
    deflated_sharpe: float | None
    overfit_probability: float | None = None


class Step(msgspec.Struct, frozen=True):
    """One step of a walk-forward."""

    halted: str | None


class WalkFile(_Made, frozen=True, tag="walkforward", kw_only=True):
    """``bot walkforward --json``: its figures are those of all tests."""

    trials: int
    metrics: dict[str, float | None]
    steps: list[Step]
    earlier_walkforwards: int
    deflated_sharpe: float | None
    overfit_probability: float | None = None
    """None, too, in a file of an older version."""
    returns: list[float] = []
    """One a UTC day of the tests, which follow each other without a hole."""


class KeptResult(_Made, frozen=True, tag="run", kw_only=True):
    """A run as its journal tells it: paper, or traded at a venue."""

    metrics: dict[str, float | None]
    points: list[Point]
    notes: list[str]


ResultFile = BacktestFile | SweepFile | WalkFile
Finished = ResultFile | KeptResult


def is_result_file(source: str) -> bool:
    """Return True if the argument of ``bot report`` is the JSON file of a result, by its name."""
    return source.endswith(".json")


def read_results(sources: Sequence[str], state_dir: Path) -> list[Finished]:
    """Read what is to be compared: JSON files of results, and accounts of the journal such as ``paper-1``.

    Raises:
        BadUsage: fewer than two, one twice, or an account that does not exist.
        BadFile: a file that is missing, or not the JSON of a finished result.
        StoreFailed: a journal is damaged.
    """
    if len(sources) < 2:
        raise BadUsage(f"{sources[0]}: one result cannot be compared; name two or more")
    seen: dict[bytes, str] = {}
    found: list[Finished] = []
    for source in sources:
        body = _body(source) if is_result_file(source) else source.encode()
        if body in seen:
            raise BadUsage(f"{source}: the same result as {seen[body]}; name each result once")
        seen[body] = source
        is_file = is_result_file(source)
        found.append(_read(source, body) if is_file else _kept(journals.choose_journal(state_dir, source)))
    return found


def _body(source: str) -> bytes:
    try:
        return Path(source).read_bytes()
    except OSError as error:
        raise BadFile(f"{source}: cannot be read ({error.strerror})") from error


def _read(source: str, body: bytes) -> ResultFile:
    try:
        found: ResultFile = msgspec.json.decode(body, type=ResultFile)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadFile(
            f"{source}: not a result that can be compared ({error}); "
            "write it with `bot backtest`, `sweep` or `walkforward` and --json"
        ) from error
    return found


def _kept(journal: Journal) -> KeptResult:
    kept = read_run(journal)
    run, arguments = kept.run, kept.arguments
    return KeptResult(
        version=arguments.code,
        strategy=arguments.strategy,
        params=dict(arguments.params),
        settings_hash=arguments.name_of_settings(),
        model_hash=arguments.model_hash,
        form="step",
        seed=int(arguments.settings.get("seed", 0)),
        data=[Data(each.symbol, each.interval, each.sha256) for each in pages.files_of(run)],
        costs=_costs(kept),
        first_ms=run.first_ms,
        headline=Headline(run.first_ms, run.last_ms),
        buy_and_hold={},
        metrics={name: None if value is None else float(value) for name, value in pages.figures(run).items()},
        points=[Point(*point) for point in zip(run.ts_ms, run.equity, strict=True)],
        notes=pages.notes(kept),
    )


def _costs(kept: Journaled) -> dict[str, object]:
    """Return the costs of a run's settings as the JSON of a result has them: money is text in a journal."""
    costs = kept.arguments.settings.get("costs", {})
    return {name: _number(value) if isinstance(value, str) else value for name, value in costs.items()}


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


# What each result is worth


def kind_of(each: Finished) -> str:
    """Return ``backtest``, ``sweep``, ``walkforward`` or ``run``."""
    return str(each.__struct_config__.tag)


def figures_of(each: Finished) -> dict[str, float | None]:
    """Return the figures that stand for a result; of a sweep those of its best trial."""
    match each:
        case BacktestFile() | WalkFile() | KeptResult():
            return each.metrics
        case SweepFile():
            return {} if each.best is None else each.best.metrics
        case _:
            assert_never(each)


def span_of(each: Finished) -> tuple[int, int]:
    """Return from when to when the figures are, in ms."""
    return max(each.headline.from_ms, each.first_ms), each.headline.to_ms


def curve_of(each: Finished) -> Curve:
    """Return the account's value in the span of the figures; of a sweep that of its best trial.

    A backtest and a run have a value at each close, in quote; a sweep and a walk-forward one at the end of
    each UTC day, in units of their start. Empty if the file carries none.
    """
    match each:
        case BacktestFile(tables=tables):
            return _between(tables.equity or [], *span_of(each))
        case KeptResult(points=points):
            return _between(points, *span_of(each))
        case SweepFile(best=best):
            return [] if best is None else _by_day(best.returns, *span_of(each))
        case WalkFile(returns=returns):
            return _by_day(returns, *span_of(each))
        case _:
            assert_never(each)


def _between(points: Sequence[Point], from_ms: int, to_ms: int) -> Curve:
    return [(point.ts_ms, point.equity) for point in points if from_ms <= point.ts_ms <= to_ms]


def _by_day(returns: Sequence[float], from_ms: int, to_ms: int) -> Curve:
    """Return the compounded value at the end of each day, where ``metrics.daily_equity`` has them."""
    if not returns:
        return []
    curve, value = [(from_ms, 1.0)], 1.0
    for day, earned in enumerate(returns, from_ms // DAY_MS + 1):
        value *= 1.0 + earned
        curve.append((min(day * DAY_MS, to_ms), value))
    return curve
