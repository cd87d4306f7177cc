"""Single trades become bars, as a plain resampling makes them; a gap is told from a calm hour."""

import gzip
import random
import tempfile
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.adapters.files.candles import Candles
from bot.adapters.files.foreign.names import Said, covered_by, said_by
from bot.adapters.files.foreign.sources import TableSource, find_sources
from bot.adapters.files.importing import Imported, Reading
from bot.adapters.files.trades import are_trades, import_trades
from bot.domain.errors import BadBar, BadFile
from bot.domain.market import DAY_MS, MINUTE_MS
from tests.helpers import T0

Trade = tuple[int, str, str, str]
"""Time in ns, side, size, price."""
NOW_MS = T0 + 400 * DAY_MS
DAY = "BTCUSDT2025-01-01"
"""T0 is 2025-01-01."""
BYBIT = "timestamp,symbol,side,size,price,tickDirection,trdMatchID,grossValue,homeNotional,foreignNotional"


def market(count: int, *, over_ms: int = DAY_MS, seed: int = 1, from_ms: int = T0) -> list[Trade]:
    rng = random.Random(seed)
    at = sorted(rng.randrange(over_ms * 10) * 100_000 + from_ms * 1_000_000 for _ in range(count))
    return [
        (ns, rng.choice(["Buy", "Sell"]), f"{rng.randint(1, 999) / 1000}", f"{rng.randint(900, 1100) / 10}")
        for ns in at
    ]


def seconds(ns: int) -> str:
    return f"{Decimal(ns) / 10**9:f}"


def bybit(trades: list[Trade]) -> str:
    rows = [
        f"{seconds(ns)},BTCUSDT,{side},{size},{price},PlusTick,id-{i},1e9,{size},{float(size) * float(price)}"
        for i, (ns, side, size, price) in enumerate(trades)
    ]
    return "\n".join([BYBIT, *rows]) + "\n"


def spot(trades: list[Trade]) -> str:
    rows = [
        f"{i},{ns // 1_000_000},{price},{size},{side.lower()}"
        for i, (ns, side, size, price) in enumerate(trades)
    ]
    return "\n".join(["id,timestamp,price,volume,side", *rows]) + "\n"


def binance(trades: list[Trade]) -> str:
    rows = [f"{i},{price},{size},{i},{i},{ns // 1000},true" for i, (ns, _, size, price) in enumerate(trades)]
    head = "agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,is_buyer_maker"
    return "\n".join([head, *rows]) + "\n"


def written(trades: list[Trade]) -> str:
    rows = [
        f"{pd.Timestamp(ns, tz='UTC').isoformat()};{side};{i};{size};{price}"
        for i, (ns, side, size, price) in enumerate(trades)
    ]
    return "\n".join(["Time;Side;Trade ID;Amount;Price", *rows]) + "\n"


def file(place: Path, text: str, name: str = f"{DAY}.csv") -> Path:
    path = place / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


def imported(*paths: Path, minutes: int = 1, now_ms: int = NOW_MS, **reading: object) -> Imported:
    return import_trades(
        find_sources(paths),
        "BTCUSDT",
        minutes * MINUTE_MS,
        Reading(**reading),
        now_ms=now_ms,  # type: ignore[arg-type]
    )


def resampled(trades: list[Trade], minutes: int) -> pd.DataFrame:
    """The naive way: pandas' resampling on exact times; a bar without a trade is flat at the close before."""
    table = pd.DataFrame(
        {"price": [float(price) for *_, price in trades], "size": [float(t[2]) for t in trades]}
    )
    table.index = pd.DatetimeIndex(np.array([ns for ns, *_ in trades], "datetime64[ns]"))
    bars = table["price"].resample(f"{minutes}min").ohlc()
    bars["volume"] = table["size"].resample(f"{minutes}min").sum()
    bars["turnover"] = (table["price"] * table["size"]).resample(f"{minutes}min").sum()
    close = bars["close"].ffill()
    return bars.assign(close=close, **{name: bars[name].fillna(close) for name in ("open", "high", "low")})


