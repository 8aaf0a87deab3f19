"""Errors that a person can act on: what is wrong, in one line, and the way out."""

from __future__ import annotations


class IdiolectError(Exception):
    """Base of every error that Idiolect raises on purpose.

    `message` says what is wrong; `hint` says what to do. The command line prints both on one line and exits
    with 2; the HTTP server puts them into OpenAI's error shape. Neither ever shows a traceback for one.
    """

    status = 500  # the HTTP status that the server answers with
    code = "internal_error"

    def __init__(self, message: str, *, hint: str = "", param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.param = param

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class BadInput(IdiolectError):
    """The caller's values are wrong: an unknown key, a negative number, malformed JSON, an empty folder."""

    status = 400
    code = "invalid_value"


class NotFound(BadInput):
    """A file, model, document or id that does not exist."""

    status = 404
    code = "not_found"


class ContextOverflow(BadInput):
    """More tokens than the model's context (or the engine's pages) can hold."""

    code = "context_length_exceeded"


class CorruptFile(IdiolectError):
    """A file that is truncated, of the wrong hash, or not what its name says."""

    status = 422
    code = "corrupt_file"


class Overloaded(IdiolectError):
    """A queue, a rate or a budget is full; trying later may work."""

    status = 429
    code = "rate_limit_exceeded"


class Unavailable(IdiolectError):
    """A part that this machine lacks, or an upstream that does not answer."""

    status = 503
    code = "unavailable"


class Cancelled(IdiolectError):
    """The caller went away or asked to stop."""

    status = 499
    code = "cancelled"
