"""What somebody who looks at a running bot is shown; nothing here decides anything.

``status.py`` is the JSON of ``bot status``; ``live.py`` follows what changes between two closes,
``forecasts.py`` keeps the last ones for a chart, and ``glance.py`` is the line on a terminal.
"""
