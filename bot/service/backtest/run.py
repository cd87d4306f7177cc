"""Run a history to its end and measure the result.

The headline figures of a model's run use only closes after the model's ``trained_to``. The part that the
model was trained on is reported apart, as ``in_sample``. A halt by risk ends the headline figures: what comes
after it is the result of not trading, and is reported apart, as ``after_halt``.
"""

import gc
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal

import msgspec
import numpy as np
from numpy.typing import NDArray

from bot.adapters.files.candles import Candles, Funding
from bot.domain.ledger import fills_digest
from bot.domain.messages import BarsClosed
from bot.domain.money import ZERO
from bot.domain.orders import sign
from bot.domain.refusals import SETTINGS, refusal_words, refusals_words
from bot.domain.words import counted
from bot.engine.core import Engine
from bot.exchange.venue import BarVenue
from bot.metrics import (
    Metrics,
    Trade,
    curve_summary,
    round_trips,
    summary,
    too_good,
    why_undefined,
    with_excursions,
)
from bot.risk.acts import LimitAct
from bot.risk.breaker import Breaker
from bot.risk.observing import ObservedRefusals, Observer
from bot.service.backtest.history import History
from bot.service.backtest.holding import hold
from bot.service.backtest.tape import RunTape
from bot.service.driver import Driver
from bot.service.views.status import drift, execution

Progress = Callable[[int], None]
_PROGRESS_CLOSES = 2_048
"""Closes between two updates of the progress bar."""


@dataclass
class Run:
    """One engine, one venue and their tape; ``cpu_s`` is the CPU time of the run."""

    engine: Engine
    venue: BarVenue
    tape: RunTape
    cpu_s: float = 0.0
    settled: bool = False
    """Whether the run came to its end, where every position is closed; a stopped run did not."""
    observer: Observer | None = None
    """The risk manager that only noted what limits would have done; None if limits acted."""

    def __post_init__(self) -> None:
        self.tape.watch(self.engine.state.breaker)

    @property
    def driver(self) -> Driver:
        """The loop between engine and venue."""
        return Driver(self.engine, self.venue, self.tape)

    def finish(self, driver: Driver) -> None:
        """Close open positions at the last close's price, and take the last mark."""
        driver.deliver(self.venue.settle(self.engine.state.now_ms))
        self.tape.set_final(self.engine.state.cash_quote)
        self.settled = True


def replay(
    run: Run,
    history: History,
    *,
    from_ms: int = 0,
    trade_from_ms: int = 0,
    to_ms: int | None = None,
    progress: Progress | None = None,
) -> None:
    """Run the history through the engine at full speed; bars before ``trade_from_ms`` warm up."""
    driver = run.driver
    take = driver.take
    bars = closes = 0
    with _quiet_collector(sum(map(len, history.candles))):
        started = time.process_time()
        for event in history.events(from_ms, to_ms):
            take(event)
            if type(event) is BarsClosed and event.close_ms > trade_from_ms:
                bars += len(event.bars)
                closes += 1
                if not closes % _PROGRESS_CLOSES and progress is not None:
                    progress(bars)
        run.finish(driver)
        run.cpu_s = time.process_time() - started
    if progress is not None:
        progress(bars)


_SHORT_BARS = 20_000
"""A run of fewer bars leaves too little garbage to be worth a look before its end."""


@contextmanager
def _quiet_collector(bars: int) -> Iterator[None]:
    """Keep the garbage collector from scanning the objects made before the run again and again.

    To collect first takes as long as a short run, so that one only stops the collector.
    """
    if bars < _SHORT_BARS:
        was_on = gc.isenabled()
        gc.disable()
        try:
            yield
        finally:
            if was_on:
                gc.enable()
        return
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


