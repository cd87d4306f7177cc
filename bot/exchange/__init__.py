"""One venue's rules as a pure value: linear USDT perpetuals, one-way mode, many symbols.

``venue.Exchange`` takes orders (``submit``) and market events (``advance``) and answers with events; it
is the same object in a backtest, in paper trading and behind a local server. It imports ``domain`` only
and knows no clock, file or generator: chance is an integer seed.

Read ``venue.py`` first, then ``walk.py`` (what happens inside one bar), ``matching.py`` (at what price
and how much), ``account.py`` (margin and liquidation) and ``rules.py`` (what is refused, with which code).
"""

from bot.exchange.matching import Terms
from bot.exchange.venue import Exchange, Facts

__all__ = ["Exchange", "Facts", "Terms"]
