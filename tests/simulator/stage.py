"""One account with prices that the test sets: what it tells and answers, as the wire shows it."""

import json
from decimal import Decimal
from itertools import count
from random import Random
from typing import Any

from bot.adapters.files.shipped import instruments
from bot.bybit.serve import envelope, private_push
from bot.domain.market import Instrument
from bot.exchange.quotes.depth import Depth
from bot.exchange.quotes.exchange import QuoteExchange
from bot.exchange.terms import Terms
from bot.simulator.account.access import Key, RequestRefused
from bot.simulator.account.account import Account
from bot.simulator.account.actions import ACTIONS, OrderAnswer, act
from bot.simulator.account.messages import AccountPush
from bot.simulator.config import AccessRules
from bot.simulator.http.private import POSTS
from bot.simulator.http.queries import QUERIES

NOW_MS = 1_767_225_600_000
SYMBOL = "BTCUSDT"
Json = dict[str, Any]
KEY = Key("test-key", "test-secret", uid=100_000_001)


def D(text: object) -> Decimal:
    return Decimal(str(text))


class Stage:
    """An account on a quote exchange; time moves by 1 ms with every act."""

    def __init__(self, wallet: str = "100000", rules: AccessRules | None = None, **terms: Any) -> None:
        self.now_ms = NOW_MS
        self.told: list[AccountPush] = []
        self.rules_of: dict[str, Instrument] = dict(instruments())
        names = (f"00000000-0000-4000-8000-{n:012d}" for n in count(1))
        self.engine = QuoteExchange(self.rules_of, D(wallet), Terms(**terms), ids=names)
        self.desk = Account(
            KEY,
            self.engine,
            rules if rules is not None else AccessRules(),
            fees=(self.engine.terms.taker_fee_frac, self.engine.terms.maker_fee_frac),
            now_ms=lambda: self.now_ms,
            prices=lambda symbol: None,
            instruments=self.rules_of,
            rng=Random(1),
            emit=self.told.extend,
        )

    def price(self, last: object, *, symbol: str = SYMBOL, qty: object = 1000, asks: Any = None) -> None:
        """A trade at ``last`` with a tick of spread around it."""
        self.now_ms += 1
        tick = self.rules_of[symbol].tick_size
        levels = asks if asks is not None else [(D(last) + tick, D(qty))]
        self.engine.trade(symbol, self.now_ms, D(last), D(qty))
        self.engine.quote(symbol, self.now_ms, Depth([(D(last) - tick, D(qty))], levels))
        self.engine.mark(symbol, self.now_ms, D(last), D(last))
        self.desk.settle()

    def order(self, name: str = "create", granted: int = 99, **params: Any) -> Json:
        """An order action as REST answers it; ``name`` as after ``/v5/order/``."""
        self.now_ms += 1
        wish = {"category": "linear", "symbol": SYMBOL, **params}
        return self._answer(lambda: act(self.desk, ACTIONS[f"order.{name}"], wish, granted))

    def buy(self, qty: str = "0.01", **params: Any) -> Json:
        return self.order(side="Buy", orderType="Market", qty=qty, **params)

    def rest(self, qty: str = "0.01", price: str = "50000", side: str = "Buy", **params: Any) -> Json:
        """A limit order, far from the market unless told."""
        return self.order(side=side, orderType="Limit", qty=qty, price=price, **params)

    def ask(self, path: str, **params: Any) -> Json:
        """A query or a change of settings, by its path after ``/v5``."""
        full = f"/v5{path}"
        answer = POSTS[full].answer if full in POSTS else QUERIES[full][1]
        return self._answer(lambda: answer(self.desk, params, self.now_ms))

    def rows(self, path: str, **params: Any) -> list[Json]:
        found = self.ask(path, **{"category": "linear", "symbol": SYMBOL, **params})
        assert found["retCode"] == 0, found
        return list(found["result"]["list"])

    def _answer(self, run: Any) -> Json:
        try:
            answer = run()
        except RequestRefused as refused:
            answer = None
            body = envelope(refused.result, refused.code, refused.text, time_ms=self.now_ms)
        if isinstance(answer, OrderAnswer):
            body = envelope(answer.result, 0, answer.text, time_ms=self.now_ms, ext=answer.ext)
        return dict(json.loads(body))

    def pushes(self, kind: str = "") -> list[Json]:
        """What was told since the last call, as JSON."""
        told = [
            json.loads(private_push(m.kind, m.rows, m.push_id, m.created_ms))
            for m in self.told
            if kind in ("", m.kind)
        ]
        self.told.clear()
        return told

    def told_orders(self) -> list[Json]:
        return [row for push in self.pushes("order") for row in push["data"]]
