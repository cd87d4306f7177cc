from decimal import Decimal
from itertools import product
from math import inf, nan

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain.errors import BadInput
from bot.domain.market import DAY_MS, HOUR_MS
from bot.risk import Breaker, Limits
from bot.risk.breaker import Cause
from bot.risk.observing import ObservingBreaker
from tests.helpers import T0

D = Decimal
LOSS = D("-1")


def breaker(equity: float = 10_000.0, **changes: object) -> Breaker:
    made = Breaker(Limits(**changes))
    made.on_equity(T0 + HOUR_MS, equity)
    return made


def crash(b: Breaker) -> None:
    b.on_equity(T0 + 2 * HOUR_MS, 7_999.99)


def daily_loss(b: Breaker) -> None:
    b.on_equity(T0 + 2 * HOUR_MS, 9_499.99)


def new_day(b: Breaker) -> None:
    b.on_equity(b.day_end_ms, b.last_equity)


def rejects(b: Breaker) -> None:
    for _ in range(5):
        b.on_reject(T0)


EVENTS = {
    "pause": Breaker.pause,
    "resume": Breaker.resume,
    "link_down": lambda b: b.link_down("public"),
    "link_up": lambda b: b.link_up("public"),
    "daily_loss": daily_loss,
    "new_day": new_day,
    "crash": crash,
    "bad_equity": lambda b: b.on_equity(T0 + 2 * HOUR_MS, nan),
    "rejects": rejects,
    "halt": Breaker.halt,
    "unhalt": Breaker.unhalt,
}
# What each event does to the causes in force. A crash breaks the day's floor, too, and equity that stays low
# breaks the floor of the day again; a new day and an unhalt start from the last equity.
ADDS = {
    "pause": {"paused"},
    "link_down": {"link_down: public"},
    "daily_loss": {"daily_loss"},
    "crash": {"daily_loss", "drawdown"},
    "bad_equity": {"bad_equity"},
    "rejects": {"rejects"},
    "halt": {"operator"},
}
HALTING = {"drawdown", "bad_equity", "rejects", "operator"}
LIFTS = {
    "resume": {"paused"},
    "link_up": {"link_down: public"},
    "new_day": {"daily_loss"},
    "unhalt": HALTING,
}


def state_of(causes: set[str]) -> str:
    return "halted" if causes & HALTING else "reducing" if causes else "active"


@pytest.mark.parametrize("path", list(product(EVENTS, repeat=2)))
def test_every_event_in_every_state(path: tuple[str, str]) -> None:
    b, causes = breaker(), set[str]()
    for event in path:
        before = (b.state, b.reason)
        moved = EVENTS[event](b)
        causes = (causes - LIFTS.get(event, set())) | ADDS.get(event, set())
        assert set(b.reducing) | set(b.halting) == causes
        assert b.state == state_of(causes)
        assert b.reason in (causes or {""})
        if isinstance(moved, bool):
            assert moved is ((b.state, b.reason) != before)


@given(st.lists(st.sampled_from(sorted(EVENTS)), max_size=12))
def test_only_unhalt_leaves_halted(events: list[str]) -> None:
    b = breaker()
    for event in events:
        was = b.state
        EVENTS[event](b)
        if was == "halted" and b.state != "halted":
            assert event == "unhalt"


@given(st.lists(st.sampled_from(sorted(EVENTS)), max_size=8))
def test_a_breaker_read_back_from_disk_is_the_same(events: list[str]) -> None:
    b = Breaker()
    for event in events:
        EVENTS[event](b)
    assert msgspec.json.decode(msgspec.json.encode(b), type=Breaker) == b
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(b), type=Breaker) == b


def test_the_daily_loss_is_allowed_to_the_limit() -> None:
    b = breaker()
    assert not b.on_equity(T0 + 2 * HOUR_MS, 9_500.0)
    assert b.state == "active"
    assert b.on_equity(T0 + 2 * HOUR_MS, 9_499.99)
    assert (b.state, b.reason) == ("reducing", "daily_loss")


def test_a_daily_loss_that_recovers_still_waits_for_the_next_utc_day() -> None:
    b = breaker()
    daily_loss(b)
    b.on_equity(T0 + DAY_MS - 1, 10_000.0)
    assert b.state == "reducing"
    assert b.on_equity(T0 + DAY_MS, 10_000.0)
    assert b.state == "active"


def test_a_daily_loss_can_be_made_to_halt() -> None:
    b = breaker(on_daily_loss="halt")
    daily_loss(b)
    new_day(b)
    assert (b.state, b.reason) == ("halted", "daily_loss")
    b.unhalt()
    b.on_equity(T0 + DAY_MS + HOUR_MS, b.last_equity)
    assert b.state == "active"


