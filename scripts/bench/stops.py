"""Stops and sizes from forecast volatility beside those from the average true range (ATR), at equal risk.

    python scripts/bench/stops.py [--model M] [--cut DAY] [--hours 8] FILE...

Files hold candles of 5 minutes. All rules get the same entries: random ones (three a day, a side by a coin)
and crosses of two averages. A trade has a stop at k volatilities, a size that loses 1 R there, and ends after
some hours. The k of each rule is fitted on the bars before the cut, so that the same share of trades ends at
the stop. The figures are of the bars after it. Intervals come from drawing whole days, alike for all rules.

Forecasts before the cut are in-sample for the model; they only fit its k.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

import bot

BARS_PER_HOUR = 12
STOPPED = 0.3
"""Share of trades that end at the stop, which k is fitted to."""
COST_FRAC = 11e-4
SEEDS = 5
DRAWS = 1000
DAY_MS = 86_400_000
OURS, RIVALS = "forecast", ("atr of 14 bars", "atr of a day")

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Trades:
    """Entries of one kind, ``(N,)``, and the bars of their hold, ``(N, bars)``; distances are logarithms."""

    day: NDArray[np.int64]
    opened: Floats
    """Distance of each open from the entry; below 0 is a loss."""
    worst: Floats
    """Distance of each bar's worst price."""
    last: Floats
    moved: Floats
    """Root of the sum of squared one-bar returns of the hold."""
    volatility: dict[str, Floats]
    """What each rule expects the hold to move."""

    def of(self, mask: NDArray[np.bool_]) -> "Trades":
        kept = (each[mask] for each in (self.day, self.opened, self.worst, self.last, self.moved))
        return Trades(*kept, {name: each[mask] for name, each in self.volatility.items()})


@dataclass(frozen=True)
class Outcome:
    """What one rule made of the trades, ``(N,)`` each."""

    day: NDArray[np.int64]
    moved: Floats
    risked: Floats
    """What the hold moved, in stop distances."""
    stopped: NDArray[np.bool_]
    result: Floats
    """In R, before costs; a bar that opens beyond the stop fills there."""
    cost: Floats

    def of(self, rows: NDArray[np.int64]) -> "Outcome":
        return Outcome(*(each[rows] for each in vars(self).values()))


def outcome(made: Trades, rule: str, k: float) -> Outcome:
    distance = k * made.volatility[rule]
    beyond = made.worst <= -distance[:, None]
    stopped = beyond.any(axis=1)
    opened = made.opened[np.arange(len(distance)), beyond.argmax(axis=1)]  # of the first bar beyond
    result = np.where(stopped, np.minimum(-1.0, opened / distance), made.last / distance)
    return Outcome(made.day, made.moved, made.moved / distance, stopped, result, COST_FRAC / distance)


def main() -> None:
    options = argparse.ArgumentParser(description="Stops and sizes by forecast and by ATR")
    options.add_argument("files", nargs="+")
    options.add_argument("--model", default="performer-5m-judged")
    options.add_argument("--hours", type=int, default=8, help="how long a trade lasts at most")
    options.add_argument("--cut", default="2025-12-01", help="UTC day; k is fitted before it")
    asked = options.parse_args()
    cut = int(datetime.fromisoformat(asked.cut).replace(tzinfo=UTC).timestamp() * 1000) // DAY_MS
    hold = BARS_PER_HOUR * asked.hours
    markets = [market(path, asked.model, hold) for path in asked.files]
    for kind, entries in (("random entries", random_entries), ("crosses of averages", crosses)):
        print(f"{kind}, {len(asked.files)} files, from {asked.cut} on, {asked.hours} hours at most")
        compare(joined([trades_of(one, *entries(one), hold) for one in markets]), cut)


Market = tuple[Floats, NDArray[np.int64], dict[str, Floats]]
"""Open, high, low, close (T, 4); start of each bar (T,); volatility of the hold by rule (T,)."""


def market(path: str, model: str, hold: int) -> Market:
    candles = bot.read_candles(path)
    rv = bot.load_model(model).predict(candles)["rv_60m"].to_numpy(zero_copy_only=False)
    ohlc = candles.ohlcv[:, :4]
    before = np.append(np.nan, ohlc[:-1, 3])
    spread = np.log(np.fmax(ohlc[:, 1], before) / np.fmin(ohlc[:, 2], before))
    return (
        ohlc,
        candles.start_ms,
        {
            OURS: np.sqrt(rv * hold / BARS_PER_HOUR),
            RIVALS[0]: averaged(spread, 1 / 14) * np.sqrt(hold),
            RIVALS[1]: averaged(spread, 1 / 288) * np.sqrt(hold),
        },
    )


def averaged(x: Floats, weight: float) -> Floats:
    """An exponential average: Wilder's for a weight of 1 over the bars."""
    out = np.empty(len(x))
    value = x[0]
    for at, each in enumerate(x.tolist()):
        value += weight * (each - value)
        out[at] = value
    return out


