"""Errors in OpenAI's shape. A traceback never leaves the process; the log has it."""

from __future__ import annotations

import json
from typing import Any

from pydantic import ValidationError

from idiolect.core.errors import BadInput, IdiolectError
from idiolect.core.names import did_you_mean

_TYPES = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}


class Refused(IdiolectError):
    """An HTTP-level refusal: wrong key, wrong host, wrong method, too large a body."""

    def __init__(self, status: int, code: str, message: str, *, hint: str = "", **headers: str) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.code = code
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


def kind(status: int) -> str:
    return _TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")


def render(error: BaseException) -> tuple[int, dict[str, Any], dict[str, str]]:
    """(status, body, headers) of an error. What is not ours says only that it happened."""
    if not isinstance(error, IdiolectError):
        body = {"message": "the server failed; its log says why", "param": None, "code": "internal_error"}
        return 500, {"error": {**body, "type": "server_error"}}, {}
    status = 408 if error.status == 499 else error.status
    body = {"message": str(error), "type": kind(status), "param": error.param, "code": error.code}
    headers = dict(getattr(error, "headers", {}))
    wait = getattr(error, "retry_after", None)
    if wait is not None:
        headers["Retry-After"] = str(max(1, round(wait)))
    return status, {"error": body}, headers


def invalid(error: ValidationError, names: set[str]) -> BadInput:
    """pydantic's first complaint as one line; `names` are the known top-level fields."""
    first = min(error.errors(include_url=False), key=lambda e: e["type"] != "extra_forbidden")
    path = ".".join(str(part) for part in first["loc"] if not _branch(part))
    match first["type"]:
        case "json_invalid":
            said = str(first.get("ctx", {}).get("error", ""))
            return BadInput(f"the body is not JSON: {said}", hint="send one JSON object")
        case "extra_forbidden":
            hint = did_you_mean(str(first["loc"][-1]), names) if len(first["loc"]) == 1 else "leave it out"
            refused = BadInput(f"unknown field {path!r}", hint=hint, param=path)
            refused.code = "unknown_parameter"
            return refused
        case "missing":
            return BadInput(f"the field {path!r} is missing", param=path or None)
        case _:
            value = json.dumps(first.get("input"), default=str, ensure_ascii=False)
            said = first["msg"][0].lower() + first["msg"][1:]
            shown = value if len(value) <= 60 else value[:57] + "..."
            return BadInput(f"{path or 'the body'} is {shown}: {said}", param=path or None)


def _branch(part: int | str) -> bool:
    """Whether a part of pydantic's path names a branch of a union, which the caller never wrote."""
    return isinstance(part, str) and (part in ("str", "int") or part.startswith(("list[", "tuple[", "function-")))