def assert_same(candles: Candles, bars: pd.DataFrame) -> None:
    assert candles.start_ms.tolist() == (bars.index.as_unit("ns").asi8 // 1_000_000).tolist()
    prices = bars[["open", "high", "low", "close"]].to_numpy()
    np.testing.assert_array_equal(candles.ohlcv[:, :4], prices)
    sums = np.column_stack([candles.ohlcv[:, 4], candles.turnover])
    np.testing.assert_allclose(sums, bars[["volume", "turnover"]].to_numpy(), rtol=1e-12, atol=1e-9)


@pytest.mark.parametrize("name", [f"{DAY}.csv", f"{DAY}.csv.gz", "mine.csv"])
@pytest.mark.parametrize("minutes", [1, 5, 60, 1440])
def test_bars_are_those_of_a_plain_resampling(name: str, minutes: int, tmp_path: Path) -> None:
    trades = market(900)
    made = imported(file(tmp_path, bybit(trades), name), minutes=minutes)
    bars = resampled(trades, minutes)
    if name != "mine.csv":  # the name says that the whole day is there
        whole = pd.date_range(
            bars.index[0],
            periods=(T0 + DAY_MS - int(bars.index[0].value) // 10**6) // (minutes * MINUTE_MS),
            freq=f"{minutes}min",
        )
        close = bars["close"].reindex(whole).ffill()
        bars = bars.reindex(whole).assign(close=close)
        bars = bars.fillna({"volume": 0.0, "turnover": 0.0}).apply(lambda column: column.fillna(close))
    assert_same(made.candles, bars)
    assert (made.trades, made.dialects, made.time_unit) == (900, {"Bybit trades": 1}, "seconds")
    assert made.flat == int((bars["volume"] == 0).sum())


@pytest.mark.parametrize(
    ("form", "unit", "reading"),
    [
        (spot, "milliseconds", {}),
        (binance, "microseconds", {}),
        (written, "ISO 8601", {}),
        (
            lambda trades: spot(trades).replace("timestamp", "when"),
            "milliseconds",
            {"columns": {"start_ms": "when"}},
        ),
    ],
)
def test_other_columns_orders_and_units_give_the_same_bars(form, unit, reading, tmp_path: Path) -> None:
    trades = [(ns // 1_000_000 * 1_000_000, *rest) for ns, *rest in market(300)]
    expected = imported(file(tmp_path, bybit(trades))).candles
    made = imported(file(tmp_path, form(trades), "BTCUSDT_2025-01-01.csv"), **reading)
    np.testing.assert_array_equal(made.candles.ohlcv, expected.ohlcv)
    assert made.time_unit == unit


@given(st.integers(0, 9), st.sampled_from(["999999999", "9999999", "9999", "0", "0000001", ""]))
def test_no_digit_of_a_time_moves_a_trade_into_the_bar_beside_it(minute: int, part: str) -> None:
    second = T0 // 1000 + 60 * minute + (59 if part.startswith("9") else 0)
    with tempfile.TemporaryDirectory() as folder:
        text = (
            f"timestamp,size,price\n{second}.{part},1,7\n"
            if part
            else f"timestamp,size,price\n{second},1,7\n"
        )
        made = imported(file(Path(folder), text, "mine.csv"))
    assert made.candles.start_ms.tolist() == [T0 + minute * MINUTE_MS]


def test_the_future_cannot_change_the_past(tmp_path: Path) -> None:
    trades = market(400)
    cut = next(i for i, (ns, *_) in enumerate(trades) if ns >= (T0 + DAY_MS // 2) * 1_000_000)
    changed = trades[:cut] + [(ns, side, "7", "5000") for ns, side, *_ in trades[cut:]]
    one, other = (
        imported(file(tmp_path, bybit(each), f"{i}.csv")).candles for i, each in enumerate((trades, changed))
    )
    before = int(np.searchsorted(one.start_ms, T0 + DAY_MS // 2))
    np.testing.assert_array_equal(one.ohlcv[:before], other.ohlcv[:before])
    assert one.ohlcv[-1, 3] != other.ohlcv[-1, 3]


def test_a_day_that_no_file_covers_is_a_gap_and_a_calm_night_between_two_days_is_not(tmp_path: Path) -> None:
    def day(number: int) -> Path:
        noon = T0 + (number - 1) * DAY_MS + DAY_MS // 2
        return file(
            tmp_path, bybit(market(50, over_ms=3_600_000, from_ms=noon)), f"BTCUSDT2025-01-{number:02}.csv.gz"
        )

    made = imported(day(1), day(2), day(4), minutes=60)
    assert made.candles.gaps() == [(T0 + 2 * DAY_MS, T0 + 3 * DAY_MS, 24)]
    hours = {int(ms): row for ms, row in zip(made.candles.start_ms, made.candles.ohlcv.tolist(), strict=True)}
    night, noon = hours[T0 + DAY_MS], hours[T0 + DAY_MS // 2]
    assert night == [noon[3]] * 4 + [0.0]
    assert made.candles.first_ms == T0 + DAY_MS // 2  # before it no close is known
    assert hours[T0 + 3 * DAY_MS][4] == 0.0


def test_a_day_that_is_not_over_ends_with_its_last_trade(tmp_path: Path) -> None:
    path = file(tmp_path, bybit(market(50, over_ms=3_600_000)))
    made = imported(path, minutes=5, now_ms=T0 + DAY_MS // 2)
    assert made.candles.end_ms <= T0 + 3_600_000
    assert imported(path, minutes=5).candles.end_ms == T0 + DAY_MS


def test_newest_first_is_turned_round_and_another_disorder_needs_repair(tmp_path: Path) -> None:
    trades = market(200)
    trades[7] = (trades[6][0], *trades[7][1:])  # two of one moment
    expected = imported(file(tmp_path, bybit(trades), "a.csv")).candles
    made = imported(file(tmp_path, bybit(trades[::-1]), "b.csv"))
    np.testing.assert_array_equal(made.candles.ohlcv, expected.ohlcv)
    mixed = file(tmp_path, bybit(trades[100:] + trades[:100]), "c.csv")
    with pytest.raises(BadBar, match=r"c.csv:102: this trade is before the one above it .*--repair"):
        imported(mixed)
    np.testing.assert_allclose(imported(mixed, repair=True).candles.ohlcv, expected.ohlcv, rtol=1e-12)


def test_no_trade_counts_twice(tmp_path: Path) -> None:
    trades = market(100)
    path = file(tmp_path, bybit(trades))
    again = file(tmp_path, bybit(trades), f"{DAY}.csv.gz")
    with pytest.raises(BadFile, match="both hold trades of 2025-01-01"):
        imported(path, again)
    rows = bybit(trades).splitlines()
    repeated = file(tmp_path, "\n".join([*rows[:5], rows[4], *rows[5:]]), "r.csv")
    with pytest.raises(BadBar, match=r"r.csv:6: trade id-3 repeats line 5 .*--repair"):
        imported(repeated)
    made = imported(repeated, repair=True)
    assert (made.trades, made.dropped) == (100, 1)
    np.testing.assert_array_equal(
        made.candles.ohlcv, imported(file(tmp_path, bybit(trades), "m.csv")).candles.ohlcv
    )


@pytest.mark.parametrize(
    ("row", "error"),
    [
        ("{t},BTCUSDT,Buy,1,0", ":3: no trade: price 0"),
        ("{t},BTCUSDT,Buy,-1,7", ":3: no trade: price 7, size -1"),
        ("{t},BTCUSDT,Buy,,7", ":3: no trade: price 7, size nan"),
        ("{t},BTCUSDT,Buy,x,7", ":3: size is not a number: 'x'"),
        ("soon,BTCUSDT,Buy,1,7", ":3: 'soon' is no time"),
        ("12.5,BTCUSDT,Buy,1,7", ":3: '12.5' is no time since 1973"),
        ("{t},ETHUSDT,Buy,1,7", "holds trades of ETHUSDT, not of BTCUSDT"),
        ("{t},BTCUSD,Buy,1,7", "whose size is in contracts"),
    ],
)
def test_a_row_that_is_no_trade_of_the_symbol_is_refused(row: str, error: str, tmp_path: Path) -> None:
    second = T0 // 1000
    text = f"timestamp,symbol,side,size,price\n{second},BTCUSDT,Buy,1,7\n{row.format(t=second + 1)}\n"
    with pytest.raises((BadBar, BadFile), match=error):
        imported(file(tmp_path, text))


def test_a_size_in_contracts_and_a_column_that_may_be_two_are_refused(tmp_path: Path) -> None:
    inverse = f"timestamp,size,price,foreignNotional\n{T0 // 1000},1000,50000,1000\n"
    with pytest.raises(BadFile, match="a size in contracts"):
        imported(file(tmp_path, inverse))
    two = f"timestamp,size,qty,price\n{T0 // 1000},1,2,7\n"
    with pytest.raises(BadFile, match="volume may be 'size' or 'qty'; say --column volume=NAME"):
        imported(file(tmp_path, two))
    assert imported(file(tmp_path, two), columns={"volume": "qty"}).candles.ohlcv[0, 4] == 2.0


def test_names_of_archives_say_symbol_market_and_the_time_they_cover(tmp_path: Path) -> None:
    def of(name: str) -> TableSource:
        return TableSource(tmp_path / name, "csv")

    assert said_by(of("BTCUSDT2025-01-01.csv.gz")) == Said("BTCUSDT")
    assert said_by(of("1000PEPEUSDT2025-01-01.csv.gz")) == Said("1000PEPEUSDT")
    assert said_by(of("BTCUSDT_2025-01-01.csv.gz")) == Said("BTCUSDT", market="spot")
    assert said_by(of("BTCUSDT-aggTrades-2025-01.csv")) == Said("BTCUSDT")
    assert covered_by(of("BTCUSDT2025-01-01.csv.gz")) == (T0, T0 + DAY_MS)
    assert covered_by(of("BTCUSDT-2025-01.csv.gz")) == (T0, T0 + 31 * DAY_MS)
    assert covered_by(of("BTCUSDT2025-02-30.csv")) is None
    with pytest.raises(BadFile, match="inverse contract"):
        said_by(of("BTCUSD2025-01-01.csv.gz"))


def test_candles_are_no_trades(tmp_path: Path) -> None:
    candles = file(tmp_path, f"time,open,high,low,close,volume\n{T0},1,2,1,1,5\n", "BTCUSDT_5.csv")
    (source,) = find_sources([candles])
    assert not are_trades(source)
    with pytest.raises(BadFile, match="holds no single trades"):
        imported(file(tmp_path, bybit(market(5))), candles)
