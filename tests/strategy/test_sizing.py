from decimal import Decimal
from math import inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain.errors import BadInput, UnusableNumber
from bot.domain.market import Instrument
from bot.domain.orders import Intent, sign
from bot.strategy import Target, round_stops, to_intents
from tests.helpers import T0, instrument

D = Decimal
RULES = instrument(min_qty=D("0.01"), min_notional_quote=D(5), max_qty=D(1_000), max_market_qty=D(500))


def orders(
    target: Target | float, position: str = "0", rules: Instrument = RULES, ref_price: float = 100.0
) -> tuple[Intent, ...]:
    wanted = target if isinstance(target, Target) else Target(target)
    return to_intents(wanted, position=D(position), instrument=rules, ref_price=ref_price, decided_ms=T0)


def brief(made: tuple[Intent, ...]) -> list[str]:
    return [f"{i.side} {i.qty.normalize():f}{' reduce' if i.reduce_only else ''}" for i in made]


@pytest.mark.parametrize(
    ("position", "target", "expected"),
    [
        ("0", 0.0, []),
        ("0", 1.0, ["Buy 1"]),
        ("0", -1.0, ["Sell 1"]),
        ("1", 1.0, []),
        ("1", 3.0, ["Buy 2"]),
        ("3", 1.0, ["Sell 2 reduce"]),
        ("-3", -1.0, ["Buy 2 reduce"]),
        ("3", 0.0, ["Sell 3 reduce"]),
        ("-3", 0.0, ["Buy 3 reduce"]),
        ("3", -2.0, ["Sell 3 reduce", "Sell 2"]),
        ("-3", 2.0, ["Buy 3 reduce", "Buy 2"]),
        # Towards the smaller position, on the way in and on the way out.
        ("0", 1.0009, ["Buy 1"]),
        ("0", -1.0009, ["Sell 1"]),
        ("3", 1.0009, ["Sell 2 reduce"]),
        ("3", 0.0009, ["Sell 3 reduce"]),
        # Below a minimum: 0.01 in base, 5 in quote at 100.
        ("0", 0.049, []),
        ("0", 0.05, ["Buy 0.05"]),
        ("3", 2.995, []),
        ("3", 2.99, ["Sell 0.01 reduce"]),
        ("3", -0.049, ["Sell 3 reduce"]),
        # Dust leaves whole, whatever the minima and the step.
        ("0.0004", 0.0, ["Sell 0.0004 reduce"]),
        ("-0.009", 0.0, ["Buy 0.009 reduce"]),
        ("0.0004", -1.0, ["Sell 0.0004 reduce", "Sell 1"]),
        # Capped at the venue's maximum; no entry while the close is not whole.
        ("0", 501.0, ["Buy 500"]),
        ("501", 0.0, ["Sell 500 reduce"]),
        ("501", -1.0, ["Sell 500 reduce"]),
        ("1", -501.0, ["Sell 1 reduce", "Sell 500"]),
    ],
)
def test_the_steps_from_a_position_to_a_target(position: str, target: float, expected: list[str]) -> None:
    assert brief(orders(target, position)) == expected


@pytest.mark.parametrize("step", ["0", "1e-9", "0.001"])
@pytest.mark.parametrize("held", ["1.732477873742906511", "-0.300000000000000004", "123456789.123"])
def test_a_target_that_is_the_position_but_for_rounding_is_no_order(step: str, held: str) -> None:
    rules = instrument(qty_step=D(step), min_qty=D(0), min_notional_quote=D(0))
    for seen in (float(held), float(held) * 1.1 / 1.1, float(held) * (1.0 + 1e-12)):
        assert orders(seen, held, rules) == ()


def test_an_intent_carries_its_decision_time_and_reason() -> None:
    assert orders(Target(0.5, "edge")) == (Intent("BTCUSDT", "Buy", D("0.5"), D("100.0"), T0, reason="edge"),)


def test_a_capped_order_says_so_in_its_reason() -> None:
    assert orders(Target(501.0, "edge"))[0].reason == "edge (capped)"
    assert orders(Target(501.0))[0].reason == "(capped)"


def test_a_limit_price_rests_on_the_passive_side_of_the_grid() -> None:
    buy = orders(Target(1.0, limit_price=99.99))[0]
    sell = orders(Target(-1.0, limit_price=100.01))[0]
    assert (buy.order_type, buy.price, buy.time_in_force) == ("Limit", D("99.9"), "GTC")
    assert (sell.order_type, sell.price, sell.time_in_force) == ("Limit", D("100.1"), "GTC")


def test_a_limit_price_below_one_tick_is_no_order() -> None:
    assert orders(Target(1.0, limit_price=0.05)) == ()


