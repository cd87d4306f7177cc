"""Bybit v5 without I/O: requests as values, answers to domain values, addresses and error codes.

Imports the domain only. The caller owns sockets, time and retries. Read ``rest.py`` first; ``codes.py`` says
what a ``retCode`` means for us, ``hosts.py`` which addresses may be asked.
"""
