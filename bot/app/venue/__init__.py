"""An account at a venue beside the daemon: keys, orders taken back, and a guard that watches."""
