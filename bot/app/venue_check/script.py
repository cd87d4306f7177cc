"""The acts of the check, in their order; ``Script.run`` leaves the account flat in the symbol in any case."""

import asyncio
import json
from collections.abc import Callable
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Literal

from bot.adapters.net.signed_rest import RequestOutcome, SignedRest
from bot.adapters.venue.account import open_orders, read_position
from bot.app.venue_check.shapes import shape_of
from bot.app.venue_check.streams import PrivateStream, TradeStream
from bot.app.venue_check.transcript import Act, Transcript
from bot.bybit import orders
from bot.bybit.account.rows import number
from bot.bybit.codes import RequestAction
from bot.bybit.hosts import SignedUrls
from bot.bybit.instruments import instrument_of
from bot.bybit.orders import Request
from bot.domain.errors import BadInput, VenueError
from bot.domain.market import Instrument
from bot.domain.messages import SetStops
from bot.domain.orders import Intent
from bot.domain.words import counted

_TRIES = 4
_AGAIN_S = 0.5
TIDY_S = 30.0
"""How long to try to leave the account flat."""
_FAR = Decimal("0.97")
"""A limit order this far below the bid rests."""
_SLIPPAGE_BPS = 300


class NotFlat(VenueError):
    """The account has a position or orders in the symbol: the check trades only where nothing is at risk."""