@dataclass(frozen=True)
class Part:
    """One part of a run: curve, trades and figures of the closes in ``(from_ms, to_ms]``.

    The curve begins with the value that the part starts from: at the close before it, or, at the start of the
    run, at the first bar's open. ``bars`` counts the closes.
    """

    from_ms: int
    to_ms: int
    ts_ms: NDArray[np.int64]
    equity: NDArray[np.float64]
    notional: NDArray[np.float64]
    bars: int
    trades: tuple[Trade, ...]
    metrics: Metrics
    buy_and_hold: Metrics
    hold: NDArray[np.float64]


def part(
    run: Run,
    candles: Sequence[Candles],
    funding: Sequence[Funding],
    trades: Sequence[Trade],
    from_ms: int,
    to_ms: int,
) -> Part:
    """Measure one part. A trade belongs to the part of its entry, a cost to the part of its payment.

    Fills at the instant of a close come after the mark of that close, so they belong to the next part.
    """
    begin_ms = min(each.first_ms for each in candles)
    ts_ms, equity, notional, bars = _curve(run.tape, begin_ms, from_ms, to_ms)
    now_ms = run.engine.state.now_ms
    ends = to_ms == now_ms > from_ms
    end_ms = now_ms + 1 if ends else to_ms
    inside = tuple(trade for trade in trades if from_ms <= trade.entry_ms < end_ms)
    metrics = summary(
        ts_ms,
        equity,
        notional=notional[len(notional) - bars :],
        trades=inside,
        fills=[fill for fill in run.tape.fills if from_ms <= fill.ts_ms < end_ms],
        funding_quote=sum((f.amount_quote for f in run.tape.funding if from_ms <= f.ts_ms < end_ms), ZERO),
    )
    start_quote = float(equity[0]) if len(equity) else 1.0
    held = hold(candles, funding, run.venue.terms, ts_ms, start_quote, settled=ends and run.settled)
    return Part(
        from_ms,
        to_ms,
        ts_ms,
        equity,
        notional,
        bars,
        inside,
        metrics,
        curve_summary(ts_ms, held.equity) | held.costs,
        held.equity,
    )


def _curve(
    tape: RunTape, begin_ms: int, from_ms: int, to_ms: int
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64], int]:
    """Return times, equity and value held of a part, each with the point that it starts from; and its closes.

    Nothing is held before the first close, so the first value is also that of the first bar's open.
    """
    ts_ms, equity, notional = tape.ts_ms, tape.equity, tape.notional
    first, last = np.searchsorted(ts_ms, (from_ms, to_ms), side="right").tolist()
    if first >= last:
        return ts_ms[:0], equity[:0], notional[:0], 0
    if first > 0:
        kept = slice(first - 1, last)
        return ts_ms[kept], equity[kept], notional[kept], last - first
    return (
        np.concatenate(([min(begin_ms, ts_ms[0])], ts_ms[:last])),
        np.concatenate((equity[:1], equity[:last])),
        np.concatenate(([0.0], notional[:last])),
        last,
    )


