"""The market of a remote venue: the contracts' rules, and its prices if the feed is another market."""

import asyncio
import math
from collections import Counter
from collections.abc import Callable

from bot.adapters.net.signed_rest import SignedRest
from bot.adapters.venue.config import VenueConfig
from bot.adapters.venue.guard import Divergence
from bot.adapters.venue.start import read_rule, read_rules
from bot.bybit import orders
from bot.bybit.account.rows import number_or_none
from bot.bybit.instruments import NOT_TRADED_MS, any_not_traded
from bot.bybit.wire import TickerRow
from bot.domain.errors import BadInput, BotError, VenueError
from bot.domain.market import Instrument
from bot.domain.messages import (
    BarsClosed,
    Candle,
    Event,
    InstrumentChanged,
    Line,
    LinkDown,
    LinkUp,
    MarketEvent,
    MarkPrice,
    Quote,
)

_RULES_AGAIN_S = 60.0
"""Minimum time between two readings of all rules, however often orders are refused."""
_RULE_AGAIN_S = 5.0
"""The same for the rules of one contract, which a refused order asks for."""


class VenueMarket:
    """Emits changed rules, the venue's quotes and marks, and a divergence from the feed.

    Attributes:
        rules: rules by symbol, as last read.
        rules_wanted: set this event to have the rules read soon.
    """

    def __init__(
        self,
        config: VenueConfig,
        rest: SignedRest,
        put: Callable[[Event], None],
        now_ms: Callable[[], int],
        counts: Counter[str],
    ) -> None:
        self.rules: dict[str, Instrument] = {}
        self.rules_wanted = asyncio.Event()
        self._config = config
        self._rest = rest
        self._put = put
        self._now_ms = now_ms
        self._counts = counts
        self._symbols = frozenset(config.symbols)
        self._asking = asyncio.Lock()
        self._asked_s: dict[str, float] = {}
        self._divergence = Divergence(config.max_divergence_frac)

    def feed(self, event: MarketEvent) -> None:
        """Note the feed's prices from bars and candles; its quotes may be the venue's own."""
        if isinstance(event, BarsClosed):
            for bar in event.bars:
                self._divergence.feed(bar.symbol, bar.close)
        elif isinstance(event, Candle):
            self._divergence.feed(event.symbol, event.close)

    async def read_rules(self) -> None:
        """Read the rules now and emit those that changed.

        Raises:
            BadSettings: a symbol that the venue does not trade.
            VenueError: no answer.
        """
        config = self._config
        found = await read_rules(self._rest, config.symbols, self.rules, traded_before=config.traded_before)
        for symbol, rule in found.items():
            if self.rules.get(symbol) != rule:
                self.rules[symbol] = rule
                self._put(InstrumentChanged(self._now_ms(), rule))

    async def fresh_rules(self, symbol: str) -> Instrument | None:
        """Return a contract's rules as of now, or of the last few seconds; None if they cannot be read.

        Called when the venue refuses what the rules known here allow. Changed rules are emitted.
        """
        async with self._asking:
            now_s = asyncio.get_running_loop().time()
            known, asked_s = self.rules.get(symbol), self._asked_s.get(symbol)
            if known is None or (asked_s is not None and now_s - asked_s < _RULE_AGAIN_S):
                return known
            self._asked_s[symbol] = now_s
            try:
                rule = await read_rule(self._rest, known)
            except BotError:
                self._counts["rules_failed"] += 1
                return None
            if rule != known:
                self.rules[symbol] = rule
                self._put(InstrumentChanged(self._now_ms(), rule))
            return rule

    async def watch_prices(self) -> None:
        """Emit the venue's quotes and marks, and compare them with the feed's prices."""
        astray = False
        while True:
            try:
                page = await self._rest.ask(orders.tickers(), orders.parse_tickers)
            except VenueError:
                page = orders.Page([])
                self._counts["prices_failed"] += 1
            for row in page.rows:
                if row.symbol in self._symbols:
                    self._tell_prices(row)
            if astray != bool(self._divergence.astray):
                astray = not astray
                now_ms = self._now_ms()
                self._put(LinkDown(now_ms, Line.DIVERGENCE) if astray else LinkUp(now_ms, Line.DIVERGENCE))
            await asyncio.sleep(self._config.quotes_ms / 1000.0)

    def _tell_prices(self, row: TickerRow) -> None:
        try:
            bid, ask, mark, last = (
                _price(text) for text in (row.bid1Price, row.ask1Price, row.markPrice, row.lastPrice)
            )
        except BadInput:
            return
        now_ms = self._now_ms()
        if 0.0 < bid <= ask:
            self._put(Quote(now_ms, row.symbol, bid, ask))
        if mark > 0.0:
            self._put(MarkPrice(now_ms, row.symbol, mark))
        self._divergence.venue(row.symbol, last)

    async def watch_rules(self) -> None:
        """Read the rules on a timer, and after a refusal that means they changed."""
        while True:
            await self._until_wanted()
            self.rules_wanted.clear()
            try:
                await self.read_rules()
            except BotError:
                self._counts["rules_failed"] += 1
            await asyncio.sleep(min(_RULES_AGAIN_S, self._config.instruments_ms / 1000.0))

    async def _until_wanted(self) -> None:
        """Return when the rules are due; every minute while a contract is not traded, for it may be again."""
        now_s = asyncio.get_running_loop().time
        due_s = now_s() + self._config.instruments_ms / 1000.0
        while (left_s := due_s - now_s()) > 0:
            try:
                async with asyncio.timeout(min(left_s, NOT_TRADED_MS / 1000.0)):
                    await self.rules_wanted.wait()
                return
            except TimeoutError:
                if any_not_traded(self.rules.values()):
                    return


def _price(text: object) -> float:
    """Return a price of a ticker; NaN, which no comparison accepts, if it is missing or blank.

    Raises:
        BadInput: not a number.
    """
    found = number_or_none(text) if isinstance(text, str) else None
    return math.nan if found is None else float(found)
