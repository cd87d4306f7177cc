"""One venue's rules as a pure value: linear USDT perpetuals, many symbols.

``venue.Exchange`` is told closed bars (a backtest), ``live.LiveExchange`` every quote, trade and mark (the
local exchange's server, and paper trading through ``paper.PaperVenue``). Both share ``account`` (margin and
liquidation), ``rules`` (what is refused, with which code) and ``terms`` (the costs). The package imports
``domain`` only and knows no clock, file or generator: chance is an integer seed.

Read ``venue.py`` first, then ``walk.py`` (what comes next inside a bar), ``matching.py`` (what it does) and
``clearing.py`` (what follows); ``path.py`` is the road between a candle's four numbers. For the live one
read ``live.py``, which names its own parts.
"""

from bot.exchange.clearing import Facts
from bot.exchange.depth import Depth
from bot.exchange.live import LiveExchange
from bot.exchange.terms import Terms
from bot.exchange.venue import Exchange

__all__ = ["Depth", "Exchange", "Facts", "LiveExchange", "Terms"]