@dataclass(frozen=True)
class Result:
    """What ``bot backtest`` reports: the whole run, and its parts before and after ``trained_to_ms``."""

    run: Run
    candles: Sequence[Candles]
    whole: Part
    unseen: Part
    """What the headline figures are of: after ``trained_to_ms``, until the run ended or was halted."""
    in_sample: Part | None
    trades: tuple[Trade, ...]
    warnings: tuple[str, ...]
    halt: LimitAct | None = None
    after_halt: Part | None = None

    @property
    def digest(self) -> str:
        """Hash of the ordered fills."""
        return fills_digest(self.run.tape.fills)

    @property
    def bars(self) -> int:
        """Bars decided on; fewer than the candles if the run was stopped."""
        now_ms = self.run.engine.state.now_ms
        return sum(int(np.count_nonzero(c.start_ms + c.interval_ms <= now_ms)) for c in self.candles)

    @property
    def held_at_halt(self) -> tuple[str, ...]:
        """Symbols whose positions were open at the end of the headline figures, if a halt ended them."""
        to_ms = self.unseen.to_ms
        if self.halt is None or not self.unseen.bars or not self.unseen.notional[-1]:
            return ()
        net: dict[str, Decimal] = {}
        for fill in self.run.tape.fills:
            if fill.ts_ms < to_ms:  # a fill at the instant of a close comes after its mark
                net[fill.symbol] = net.get(fill.symbol, ZERO) + sign(fill.side) * fill.qty
        return tuple(sorted(symbol for symbol, qty in net.items() if qty))

    @property
    def limits_acted(self) -> Sequence[LimitAct]:
        """What limits did to the account, or, if risk only observed, would have done; in order."""
        observer = self.run.observer
        return self.run.tape.acts if observer is None else observer.acts

    @property
    def limits_noted(self) -> list[dict[str, object]]:
        """What limits did, or would have done, by cause and by check: how often, when first, with numbers."""
        causes: dict[str, list[LimitAct]] = {}
        for act in self.limits_acted:
            causes.setdefault(act.cause, []).append(act)
        noted = [_noted(acts) for acts in causes.values()]
        observer = self.run.observer
        if observer is not None:
            noted += [_noted_refusals(each) for each in observer.refusals.values()]
            if cooldowns := observer.breaker.cooldowns_ms:
                noted.append(_noted_cooldowns(cooldowns, observer.breaker))
        return noted

    @property
    def flat_bars(self) -> dict[str, int]:
        """Bars spent flat, by reason, over all symbols."""
        flat: Counter[str] = Counter()
        for sym in self.run.engine.state.symbols.values():
            flat.update(sym.flat_bars)
        return dict(sorted(flat.items()))

    @property
    def refusals(self) -> list[dict[str, object]]:
        """What risk refused: count, numbers of the first refusal, key of the limit, and words, by check."""
        counts, first = self.run.engine.state.refusals, self.run.tape.refused
        return [
            {
                "reason": reason,
                "count": counts[reason],
                "wanted": None if each.wanted is None else float(each.wanted),
                "allowed": None if each.allowed is None else float(each.allowed),
                "setting": f"risk.{SETTINGS[reason]}" if reason in SETTINGS else None,
                "words": refusals_words(counts[reason], each),
            }
            for reason, each in sorted(first.items())
        ]

    def numbers(self) -> dict[str, object]:
        """Return the JSON for programs; the caller adds further keys."""
        run, state = self.run, self.run.engine.state
        fills, bars = run.tape.fills, self.bars
        open_pnl = state.equity - state.cash_quote  # 0 after a settlement, so the Decimals below stay exact
        return {
            "halt": None if self.halt is None else _dated(self.halt),
            "risk": "enforce" if run.observer is None else "observe",
            "limits": self.limits_noted,
            "headline": {
                "from_ms": self.unseen.from_ms,
                "to_ms": self.unseen.to_ms,
                "bars": self.unseen.bars,
            },
            "bars": bars,
            "first_ms": min(each.first_ms for each in self.candles),
            "last_ms": max(min(each.end_ms, state.now_ms) - each.interval_ms for each in self.candles),
            "cpu_s": run.cpu_s,
            "bars_per_cpu_s": bars / run.cpu_s if run.cpu_s else None,
            "orders": run.tape.orders,
            "fills": len(fills),
            "trades": len(self.trades),
            "net_pnl": float(state.cash.balance - state.cash.initial) + open_pnl,
            "open_pnl": open_pnl,
            "fees": float(state.cash.fees),
            "slippage": float(sum((fill.slippage_quote for fill in fills), ZERO)),
            "funding": float(state.cash.funding),
            "final_equity": float(state.cash.balance) + open_pnl,
            "fills_sha256": self.digest,
            "flat_bars": self.flat_bars,
            "refused": dict(sorted(state.refusals.items())),
            "refusals": self.refusals,
            "orders_ended": dict(sorted(state.orders.ended.items())),
            "risk_state": state.breaker.state,
            "execution": execution(run.engine),
            "drift": drift(run.engine),
            "metrics": self.unseen.metrics,
            "undefined": why_undefined(self.unseen.metrics),
            "buy_and_hold": self.unseen.buy_and_hold,
            "in_sample": None if self.in_sample is None else _apart(self.in_sample),
            "after_halt": None if self.after_halt is None else _apart(self.after_halt),
            "warnings": list(self.warnings),
        }


