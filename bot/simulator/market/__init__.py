"""The market of the local exchange: prices of all symbols at any moment.

Owns candles and their trades, order books, tickers, funding rates and the exchange's clock. Knows no
account and no connection. May import ``adapters``, ``synth`` and ``exchange``. Start with ``loop.py`` (it
moves all symbols), then ``symbol.py``; ``tape.py`` says where prices come from, ``candle_trades.py`` what
happens inside a candle.
"""
