"""What goes wrong on purpose: fault plans, and the hooks at which they act.

``plan.py`` reads a plan, ``hooks.py`` names the places, ``planned.py`` carries the plan out, ``world.py``
is what faults of the exchange act on, ``control.py`` the socket that posts faults while it runs. May import
all of ``simulator`` except ``server``. Start with ``hooks.py``.
"""