def test_unhalt_after_a_daily_loss_measures_the_day_from_there() -> None:
    b = breaker(on_daily_loss="halt")
    daily_loss(b)
    b.unhalt()
    b.on_equity(T0 + 3 * HOUR_MS, 9_499.99)
    assert b.state == "active"
    assert b.day_start_equity == 9_499.99


@pytest.mark.fault(60)
def test_a_day_starts_at_midnight_utc_with_the_equity_of_that_instant() -> None:
    b = breaker()
    b.on_equity(T0 + DAY_MS - 1, 9_900.0)
    b.on_equity(T0 + DAY_MS, 9_800.0)
    assert (b.day_start_equity, b.day_end_ms) == (9_800.0, T0 + 2 * DAY_MS)


@pytest.mark.fault(60)
def test_a_loss_while_the_bot_was_off_counts_to_the_new_day() -> None:
    b = breaker()
    b.on_equity(T0 + 2 * HOUR_MS, 9_900.0)
    assert b.on_equity(T0 + 3 * DAY_MS + HOUR_MS, 9_400.0)
    assert (b.day_start_equity, b.reason) == (9_900.0, "daily_loss")


@pytest.mark.fault(60)
def test_a_restart_resets_neither_the_day_nor_the_peak() -> None:
    b = breaker(max_daily_loss_frac=D("0.5"))
    b.on_equity(T0 + 2 * HOUR_MS, 12_000.0)
    for hour in range(3, 8):
        b = msgspec.json.decode(msgspec.json.encode(b), type=Breaker)
        b.use(Limits(max_daily_loss_frac=D("0.5")))
        b.on_equity(T0 + hour * HOUR_MS, 9_700.0)
    assert (b.day_start_equity, b.peak_equity, b.state) == (10_000.0, 12_000.0, "active")
    b.on_equity(T0 + 9 * HOUR_MS, 9_599.99)
    assert (b.state, b.reason) == ("halted", "drawdown")


def test_the_drawdown_is_measured_from_the_highest_equity() -> None:
    b = breaker(max_daily_loss_frac=D(1))
    b.on_equity(T0 + 2 * HOUR_MS, 20_000.0)
    b.on_equity(T0 + 3 * HOUR_MS, 16_000.0)
    assert b.state == "active"
    b.on_equity(T0 + 4 * HOUR_MS, 15_999.99)
    assert (b.state, b.reason) == ("halted", "drawdown")


def test_a_new_day_keeps_the_peak() -> None:
    b = breaker()
    b.on_equity(T0 + DAY_MS, 9_600.0)
    b.on_equity(T0 + 2 * DAY_MS, 9_200.0)
    assert (b.day_start_equity, b.peak_equity) == (9_200.0, 10_000.0)


def test_unhalt_starts_the_peak_at_the_last_equity() -> None:
    b = breaker()
    crash(b)
    b.unhalt()
    assert b.peak_equity == 7_999.99
    new_day(b)
    assert b.state == "active"


def test_other_limits_move_the_floors_of_what_is_remembered() -> None:
    b = breaker()
    b.use(Limits(max_daily_loss_frac=D("0.01")))
    b.on_equity(T0 + 2 * HOUR_MS, 9_899.0)
    assert b.reason == "daily_loss"


@pytest.mark.parametrize("bad", [nan, inf, -inf, 0.0, -5.0])
@pytest.mark.parametrize("first", [True, False])
def test_equity_that_is_not_positive_and_finite_halts_and_is_not_stored(bad: float, first: bool) -> None:
    b = Breaker() if first else breaker()
    assert b.on_equity(T0 + 2 * HOUR_MS, bad)
    assert (b.state, b.reason) == ("halted", "bad_equity")
    assert b.last_equity == (0.0 if first else 10_000.0)
    assert b.peak_equity == (0.0 if first else 10_000.0)


@pytest.mark.parametrize("bad", [nan, inf, 0.0])
def test_a_bad_equity_at_midnight_halts_too(bad: float) -> None:
    b = breaker()
    assert b.on_equity(T0 + DAY_MS, bad)
    assert b.reason == "bad_equity"


def test_nothing_is_allowed_before_an_equity_has_been_seen() -> None:
    assert Breaker().day_floor_quote > 1e200
    assert Breaker().peak_floor_quote > 1e200


def test_an_accepted_order_ends_a_run_of_rejects() -> None:
    b = breaker()
    for _ in range(4):
        assert not b.on_reject(T0)
    b.on_accept()
    for _ in range(4):
        assert not b.on_reject(T0)
    assert b.on_reject(T0)
    assert (b.state, b.reason) == ("halted", "rejects")
    b.unhalt()
    assert not b.on_reject(T0)


