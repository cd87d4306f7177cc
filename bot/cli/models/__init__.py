"""Commands about models: ``bot train``, ``predict``, ``evaluate`` and ``model``."""
