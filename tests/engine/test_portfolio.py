"""One strategy over many symbols: what it sees at a close, and what follows from its answer."""

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal

import pytest

from bot.domain.errors import BadUsage
from bot.domain.market import Bar
from bot.domain.messages import (
    BarsClosed,
    Command,
    Effect,
    OrderAccepted,
    OrderCancelled,
    OrderRejected,
    PlaceOrder,
    Quote,
    StrategyStopped,
    TimePassed,
    Verdict,
)
from bot.domain.orders import Refused
from bot.engine.core import Assignment, Engine
from bot.risk.limits import Limits
from bot.service.moments import failure_words
from bot.strategy.memory import Unkept
from bot.strategy.portfolio import PortfolioView
from bot.strategy.signal import Target
from tests.engine.scripted import fill_of, late, orders
from tests.helpers import T0, bar, closed, instrument

SYMBOLS = ("AUSDT", "BUSDT", "CUSDT")
LIMITS = Limits(max_data_age_ms=90_000)
Answer = Mapping[str, Target | None] | None


class Scripted:
    """Answers by the number of the close, and notes what it was shown."""

    def __init__(self, *answers: object) -> None:
        self.answers = answers
        self.seen: list[tuple[tuple[str, ...], tuple[str, ...], dict[str, float], bool]] = []

    def on_close(self, view: PortfolioView) -> Answer:
        self.seen.append((tuple(view.closed), view.missing, view.positions, view.live))
        assert {symbol: each.symbol for symbol, each in view.bars.items()} == {s: s for s in view.closed}
        assert all(each.bar.close_ms == view.close_ms for each in view.closed.values())
        assert all((each.live, each.equity) == (view.live, view.equity) for each in view.closed.values())
        index = len(self.seen) - 1
        answer = self.answers[index] if index < len(self.answers) else None
        return answer() if callable(answer) else answer  # type: ignore[return-value]


def engine(strategy: object, symbols: Sequence[str] = SYMBOLS, **arguments: object) -> Engine:
    assigned = [Assignment(instrument(each), 300_000, strategy, 12.0) for each in symbols]  # type: ignore[arg-type]
    return Engine(assigned, Decimal(10_000), LIMITS, name="t", **arguments)  # type: ignore[arg-type]


def bars(index: int, *symbols: str) -> BarsClosed:
    return closed(*(bar(index, symbol=each) for each in symbols or SYMBOLS))


def wanted(effects: Sequence[Effect]) -> list[tuple[str, str, Decimal]]:
    return [(each.intent.symbol, each.intent.side, each.intent.qty) for each in orders(effects)]


def fill(one: Engine, effects: Sequence[Effect]) -> None:
    for order in orders(effects):
        one.handle(OrderAccepted(T0, order.order_id))
        one.handle(fill_of(order, exec_id=f"x{order.order_id}"))


def refusals(effects: Sequence[Effect]) -> list[str]:
    verdicts = [each.verdict for each in effects if isinstance(each, Verdict)]
    return [each.reason for each in verdicts if isinstance(each, Refused)]


def stops(effects: Sequence[Effect]) -> list[StrategyStopped]:
    return [each for each in effects if isinstance(each, StrategyStopped)]


# What it sees, and what follows


def test_it_is_asked_once_for_all_symbols_of_a_close() -> None:
    strategy = Scripted({"CUSDT": Target(2.0), "AUSDT": Target(-1.0)})
    effects = engine(strategy).handle(bars(0))
    assert strategy.seen == [(SYMBOLS, (), {}, True)]
    assert wanted(effects) == [("AUSDT", "Sell", Decimal(1)), ("CUSDT", "Buy", Decimal(2))]


def test_a_symbol_without_a_target_keeps_its_position() -> None:
    strategy = Scripted({"AUSDT": Target(1.0), "BUSDT": Target(1.0)}, {"AUSDT": None, "BUSDT": Target(0.0)})
    one = engine(strategy)
    fill(one, one.handle(bars(0)))
    assert wanted(one.handle(bars(1))) == [("BUSDT", "Sell", Decimal(1))]
    assert strategy.seen[1][2] == {"AUSDT": 1.0, "BUSDT": 1.0}


def test_what_makes_a_position_smaller_is_sent_first() -> None:
    first = {"BUSDT": Target(2.0), "CUSDT": Target(2.0)}
    one = engine(Scripted(first, {"AUSDT": Target(1.0), "BUSDT": Target(1.0), "CUSDT": Target(-1.0)}))
    fill(one, one.handle(bars(0)))
    effects = one.handle(bars(1))
    assert [(each, side) for each, side, _ in wanted(effects)] == [
        ("BUSDT", "Sell"),
        ("CUSDT", "Sell"),
        ("AUSDT", "Buy"),
    ]


