"""Promises that hold after every event, whatever comes in which order: random walks through a rude world.

The world is a venue that accepts, refuses, forgets, fills, repeats itself, drops stops, and is moved by
strangers; it keeps its own account of what was executed.
"""

import random
from decimal import Decimal
from math import inf, isfinite, nan

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.domain.account import AccountSnapshot, Holding, OpenOrder
from bot.domain.ledger import Fill, Position
from bot.domain.messages import (
    BarsClosed,
    CancelOrder,
    Command,
    Effect,
    Event,
    Filled,
    FundingPaid,
    LinkDown,
    LinkUp,
    MarkPrice,
    OrderAccepted,
    OrderCancelled,
    OrderRejected,
    OrderUnknown,
    PlaceOrder,
    Quote,
    RiskChanged,
    SetStops,
    StopsChanged,
    StopsRejected,
    Synced,
    Verdict,
)
from bot.domain.orders import Order, Refused, sign
from bot.engine.core import Assignment, Engine
from bot.engine.orders.activity import Resting
from bot.engine.orders.execution import ExecutionPolicy
from bot.risk.limits import CHECKS, Limits
from bot.strategy.signal import Target, View
from tests.helpers import T0, bar, instrument

SYMBOLS = ("AUSDT", "BUSDT")
FOR_EXITS = {rule.name for rule in CHECKS if rule.exits}
BAR_MS = 300_000


