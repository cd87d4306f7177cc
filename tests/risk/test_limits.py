import ast
from decimal import Decimal
from math import inf, nan
from pathlib import Path

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import bot
from bot.domain.errors import BadInput, BadSettings
from bot.domain.market import Instrument
from bot.domain.money import to_decimal
from bot.domain.orders import Approved, Intent, Refused
from bot.domain.refusals import SETTINGS, refusal_words
from bot.risk import CHECKS, BreakerState, Exposure, Limits, RiskView, check
from tests.helpers import T0, instrument, intent, unlimited

LIMITS = Limits()
D = Decimal


def breaker(**changes: object) -> BreakerState:
    return BreakerState(**({"day_floor_quote": 95.0, "peak_floor_quote": 80.0} | changes))


def exposure(position: str = "0", buys: str = "0", sells: str = "0", mark: str = "100") -> Exposure:
    return Exposure("BTCUSDT", D(position), D(mark), D(buys), D(sells))


def view(**changes: object) -> RiskView:
    values: dict[str, object] = {
        "now_ms": T0,
        "instrument": instrument(),
        "exposure": exposure(),
        "equity_quote": 10_000.0,
        "last_data_ms": T0,
        "breaker": breaker(),
    }
    return RiskView(**(values | changes))


def limits(**changes: object) -> Limits:
    return Limits(
        **{name: D(v) if isinstance(v, str) and v[0].isdigit() else v for name, v in changes.items()}
    )


def _said(verdict: Approved | Refused) -> tuple[Intent, str]:
    assert isinstance(verdict, Refused)
    return verdict.intent, verdict.reason


def limit(price: str, **changes: object) -> Intent:
    return intent(order_type="Limit", price=D(price), time_in_force="GTC", **changes)


SMALL = instrument(min_qty=D(1), max_market_qty=D(2), min_notional_quote=D(5))
BROKE = {"equity_quote": 100.0, "breaker": breaker(day_floor_quote=0.0, peak_floor_quote=0.0)}
SPOT = instrument(market="spot")
TOTAL = {"others_notional_quote": D(200)}

