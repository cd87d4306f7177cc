"""A strategy that raises: its symbol takes no entries, everything else goes on, and nobody forgets it."""

import json
from collections.abc import Callable, Sequence
from decimal import Decimal

import msgspec
import pytest

from bot.domain.messages import (
    CancelOrder,
    Command,
    Effect,
    Filled,
    OrderAccepted,
    OrderCancelled,
    StrategyStopped,
    Verdict,
)
from bot.domain.orders import Refused
from bot.engine.core import Assignment, Engine
from bot.risk.limits import Limits
from bot.strategy.memory import Unkept
from bot.strategy.signal import Target, View
from tests.engine.scripted import Script, fill_of, orders
from tests.helpers import T0, bar, closed, instrument


class Broken:
    """Wants something at each bar, and breaks at the given one."""

    def __init__(self, at: int, wish: Target, breaks: Callable[[], object]) -> None:
        self.at, self.wish, self.breaks = at, wish, breaks
        self.seen = 0

    def on_bar(self, view: View) -> object:
        self.seen += 1
        return self.breaks() if self.seen == self.at + 1 else self.wish


class Grows:
    """Wants one more at each bar."""

    def on_bar(self, view: View) -> Target | None:
        return Target(1.0 + (view.bar.start_ms - T0) / view.bar.interval_ms)


class Nasty(Exception):
    def __str__(self) -> str:
        raise ValueError("no words")


def divide() -> object:
    return 1 / 0


def parse() -> object:
    return json.loads("{")


def nasty() -> object:
    raise Nasty


def _at(filled: Filled, symbol: str) -> Filled:
    return Filled(msgspec.structs.replace(filled.fill, symbol=symbol))


LONG = Target(2.0, "up", stop_loss=90.0)


def engine(breaks: Callable[[], object] = divide, wish: Target = LONG, at: int = 1) -> Engine:
    broken = Assignment(instrument(), 300_000, Broken(at, wish, breaks), 12.0)  # type: ignore[arg-type]
    other = Assignment(instrument("ETHUSDT"), 300_000, Grows(), 12.0)
    return Engine([broken, other], Decimal(10_000), Limits(), name="t")


def close(one: Engine, index: int) -> Sequence[Effect]:
    """Handle a close; what the working strategy orders is filled."""
    effects = one.handle(closed(bar(index), bar(index, symbol="ETHUSDT")))
    for order in orders(effects):
        if order.intent.symbol == "ETHUSDT":
            one.handle(OrderAccepted(T0, order.order_id))
            one.handle(_at(fill_of(order), "ETHUSDT"))
    return effects


def stops(effects: Sequence[Effect]) -> list[StrategyStopped]:
    return [each for each in effects if isinstance(each, StrategyStopped)]


def test_the_line_the_bar_and_the_symbol_are_named_and_only_that_symbol_stops() -> None:
    one = engine(at=0)
    effects = close(one, 0)
    (stopped,) = stops(effects)
    failure = stopped.failure
    line = divide.__code__.co_firstlineno + 1
    assert (stopped.symbol, failure.bar_ms, failure.strategy) == ("BTCUSDT", T0, "Broken")
    assert (failure.file, failure.line) == ("test_failing.py", line)
    assert failure.error == "ZeroDivisionError: division by zero"
    assert failure.trace[-1] == f"test_failing.py:{line} in divide"
    again = close(one, 1)
    assert one.state.symbols["BTCUSDT"].strategy.seen == 1  # type: ignore[attr-defined]  # it is not asked again
    assert not stops(again)
    assert [each.intent.symbol for each in orders(again)] == ["ETHUSDT"]


@pytest.mark.parametrize(
    ("breaks", "function", "error"),
    [
        (parse, parse, "JSONDecodeError: Expecting property name"),
        (nasty, nasty, "Nasty"),
        (lambda: 0.5, Broken.on_bar, "TypeError: on_bar must return a Target or None, was 0.5"),
        (lambda: [Target(1.0)], Broken.on_bar, "TypeError: on_bar must return"),
    ],
    ids=["in a library", "without words", "a number", "a list"],
)
def test_the_line_is_one_of_the_users_own_file(
    breaks: Callable[[], object], function: Callable[..., object], error: str
) -> None:
    (stopped,) = stops(close(engine(breaks, at=0), 0))
    first = function.__code__.co_firstlineno
    assert stopped.failure.file == "test_failing.py"
    assert first <= stopped.failure.line <= first + 1
    assert stopped.failure.error.startswith(error)


def test_a_resting_entry_is_taken_back_and_no_other_leaves() -> None:
    one = engine(wish=Target(2.0, limit_price=99.0))
    order = next(each for each in orders(close(one, 0)) if each.intent.symbol == "BTCUSDT")
    one.handle(OrderAccepted(T0, order.order_id))
    effects = close(one, 1)
    assert [each.order_id for each in effects if isinstance(each, CancelOrder)] == [order.order_id]
    one.handle(OrderCancelled(T0, order.order_id, ""))
    sym = one.state.symbols["BTCUSDT"]
    refused = one._trader.pursue(sym, Target(5.0), T0)  # whoever should still want something
    verdicts = [each.verdict for each in refused if isinstance(each, Verdict)]
    assert [each.reason for each in verdicts if isinstance(each, Refused)] == ["strategy_stopped"]


