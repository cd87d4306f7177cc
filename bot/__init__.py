"""An event-driven trading bot for Bybit: a streaming Performer, one engine for backtest, paper and live.

Read in this order: ``domain`` (the nouns), ``engine.core`` (the one decision maker),
``service.driver`` (the one loop), then the packages around them:

``features``  causal indicators, one definition with a streaming and a batch executor
``model``     the Performer (FAVOR+): full, chunked and streaming form
``strategy``  from a forecast to a wish; ``risk``: from a wish to permission
``exchange``  a venue's rules as a pure value; ``bybit``: the v5 protocol without I/O
``adapters``  files, sockets and clocks behind ``ports``; ``app`` wires it all, ``cli`` calls ``app``
"""

__version__ = "0.1.0"
