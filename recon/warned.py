"""Warnings of this package, kept while something runs: whoever reads its result later shall find them there."""

from __future__ import annotations

import logging


class KeptWarnings(logging.Handler):
    """Keeps the warnings that a part of this package logs, as a context.

    Attributes:
        messages: Each sentence once, in the order in which they came.

    Args:
        of: Name of the logger, that of the package by default.
        silent: Whether the warnings go nowhere else.
    """

    def __init__(self, of: str = "recon", *, silent: bool = False) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []
        self._logger = logging.getLogger(of)
        self._silent = silent

    def emit(self, record: logging.LogRecord) -> None:
        """Take up a record."""
        message = record.getMessage()
        if message not in self.messages:
            self.messages.append(message)

    def __enter__(self) -> KeptWarnings:
        """Begin."""
        self._propagated = self._logger.propagate
        if self._silent:
            self._logger.propagate = False
        self._logger.addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        """End."""
        self._logger.removeHandler(self)
        self._logger.propagate = self._propagated