def test_a_position_keeps_its_stop_and_can_be_left() -> None:
    one = engine()
    entry = next(each for each in orders(close(one, 0)) if each.intent.symbol == "BTCUSDT")
    one.handle(OrderAccepted(T0, entry.order_id))
    one.handle(fill_of(entry))
    wanted = one.state.symbols["BTCUSDT"].stops.wanted
    close(one, 1)
    assert one.state.symbols["BTCUSDT"].position.qty == 2
    assert one.state.symbols["BTCUSDT"].stops.wanted == wanted
    left = [each.intent for each in orders(one.handle(Command(T0 + 600_000, "flatten")))]
    (leaving,) = [each for each in left if each.symbol == "BTCUSDT"]
    assert (leaving.side, leaving.qty, leaving.reduce_only) == ("Sell", 2, True)


def test_a_restart_does_not_forget_it_and_the_operator_lifts_it() -> None:
    one = engine(at=0)
    close(one, 0)
    digest = one.state.digest()
    two = engine(at=99)
    two.restore(one.snapshot())
    assert two.state.digest() == digest
    assert [each.intent.symbol for each in orders(close(two, 1))] == ["ETHUSDT"]
    peak = two.state.breaker.peak_equity = 12_000.0
    two.handle(Command(T0 + 700_000, "unhalt"))
    assert two.state.breaker.peak_equity == peak  # no halt was lifted, so no loss begins anew
    two.state.breaker.peak_equity = 10_000.0
    assert two.state.digest() != digest
    assert {each.intent.symbol for each in orders(close(two, 2))} == {"BTCUSDT", "ETHUSDT"}


def test_a_stop_moves_into_an_engine_with_other_arguments_but_not_to_other_symbols() -> None:
    one = engine(at=0)
    close(one, 0)
    other = engine(at=99)
    other.move_in(one.snapshot())
    assert list(other.state.stopped) == ["BTCUSDT"]
    eth = Engine(
        [Assignment(instrument("ETHUSDT"), 300_000, Script({}), 12.0)], Decimal(1), Limits(), name="t"
    )
    eth.move_in(one.snapshot())
    assert not eth.state.stopped


def test_a_stopped_strategy_is_not_asked_what_it_remembers() -> None:
    class Remembers(Broken):
        def state(self) -> object:
            raise RuntimeError("half done")

        def restore(self, state: object) -> None: ...

    one = Engine(
        [Assignment(instrument(), 300_000, Remembers(0, LONG, divide), 12.0)],  # type: ignore[arg-type]
        Decimal(10_000),
        Limits(),
    )
    assert stops(one.handle(closed(bar(0))))
    assert one.snapshot()


class Forgets(Grows):
    """Cannot say what it remembers."""

    def __init__(self, memory: Callable[[], object]) -> None:
        self.memory = memory

    def state(self) -> object:
        return self.memory()

    def restore(self, state: object) -> None: ...


@pytest.mark.parametrize(
    ("memory", "function", "error"),
    [
        (divide, divide, "ZeroDivisionError"),
        (object, Forgets.state, "TypeError: Object of type object is not JSON serializable"),
    ],
    ids=["raises", "no JSON"],
)
def test_a_strategy_whose_memory_cannot_be_kept_is_stopped_by_an_event(
    memory: Callable[[], object], function: Callable[..., object], error: str
) -> None:
    one = Engine([Assignment(instrument(), 300_000, Forgets(memory), 12.0)], Decimal(10_000), Limits())
    one.handle(closed(bar(0)))
    with pytest.raises(Unkept) as caught:
        one.snapshot()
    (stopped,) = stops(one.handle(one.unkept(caught.value, T0)))
    failure = stopped.failure
    assert (stopped.symbol, failure.method, failure.file) == ("BTCUSDT", "state", "test_failing.py")
    assert 0 <= failure.line - function.__code__.co_firstlineno <= 1
    assert failure.error.startswith(error)
    assert one.snapshot()
    assert one.state.digest()


def test_a_secret_in_the_words_of_an_error_is_taken_out_before_they_are_cut() -> None:
    secret = "s3cret-word"

    def tell() -> object:
        raise ValueError("x" * 170 + secret)

    one = Engine(
        [Assignment(instrument(), 300_000, Broken(0, LONG, tell), 12.0)],  # type: ignore[arg-type]
        Decimal(10_000),
        Limits(),
        redact=lambda text: text.replace(secret, "[redacted]"),
    )
    (stopped,) = stops(one.handle(closed(bar(0))))
    assert "s3cret" not in stopped.failure.error
    assert len(stopped.failure.error) <= 200