def measure(
    run: Run,
    candles: Sequence[Candles],
    *,
    trained_to_ms: int | None,
    funding: Sequence[Funding] = (),
    warnings: Sequence[str],
) -> Result:
    """Split a finished run at ``trained_to_ms`` (None: nothing was fitted) and measure the parts.

    ``candles`` are the bars that were traded on, without those that only warmed up. ``funding`` is what buy
    and hold pays; its other costs are those of the venue.
    """
    interval_ms = min(each.interval_ms for each in candles)
    fills = sorted(run.tape.fills, key=lambda fill: fill.ts_ms)  # fills of a longer bar come later
    trades = _excursions(round_trips(fills, funding=run.tape.funding, interval_ms=interval_ms), candles)
    begin, end = -1, run.engine.state.now_ms
    short = _cut_short(run, candles)
    if not run.tape.fills and (untraded := [*_untraded(run), *short]):
        warnings = [f"nothing was traded: {'; '.join(untraded)}", *warnings]
    else:
        warnings = [*_unusable(run), *short, *warnings]

    def stretch(from_ms: int, to_ms: int, ended: Sequence[Trade] = trades) -> Part:
        return part(run, candles, funding, ended, from_ms, to_ms)

    whole = stretch(begin, end)
    halt = next((act for act in run.tape.acts if act.forces == "halted"), None)
    fitted = trained_to_ms is not None and min(each.first_ms for each in candles) < trained_to_ms
    if halt is None and not fitted:
        return Result(run, candles, whole, whole, None, trades, (*warnings, *_doubts(whole)))
    from_ms = min(trained_to_ms, end) if fitted and trained_to_ms is not None else begin
    to_ms = end if halt is None else _halted_to(run, halt.ts_ms, end)
    ended = trades if to_ms == end else [trade for trade in trades if trade.exit_ms <= to_ms]
    unseen = stretch(from_ms, max(from_ms, to_ms), ended)
    warned = list(warnings)
    if halt is not None and not unseen.bars:
        warned.append(
            "risk halted the run before the model's trained_to: there are no figures on unseen data"
        )
    elif not unseen.bars:
        warned.append("every bar lies before the model's trained_to: there are no figures on unseen data")
    return Result(
        run,
        candles,
        whole,
        unseen,
        stretch(begin, from_ms) if fitted else None,
        trades,
        (*warned, *_doubts(unseen)),
        halt,
        stretch(to_ms, end) if to_ms < end else None,
    )


def _doubts(headline: Part) -> list[str]:
    high = too_good(headline.metrics)
    return [] if high is None else [high]


def _halted_to(run: Run, halted_ms: int, end_ms: int) -> int:
    """Return the close at which the headline figures end: that of the halt, or the first one flat after it.

    A halt that flattens ends when everything is closed, so that the cost of it counts.
    """
    if run.engine.state.breaker.limits.on_halt != "flatten":
        return min(halted_ms, end_ms)
    ts_ms, notional = run.tape.ts_ms, run.tape.notional
    flat = np.flatnonzero((ts_ms >= halted_ms) & (notional == 0.0))
    return int(ts_ms[flat[0]]) if flat.size else end_ms


def _untraded(run: Run) -> list[str]:
    """Return what became of the targets of a run without a fill; empty if there were none."""
    refused, counts = run.tape.refused, run.engine.state.refusals
    said = [refusals_words(counts[reason], each) for reason, each in sorted(refused.items())]
    if refused.keys() & SETTINGS.keys():
        said.append("trade less at a time, or set the limit")
    small = sum(sym.flat_bars.get("below_minimum", 0) for sym in run.engine.state.symbols.values())
    if small:
        said.append(f"{small:,} targets were below the contract's minimum; trade more at a time")
    return [*said, *_unusable(run)]


