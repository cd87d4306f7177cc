"""Recordings: public frames as they came, with the local time, in a folder of compressed files.

``rows`` is the form of a row, ``files`` reads, writes, rotates and bounds the files, ``recorder`` fills them
from sockets, ``facts`` checks a folder and names its gaps. May import ``net`` and ``bybit``. Start with
``rows.py``.
"""
