"""Commands about what is kept: ``bot journal``, ``report`` and ``backup``."""
