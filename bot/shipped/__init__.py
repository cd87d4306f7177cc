"""Files that come with the program: the model, the symbols' trading rules and their measured spreads.

``exchange.instruments`` parses ``instruments.json``. ``spreads.json`` holds half-spreads in bps and says how
they were measured. This package has no code; the adapters read its files.
"""
