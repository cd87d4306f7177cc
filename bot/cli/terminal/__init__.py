"""What commands share: their context, options, times, output, progress bars.

Owns how a command reads its options and how it prints. May import ``app`` and ``domain``, no command.
Start with ``context.py`` (what a command is given) and ``output.py`` (what it prints).
"""
