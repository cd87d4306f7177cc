import json
from importlib.resources import files

import pytest

from bot.domain.errors import BadFile
from bot.domain.margin import maintenance
from bot.exchange.instruments import parse_instruments, parse_spreads
from bot.exchange.ledger.book import tier_rows
from tests.exchange.bars.desk import D

SHIPPED = files("bot.shipped")


def entry(**changes: object) -> dict[str, object]:
    tier = {"limit_quote": "1000", "maintenance_frac": "0.01", "deduction_quote": "0", "max_leverage": "50"}
    higher = {
        "limit_quote": "5000",
        "maintenance_frac": "0.02",
        "deduction_quote": "10",
        "max_leverage": "25",
    }
    return {
        "symbol": "BTCUSDT",
        "source": "here",
        "tick_size": "0.1",
        "qty_step": "0.001",
        "min_qty": "0.001",
        "max_qty": "10",
        "max_market_qty": "5",
        "min_notional_quote": "5",
        "min_price": "0.1",
        "max_price": "1000",
        "max_leverage": "50",
        "tiers": [tier, higher],
    } | changes


def text(*entries: dict[str, object]) -> str:
    return json.dumps({"instruments": entries})


def test_rules_are_read_as_exact_decimals() -> None:
    rules = parse_instruments(text(entry()))["BTCUSDT"]
    assert (rules.tick_size, rules.funding_interval_ms) == (D("0.1"), 8 * 3_600_000)
    assert type(rules).__name__ == "Instrument"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"tick_size": "-1"}, "tick_size must be >= 0"),
        ({"max_qty": "0"}, "min_qty must be below max_qty"),
        ({"max_price": "0.1"}, "min_price must be below max_price"),
        ({"max_leverage": "0"}, "max_leverage"),
        ({"tiers": []}, "at least one tier"),
        ({"funding_interval_ms": 0}, "funding_interval_ms"),
        ({"qty_step": None}, "qty_step"),
        ({"status": "Sleeping"}, "Sleeping"),
    ],
)
def test_a_figure_out_of_range_is_named(changes: dict[str, object], words: str) -> None:
    with pytest.raises(BadFile, match=words):
        parse_instruments(text(entry(**changes)), "mine.json")


@pytest.mark.parametrize(
    ("index", "changes", "words"),
    [
        (1, {"deduction_quote": "9"}, "jump at 1000"),
        (1, {"limit_quote": "900"}, "must rise"),
        (1, {"maintenance_frac": "0.005"}, "must rise"),
        (1, {"max_leverage": "60"}, "must rise"),
        (0, {"deduction_quote": "1"}, "no deduction"),
        (0, {"maintenance_frac": "0"}, "maintenance_frac"),
    ],
)
def test_tiers_that_do_not_fit_together_are_refused(index: int, changes: dict[str, str], words: str) -> None:
    tiers = entry()["tiers"]
    assert isinstance(tiers, list)
    tiers[index] |= changes
    with pytest.raises(BadFile, match=words):
        parse_instruments(text(entry(tiers=tiers)))


def test_a_symbol_twice_and_text_that_is_not_json_are_refused() -> None:
    with pytest.raises(BadFile, match="twice"):
        parse_instruments(text(entry(), entry()))
    with pytest.raises(BadFile, match=r"mine\.json"):
        parse_instruments("{", "mine.json")


def test_spreads_must_be_numbers_from_zero() -> None:
    good = {"half_spread_bps": {"A": 1.0}, "default_bps": 2.0}
    assert parse_spreads(json.dumps(good)).default_bps == 2.0
    for bad in ({"A": -1.0}, {"A": None}):
        with pytest.raises(BadFile):
            parse_spreads(json.dumps(good | {"half_spread_bps": bad}))


def test_the_shipped_rules_of_bitcoin_are_the_venues() -> None:
    rules = parse_instruments((SHIPPED / "instruments.json").read_text())["BTCUSDT"]
    assert (rules.tick_size, rules.qty_step, rules.min_qty) == (D("0.1"), D("0.001"), D("0.001"))
    assert (rules.max_qty, rules.max_market_qty, rules.min_notional_quote) == (D(1190), D(500), D(5))
    assert (rules.min_price, rules.max_price, rules.max_leverage) == (D("0.1"), D("1999999.8"), D(100))


def test_the_shipped_rules_hold_together() -> None:
    rules = parse_instruments((SHIPPED / "instruments.json").read_text())
    assert len(rules) == 21
    for each in rules.values():
        assert each.min_qty % each.qty_step == 0
        assert each.max_price % each.tick_size == 0
        for tier in each.tiers:  # the highest leverage of a tier leaves room above maintenance
            value = tier.limit_quote
            assert maintenance(value, tier_rows(each.tiers)[0]) < value / min(
                tier.max_leverage, each.max_leverage
            )


def test_the_shipped_spreads_say_how_they_were_measured_and_the_default_is_high() -> None:
    raw = (SHIPPED / "spreads.json").read_text()
    spreads = parse_spreads(raw)
    assert "median" in json.loads(raw)["about"]
    measured = sorted(spreads.half_spread_bps.values())
    assert spreads.half_spread_bps["BTCUSDT"] < 0.01
    assert sum(bps <= spreads.default_bps for bps in measured) / len(measured) >= 0.89