AT_AND_BEYOND: dict[str, tuple[tuple[Intent, RiskView, Limits], tuple[Intent, RiskView, Limits]]] = {
    "not_finite": (
        (intent(qty="1"), view(), LIMITS),
        (intent(qty="Infinity"), view(), unlimited()),
    ),
    "symbol": (
        (intent(symbol="BTCUSDT"), view(), LIMITS),
        (intent(symbol="ETHUSDT"), view(), LIMITS),
    ),
    "not_a_reduction": (
        (intent("Sell", "5", reduce_only=True), view(exposure=exposure("5")), LIMITS),
        (intent("Sell", "5.001", reduce_only=True), view(exposure=exposure("5")), LIMITS),
    ),
    "status": (
        (intent(), view(instrument=instrument(status="Trading")), LIMITS),
        (intent(), view(instrument=instrument(status="Delivering")), LIMITS),
    ),
    "price_step": ((limit("100.1"), view(), LIMITS), (limit("100.15"), view(), LIMITS)),
    "qty_step": ((intent(qty="1.001"), view(), LIMITS), (intent(qty="1.0005"), view(), LIMITS)),
    "min_qty": (
        (intent(qty="1"), view(instrument=SMALL), LIMITS),
        (intent(qty="0.999"), view(instrument=SMALL), LIMITS),
    ),
    "max_qty": (
        (intent(qty="2"), view(instrument=SMALL), LIMITS),
        (intent(qty="2.001"), view(instrument=SMALL), LIMITS),
    ),
    "min_notional": (
        (intent(qty="0.05"), view(instrument=instrument(min_notional_quote=D(5))), LIMITS),
        (intent(qty="0.049"), view(instrument=instrument(min_notional_quote=D(5))), LIMITS),
    ),
    "stop_side": (
        (intent(stop_loss=D("99.9"), take_profit=D("100.1")), view(), LIMITS),
        (intent(stop_loss=D(100)), view(), LIMITS),
    ),
    "account_not_finite": ((intent(), view(), LIMITS), (intent(), view(equity_quote=nan), LIMITS)),
    "stop_liquidation": (  # at leverage 10, a long of 100 is liquidated at 100 − 10 + 0.5
        (intent(stop_loss=D("90.6")), view(), limits(isolated_leverage="10")),
        (intent(stop_loss=D("90.5")), view(), limits(isolated_leverage="10")),
    ),
    "spot_short": (
        (intent("Sell", "5", reduce_only=True), view(instrument=SPOT, exposure=exposure("5")), LIMITS),
        (intent("Sell", "0.001"), view(instrument=SPOT), LIMITS),
    ),
    "spot_borrowed": (
        (intent(qty="0.8"), view(instrument=SPOT, **BROKE, others_notional_quote=D(20)), LIMITS),
        (intent(qty="0.801"), view(instrument=SPOT, **BROKE, others_notional_quote=D(20)), LIMITS),
    ),
    "breaker": (
        (intent(), view(breaker=breaker(state="active")), LIMITS),
        (intent(), view(breaker=breaker(state="reducing")), LIMITS),
    ),
    "foreign_position": (
        (intent(), view(exposure=msgspec.structs.replace(exposure("0"), foreign_qty=D(0))), LIMITS),
        (intent(), view(exposure=msgspec.structs.replace(exposure("0"), foreign_qty=D("0.001"))), LIMITS),
    ),
    "daily_loss": (
        (intent(), view(breaker=breaker(day_floor_quote=9_500.0), equity_quote=9_500.0), LIMITS),
        (intent(), view(breaker=breaker(day_floor_quote=9_500.0), equity_quote=9_499.99), LIMITS),
    ),
    "drawdown": (
        (intent(), view(breaker=breaker(peak_floor_quote=8_000.0), equity_quote=8_000.0), LIMITS),
        (intent(), view(breaker=breaker(peak_floor_quote=8_000.0), equity_quote=7_999.99), LIMITS),
    ),
    "rejects": (
        (intent(), view(breaker=breaker(consecutive_rejects=4)), LIMITS),
        (intent(), view(breaker=breaker(consecutive_rejects=5)), LIMITS),
    ),
    "loss_streak": (
        (intent(), view(breaker=breaker(cooldown_until_ms=T0)), LIMITS),
        (intent(), view(breaker=breaker(cooldown_until_ms=T0 + 1)), LIMITS),
    ),
    "cold": ((intent(), view(warm=True), LIMITS), (intent(), view(warm=False), LIMITS)),
    "strategy_stopped": ((intent(), view(stopped=False), LIMITS), (intent(), view(stopped=True), LIMITS)),
    "stale_data": (
        (intent(), view(last_data_ms=T0 - 90_000), LIMITS),
        (intent(), view(last_data_ms=T0 - 90_001), LIMITS),
    ),
    "stale_signal": (
        (intent(decided_ms=T0 - 15_000), view(), LIMITS),
        (intent(decided_ms=T0 - 15_001), view(), LIMITS),
    ),
    "price_collar": (
        (intent(ref_price=D(105)), view(), LIMITS),
        (intent(ref_price=D("105.01")), view(), LIMITS),
    ),
    "order_rate": (
        (intent(), view(entries_last_minute=59), LIMITS),
        (intent(), view(entries_last_minute=60), LIMITS),
    ),
    "order_notional": (
        (intent(qty="1"), view(), limits(max_order_notional_quote="100")),
        (intent(qty="1.001"), view(), limits(max_order_notional_quote="100")),
    ),
    "daily_notional": (
        (intent(qty="2"), view(entered_today_quote=D(300)), limits(max_daily_notional_quote="500")),
        (intent(qty="2.001"), view(entered_today_quote=D(300)), limits(max_daily_notional_quote="500")),
    ),
    "position_notional": (
        (intent(qty="1"), view(exposure=exposure("2")), limits(max_position_notional_quote="300")),
        (intent(qty="1.001"), view(exposure=exposure("2")), limits(max_position_notional_quote="300")),
    ),
    "total_notional": (
        (intent(qty="1"), view(**TOTAL), limits(max_total_notional_quote="300")),
        (intent(qty="1.001"), view(**TOTAL), limits(max_total_notional_quote="300")),
    ),
    "leverage": (
        (intent(qty="3"), view(**BROKE), LIMITS),
        (intent(qty="3.001"), view(**BROKE), LIMITS),
    ),
}


def test_every_check_has_its_two_cases_here() -> None:
    assert list(AT_AND_BEYOND) == [rule.name for rule in CHECKS]