def test_a_symbol_without_a_bar_is_named_and_its_position_can_be_left_at_its_last_price() -> None:
    strategy = Scripted({"BUSDT": Target(2.0)}, {"BUSDT": Target(0.0), "AUSDT": Target(1.0)})
    one = engine(strategy)
    fill(one, one.handle(bars(0)))
    effects = one.handle(bars(1, "AUSDT", "CUSDT"))
    assert strategy.seen[1] == (("AUSDT", "CUSDT"), ("BUSDT",), {"BUSDT": 2.0}, True)
    assert wanted(effects) == [("BUSDT", "Sell", Decimal(2)), ("AUSDT", "Buy", Decimal(1))]


def test_a_symbol_without_a_bar_is_not_entered() -> None:
    one = engine(Scripted({}, {"BUSDT": Target(1.0)}))
    one.handle(bars(0))
    assert refusals(one.handle(bars(1, "AUSDT"))) == ["stale_data"]


def test_a_symbol_that_never_had_a_bar_is_not_traded() -> None:
    one = engine(Scripted({"BUSDT": Target(1.0)}))
    assert orders(one.handle(bars(0, "AUSDT"))) == []
    assert one.state.refusals == {"no_mark": 1}


# An entry that needs the room of exits

ALL = Target(95.0)  # at 100 quote: nearly all of 10,000
FLAT = Target(0.0)
NARROW = Limits(max_data_age_ms=90_000, max_leverage=Decimal(1), max_order_notional_quote=Decimal(20_000))


def moving(*answers: object) -> tuple[Engine, list[PlaceOrder]]:
    """An engine that holds all its money in A; the orders of the close at which it wants all in B."""
    one = narrow(Scripted({"AUSDT": ALL}, {"AUSDT": FLAT, "BUSDT": ALL}, *answers))
    fill(one, one.handle(bars(0)))
    return one, orders(one.handle(bars(1)))


def narrow(strategy: object) -> Engine:
    assigned = [Assignment(instrument(each), 300_000, strategy, 12.0) for each in SYMBOLS]  # type: ignore[arg-type]
    return Engine(assigned, Decimal(10_000), NARROW, name="t")


def test_an_entry_without_room_follows_once_the_exit_of_another_symbol_is_filled() -> None:
    one, (leave,) = moving()
    assert (leave.intent.symbol, one.state.refusals) == ("AUSDT", {})
    assert one.handle(OrderAccepted(T0, leave.order_id)) == []
    assert wanted(one.handle(fill_of(leave, qty="45"))) == []
    assert wanted(one.handle(fill_of(leave, qty="50", exec_id="rest"))) == [("BUSDT", "Buy", Decimal(95))]
    assert one.state.turning == ()


def test_an_entry_is_refused_if_what_it_waited_for_frees_no_room() -> None:
    one = narrow(Scripted({"AUSDT": ALL}, {"AUSDT": Target(50.0), "BUSDT": Target(45.0)}))
    fill(one, one.handle(bars(0)))
    (part,) = orders(one.handle(bars(1)))
    ended = OrderCancelled(T0, part.order_id, "EC_NoImmediateQtyToFill")  # the next close decides on the rest
    assert refusals(one.handle(ended)) == ["leverage"]
    assert (one.state.turning, one.state.refusals) == ((), {"leverage": 1})


def test_an_entry_waits_on_while_a_refused_exit_is_sent_again() -> None:
    one, (leave,) = moving()
    assert one.handle(OrderRejected(one.state.now_ms, leave.order_id, 10001, "no")) == []
    (again,) = orders(one.handle(TimePassed(one.state.now_ms + 1_000)))
    assert again.intent.symbol == "AUSDT"
    assert wanted(one.handle(fill_of(again))) == [("BUSDT", "Buy", Decimal(95))]


def test_a_newer_answer_takes_the_place_of_an_entry_that_waits() -> None:
    one, (leave,) = moving({"BUSDT": FLAT, "CUSDT": ALL})
    one.handle(bars(2))
    assert wanted(one.handle(fill_of(leave))) == [("CUSDT", "Buy", Decimal(95))]


def test_an_entry_that_waits_is_refused_once_the_bot_is_paused() -> None:
    one, (leave,) = moving()
    one.handle(Command(one.state.now_ms, "pause"))
    assert refusals(one.handle(fill_of(leave))) == ["breaker"]


