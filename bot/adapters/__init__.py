"""The ports, implemented with real files, sockets and clocks: one folder a job.

``files`` holds candle and funding files, ``model`` model directories, ``net`` sockets and REST, ``feed``
turns sockets into bars, ``venue`` turns orders into requests, ``state`` holds what survives a restart,
``control`` is the private socket for an operator's questions. Everything read here is checked at once, so a
value that comes out is a valid value. May import everything below (``settings``, ``bybit``, ``domain``),
never ``service``, ``research``, ``app`` or ``cli``. Inside, ``feed`` and ``venue`` import the others;
``files`` and ``state`` import none of them. Start with ``files/candles.py``, then ``feed/bybit.py`` and
``venue/bybit.py``.
"""
