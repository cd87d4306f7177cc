"""Many runs of one strategy: which parameters were best, and how much of that is luck.

``trial.py`` runs one, ``workers.py`` spreads them over processes, ``sweep.py`` plans, remembers and judges a
search. What a search tries and what it is worth are pure: ``bot.research.search.space`` and ``selection``.
"""