class Script:
    """One run of the acts on one account.

    Args:
        rest: signed requests of the account.
        urls: its addresses. Without a trade socket its acts are left out.
        symbol: to trade in, with the smallest size.
        name: the first part of the names of its orders.
        asks_key: False where a venue does not tell about keys (demo trading).
    """

    def __init__(
        self, rest: SignedRest, urls: SignedUrls, symbol: str, name: str, *, asks_key: bool = True
    ) -> None:
        self.transcript = Transcript()
        self.left: list[str] = []
        """What could not be taken back at the end; empty: the account is flat in the symbol."""
        self._rest = rest
        self._urls = urls
        self._symbol = symbol
        self._name = name
        self._asks_key = asks_key
        self._number = 0
        self._private = PrivateStream()
        self._rule: Instrument | None = None
        self._bid = Decimal(0)
        self._leverage = Decimal(1)

    async def run(self) -> None:
        """Do everything once.

        Raises:
            NotFlat: the account is not flat in the symbol; nothing was sent.
            VenueError: the venue does not answer, or refuses the key.
        """
        await self._look()
        await self._refuse_unless_flat()
        try:
            async with self._private.running(self._urls.private_ws, self._rest, self.transcript):
                await self._seen("sign in", lambda: self._private.ups == 1)
                await self._act("leverage again", orders.set_leverage(self._symbol, self._leverage), "setup")
                await self._rest_and_cancel()
                await self._refusals()
                if self._urls.trade_ws is not None:
                    await self._over_the_trade_socket(self._urls.trade_ws)
                await self._enter_protect_and_leave()
        finally:
            await self._tidy()

    # Reading

    async def _look(self) -> None:
        symbol = self._symbol
        await self._act("time", orders.server_time())
        if self._asks_key:
            await self._act("key", orders.query_api(), welcome=True)
        await self._act("account", orders.account_info(), welcome=True)
        await self._act("wallet", orders.wallet())
        rows = await self._act("rules", orders.instruments(symbol=symbol))
        tiers = await self._act("tiers", orders.risk_limits("", symbol))
        prices = await self._act("prices", orders.tickers(symbol))
        await self._act("positions", orders.positions())
        held = await self._act("position", orders.position_of(symbol))
        await self._act("open orders", orders.open_orders(symbol))
        await self._act("executions", orders.executions(self._rest.time.now_ms() - 60_000))
        try:
            (row,) = orders.parse_instruments(rows.body).rows
            self._rule = instrument_of(row, orders.parse_risk_limits(tiers.body).rows)
            (ticker,) = orders.parse_tickers(prices.body).rows
            self._bid = number(str(ticker.bid1Price))
            slots = orders.parse_positions(held.body).rows
            self._leverage = number(slots[0].leverage)
        except (BadInput, ValueError, IndexError) as error:
            raise VenueError(
                f"{self._rest.base_url}: {symbol} cannot be traded by this check: {error}"
            ) from error
        if any(slot.positionIdx for slot in slots):
            raise VenueError(f"{symbol} is in hedge mode; switch it to one-way mode, as the bot needs it")

    async def _refuse_unless_flat(self) -> None:
        symbol = self._symbol
        held = [row for row in await read_position(self._rest, symbol) if number(row.size)]
        if held:
            raise NotFlat(
                f"{symbol}: the account holds {held[0].side} {held[0].size}; the check trades only a flat "
                "symbol: close the position or choose another --symbol"
            )
        working = await open_orders(self._rest, symbol)
        if working:
            raise NotFlat(
                f"{symbol}: {counted(len(working), 'open order')}; the check trades only where none "
                "is: cancel them or choose another --symbol"
            )

    # Orders that rest

    async def _rest_and_cancel(self) -> None:
        symbol, private, link = self._symbol, self._private, self._next()
        price = self._price(_FAR)
        await self._act("place", self._limit(link, price), "create")
        await self._seen("it rests", lambda: "New" in private.statuses.get(link, ()))
        await self._act("place again", self._limit(link, price), "create")
        await self._act("look up", orders.order_by_link(symbol, link))
        lower = self._price(_FAR - Decimal("0.01"))
        qty = self._qty() + self._step()
        await self._act("amend", orders.amend_order(symbol, link, qty=qty, price=lower), "amend")
        await self._seen("it is amended", lambda: number(private.prices.get(link, "0")) == lower)
        await self._act("cancel", orders.cancel_order(symbol, link), "cancel")
        await self._seen("it is cancelled", lambda: "Cancelled" in private.statuses.get(link, ()))
        await self._act("cancel again", orders.cancel_order(symbol, link), "cancel")
        await self._act("history", orders.history_by_link(symbol, link), rows=True)

    async def _refusals(self) -> None:
        assert self._rule is not None, "the rules were read"
        tiny = self._intent("Buy", self._rule.min_qty / 10, "Limit", self._price(_FAR))
        await self._act("too small", orders.create_by(tiny, self._next()), "create")
        leave = self._intent("Sell", self._qty(), "Market", reduce_only=True)
        await self._act("reduce nothing", orders.create_by(leave, self._next()), "create")

    async def _over_the_trade_socket(self, url: str) -> None:
        trade, private, link = TradeStream(), self._private, self._next()
        async with trade.running(url, self._rest, self.transcript):
            self.transcript.add(Act("trade socket: sign in", seen=await trade.ready()))
            place = self._limit(link, self._price(_FAR))
            await self._ask(trade, "trade socket: place", place)
            await self._seen("trade socket: it rests", lambda: "New" in private.statuses.get(link, ()))
            cancel = orders.cancel_order(self._symbol, link)
            await self._ask(trade, "trade socket: cancel", cancel)
            await self._seen(
                "trade socket: it is cancelled", lambda: "Cancelled" in private.statuses.get(link, ())
            )
            await self._ask(trade, "trade socket: cancel again", cancel)

    # A position

    async def _enter_protect_and_leave(self) -> None:
        symbol, private, link = self._symbol, self._private, self._next()
        stop = self._price(Decimal("0.90"))
        entry = self._intent("Buy", self._qty(), "Market", stop_loss=stop)
        await self._act("enter", orders.create_by(entry, link, _SLIPPAGE_BPS), "create")
        await self._seen("it is executed", lambda: link in private.executed)
        await self._seen("it is filled", lambda: "Filled" in private.statuses.get(link, ()))
        await self._seen("the position is pushed", lambda: self._holds())
        await self._act("position held", orders.position_of(symbol))
        await self._act("stop rests", orders.open_orders(symbol), rows=True)
        await self._act("executions of it", orders.executions_by_link(symbol, link), rows=True)
        await self._act("wallet held", orders.wallet())
        moved = SetStops(symbol, self._price(Decimal("0.89")), None)
        await self._act("move stop", orders.trading_stop(moved), "stops")
        await self._act("move stop again", orders.trading_stop(moved), "stops")
        private.reconnect()
        await self._seen("sign in again", lambda: private.ups >= 2)
        leave, link = self._intent("Sell", self._qty(), "Market", reduce_only=True), self._next()
        await self._act("leave", orders.create_by(leave, link), "create")
        await self._seen("it is left", lambda: "Filled" in private.statuses.get(link, ()))
        await self._seen("flat is pushed", lambda: not self._holds())
        await self._act("position at the end", orders.position_of(symbol))

    def _holds(self) -> bool:
        return bool(number(self._private.sizes.get(self._symbol, "0")))

    # The end

    async def _tidy(self) -> None:
        """Cancel our orders and close the position until the venue shows neither, or the time is up."""
        loop = asyncio.get_running_loop()
        by_s = loop.time() + TIDY_S
        while True:
            try:
                self.left = await self._remains()
                if not self.left:
                    return
                await self._take_back()
            except (VenueError, BadInput) as error:
                self.left = [f"unknown: {error}"]
            if loop.time() >= by_s or self._rest.paused_s > TIDY_S:
                return
            await asyncio.sleep(_AGAIN_S)

    async def _remains(self) -> list[str]:
        held = [row for row in await read_position(self._rest, self._symbol) if number(row.size)]
        own = [f"order {link}" for link in await self._own_orders()]
        return [*(f"position {row.side} {row.size} {row.symbol}" for row in held), *own]

    async def _own_orders(self) -> list[str]:
        found = await open_orders(self._rest, self._symbol)
        return [row.orderLinkId for row in found if row.orderLinkId.startswith(f"{self._name}-")]

    async def _take_back(self) -> None:
        for link in await self._own_orders():
            await self._rest.send_once(orders.cancel_order(self._symbol, link), "cancel")
        for row in await read_position(self._rest, self._symbol):
            if number(row.size):  # the symbol was flat when we began, so this is ours
                side: Literal["Buy", "Sell"] = "Sell" if row.side == "Buy" else "Buy"
                leave = self._intent(side, number(row.size), "Market", reduce_only=True)
                await self._rest.send_once(orders.create_by(leave, self._next()), "create")

    # One act

    async def _act(
        self,
        name: str,
        request: Request,
        action: RequestAction = "query",
        *,
        welcome: bool = False,
        rows: bool = False,
    ) -> RequestOutcome:
        """Send a request and note its answer; only what has surely not been executed is sent again.

        ``welcome``: a refusal of the key ends the check. ``rows``: ask again while the list is empty.

        Raises:
            VenueError: the venue cannot be reached, or refuses the key.
        """
        for attempt in range(_TRIES):
            outcome = await self._rest.send_once(request, action)
            lost = outcome.kind == "retry_unknown" and not outcome.code and action == "query"
            empty = rows and outcome.kind == "ok" and not _rows(outcome.body)
            if not (outcome.kind in ("rate", "unsent", "clock") or lost or empty) or attempt == _TRIES - 1:
                break
            if outcome.kind == "clock":
                await self._rest.measure()
            await asyncio.sleep(_AGAIN_S)
        if outcome.kind == "unsent" or (welcome and outcome.kind == "credentials"):
            raise self._rest.error(request, outcome)
        self.transcript.add(_step(name, outcome))
        return outcome

    async def _ask(self, trade: TradeStream, name: str, request: Request) -> None:
        answer = await trade.ask(self._rest, request)
        if answer is None:
            self.transcript.add(Act(name, text="no answer"))
        else:
            self.transcript.add(Act(name, answer.code, text=answer.text if answer.code else ""))

    async def _seen(self, name: str, true: Callable[[], bool]) -> None:
        self.transcript.add(Act(name, seen=await self._private.until(true)))

    def _next(self) -> str:
        self._number += 1
        return f"{self._name}-{self._number}"

    def _limit(self, link: str, price: Decimal) -> Request:
        return orders.create_by(self._intent("Buy", self._qty(), "Limit", price), link)

    def _intent(
        self,
        side: Literal["Buy", "Sell"],
        qty: Decimal,
        order_type: Literal["Market", "Limit"],
        price: Decimal | None = None,
        *,
        reduce_only: bool = False,
        stop_loss: Decimal | None = None,
    ) -> Intent:
        return Intent(
            symbol=self._symbol,
            side=side,
            qty=qty,
            order_type=order_type,
            price=price,
            time_in_force="GTC" if order_type == "Limit" else "IOC",
            reduce_only=reduce_only,
            decided_ms=0,
            ref_price=self._bid,
            stop_loss=stop_loss,
        )

    def _price(self, frac: Decimal) -> Decimal:
        assert self._rule is not None, "the rules were read"
        tick = self._rule.tick_size
        return (self._bid * frac / tick).to_integral_value(ROUND_FLOOR) * tick

    def _qty(self) -> Decimal:
        """Return the smallest size that every order of the script may have."""
        assert self._rule is not None, "the rules were read"
        rule, step = self._rule, self._step()
        worth = rule.min_notional_quote / (self._bid * Decimal("0.9"))
        return (max(rule.min_qty, worth) / step).to_integral_value(ROUND_CEILING) * step

    def _step(self) -> Decimal:
        assert self._rule is not None, "the rules were read"
        return self._rule.qty_step


def _step(name: str, outcome: RequestOutcome) -> Act:
    try:
        body = json.loads(outcome.body) if outcome.body else None
    except (ValueError, RecursionError):
        body = None
    answered = isinstance(body, dict)
    code = outcome.code if answered else None
    return Act(
        name, code, outcome.status, outcome.text if outcome.code or not answered else "", shape=shape_of(body)
    )


def _rows(body: bytes) -> bool:
    try:
        return bool(json.loads(body)["result"]["list"])
    except (ValueError, KeyError, TypeError):
        return True  # not a list: the shape will show it
