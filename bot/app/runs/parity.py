"""The same bars through a backtest, through the daemon on paper, through the daemon at a local exchange.

``exchange_process`` runs a ``bot exchange``; ``run_live_story`` runs the daemon against it and reads its
record; ``replayed`` runs the backtest from the bar at which the daemon began; ``comparison`` says what
differs.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from bot.app.candles.invented import MarketRecipe, invented_history
from bot.app.context import Context
from bot.app.inputs import (
    choose_instruments,
    choose_model,
    choose_strategy,
    models_on,
    parse_params,
    read_history,
    strategy_model,
)
from bot.app.runs.comparison import Comparison, Fills, Story, compare, story_of
from bot.app.runs.live.daemon import run as run_live
from bot.app.runs.live.plan import LivePlan, make_live_plan
from bot.app.runs.live.watcher import Watcher
from bot.app.wiring import WARMUP_BARS, RunPlan, assemble
from bot.domain.errors import BadUsage, BotError
from bot.domain.market import MINUTE_MS, interval_name
from bot.engine.core import Engine
from bot.service.backtest.history import History
from bot.service.driver import Driver
from bot.service.moments import minute_words
from bot.service.record import Recorders, RunRecord
from bot.settings import Settings
from bot.strategy.declared import declared_warmup_bars

if TYPE_CHECKING:
    from bot.adapters.model.checkpoint import Checkpoint
    from bot.adapters.model.own import OwnModel

_INVENTED_BARS = 400
_INVENTED = {"BTCUSDT": 90_000.0, "ETHUSDT": 3_000.0}
_INVENTED_FROM_MS = 1_767_225_600_000
_BAR_S = 0.5
"""Wall time of a bar if no speed is given: enough for an order to be sent and answered."""
_ATTEMPTS = 3


# One exchange


@contextmanager
def exchange_process(context: Context, arguments: Sequence[str]) -> Iterator[str]:
    """Run a ``bot exchange`` on a free port; yield its REST address.

    Raises:
        BotError: it did not start; the message is its own.
    """
    config = ["-c", str(context.config)] if context.config is not None else []
    command = [sys.executable, "-m", "bot", *config, "--log-format", "json", "exchange", "--port", "0"]
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8") as words,
        subprocess.Popen(  # noqa: S603 (this very program, with our own arguments)
            [*command, *arguments], stdout=subprocess.PIPE, stderr=words, text=True
        ) as process,
    ):
        try:
            assert process.stdout is not None
            first = process.stdout.readline()
            if not first:
                words.seek(0)
                said = words.read().strip().splitlines()[-1:]
                raise BotError(f"the local exchange did not start: {' '.join(said)}")
            yield str(json.loads(first)["http"])
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(10)
            process.kill()


# Runs


def run_live_story(context: Context, plan: LivePlan, name: str, watcher: Watcher | None = None) -> Story:
    """Run the daemon to its end and return what it did.

    Raises:
        BotError: it failed, or was stopped before its bars were complete.
    """
    records: list[RunRecord] = []

    def record(engine: Engine) -> RunRecord:
        records.append(RunRecord(engine))
        return records[-1]

    ending = run_live(context, plan, record, watcher)
    if ending.reason == "SIGINT":
        raise KeyboardInterrupt
    if ending.reason != "bars":
        raise BotError(f"{name}: the daemon ended early ({ending.reason})")
    return story_of(name, records[-1].lines)


def replayed(plan: RunPlan, live: Story) -> Story:
    """Backtest the same bars: warmed up from the same bar, trading from the same close."""
    interval_ms = plan.history.candles[0].interval_ms
    plan = replace(plan, start_ms=live.first_ms - interval_ms)
    run = assemble(plan)
    record = RunRecord(run.engine)
    driver = Driver(run.engine, run.venue, Recorders(run.tape, record))
    for event in plan.history.events(live.from_ms - interval_ms, live.before_ms):
        driver.take(event)
    return story_of("backtest", record.lines, like=live)


# Choosing what to compare


def parity_plan(
    settings: Settings,
    data: Sequence[Path],
    strategy: str,
    param: tuple[str, ...],
    folder: Path,
    bars: int,
) -> RunPlan:
    """Return the plan of a comparison; without ``data`` a market is invented in ``folder``."""
    cls = choose_strategy(strategy)
    needs_model = bool(getattr(cls, "needs_forecast", False))
    model = strategy_model(cls, settings.model.path) if needs_model else None
    history = read_history(data, None) if data else _invent(folder, cls, model, bars)
    if model is not None:  # refuse one for other bars
        choose_model(models_on(cls) or settings.model.path, history.candles)
    return RunPlan(
        settings=settings,
        history=history,
        instruments=choose_instruments(history.symbols, None),
        strategy=cls,
        strategy_name=strategy,
        params=parse_params(param),
        model=model,
        own_at_once=False,
    )


def _invent(folder: Path, strategy: type, model: "Checkpoint | OwnModel | None", bars: int) -> History:
    """Invent two symbols, long enough for the warm-up and ``bars``, with funding."""
    interval_ms = model.interval_ms if model is not None else 5 * MINUTE_MS
    declared = declared_warmup_bars(strategy, interval_ms)
    warmup = max(WARMUP_BARS, model.warmup_bars if model is not None else 0, declared)
    recipe = MarketRecipe(
        interval_ms=interval_ms, bars=warmup + bars + _INVENTED_BARS, start_ms=_INVENTED_FROM_MS
    )
    return invented_history(folder, recipe, _INVENTED, 1)


def parity_start(plan: RunPlan, start: int | None, bars: int) -> int:
    """Return when the exchange's clock begins: after the warm-up, with enough candles left to trade."""
    candles = plan.history.candles
    if len({each.interval_ms for each in candles}) > 1:
        raise BadUsage("--data: the daemon trades one interval; give files of one")
    interval_ms = candles[0].interval_ms
    declared = declared_warmup_bars(plan.strategy, interval_ms)
    warmup = max(WARMUP_BARS, plan.warmup_bars, plan.indicator_bars, declared)
    earliest = max(each.first_ms for each in candles) + warmup * interval_ms
    last = min(each.end_ms for each in candles) - (bars + 3) * interval_ms
    chosen = earliest if start is None else start
    if not earliest <= chosen <= last:
        raise BadUsage(
            f"--start {minute_words(chosen)}: {warmup} bars of warm-up and {bars} to compare fit only "
            f"between {minute_words(earliest)} and {minute_words(last)}; give longer files, another start "
            "or fewer --bars"
        )
    return chosen


