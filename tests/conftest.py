"""What every test may rely on."""

import signal

# A runner started in the background ignores SIGINT, and so would every program it starts: the tests that
# interrupt one need the usual disposition.
signal.signal(signal.SIGINT, signal.default_int_handler)
