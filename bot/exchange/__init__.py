"""One venue's rules as a value: linear USDT perpetuals, many symbols, one account.

``rulebook`` holds each rule once, ``ledger`` is the only bookkeeping. ``bars`` (closed bars: a backtest) and
``quotes`` (every quote, trade and mark: the local exchange, paper trading) only find the next moment and
call them. Both emit the same ``events``. The package imports ``domain`` only and knows no clock, file or
generator: chance is an integer seed.

Read ``exchange`` first (what a client may ask), then ``matching`` (what an order does), ``ledger.booking``
(what follows), and ``bars.exchange`` or ``quotes.exchange`` (when).
"""

from bot.exchange.bars.exchange import BarExchange
from bot.exchange.ledger.booking import SimulationFacts
from bot.exchange.quotes.depth import Depth
from bot.exchange.quotes.exchange import QuoteExchange
from bot.exchange.terms import Terms
from bot.exchange.venue import BarVenue

__all__ = ["BarExchange", "BarVenue", "Depth", "QuoteExchange", "SimulationFacts", "Terms"]
