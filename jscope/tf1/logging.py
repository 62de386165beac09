"""`tf.logging`: messages go to Python's logger `tensorflow`."""

from __future__ import annotations

import logging

DEBUG, INFO, WARN, ERROR, FATAL = logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.FATAL
_logger = logging.getLogger("tensorflow")

debug, info, error, fatal = _logger.debug, _logger.info, _logger.error, _logger.critical
warn = warning = _logger.warning
log = _logger.log
set_verbosity = _logger.setLevel
get_verbosity = _logger.getEffectiveLevel
