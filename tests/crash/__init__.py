"""SIGKILL in a real process at every failpoint × phase of an order, against the exchange's own history.

``oracle`` reads the exchange and the journal without the bot's code; ``cases`` kills and restarts the daemon;
``python -m tests.crash --all`` runs every case and prints a table.
"""