def settings_for(url: str, state_dir: Path, fills: Fills) -> dict[str, object]:
    """Return settings, by dotted key, for a daemon at a fast local exchange that decides as a backtest does.

    On a fast clock a signal gets old within milliseconds, so its age is not limited. A backtest adds no
    protective stop, so this run adds none either.
    """
    told: dict[str, object] = {
        "state_dir": state_dir,
        "feed.kind": "local",
        "local.url": url,
        "risk.max_signal_age_ms": 3_600_000,
        "risk.max_data_age_ms": 86_400_000,
        "venue.protective_stop_frac": Decimal(0),
    }
    if fills == "bars":
        told |= {"feed.quotes": "none", "venue.fills": "bars"}
    return told


def own_context(context: Context) -> Context:
    """Return a context with the same options but its own settings and log."""
    other = Context()
    other.config, other.log_format, other.redactor = context.config, context.log_format, context.redactor
    return other


# One comparison


def compare_live(
    context: Context,
    plan: RunPlan,
    start_ms: int,
    bars: int,
    kind: Literal["paper", "local"],
    folder: Path,
    *,
    fills: Fills = "bars",
    speed: float | None = None,
    log_level: str = "error",
    watcher: Watcher | None = None,
) -> Comparison:
    """Let the daemon trade ``bars`` closes from ``start_ms`` at a local exchange, then backtest and compare.

    ``context`` comes from ``own_context``. If an order took longer than a bar, or was not answered before the
    end, the exchange was too fast for this machine, and the comparison is repeated with a slower one.
    """
    interval_ms = plan.history.candles[0].interval_ms
    pace = speed if speed is not None else interval_ms / 1000.0 / _BAR_S
    for attempt in range(_ATTEMPTS):
        place = folder / f"{kind}-{attempt}"
        compared = _live_once(context, plan, start_ms, bars, pace, kind, place, fills, log_level, watcher)
        late = compared.live.unanswered or max(compared.live.waits_ms, default=0) >= interval_ms
        if compared.equal or not late or fills == "quotes":
            break
        pace /= 2.0
    return compared


def _live_once(
    context: Context,
    plan: RunPlan,
    start_ms: int,
    bars: int,
    pace: float,
    kind: Literal["paper", "local"],
    state_dir: Path,
    fills: Fills,
    log_level: str,
    watcher: Watcher | None,
) -> Comparison:
    settings, candles = plan.settings, plan.history.candles
    arguments = [word for each in candles for word in ("--data", str(each.path))]
    arguments += ["--start", str(start_ms), "--speed", str(pace), "--seed", str(settings.seed)]
    arguments += ["--fills", fills, "--wallet", str(settings.account.equity_quote)]
    if not plan.history.funding:
        arguments.append("--no-funding")
    with exchange_process(context, arguments) as url:
        live_settings = context.settings(
            {
                **settings_for(url, state_dir, fills),
                "log.level": log_level,
                "venue.kind": kind,
                "feed.symbols": plan.history.symbols,
                "feed.interval": interval_name(candles[0].interval_ms),
                "model.path": settings.model.path,
                "seed": settings.seed,
            }
        )
        texts = {name: str(value) for name, value in plan.params.items()}
        live_plan = make_live_plan(
            live_settings, strategy=plan.strategy_name, params=texts, bars_max=bars + 1
        )
        live = run_live_story(context, live_plan, kind, watcher)
    return compare(live, replayed(replace(plan, settings=live_settings), live))
