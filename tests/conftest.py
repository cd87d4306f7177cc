"""What every test may rely on."""

import os
import signal

# A runner started in the background ignores SIGINT, and so would every program it starts: the tests that
# interrupt one need the usual disposition.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Tests start hundreds of programs: each would compile all of `bot` again where bytecode is not kept.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
