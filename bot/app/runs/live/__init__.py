"""A live run: ``plan.py`` checks what needs no network, ``daemon.py`` wires it, ``recovery.py`` starts it.

``connecting.py`` makes what talks to the exchange, ``beside.py`` what runs beside the trading.
``arguments.py`` is what the journal keeps of a plan, and ``building.py`` makes the engine from it.
``successors.py`` and ``succession.py`` let another model take over; ``scheduled.py`` and ``retrainer.py``
make one by schedule.
"""