def test_a_limit_order_has_the_larger_maximum() -> None:
    assert brief(orders(Target(1001.0, limit_price=100.0))) == ["Buy 1000"]


def test_the_minimum_notional_of_a_limit_order_is_taken_at_its_price() -> None:
    assert orders(Target(0.05, limit_price=99.9)) == ()
    assert brief(orders(Target(0.051, limit_price=99.9))) == ["Buy 0.051"]


def test_stops_go_with_the_entry_and_never_with_an_exit() -> None:
    close, entry = orders(Target(-2.0, stop_loss=101.0, take_profit=90.0), "3")
    assert (close.stop_loss, close.take_profit) == (None, None)
    assert (entry.stop_loss, entry.take_profit) == (D(101), D(90))


@pytest.mark.parametrize(
    ("side", "stop_loss", "take_profit", "expected"),
    [
        ("Buy", 98.97, 101.03, (D("98.9"), D("101.1"))),
        ("Sell", 101.03, 98.97, (D("101.1"), D("98.9"))),
        ("Buy", 0.05, None, (None, None)),
        ("Sell", None, 0.05, (None, None)),
        ("Sell", 101.03, None, (D("101.1"), None)),
    ],
)
def test_stops_are_rounded_away_from_the_price(side, stop_loss, take_profit, expected) -> None:
    target = Target(1.0, stop_loss=stop_loss, take_profit=take_profit)
    assert round_stops(target, side, D("0.1")) == expected


@pytest.mark.parametrize("bad", [nan, inf, -inf])
def test_a_quantity_or_price_that_is_not_finite_is_no_target(bad: float) -> None:
    with pytest.raises(UnusableNumber):
        Target(bad)
    with pytest.raises(UnusableNumber):
        Target.fraction(bad)
    for name in ("limit_price", "stop_loss", "take_profit", "trailing_stop"):
        with pytest.raises(UnusableNumber, match=name):
            Target(1.0, **{name: bad})
        with pytest.raises(UnusableNumber, match=name):
            Target(1.0, **{name: 0.0})
    with pytest.raises(UnusableNumber):
        Target(1.0, takes=[(bad, 0.5)])
    with pytest.raises(BadInput):
        orders(1.0, ref_price=bad)


grid = st.sampled_from([D(0), D("0.001"), D("0.1"), D(1), D("2.5"), D(100)])
size = st.floats(-1e6, 1e6)


@st.composite
def rules(draw: st.DrawFn) -> Instrument:
    return instrument(
        tick_size=draw(grid),
        qty_step=draw(grid),
        min_qty=draw(grid),
        min_notional_quote=draw(grid),
        max_qty=D(10**5),
        max_market_qty=D(10**4),
    )


@pytest.mark.fault(35)
@given(rules=rules(), target=size, steps=st.integers(-(10**5), 10**5), limit=st.none() | st.floats(0.01, 1e5))
def test_no_order_leads_beyond_the_target_or_breaks_a_rule(rules, target, steps, limit) -> None:
    position = steps * (rules.qty_step or D("0.37"))
    wanted = Target(target, limit_price=limit)
    made = to_intents(wanted, position=position, instrument=rules, ref_price=123.4, decided_ms=T0)
    ends = position + sum((sign(i.side) * i.qty for i in made), D(0))
    exact = D(repr(target))
    assert min(position, exact, D(0)) <= ends <= max(position, exact, D(0))
    assert abs(exact - ends) <= abs(exact - position) + rules.qty_step
    if abs(ends) > abs(position) or ends * position < 0:
        assert ends * exact > 0
        assert abs(ends) <= abs(exact)
    at = position
    for order in made:
        whole = order.reduce_only and order.qty == abs(at)
        assert whole or not rules.qty_step or order.qty % rules.qty_step == 0
        assert whole or order.qty >= rules.min_qty
        assert order.reduce_only or order.notional_quote >= rules.min_notional_quote
        assert order.qty <= (rules.max_qty if limit else rules.max_market_qty)
        after = at + sign(order.side) * order.qty
        assert order.reduce_only == (abs(after) < abs(at) and after * at >= 0)
        at = after
    assert [i.reduce_only for i in made] in ([], [True], [False], [True, False])


@given(rules=rules(), target=size, steps=st.integers(-(10**3), 10**3))
def test_a_reached_target_gives_no_intents(rules, target, steps) -> None:
    at = steps * (rules.qty_step or D("0.37"))
    wanted = Target(target)
    orders_max = 3 + int((abs(at) + 10**6) / rules.max_market_qty)  # one capped order after the other
    for _ in range(orders_max):
        made = to_intents(wanted, position=at, instrument=rules, ref_price=123.4, decided_ms=T0)
        if not made:
            break
        at += sum(sign(i.side) * i.qty for i in made)
    assert not made