def random_entries(one: Market) -> tuple[NDArray[np.int64], Floats]:
    found = []
    for seed in range(SEEDS):
        rng = np.random.default_rng(seed)
        at = np.flatnonzero(rng.random(len(one[1])) < 1 / 96)
        found.append((at, rng.choice([-1.0, 1.0], len(at))))
    return np.concatenate([at for at, _ in found]), np.concatenate([side for _, side in found])


def crosses(one: Market) -> tuple[NDArray[np.int64], Floats]:
    close = one[0][:, 3]
    above = np.sign(averaged(close, 2 / 49) - averaged(close, 2 / 289))
    at = np.flatnonzero(np.diff(above) != 0.0) + 1
    return at, above[at]


def trades_of(one: Market, at: NDArray[np.int64], side: Floats, hold: int) -> Trades:
    """Enter at the close of each bar ``at``; leave out trades with an unknown forecast or a hole ahead."""
    ohlc, start_ms, volatility = one
    known = np.all([np.isfinite(each[at]) for each in volatility.values()], axis=0) & (at + hold < len(ohlc))
    at, side = at[known], side[known]
    whole = start_ms[at + hold] - start_ms[at] == hold * 300_000
    at, side = at[whole], side[whole]
    logs = np.log(ohlc)
    base = logs[at, 3]
    opened, high, low, close = (sliding_window_view(logs[1:, column], hold)[at] for column in range(4))
    away = np.where(side[:, None] > 0.0, low - base[:, None], base[:, None] - high)
    steps = np.diff(np.column_stack((base, close)), axis=1)
    return Trades(
        day=start_ms[at] // DAY_MS,
        opened=side[:, None] * (opened - base[:, None]),
        worst=away,
        last=side * (close[:, -1] - base),
        moved=np.sqrt((steps**2).sum(axis=1)),
        volatility={name: each[at] for name, each in volatility.items()},
    )


def joined(parts: list[Trades]) -> Trades:
    names = ("day", "opened", "worst", "last", "moved")
    return Trades(
        *(np.concatenate([getattr(each, name) for each in parts]) for name in names),
        {name: np.concatenate([each.volatility[name] for each in parts]) for name in parts[0].volatility},
    )


def fitted(before: Trades, rule: str) -> float:
    """Return the k with which ``STOPPED`` of the trades end at the stop."""
    return float(np.quantile(-before.worst.min(axis=1) / before.volatility[rule], 1.0 - STOPPED))


def compare(made: Trades, cut: int) -> None:
    before, after = made.of(made.day < cut), made.of(made.day >= cut)
    ks = {rule: fitted(before, rule) for rule in (OURS, *RIVALS)}
    told = ", ".join(f"{rule} {k:.2f}" for rule, k in ks.items())
    print(f"  {len(before.day):,} trades to fit k, {len(after.day):,} to judge; k: {told}")
    found = {rule: outcome(after, rule, k) for rule, k in ks.items()}
    for name, figure in FIGURES.items():
        values = {rule: figure(each) for rule, each in found.items()}
        print(f"  {name}: " + ", ".join(f"{rule} {value:.3f}" for rule, value in values.items()))
        for rival in RIVALS:
            low, high = interval(figure, found[OURS], found[rival])
            print(f"    minus {rival}: {values[OURS] - values[rival]:+.3f} [{low:+.3f}, {high:+.3f}]")


def interval(figure: Callable[[Outcome], float], ours: Outcome, theirs: Outcome) -> tuple[float, float]:
    """Return the 95 % interval of ours minus theirs from draws of days, the same for both."""
    days = [np.flatnonzero(ours.day == day) for day in np.unique(ours.day)]
    rng, found = np.random.default_rng(0), []
    for _ in range(DRAWS):
        rows = np.concatenate([days[at] for at in rng.integers(len(days), size=len(days))])
        found.append(figure(ours.of(rows)) - figure(theirs.of(rows)))
    return float(np.quantile(found, 0.025)), float(np.quantile(found, 0.975))


def unevenness(made: Outcome) -> float:
    """Return the spread of what a trade's size really moved, over its mean; 0: every trade risks the same."""
    return float(made.risked.std() / made.risked.mean())


def stopped_apart(made: Outcome) -> float:
    """Return by how much the share of stopped trades differs between the calmest and the wildest holds."""
    parts = np.array_split(np.argsort(made.moved, kind="stable"), 4)
    return float(made.stopped[parts[-1]].mean() - made.stopped[parts[0]].mean())


def worst_days(made: Outcome) -> float:
    """Return the mean of the worst 5 % of days, in R a trade: a stop bounds a trade, not a day of trades."""
    _, day, counts = np.unique(made.day, return_inverse=True, return_counts=True)
    daily = np.sort(np.bincount(day, made.result) / counts)
    return float(daily[: max(1, len(daily) // 20)].mean())


FIGURES: dict[str, Callable[[Outcome], float]] = {
    "unevenness of risk, spread over mean (smaller is better)": unevenness,
    "share stopped, wildest minus calmest quarter (nearer to 0 is better)": stopped_apart,
    "standard deviation of a trade, R": lambda made: float(made.result.std()),
    "worst 5 % of days, R a trade (higher is better)": worst_days,
    "mean result after 11 bps, R (higher is better)": lambda made: float((made.result - made.cost).mean()),
}


if __name__ == "__main__":
    main()
