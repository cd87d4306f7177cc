"""An event-driven trading bot for Bybit: a streaming Performer, one engine for backtest, paper and live.

Read in this order: ``domain`` (the nouns), ``engine.core`` (the only code that decides), ``service.driver``
(the loop around it), then the other packages:

``features``  causal indicators: one definition, a streaming and a batch executor
``model``     the Performer (FAVOR+) in a full, a chunked and a streaming form
``strategy``  from a forecast to a target and its intents; ``risk``: approves or refuses intents
``exchange``  the rules of a venue as a pure value; ``bybit``: the v5 protocol without I/O
``adapters``  files, sockets and clocks behind ``ports``; ``app`` wires it all, ``cli`` calls ``app``
"""

__version__ = "0.1.0"
