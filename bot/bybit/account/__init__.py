"""One account at a remote venue as we know it: orders, executions, positions, stops. Pure.

Owns the meaning of Bybit's rows (``rows``), the one order table with the one memory of execution ids
(``order_table``), the comparison with a complete reading of the account (``reading``), the proof that an
order never existed (``absence``), transfers (``money``) and the procedure that ties them together
(``sync``). May import
``bot.bybit`` and ``domain``. The caller owns sockets and time. Read ``sync.py`` first, then
``order_table.py``.
"""
