"""One account at the local exchange: access, orders, positions, money, and the messages about them.

Owns keys and quotas (``access``), order requests (``order_forms``, ``actions``), what an account has done
(``ledger``) and the rows that Bybit writes (``rows``, ``messages``). Knows no socket. May import
``exchange`` and ``bybit``. Start with ``account.py``.
"""