def _unusable(run: Run) -> list[str]:
    """Return how many targets were not numbers; empty if all were."""
    count = run.engine.state.refusals["not_finite"]
    if not count or "not_finite" in run.tape.refused:
        return []
    return [
        f"{counted(count, 'target')} with a quantity or price that is no usable number (NaN, infinite, a "
        "price not above 0): the position stayed as it was; return None where a value is unknown"
    ]


def _cut_short(run: Run, candles: Sequence[Candles]) -> list[str]:
    """Return why market orders were not filled whole; empty if all were."""
    terms, thin, far = run.venue.terms, 0, 0
    by_symbol = {each.symbol: each for each in candles}
    for order, end, filled in run.tape.cut_short():
        traded = by_symbol[order.intent.symbol]
        at = int(np.searchsorted(traded.start_ms, end.ts_ms, side="right")) - 1
        offered = float(traded.ohlcv[max(at, 0), 4]) * terms.participation_frac
        is_thin = terms.liquidity == "volume" and (filled or offered < float(order.intent.qty))
        thin, far = (thin + 1, far) if is_thin else (thin, far + 1)
    said = []
    if thin:
        said.append(
            f"{thin:,} of {run.tape.orders:,} orders found too little volume and were filled in part or not "
            "at all (costs.participation_frac); --liquidity full ignores it"
        )
    if far:
        said.append(
            f"{far:,} of {run.tape.orders:,} orders found no price near enough (risk.max_slippage_bps)"
        )
    return said


def _excursions(trades: Sequence[Trade], candles: Sequence[Candles]) -> tuple[Trade, ...]:
    """Return the trades, in their order, with the best and worst price during each."""
    measured: dict[str, Iterator[Trade]] = {}
    for each in candles:
        own = [trade for trade in trades if trade.symbol == each.symbol]
        measured[each.symbol] = iter(with_excursions(own, each.start_ms, each.ohlcv[:, 1], each.ohlcv[:, 2]))
    return tuple(next(measured[trade.symbol]) for trade in trades)


def _apart(each: Part) -> dict[str, object]:
    return {
        "to_ms": each.to_ms,
        "bars": each.bars,
        "metrics": each.metrics,
        "buy_and_hold": each.buy_and_hold,
    }


def _dated(act: LimitAct) -> dict[str, object]:
    time_text = f"{np.datetime64(act.ts_ms, 'ms').astype('datetime64[m]')}Z"
    return {"time": time_text, **msgspec.structs.asdict(act)}


def _noted(acts: Sequence[LimitAct]) -> dict[str, object]:
    """Return a row of ``Result.limits_noted`` for the acts of one cause."""
    first = acts[0]
    return {
        "limit": first.cause,
        "count": len(acts),
        "first_ms": first.ts_ms,
        "number": first.number,
        "bound": first.limit,
        "setting": first.setting,
        "forces": first.forces,
        "words": first.words,
        "times_ms": [act.ts_ms for act in acts],
    }


def _noted_refusals(each: ObservedRefusals) -> dict[str, object]:
    reason, first = each.first.reason, each.first
    return {
        "limit": reason,
        "count": each.count,
        "first_ms": each.first_ms,
        "number": None if first.wanted is None else float(first.wanted),
        "bound": None if first.allowed is None else float(first.allowed),
        "setting": f"risk.{SETTINGS[reason]}",
        "forces": "refused",
        "words": refusal_words(first),
    }


def _noted_cooldowns(times_ms: Sequence[int], breaker: Breaker) -> dict[str, object]:
    losses = breaker.limits.max_consecutive_losses
    return {
        "limit": "loss_streak",
        "count": len(times_ms),
        "first_ms": times_ms[0],
        "number": losses,
        "bound": losses,
        "setting": f"risk.{SETTINGS['loss_streak']}",
        "forces": "reducing",
        "words": f"{losses} losing trades in a row",
        "times_ms": list(times_ms),
    }
