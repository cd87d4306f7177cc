"""The daemon and the commands around it: ``bot run``, ``status``, ``kill``, ``guard``, ``web`` and others."""