STOP_97 = intent(stop_loss=D(97))
AT_50 = limits(isolated_leverage="50")


def test_a_stop_behind_the_liquidation_is_refused_with_both_prices_and_the_setting() -> None:
    refused = check(STOP_97, view(), AT_50)
    assert isinstance(refused, Refused)
    assert (refused.wanted, refused.allowed) == (D(97), D("98.5"))
    assert refusal_words(refused) == (
        "in isolated margin at account.leverage the position is liquidated before its stop: "
        "97, allowed 98.5 (stop_liquidation)"
    )


@pytest.mark.parametrize(
    ("wanted", "at", "limits", "allowed"),
    [
        (STOP_97, view(), LIMITS, True),  # in cross margin all of the account's money holds the position
        (intent(), view(), AT_50, True),
        (intent("Sell", stop_loss=D("101.4")), view(), AT_50, True),
        (intent("Sell", stop_loss=D("101.5")), view(), AT_50, False),
        (STOP_97, view(instrument=instrument(max_leverage=D(20))), AT_50, True),  # the contract allows 20
        (STOP_97, view(instrument=SPOT), AT_50, True),
        (STOP_97, view(exposure=exposure("1"), entry_value_quote=D(90)), AT_50, True),  # 95 on average
        (intent(), view(exposure=exposure("1"), entry_value_quote=D(90), stop_at_venue=D(94)), AT_50, True),
        (intent(), view(exposure=exposure("1"), entry_value_quote=D(90), stop_at_venue=D(93)), AT_50, False),
        (intent(), view(exposure=exposure("-1"), entry_value_quote=D(-90), stop_at_venue=D(91)), AT_50, True),
        (STOP_97, view(exposure=exposure("-1"), entry_value_quote=D(-90)), AT_50, False),  # closed before
    ],
)
def test_a_stop_must_act_before_the_liquidation_of_the_position_to_come(
    wanted: Intent, at: RiskView, limits: Limits, allowed: bool
) -> None:
    assert isinstance(check(wanted, at, limits), Approved) is allowed


@pytest.mark.fault(35)
@pytest.mark.parametrize("name", AT_AND_BEYOND)
def test_at_the_limit_is_allowed_and_just_beyond_is_not(name: str) -> None:
    at, beyond = AT_AND_BEYOND[name]
    verdict = check(*at)
    assert isinstance(verdict, Approved)
    assert verdict.intent == at[0]
    assert _said(check(*beyond)) == (beyond[0], name)


@pytest.mark.parametrize(
    ("order", "at", "reason"),
    [
        (intent("Sell", stop_loss=D(99)), view(), "stop_side"),
        (intent("Sell", take_profit=D(101)), view(), "stop_side"),
        (intent("Buy", take_profit=D(100)), view(), "stop_side"),
        (intent(stop_loss=D("99.95")), view(), "price_step"),
        (intent(take_profit=D("100.15")), view(), "price_step"),
        (limit("94.9"), view(), "price_collar"),
        (intent(ref_price=D("94.99")), view(), "price_collar"),
        (limit("101"), view(instrument=instrument(max_price=D(100))), "price_step"),
        (limit("99"), view(instrument=instrument(min_price=D(100))), "price_step"),
        (limit("100", qty="3"), view(instrument=instrument(max_qty=D(2))), "max_qty"),
        (intent(decided_ms=T0 + 15_001), view(), "stale_signal"),
        (intent(), view(last_data_ms=T0 + 90_001), "stale_data"),
        (intent(), view(breaker=breaker(state="halted")), "breaker"),
        (intent(), view(breaker=BreakerState()), "daily_loss"),
        (intent(), view(equity_quote=0.0), "account_not_finite"),
        (intent(), view(exposure=exposure(mark="0")), "account_not_finite"),
        (intent(), view(instrument=instrument(max_leverage=D("0.001"))), "leverage"),
        (intent(), view(others_notional_quote=D(29_901)), "leverage"),
        (intent("Buy", "1", reduce_only=True), view(exposure=exposure("5")), "not_a_reduction"),
        (intent("Sell", "1", reduce_only=True), view(exposure=exposure("-5")), "not_a_reduction"),
        (intent("Sell", "1", reduce_only=True), view(exposure=exposure("0")), "not_a_reduction"),
    ],
)
def test_the_other_side_of_each_rule(order: Intent, at: RiskView, reason: str) -> None:
    assert _said(check(order, at, LIMITS)) == (order, reason)


