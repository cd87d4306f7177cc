"""The process around the daemon: its service manager, its signals, its stalls and its garbage collection."""