def test_an_entry_that_waits_is_refused_once_its_decision_is_too_old() -> None:
    one, (leave,) = moving()
    late_ms = one.state.now_ms + NARROW.max_signal_age_ms + 1
    for symbol in SYMBOLS:
        one.handle(Quote(late_ms, symbol, 100.0, 100.1))
    assert refusals(one.handle(fill_of(leave))) == ["stale_signal"]


def test_an_entry_that_no_exit_can_help_is_refused_at_once() -> None:
    one = narrow(Scripted({"AUSDT": ALL, "BUSDT": ALL}))
    assert refusals(one.handle(bars(0))) == ["leverage"]


def test_an_entry_waits_on_after_a_restart() -> None:
    one, (leave,) = moving()
    other = narrow(Scripted())
    other.restore(one.snapshot())
    assert other.state.digest() == one.state.digest()
    assert other.handle(fill_of(leave)) == one.handle(fill_of(leave)) != []


# When nothing is followed


def test_while_everything_is_closed_no_target_is_followed() -> None:
    one = engine(Scripted({"BUSDT": Target(2.0)}, {}, {"AUSDT": Target(1.0), "BUSDT": Target(3.0)}))
    fill(one, one.handle(bars(0)))
    one.handle(Command(T0, "flatten"))
    one.handle(bars(1))
    assert wanted(one.handle(bars(2, "AUSDT"))) == []


# Closes that are only shown


def test_no_order_follows_before_the_start_and_the_strategy_can_see_that() -> None:
    wish = {"AUSDT": Target(1.0), "BUSDT": Target(1.0)}
    strategy = Scripted(wish, wish)
    one = engine(strategy, trade_from_ms=bar(0).close_ms + 1)
    assert orders(one.handle(bars(0, "AUSDT"))) == []
    assert one.state.refusals == {"warm_up": 2}
    assert len(orders(one.handle(bars(1)))) == 2
    assert [live for *_, live in strategy.seen] == [False, True]


def test_bars_that_come_too_late_are_shown_and_not_traded() -> None:
    strategy = Scripted({}, {"AUSDT": Target(1.0)}, {"AUSDT": Target(1.0)})
    one = engine(strategy)
    one.handle(bars(0, "BUSDT", "CUSDT"))
    assert orders(one.handle(late(bar(0, symbol="AUSDT")))) == []
    assert one.state.refusals == {"catching_up": 1}
    assert strategy.seen[1] == (("AUSDT",), ("BUSDT", "CUSDT"), {}, False)
    assert len(orders(one.handle(bars(1)))) == 1


def test_a_strategy_of_one_symbol_sees_whether_a_bar_is_live() -> None:
    class Notes:
        def __init__(self) -> None:
            self.live: list[bool] = []

        def on_bar(self, view: object) -> None:
            self.live.append(view.live)  # type: ignore[attr-defined]

    one = engine(notes := Notes(), ["AUSDT"], trade_from_ms=bar(0).close_ms + 1)
    for event in (bars(0, "AUSDT"), bars(1, "AUSDT"), late(bar(2, symbol="AUSDT")), bars(3, "AUSDT")):
        one.handle(event)
    assert notes.live == [False, True, False, True]


# Errors


def explode() -> object:
    raise RuntimeError("no rank")


def test_an_error_stops_all_symbols_and_is_told_as_one() -> None:
    strategy = Scripted({"AUSDT": Target(1.0)}, explode)
    one = engine(strategy)
    fill(one, one.handle(bars(0)))
    effects = one.handle(bars(1))
    assert [each.symbol for each in stops(effects)] == list(SYMBOLS)
    failure = stops(effects)[0].failure
    assert {each.failure for each in stops(effects)} == {failure}
    assert failure.method == "on_close"
    assert failure.line == explode.__code__.co_firstlineno + 1
    assert "RuntimeError: no rank (Scripted.on_close for all symbols, bar of " in failure_words(
        "AUSDT", failure
    )
    assert one.handle(bars(2)) == []
    assert len(strategy.seen) == 2
    one.handle(Command(T0, "unhalt"))
    one.handle(bars(3))
    assert len(strategy.seen) == 3


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ([Target(1.0)], "TypeError: on_close must return targets by symbol, or None, was [Target("),
        (Target(1.0), "TypeError: on_close must return targets by symbol"),
        ({"AUSDT": 0.5}, "TypeError: on_close must return a Target or None for AUSDT, was 0.5"),
        ({"AUSD": Target(1.0)}, "a target for 'AUSD', which this run does not trade; did you mean AUSDT?"),
        ({"X": Target(1.0)}, "ValueError: on_close returned a target for 'X', this run trades AUSDT, BUSDT"),
        ({7: Target(1.0)}, "ValueError: on_close returned a target for 7, this run trades AUSDT"),
    ],
)  # fmt: skip
def test_an_answer_that_is_none_stops_the_strategy_with_words(answer: object, words: str) -> None:
    (first, *_) = stops(engine(Scripted(answer)).handle(bars(0)))
    assert words in first.failure.error
    assert first.failure.file == "test_portfolio.py"