def test_flipping_through_zero_without_the_flag_is_an_entry() -> None:
    order = intent("Sell", "6")
    at = view(exposure=exposure("5"), breaker=breaker(state="halted"))
    assert _said(check(order, at, LIMITS)) == (order, "breaker")


def test_an_entry_counts_the_exit_that_is_still_on_its_way() -> None:
    # Long 5, the close of 5 in flight, then short 5: the worst the fills can lead to is -5, not 0.
    at = view(exposure=exposure("5", sells="5"))
    verdict = check(intent("Sell", "5"), at, limits(max_position_notional_quote="500"))
    assert isinstance(verdict, Approved)
    assert isinstance(check(intent("Sell", "5"), at, limits(max_position_notional_quote="499")), Refused)


@pytest.mark.fault(36)
def test_dust_can_be_closed_but_not_opened() -> None:
    dust = view(exposure=exposure("0.0004"), instrument=SMALL)
    assert isinstance(check(intent("Sell", "0.0004", reduce_only=True), dust, LIMITS), Approved)
    assert isinstance(check(intent("Sell", "0.0003", reduce_only=True), dust, LIMITS), Refused)
    assert isinstance(check(intent("Buy", "0.0004"), dust, LIMITS), Refused)


@pytest.mark.parametrize(
    ("status", "allowed"), [("Trading", True), ("Delivering", True), ("PreLaunch", False), ("Closed", False)]
)
def test_an_exit_follows_the_status_of_the_instrument(status: str, allowed: bool) -> None:
    at = view(exposure=exposure("5"), instrument=instrument(status=status))
    assert isinstance(check(intent("Sell", "5", reduce_only=True), at, LIMITS), Approved) is allowed


number = st.floats(allow_nan=True, allow_infinity=True)
money = st.decimals(allow_nan=True, allow_infinity=True)
quantity = st.integers(1, 10**6).map(lambda n: D(n) / 1000)
signed = st.integers(-(10**6), 10**6).map(lambda n: D(n) / 1000)


@pytest.mark.invariant(28)
@given(
    position=signed.filter(bool),
    part=st.floats(0, 1),
    equity=number,
    mark=money,
    live=st.tuples(money, money),
    others=money,
    state=st.sampled_from(["active", "reducing", "halted"]),
    floor=number,
    rejects=st.integers(0, 99),
    until=st.integers(),
    times=st.tuples(st.integers(), st.integers(), st.integers()),
    rate=st.integers(0, 10**6),
    warm=st.booleans(),
    tight=st.booleans(),
)
def test_an_exit_is_never_blocked_by_the_state_of_the_account(
    position, part, equity, mark, live, others, state, floor, rejects, until, times, rate, warm, tight
) -> None:
    qty = max(D("0.001"), (abs(position) * D(part)).quantize(D("0.001")))
    order = intent(
        "Sell" if position > 0 else "Buy",
        str(min(qty, abs(position))),
        reduce_only=True,
        ref_price=D(10**9),
        decided_ms=times[0],
    )
    at = RiskView(
        now_ms=times[1],
        instrument=instrument(min_notional_quote=D(10**20)),
        exposure=Exposure("BTCUSDT", position, mark, *live),
        equity_quote=equity,
        last_data_ms=times[2],
        breaker=BreakerState(
            state=state,
            day_floor_quote=floor,
            peak_floor_quote=floor,
            consecutive_rejects=rejects,
            cooldown_until_ms=until,
        ),
        others_notional_quote=others,
        entries_last_minute=rate,
        warm=warm,
    )
    zero = dict.fromkeys([n for n in Limits.__struct_fields__ if n.startswith("max_")], 0)
    assert check(order, at, Limits(**zero) if tight else LIMITS) == Approved(order)


FLOATS = ["equity_quote", "day_floor_quote", "peak_floor_quote"]
DECIMALS = ["mark", "position", "live_buy_qty", "live_sell_qty", "others_notional_quote"]
ORDER = ["qty", "ref_price", "price", "stop_loss", "take_profit"]


