"""What the program keeps between runs, and its clocks.

Owns the state directory with its lock, the daemon's file of facts, the halt file, and the clocks of the
shell. May import ``domain``, no other folder of ``adapters``. Start with ``directory.py``,
then ``journal.py``.
"""