@pytest.mark.fault(57)
def test_rejects_count_for_a_time_and_not_for_ever() -> None:
    b = breaker(reject_window_ms=60_000)
    for minute in range(9):
        assert not b.on_reject(T0 + minute * 60_001)
    assert b.consecutive_rejects == 1
    for second in range(1, 4):
        assert not b.on_reject(T0 + 8 * 60_001 + second)
    assert b.on_reject(T0 + 9 * 60_000, "10001 params error")  # the fifth within a minute
    assert (b.reason, b.last_reject) == ("rejects", "10001 params error")


@pytest.mark.fault(59)
def test_the_value_of_the_days_entries_begins_anew_at_midnight_and_outlives_the_process() -> None:
    b = breaker()
    b.on_entry(T0 + 1, D(100))
    b.on_entry(T0 + DAY_MS - 1, D(50))
    again = Breaker.restore(b.encode(), b.limits)
    assert again.entered_today(T0 + DAY_MS - 1) == 150
    assert again.entered_today(T0 + DAY_MS) == 0
    again.on_entry(T0 + DAY_MS, D(7))
    again.on_entry(T0 + 2, D(1_000))  # reported late: of a day that is over
    assert again.entered_today(T0 + DAY_MS) == 7


@pytest.mark.fault(57)
@pytest.mark.fault(57)
def test_a_run_of_rejects_outlives_the_process() -> None:
    b = breaker()
    for _ in range(4):
        b.on_reject(T0)
    again = Breaker.restore(b.encode(), b.limits)
    assert again.on_reject(T0 + 1)
    assert again.state == "halted"


def test_a_streak_of_losses_starts_the_cooldown_and_a_win_ends_the_streak() -> None:
    b = breaker(max_consecutive_losses=3)
    for pnl in (LOSS, LOSS, D(1), LOSS, LOSS):
        b.on_closed_trade(pnl, T0)
    assert b.cooldown_until_ms == 0
    b.on_closed_trade(LOSS, T0)
    assert b.cooldown_until_ms == T0 + HOUR_MS
    assert b.state == "active"
    b.on_closed_trade(LOSS, T0 + 5)
    assert b.cooldown_until_ms == T0 + HOUR_MS


def test_without_a_limit_no_streak_of_losses_starts_a_cooldown() -> None:
    b = breaker()
    for _ in range(50):
        b.on_closed_trade(LOSS, T0)
    assert b.cooldown_until_ms == 0


def test_without_a_limit_on_losing_trades_no_streak_starts_a_cooldown() -> None:
    b = breaker(max_consecutive_losses=0)
    for pnl in [LOSS] * 50 + [D(1)]:
        b.on_closed_trade(pnl, T0)
    assert b.cooldown_until_ms == 0


def test_entries_wait_until_every_connection_is_back() -> None:
    b = breaker()
    b.link_down("public")
    b.link_down("private")
    b.link_up("public")
    assert (b.state, b.reason) == ("reducing", "link_down: private")
    assert b.link_up("private")
    assert b.state == "active"


@pytest.mark.parametrize(("on_halt", "flat"), [("hold", False), ("flatten", True)])
def test_positions_are_closed_on_a_halt_only_if_asked(on_halt: str, flat: bool) -> None:
    b = breaker(on_halt=on_halt)
    b.pause()
    assert not b.wants_flat
    b.halt()
    assert b.wants_flat is flat


@given(
    st.lists(
        st.tuples(st.integers(1, 20 * HOUR_MS), st.floats(9_000.0, 11_000.0) | st.floats(1.0, 1e5)),
        min_size=1,
        max_size=40,
    ),
)
def test_the_fast_path_agrees_with_a_plain_account_of_day_and_peak(steps) -> None:
    b, ts, last, day, start, peak = Breaker(), T0, 0.0, -1, 0.0, 0.0
    daily = halted = False
    for step, equity in steps:
        ts += step
        if ts // DAY_MS != day:
            start = last if last and ts % DAY_MS else equity
            day, daily = ts // DAY_MS, False
        peak, last = max(peak, equity), equity
        daily = daily or equity < start - 0.05 * start
        halted = halted or equity < peak - 0.2 * peak
        b.on_equity(ts, equity)
        assert b.state == ("halted" if halted else "reducing" if daily else "active")