@pytest.mark.fault(76)
@pytest.mark.invariant(21)
@given(
    where=st.sampled_from(FLOATS + DECIMALS + ORDER),
    bad=st.sampled_from([nan, inf, -inf]),
    exit_=st.booleans(),
    has_no_limits=st.booleans(),
)
def test_a_number_that_is_none_never_becomes_an_order(where, bad, exit_, has_no_limits) -> None:
    # A floor of minus infinity is a number here: "no floor"; NaN is not.
    assume(not (where in FLOATS[1:] and bad == -inf))
    assume(not (exit_ and where not in ORDER and where != "position"))
    values = {"equity_quote": 1e4, "day_floor_quote": 1.0, "peak_floor_quote": 1.0}
    values |= {"mark": D(100), "position": D(1), "live_buy_qty": D(0), "live_sell_qty": D(0)}
    values |= {"others_notional_quote": D(0), "qty": D(1), "ref_price": D(100), "price": D(100)}
    values |= {"stop_loss": D(99), "take_profit": D(101)}
    if exit_:
        values |= {"stop_loss": None, "take_profit": None}
    values[where] = bad if where in FLOATS else D(bad)
    at = view(
        exposure=Exposure(
            "BTCUSDT", *(values[n] for n in ("position", "mark", "live_buy_qty", "live_sell_qty"))
        ),
        equity_quote=values["equity_quote"],
        others_notional_quote=values["others_notional_quote"],
        breaker=breaker(**{n: values[n] for n in FLOATS[1:]}),
    )
    try:
        order = Intent(
            "BTCUSDT",
            "Sell" if exit_ else "Buy",
            decided_ms=T0,
            order_type="Limit",
            reduce_only=exit_,
            **{name: values[name] for name in ORDER},
        )
    except (BadInput, ArithmeticError):
        return
    assert isinstance(check(order, at, unlimited() if has_no_limits else LIMITS), Refused)


@pytest.mark.fault(55)
@pytest.mark.invariant(7)
@given(
    position=signed,
    buys=st.lists(quantity, max_size=4),
    sells=st.lists(quantity, max_size=4),
    side=st.sampled_from(["Buy", "Sell"]),
    qty=quantity,
    maximum=quantity,
    fills=st.lists(st.booleans(), min_size=9, max_size=9),
)
def test_whatever_fills_an_approved_entry_stays_within_the_position_limit(
    position, buys, sells, side, qty, maximum, fills
) -> None:
    seen = Exposure("BTCUSDT", position, D(1), sum(buys, D(0)), sum(sells, D(0)))
    order = intent(side, str(qty), ref_price=D(1))
    rules = limits(max_order_notional_quote="1000000000", max_total_notional_quote="1000000000")
    rules = Limits(
        max_order_notional_quote=rules.max_order_notional_quote,
        max_position_notional_quote=maximum,
        max_total_notional_quote=rules.max_total_notional_quote,
        max_leverage=D(10**9),
    )
    verdict = check(order, view(exposure=seen), rules)
    orders = [*buys, *(-q for q in sells), qty if side == "Buy" else -qty]
    ends = position + sum((q for q, filled in zip(orders, fills, strict=False) if filled), D(0))
    worst = max(
        abs(position + sum(q for q in orders if q > 0)), abs(position + sum(q for q in orders if q < 0))
    )
    assert isinstance(verdict, Approved) is (worst <= maximum)
    assert isinstance(verdict, Refused) or abs(ends) <= maximum


@pytest.mark.parametrize("bad", [nan, inf, -1])
def test_a_limit_that_is_no_number_is_refused_with_its_name(bad: float) -> None:
    with pytest.raises(BadSettings, match="max_leverage"):
        Limits(max_leverage=D(bad))
    with pytest.raises(BadSettings, match="loss_cooldown_ms"):
        Limits(loss_cooldown_ms=bad)


def test_unlimited_lets_an_absurd_entry_pass() -> None:
    order = intent(qty="1000000", ref_price=D(10**6), decided_ms=0)
    at = view(
        equity_quote=1.0, breaker=breaker(consecutive_rejects=99, day_floor_quote=0.0, peak_floor_quote=0.0)
    )
    at = RiskView(
        **{n: getattr(at, n) for n in at.__struct_fields__} | {"instrument": wide(), "last_data_ms": 0}
    )
    assert isinstance(check(order, at, unlimited()), Approved)


