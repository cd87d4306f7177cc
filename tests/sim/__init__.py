"""The deterministic simulation: the real daemon and the local exchange in one process, in virtual time.

A seed says everything: the market, the faults, their times, the network, when the power goes. One seed gives
one story, to the last byte of its digest, in every process. Read ``loop.py`` (time and processes), ``net.py``
and ``disk.py`` (what a power cut takes), ``story.py`` (what a seed draws), ``world.py`` (one run), then
``checks`` (what must hold; it imports no engine). ``bugs.py`` are planted faults that the checks must find.

    python -m tests.sim --seed 7 --hours 1
"""