def test_halts_the_pause_the_day_and_the_peak_survive_a_restart() -> None:
    b = breaker()
    daily_loss(b)
    b.pause()
    b.link_down("feed")
    b.unprotected("BTCUSDT")
    b.await_account()
    b.halt(Cause.RECONCILE, "BTCUSDT ours 1 venue 2")
    kept = Breaker.restore(b.encode(), Limits(max_daily_loss_frac=D("0.5")))
    assert kept.reducing == ("daily_loss", "paused")
    assert kept.halting == ("reconcile: BTCUSDT ours 1 venue 2",)
    assert (kept.state, kept.peak_equity, kept.day_start_equity) == ("halted", 10_000.0, 10_000.0)
    assert kept.limits.max_daily_loss_frac == D("0.5")
    assert len(b.reducing) == 5


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b'{"halting": 5}', b'{"halting": ["whim"]}', b'{"limits": {"max_leverage": -1}}'],
)
def test_a_saved_breaker_that_cannot_be_read_raises_bad_input(body: bytes) -> None:
    with pytest.raises(BadInput, match="saved breaker"):
        Breaker.restore(body, Limits())


@given(st.lists(st.sampled_from(sorted(EVENTS)), max_size=10))
def test_saving_a_breaker_never_loses_a_halt(events: list[str]) -> None:
    b = Breaker()
    for event in events:
        EVENTS[event](b)
    kept = Breaker.restore(b.encode(), Limits())
    assert kept.halting == b.halting
    assert (kept.state == "halted") == (b.state == "halted")
    assert Breaker.restore(kept.encode(), Limits()) == kept


def test_only_the_first_halt_reason_of_a_kind_is_kept() -> None:
    b = breaker()
    for number in range(1000):
        b.halt(Cause.RECONCILE, f"BTCUSDT ours {number}")
    b.halt(Cause.FOREIGN, "x")
    assert b.halting == ("reconcile: BTCUSDT ours 0", "foreign: x")


def test_a_kept_cause_reads_back_as_its_cause_whatever_its_detail_says() -> None:
    for cause in Cause:
        assert Cause.of(cause.named()) is Cause.of(cause.named("a: b")) is cause
    with pytest.raises(ValueError, match="whim"):
        Cause.of("whim: drawdown")


def test_a_new_process_keeps_halts_pause_and_levels_and_has_its_lines_down() -> None:
    b = breaker()
    b.pause()
    b.link_down("venue")
    b.unprotected("BTCUSDT")
    b.halt(Cause.FOREIGN, "BTCUSDT Buy 1")
    before = (b.peak_equity, b.day_start_equity, b.day_end_ms)
    b.begin_process()
    assert (b.halting, b.state) == (("foreign: BTCUSDT Buy 1",), "halted")
    assert b.reducing == ("paused", "link_down: start", "link_down: feed")
    assert (b.peak_equity, b.day_start_equity, b.day_end_ms) == before


def test_a_deposit_raises_the_floors() -> None:
    b = breaker()
    b.on_transfer(10_000.0, 10_000.0)
    assert (b.day_start_equity, b.peak_equity) == (20_000.0, 20_000.0)
    assert b.on_equity(T0 + 2 * HOUR_MS, 18_999.0)
    assert b.reason == "daily_loss"
    fresh = Breaker()
    fresh.on_transfer(5.0, 0.0)
    assert fresh == Breaker()


def test_each_symbol_without_a_stop_is_a_cause_of_its_own() -> None:
    b = breaker()
    assert b.unprotected("A")
    b.unprotected("B")
    b.protected("A")
    assert (b.state, b.reason) == ("reducing", "unprotected: B")
    assert b.protected("B")
    assert not b.protected("B")
    assert b.state == "active"


def test_each_measure_of_drift_comes_and_goes_by_itself() -> None:
    breaker = Breaker()
    assert breaker.drifted({"inputs": "mean PSI 2, bound 1"})
    assert (breaker.state, breaker.reason) == ("reducing", "drift: inputs, mean PSI 2, bound 1")
    assert not breaker.drifted({"inputs": "mean PSI 3, bound 1", "bands": "x"})  # the first numbers stay
    assert breaker.reducing == ("drift: inputs, mean PSI 2, bound 1", "drift: bands, x")
    breaker.pause()
    assert breaker.drifted({"bands": "y"})
    assert breaker.reducing == ("drift: bands, x", "paused")
    breaker.begin_process()
    assert not any(cause.startswith("drift") for cause in breaker.reducing)  # the engine tells it anew
    assert not breaker.drifted({})


def test_an_observing_breaker_notes_drift_once_and_goes_on() -> None:
    breaker = ObservingBreaker()
    for numbers in ("mean PSI 2, bound 1", "mean PSI 3, bound 1"):
        assert not breaker.drifted({"inputs": numbers})
    (act,) = breaker.acts
    assert (act.cause, act.forces, breaker.state) == ("drift", "reducing", "active")
    assert "mean PSI 2, bound 1" in act.words