def test_a_quantity_that_is_no_number_is_counted_and_nothing_is_traded() -> None:
    one = engine(Scripted(lambda: {"AUSDT": Target(1.0), "BUSDT": Target(float("nan"))}))
    assert orders(one.handle(bars(0))) == []
    assert one.state.refusals == {"not_finite": 1}


def test_an_old_answer_is_not_followed_again_after_a_bad_one() -> None:
    one = engine(Scripted({"AUSDT": Target(1.0)}, lambda: {"AUSDT": Target(float("inf"))}))
    one.handle(bars(0))
    assert orders(one.handle(bars(1))) == []


def test_several_instances_or_bar_lengths_are_refused() -> None:
    def assigned(symbol: str, interval_ms: int, strategy: object) -> Assignment:
        return Assignment(instrument(symbol), interval_ms, strategy, 12.0)  # type: ignore[arg-type]

    one = Scripted()
    for strategies, lengths, words in [
        ((one, Scripted()), (300_000, 300_000), "one instance must trade all symbols"),
        ((one, one), (300_000, 60_000), "bars of one length for all symbols; AUSDT has 5m, BUSDT has 1m"),
    ]:
        both = [assigned(*each) for each in zip(("AUSDT", "BUSDT"), lengths, strategies, strict=True)]
        with pytest.raises(BadUsage, match=words):
            Engine(both, Decimal(1), Limits())


# What survives the process


class Follower:
    """Follows the symbol that rose most since the last close; remembers all last closes."""

    def __init__(self) -> None:
        self.last: dict[str, float] = {}
        self.restored = 0

    def on_close(self, view: PortfolioView) -> dict[str, Target]:
        rises = {each: bar.close / self.last.get(each, bar.close) for each, bar in view.bars.items()}
        self.last |= {each: bar.close for each, bar in view.bars.items()}
        best = max(sorted(rises), key=lambda each: rises[each])
        return {each: Target(float(each == best)) for each in view.symbols}

    def state(self) -> object:
        return self.last

    def restore(self, state: dict[str, float]) -> None:
        self.last, self.restored = state, self.restored + 1


def prices(index: int) -> list[Bar]:
    return [
        bar(index, 100.0 + (index * index * (place + 2)) % 17, symbol=symbol)
        for place, symbol in enumerate(SYMBOLS)
        if (index + place) % 7
    ]


def test_it_goes_on_from_a_snapshot_as_if_nothing_had_happened() -> None:
    whole, cut = engine(Follower()), engine(Follower())
    for index in range(40):
        event = closed(*prices(index))
        expected = whole.handle(event)
        assert cut.handle(event) == expected
        fill(whole, expected)
        fill(cut, expected)
        body = cut.snapshot()
        cut = engine(follower := Follower())
        cut.restore(body)
        assert follower.restored == 1
        assert cut.state.digest() == whole.state.digest()
    assert whole.state.open
    assert not whole.forgetful()


def test_its_memory_is_kept_once() -> None:
    one = engine(Follower())
    one.handle(bars(0))
    kept = [each["strategy"] for each in json.loads(one.snapshot())["state"]["symbols"]]
    assert kept == ['{"AUSDT":100.0,"BUSDT":100.0,"CUSDT":100.0}', None, None]


def test_a_memory_that_cannot_be_kept_stops_all_symbols() -> None:
    class Forgets(Follower):
        def state(self) -> object:
            return {1, 2}

    one = engine(Forgets())
    one.handle(bars(0))
    with pytest.raises(Unkept) as caught:
        one.snapshot()
    effects = one.handle(one.unkept(caught.value, T0))
    assert [each.symbol for each in stops(effects)] == list(SYMBOLS)
    one.snapshot()


def test_after_a_move_to_other_symbols_it_speaks_for_those_that_are_not_stopped() -> None:
    before = engine(Scripted(explode), ["AUSDT"])
    before.handle(bars(0, "AUSDT"))
    after = engine(Scripted({"AUSDT": Target(1.0), "BUSDT": Target(1.0)}))
    after.move_in(before.snapshot())
    assert [each for each, _, _ in wanted(after.handle(bars(1)))] == ["BUSDT"]
    after.snapshot()
