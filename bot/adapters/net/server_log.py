"""Where our HTTP servers log: their own errors, but not a client's bytes that are no HTTP."""

import logging

from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_protocol import RequestPayloadError


def server_log(name: str) -> logging.Logger:
    """Make the logger of one server."""
    logger = logging.getLogger(name)
    if not logger.filters:
        logger.addFilter(_is_ours)
    return logger


def _is_ours(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, HttpProcessingError | RequestPayloadError)
