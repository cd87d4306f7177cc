"""What the program says on stderr: facts without secrets. A thread writes it, so nobody waits for a reader.

One event is one noun phrase and keys with units: ``log.info("order_refused", reason="drawdown")``. Logging
never stops the program: if the disk is full, the pipe is closed or nobody reads it, lines are lost and
counted, and the run continues. Read ``redact`` (secrets), ``line_queue`` (the thread), ``rotated_file`` (a
file beside stderr), ``stderr`` (everything that the process writes there) and ``logger`` (the structured
log). May import nothing of ``bot``.
"""

from bot.logs.line_queue import LineQueue
from bot.logs.logger import make_logger
from bot.logs.redact import MIN_SECRET_CHARS, REDACTED, Redactor
from bot.logs.rotated_file import RotatedFile
from bot.logs.stderr import Stderr, guarded_stderr

__all__ = [
    "MIN_SECRET_CHARS",
    "REDACTED",
    "LineQueue",
    "Redactor",
    "RotatedFile",
    "Stderr",
    "guarded_stderr",
    "make_logger",
]