def wide() -> Instrument:
    return instrument(max_leverage=D(10**30))


def test_only_the_limits_give_permission() -> None:
    root = Path(bot.__file__).parent
    makers = {
        path.relative_to(root).as_posix()
        for path in root.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and "Approved" in (getattr(node.func, "id", None), getattr(node.func, "attr", None))
    }
    assert makers == {"risk/limits.py"}


@pytest.mark.parametrize(("until_ms", "allowed"), [(T0, True), (T0 - 1, False), (0, False)])
def test_an_approved_target_may_place_orders_until_its_own_deadline(until_ms: int, allowed: bool) -> None:
    verdict = check(intent(decided_ms=T0 - 30_000), view(target_until_ms=until_ms), LIMITS)
    assert isinstance(verdict, Approved) is allowed


def test_a_signal_from_the_future_is_refused_even_before_its_deadline() -> None:
    later = intent(decided_ms=T0 + 15_001)
    verdict = check(later, view(target_until_ms=T0 + 60_000), LIMITS)
    assert _said(verdict) == (later, "stale_signal")


def test_no_limit_of_the_day_holds_back_nothing() -> None:
    assert isinstance(check(intent(), view(entered_today_quote=D(10**12)), LIMITS), Approved)


@pytest.mark.fault(59)
def test_a_market_entry_carries_the_bound_of_its_price_and_an_exit_none() -> None:
    bounded = limits(max_slippage_bps=40)
    market, resting = check(intent(), view(), bounded), check(limit("100"), view(), bounded)
    exit_ = check(intent("Sell", reduce_only=True), view(exposure=exposure("5")), bounded)
    assert isinstance(market, Approved)
    assert isinstance(resting, Approved)
    assert isinstance(exit_, Approved)
    assert [each.max_slippage_bps for each in (market, resting, exit_)] == [40, 0, 0]


def test_permission_of_an_entry_ends_with_the_age_of_its_signal_and_of_an_exit_never() -> None:
    fresh = check(intent(), view(), LIMITS)
    assert isinstance(fresh, Approved)
    assert fresh.leave_by_ms == T0 + 15_000
    stepwise = check(intent(), view(target_until_ms=T0 + 60_000), LIMITS)
    assert isinstance(stepwise, Approved)
    assert stepwise.leave_by_ms == T0 + 60_000
    exit_ = check(intent("Sell", reduce_only=True), view(exposure=exposure("5")), LIMITS)
    assert isinstance(exit_, Approved)
    assert exit_.too_old(T0 + 10**12) is None


NUMBERS = {
    "spot_borrowed": ("1.001", "1"),
    "min_notional": ("4.9", "5"),
    "stale_signal": ("15001", "15000"),
    "price_collar": ("0.0501", "0.05"),
    "order_rate": ("61", "60"),
    "order_notional": ("100.1", "100"),
    "daily_notional": ("500.1", "500"),
    "position_notional": ("300.1", "300"),
    "total_notional": ("300.1", "300"),
    "leverage": ("3.001", "3"),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_a_refusal_by_a_limit_says_what_was_wanted_and_what_is_allowed(name: str) -> None:
    verdict = check(*AT_AND_BEYOND[name][1])
    assert isinstance(verdict, Refused)
    assert (verdict.wanted, verdict.allowed) == tuple(map(D, NUMBERS[name]))


def test_the_limit_of_a_refusal_is_a_key_of_the_settings() -> None:
    assert SETTINGS.keys() <= {rule.name for rule in CHECKS}
    assert set(SETTINGS.values()) <= set(Limits.__struct_fields__)


def test_all_of_the_equity_buys_spot_whatever_a_float_makes_of_the_quantity() -> None:
    exact = Instrument.exact("BTCUSDT")
    rules = msgspec.structs.replace(exact, market="spot")
    above = 0
    for cents in range(1, 2_000, 7):
        price = cents / 100.0
        qty = to_decimal(100.0 / price)
        above += qty * to_decimal(price) > 100
        order = intent(qty=str(qty), ref_price=to_decimal(price))
        seen = msgspec.structs.replace(exposure("0"), mark=to_decimal(price))
        assert isinstance(check(order, view(instrument=rules, exposure=seen, **BROKE), LIMITS), Approved)
    assert above  # else the rounding was not met