class Whim:
    """Any wish; sometimes one that is no number."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng

    def on_bar(self, view: View) -> Target | None:
        rng = self.rng
        if rng.random() < 0.4:
            return None
        if rng.random() < 0.05:
            return Target(rng.choice([nan, inf]))
        wild = rng.uniform(-55, 55)
        qty = rng.choice([0.0, wild, -view.position, view.position / 2]) if view.position else wild
        limit = view.bar.close * rng.uniform(0.98, 1.02) if rng.random() < 0.3 else None
        return Target(qty, "whim", limit_price=limit)


class World:
    """The venue's truth, an engine before it, and the promises checked at every step."""

    def __init__(self, seed: int) -> None:
        rng = self.rng = random.Random(seed)
        self.limits = Limits(
            max_order_notional_quote=Decimal(5_200),
            max_position_notional_quote=Decimal(5_000),
            max_total_notional_quote=Decimal(9_000),
            on_halt=rng.choice(["hold", "flatten"]),
            max_consecutive_rejects=rng.choice([3, 1000]),
        )
        execution = ExecutionPolicy(maker=rng.random() < 0.5, reprice_ms=200, deadline_ms=12_000)
        traded = [Assignment(instrument(each), BAR_MS, Whim(rng), 12.0) for each in SYMBOLS]
        self.engine = Engine(
            traded,
            Decimal(10_000),
            self.limits,
            name="t",
            execution=execution,
            protective_stop_frac=Decimal("0.1"),
            awaits_account=True,
        )
        self.late_ms = execution.deadline_ms + self.limits.max_signal_age_ms
        self.now_ms = T0
        self.index = 0
        self.price = dict.fromkeys(SYMBOLS, 100.0)
        self.live: dict[str, Order] = {}
        self.cancelling: list[str] = []
        self.positions = {each: Position() for each in SYMBOLS}
        self.wallet = Decimal(10_000)
        self.executions: list[Fill] = []
        self.closes: set[int] = set()
        self.synced = False
        self.mixed = False
        """A stranger opened a position: its money is not ours, until all is flat and read again."""

    # What may happen

    def step(self) -> None:
        self.now_ms += self.rng.choice([0, 1, 40, 300, 1_500])
        happenings = {
            self.close: 3, self.quote: 8, self.answer: 10, self.cancel: 5,
            self.fill: 4, self.again: 1, self.command: 0.5,
            self.link: 0.5, self.stops: 1, self.stranger: 2, self.funding: 0.5, self.read: 1, self.calm: 2,
        }  # fmt: skip
        event = self.rng.choices(list(happenings), list(happenings.values()))[0]()
        if event is not None:
            self.tell(event)

    def calm(self) -> Event | None:
        """The operator lifts what stands in the way of trading."""
        breaker = self.engine.state.breaker
        if breaker.state == "halted":
            return Command(self.now_ms, "unhalt")
        if "paused" in breaker.reducing:
            return Command(self.now_ms, "resume")
        return LinkUp(self.now_ms, "private") if breaker.reducing else None

    def close(self) -> Event:
        rng = self.rng
        self.index += 1
        close_ms = bar(self.index).close_ms
        self.now_ms = max(self.now_ms, close_ms)
        for symbol in SYMBOLS:
            self.price[symbol] *= rng.uniform(0.97, 1.03)
        there = [each for each in SYMBOLS if rng.random() < 0.9] or [SYMBOLS[0]]
        bars = tuple(bar(self.index, self.price[each], symbol=each) for each in there)
        live = rng.random() < 0.8
        if live:
            self.closes.add(close_ms)
        return BarsClosed(close_ms, BAR_MS, bars, self.now_ms + rng.choice([5, 900, 20_000]), live)

    def quote(self) -> Event:
        rng = self.rng
        symbol = rng.choice(SYMBOLS)
        if rng.random() < 0.1:
            bad = rng.choice([(nan, 1.0), (0.0, 100.0), (101.0, 99.0), (-5.0, 100.0), (inf, inf)])
            return Quote(self.now_ms, symbol, *bad)
        price = self.price[symbol] = self.price[symbol] * rng.uniform(0.995, 1.005)
        if rng.random() < 0.2:
            return MarkPrice(self.now_ms, symbol, price)
        return Quote(self.now_ms, symbol, price * 0.9999, price * 1.0001)

    def pick(self) -> Order | None:
        return self.rng.choice(list(self.live.values())) if self.live else None

    def answer(self) -> Event | None:
        order = self.pick()
        if order is None:
            return None
        name = order.order_id
        word = self.rng.choice(["accept"] * 6 + ["unknown", "reject", "cancel", "post_only"])
        if word == "accept":
            return OrderAccepted(self.now_ms, name)
        if word == "unknown":
            return OrderUnknown(self.now_ms, name)
        del self.live[name]
        if word == "reject":
            return OrderRejected(self.now_ms, name, 110007, "balance")
        reason = "CancelByUser" if word == "cancel" else "EC_PostOnlyWillTakeLiquidity"
        return OrderCancelled(self.now_ms, name, reason)

    def cancel(self) -> Event | None:
        """A cancel arrives, if its order is still there."""
        order = self.live.pop(self.cancelling.pop(0), None) if self.cancelling else None
        return None if order is None else OrderCancelled(self.now_ms, order.order_id, "CancelByUser")

    def fill(self) -> Event | None:
        order = self.pick()
        if order is None:
            return None
        left = order.intent.qty - order.filled_qty
        held = self.positions[order.intent.symbol].qty
        if order.intent.reduce_only:
            left = min(left, max(-sign(order.intent.side) * held, Decimal(0)))
            if not left:  # nothing to reduce any more
                del self.live[order.order_id]
                return OrderCancelled(self.now_ms, order.order_id, "CancelByReduceOnly")
        qty = left if self.rng.random() < 0.6 else left / 2
        order.filled_qty += qty
        if order.filled_qty == order.intent.qty:
            del self.live[order.order_id]
        return self.execute(order.intent.symbol, order.intent.side, qty, order.order_id, "order")

    def execute(self, symbol: str, side: str, qty: Decimal, order_id: str, cause: str) -> Event:
        price, fee = Decimal(str(round(self.price[symbol], 1))), Decimal("0.01")
        name = f"e{len(self.executions)}"
        made = Fill(self.now_ms, symbol, side, qty, price, fee, order_id, name, cause=cause)  # type: ignore[arg-type]
        self.executions.append(made)
        self.wallet += self.positions[symbol].apply(made.side, qty, price) - fee
        return Filled(made)

    def again(self) -> Event | None:
        return Filled(self.rng.choice(self.executions)) if self.executions else None

    def command(self) -> Event:
        return Command(
            self.now_ms, self.rng.choice(["pause", "resume", "flatten", "halt", "unhalt", "unhalt"])
        )

    def link(self) -> Event:
        made = self.rng.choice([LinkDown, LinkUp, LinkUp])
        return made(self.now_ms, "private")

    def stops(self) -> Event:
        symbol = self.rng.choice(SYMBOLS)
        if self.rng.random() < 0.3:
            return StopsRejected(self.now_ms, symbol, 10001, "no")
        held = self.positions[symbol].qty
        there = self.rng.random() < 0.5 and held
        price = Decimal(str(round(self.price[symbol] * (0.9 if held > 0 else 1.1), 1)))
        return StopsChanged(self.now_ms, symbol, price if there else None, None)

    def stranger(self) -> Event | None:
        """Somebody else trades: closes what is held, or opens a position of his own; or the venue does."""
        rng, symbol = self.rng, self.rng.choice(SYMBOLS)
        held = self.positions[symbol].qty
        if rng.random() < 0.7:
            return None
        if not held or rng.random() < 0.3:
            if not self.synced:
                return None
            self.mixed = True
            return self.execute(
                symbol, rng.choice(["Buy", "Sell"]), Decimal(rng.randint(1, 9)), "theirs", "order"
            )
        cause = rng.choice(["order", "stop_loss", "liquidation", "adl"])
        return self.execute(symbol, "Sell" if held > 0 else "Buy", abs(held), "theirs", cause)

    def funding(self) -> Event | None:
        if not self.synced:
            return None
        self.wallet -= Decimal("0.5")
        self.now_ms += 1
        return FundingPaid(self.now_ms, self.rng.choice(SYMBOLS), Decimal("-0.5"))

    def read(self) -> Event:
        held = tuple(
            Holding(symbol, position.qty, position.entry_price)
            for symbol, position in self.positions.items()
            if position.qty and position.entry_price is not None
        )
        orders = tuple(
            OpenOrder(o.order_id, i.symbol, i.side, i.order_type, i.qty, o.filled_qty, i.price, i.reduce_only)
            for o in self.live.values()
            for i in (o.intent,)
        )
        self.now_ms += 1
        self.mixed = any(position.qty for position in self.positions.values()) and self.mixed
        first, self.synced = not self.synced, True
        return Synced(self.now_ms, AccountSnapshot(self.wallet, held, orders), first)

    # What must hold

    def tell(self, event: Event) -> None:
        state = self.engine.state
        was = state.breaker.state
        effects = self.engine.handle(event)
        for effect in effects:
            self.judge(event, effect, was)
        self.hold(effects)

    def judge(self, event: Event, effect: Effect, was: str) -> None:
        state = self.engine.state
        if isinstance(effect, Verdict) and isinstance(effect.verdict, Refused):
            if effect.verdict.intent.reduce_only:  # 28: exits are never blocked
                assert effect.verdict.reason in FOR_EXITS
        elif isinstance(effect, PlaceOrder):
            self.live[effect.order_id] = Order(effect.order_id, effect.intent)
            self.judge_order(event, effect, was)
        elif isinstance(effect, CancelOrder):
            self.cancelling.append(effect.order_id)
        elif isinstance(effect, SetStops):  # 27: only for what is held, on its losing side
            sym = state.symbols[effect.symbol]
            if not sym.position.qty:  # ours is closed: its stop must not close a foreign position
                assert effect.stop_loss is None
                assert sym.foreign_qty
                return
            assert effect.stop_loss is not None
            assert (float(effect.stop_loss) < sym.mark) == (sym.position.qty > 0)

    def judge_order(self, event: Event, order: PlaceOrder, was: str) -> None:
        state, intent = self.engine.state, order.intent
        for number in (intent.qty, intent.ref_price, intent.price or 1, intent.stop_loss or 1):  # 21
            assert isfinite(number)
        assert len(order.order_id) <= 36
        if isinstance(event, Quote) and not (
            0 < event.bid <= event.ask < inf
        ):  # 21: a bad number enters none
            assert intent.reduce_only
        sym = state.symbols[intent.symbol]
        if intent.reduce_only:  # an exit takes nothing of a foreign position
            assert intent.qty <= abs(sym.position.qty)
            return
        assert not sym.foreign_qty
        # 11: no stale decisions
        assert state.synced
        assert state.breaker.state == "active"  # 16: after a halt nothing is entered
        # A fill that closes a position without a stop ends that cause, and the turn may go on.
        assert was == "active" or (was == "reducing" and isinstance(event, Filled))
        assert intent.decided_ms in self.closes
        age_ms = state.now_ms - intent.decided_ms
        assert 0 <= age_ms <= self.limits.max_signal_age_ms + self.late_ms
        if isinstance(event, BarsClosed):
            assert event.live
            assert age_ms <= self.limits.max_signal_age_ms or isinstance(
                state.symbols[intent.symbol].activity, Resting
            )
        # 27: a stop from the first fill on
        price = intent.price if intent.price is not None else intent.ref_price
        stop = (
            intent.stop_loss
            if intent.stop_loss is not None
            else state.symbols[intent.symbol].stops.at_venue[0]
        )
        assert stop is not None
        if intent.stop_loss is not None:
            assert (stop < price) == (intent.side == "Buy")
        self.judge_exposure(intent.symbol)

    def judge_exposure(self, symbol: str) -> None:
        """7: whatever of the live and unknown orders fills, measured at the venue."""
        total = 0.0
        for each in SYMBOLS:
            held, mark = float(self.positions[each].qty), self.engine.state.symbols[each].mark
            orders = [order for order in self.live.values() if order.intent.symbol == each]
            buys = sum(float(o.intent.qty - o.filled_qty) for o in orders if o.intent.side == "Buy")
            sells = sum(float(o.intent.qty - o.filled_qty) for o in orders if o.intent.side == "Sell")
            worst = max(abs(held + buys), abs(held - sells)) * (mark if mark == mark else 0.0)
            total += worst
            if each == symbol:
                assert worst <= float(self.limits.max_position_notional_quote) * (1 + 1e-9)
        assert total <= float(self.limits.max_total_notional_quote) * (1 + 1e-9)

    def hold(self, effects: object) -> None:
        state = self.engine.state
        if self.synced:  # 1, 2, 12: executions count once, and the money is the venue's to the last digit
            assert self.mixed or state.cash.balance == self.wallet
            for symbol, position in self.positions.items():
                ours, foreign = state.symbols[symbol].position.qty, state.symbols[symbol].foreign_qty
                assert ours + foreign == position.qty
                assert ours * foreign >= 0
                assert self.mixed or not foreign
        if state.breaker.state != "active":  # 16: entries that rest are on their way back
            cancelled = {each.order_id for each in effects if isinstance(each, CancelOrder)}  # type: ignore[attr-defined]
            moved = any(isinstance(each, RiskChanged) for each in effects)  # type: ignore[attr-defined]
            if moved:
                for order in state.orders.live.values():
                    if order.intent.order_type == "Limit" and not order.intent.reduce_only:
                        assert order.order_id in cancelled
        for sym in state.symbols.values():  # 21
            assert sym.mark != sym.mark or 0.0 < sym.mark < inf
            assert isfinite(sym.position_base)
        assert len(state.breaker.halting) <= 8
        assert set(state.orders.live) == set(self.live)


@pytest.mark.fault(55)
@pytest.mark.invariant(2, 4, 7, 12, 21, 28)
@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32), st.integers(20, 250))
def test_the_promises_hold_after_every_event(seed: int, steps: int) -> None:
    world = World(seed)
    for _ in range(steps):
        world.step()


def test_the_walks_go_where_it_matters() -> None:
    seen: dict[str, int] = {}
    for seed in range(40):
        world = World(seed)
        for _ in range(400):
            world.step()
        state = world.engine.state
        for name, count in (state.refusals | state.orders.ended | state.reconciled).items():
            seen[name] = seen.get(name, 0) + count
        seen["reprices"] = seen.get("reprices", 0) + state.costs.reprices
        seen["deadlines"] = seen.get("deadlines", 0) + state.costs.deadlines
    wanted = {"filled", "cancelled", "rejected", "breaker", "order_notional", "position_notional"}
    wanted |= {
        "stale_signal",
        "stops",
        "reprices",
        "deadlines",
        "foreign_fill",
        "bad_quote",
        "not_finite",
        "foreign_position",
    }
    assert wanted <= {name for name, count in seen.items() if count > 5}, seen
