"""What faults of the exchange itself act on: its clock, its rules, its book, somebody else's orders."""

from collections.abc import Callable, Iterable
from decimal import Decimal, InvalidOperation
from typing import Any, Protocol

import msgspec

from bot.domain.errors import BadInput
from bot.domain.market import MINUTE_MS, Instrument
from bot.domain.money import floor_to
from bot.exchange.quotes.exchange import QuoteExchange
from bot.simulator.account.access import RequestRefused
from bot.simulator.account.account import Account
from bot.simulator.config import AccessRules
from bot.simulator.faults.plan import Fault
from bot.simulator.market.loop import Market


class World(Protocol):
    """Where a fault without a message takes place."""

    def now_ms(self) -> int:
        """What the exchange says the time is."""

    def begin(self, fault: Fault) -> None:
        """Let it happen."""

    def end(self, fault: Fault) -> None:
        """Put right what can be put right."""


class ExchangeWorld:
    """The market and the accounts of one exchange."""

    def __init__(
        self, market: Market, accounts: Callable[[], Iterable[Account]], log: Callable[..., Any] | None = None
    ) -> None:
        self._market = market
        self._accounts = accounts
        self._log = log
        self._before: dict[str, Instrument] = {}
        self._rules_before: dict[str, AccessRules] = {}

    def now_ms(self) -> int:
        """The announced time."""
        return self._market.clock.now_ms()

    def check(self, fault: Fault) -> None:
        """Refuse a fault that cannot be, before it is in force.

        Raises:
            BadInput: a symbol that is not traded here, a field that instruments do not have, a quantity
                that is no number.
        """
        if fault.symbol and fault.symbol not in self._market.symbols:
            raise BadInput(f"fault {fault.kind}: {fault.symbol} is not traded here")
        if fault.kind == "rules":
            self._changed(fault)
        if fault.kind == "account":
            self._switches(fault)
        if fault.kind in ("thin", "foreign_order") or fault.qty:
            self._qty(fault)

    def begin(self, fault: Fault) -> None:
        """Let it happen; what the exchange refuses (an order without money) is logged."""
        match fault.kind:
            case "skew":
                self._market.clock.skew_ms += fault.skew_ms
            case "status":
                self._keep(fault.symbol)
                self._set(msgspec.structs.replace(self._instrument(fault), status=fault.status_text))
            case "rules":
                self._keep(fault.symbol)
                self._set(self._changed(fault))
            case "thin":
                self._market.thin = self._qty(fault)
            case "account":
                for account in self._accounts():
                    self._rules_before.setdefault(account.key.key, account.rules)
                    account.set_rules(**self._switches(fault))
            case "maintenance" | "restart":
                self._market.notices.begin(self._market.clock.now_ms(), fault.for_s)
            case _:
                self._happen(fault)

    def end(self, fault: Fault) -> None:
        """Put right what was changed."""
        match fault.kind:
            case "skew":
                self._market.clock.skew_ms -= fault.skew_ms
            case "status" | "rules":
                before = self._before.pop(fault.symbol, None)
                if before is not None:
                    self._set(before)
            case "thin":
                self._market.thin = None
            case "account":
                for account in self._accounts():
                    before_rules = self._rules_before.pop(account.key.key, account.rules)
                    account.set_rules(**msgspec.structs.asdict(before_rules))
            case "maintenance":
                self._market.notices.end(self._market.clock.now_ms())
            case "restart":
                self._market.notices.end(self._market.clock.now_ms())
                for account in self._accounts():
                    account.ledger.orders.restarted()
                for symbol in self._market.symbols.values():
                    symbol.restarted = True
            case _:
                pass

    def _happen(self, fault: Fault) -> None:
        now_ms = self._market.clock.market_ms()
        for account in self._accounts():
            try:
                if fault.kind == "foreign_order":
                    account.create(self._order(fault))
                    continue
                if fault.kind == "spike":
                    self._spike(account, fault, now_ms)
                    continue
                engine = account.engine
                for held in engine.positions(fault.symbol):
                    if fault.kind == "adl" and held.size:
                        qty = self._qty(fault) if fault.qty else held.size
                        engine.adl(fault.symbol, held.idx, qty, now_ms)
                    elif held.size:
                        engine.liquidate(fault.symbol, held.idx, now_ms)
                account.settle()
            except RequestRefused as refused:
                if self._log is not None:
                    self._log("fault_refused", kind=fault.kind, code=refused.code, text=refused.text)

    def _order(self, fault: Fault) -> dict[str, object]:
        """An order by hand: at ``price_frac`` of the last price, at the market where that is 0."""
        order: dict[str, object] = {
            "category": "linear",
            "symbol": fault.symbol,
            "side": fault.side,
            "orderType": "Limit" if fault.price_frac else "Market",
            "qty": str(self._qty(fault)),
        }
        if fault.price_frac:
            order["price"] = str(self._price(fault))
        return order

    def _spike(self, account: Account, fault: Fault, now_ms: int) -> None:
        """Let an account see one trade far from the market, of ``qty`` or as much as an order may have.

        The mark stays, so nothing is liquidated. An account that fills by closed bars sees no trades.
        """
        engine, rules = account.engine, self._instrument(fault)
        if isinstance(engine, QuoteExchange):
            account.prices(fault.symbol)
            qty = self._qty(fault) if fault.qty else rules.max_qty
            engine.trade(fault.symbol, now_ms, self._price(fault), qty)
            account.settle()

    def _price(self, fault: Fault) -> Decimal:
        """Return ``price_frac`` of the last price, on the grid."""
        price = self._market.last(fault.symbol) * Decimal(repr(fault.price_frac))
        return floor_to(price, self._instrument(fault).tick_size)

    def _instrument(self, fault: Fault) -> Instrument:
        return self._market.instrument(fault.symbol)

    def _keep(self, symbol: str) -> None:
        self._before.setdefault(symbol, self._market.instrument(symbol))

    def _set(self, instrument: Instrument) -> None:
        self._market.set_instrument(instrument)

    def _changed(self, fault: Fault) -> Instrument:
        old = msgspec.to_builtins(self._instrument(fault))
        unknown = fault.changes.keys() - old.keys()
        if unknown:
            raise BadInput(f"fault rules: instruments have no {', '.join(sorted(unknown))}")
        try:
            changed = msgspec.convert(old | fault.changes, Instrument, strict=False)
        except msgspec.ValidationError as error:
            raise BadInput(f"fault rules: {error}") from None
        if changed.funding_interval_ms <= 0 or changed.funding_interval_ms % MINUTE_MS:
            raise BadInput(
                f"fault rules: funding_interval_ms must be whole minutes, was {changed.funding_interval_ms}"
            )
        return changed

    def _switches(self, fault: Fault) -> dict[str, object]:
        """Return the changed switches of ``AccessRules``, checked."""
        old = msgspec.to_builtins(AccessRules())
        unknown = fault.changes.keys() - old.keys()
        if unknown:
            raise BadInput(f"fault account: there is no switch {', '.join(sorted(unknown))}")
        try:
            changed = msgspec.convert(old | fault.changes, AccessRules, strict=False)
        except msgspec.ValidationError as error:
            raise BadInput(f"fault account: {error}") from None
        return {name: getattr(changed, name) for name in fault.changes}

    def _qty(self, fault: Fault) -> Decimal:
        try:
            qty = Decimal(fault.qty)
        except InvalidOperation:
            raise BadInput(f"fault {fault.kind}: qty must be a number, was {fault.qty!r}") from None
        if not qty.is_finite() or qty <= 0:
            raise BadInput(f"fault {fault.kind}: qty must be > 0, was {fault.qty}")
        return qty
