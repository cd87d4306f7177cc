"""Files that come with the program: the model, the rules of the symbols and their measured spreads.

``instruments.json`` is parsed by ``exchange.instruments``; ``spreads.json`` holds half-spreads in bps and
says how they were measured. This package has no code; the adapters read it.
"""
