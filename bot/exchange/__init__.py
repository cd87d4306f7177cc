"""One venue's rules as a pure value: linear USDT perpetuals, one-way mode, many symbols.

``venue.Exchange`` takes orders (``submit``) and market events (``advance``) and answers with events; it
is the same object in a backtest, in paper trading and behind a local server. It imports ``domain`` only
and knows no clock, file or generator: chance is an integer seed.

Read ``venue.py`` first, then ``walk.py`` (what comes next inside a bar), ``matching.py`` (what it does),
``clearing.py`` (what follows), ``account.py`` (margin and liquidation) and ``rules.py`` (what is refused,
with which code). ``terms.py`` holds the costs, ``path.py`` the road between a candle's four numbers.
"""

from bot.exchange.clearing import Facts
from bot.exchange.terms import Terms
from bot.exchange.venue import Exchange

__all__ = ["Exchange", "Facts", "Terms"]
