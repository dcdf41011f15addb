"""Why a turn failed, as one table: the error of a library, and the reason that it stands for."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import mcp
import openai
from agents import exceptions as sdk
from pymongo.errors import DocumentTooLarge, OperationFailure, PyMongoError

from engine.driver import Unconfirmed
from engine.events import Reason, TurnFailed
from engine.lease import LeaseLost
from engine.text import refusal_in


class AnswerFailed(Exception):
    """The model's server ended a stream with an error, such as `rate_limit_exceeded`."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


def _refused(error: Any) -> bool:
    passing = "RetryableWriteError", "TransientTransactionError"
    return not error.timeout and not any(map(error.has_error_label, passing))


def _status(*statuses: int) -> Callable[[Any], bool]:
    return lambda error: getattr(error, "status_code", None) in statuses


def _says(words: str) -> Callable[[Any], bool]:
    """Whether the server's own error has one of `words`, in its code, its type or its text.

    Each server has another form: a code inside a code, a number as the code, or the text alone.
    """

    def says(error: Any) -> bool:
        body = getattr(error, "body", None)
        body = body if isinstance(body, dict) else {}
        inner = body.get("innererror") or body.get("inner_error")
        told = [error.code, body.get("type"), body.get("message") or error.message]
        told += [inner.get("code")] if isinstance(inner, dict) else []
        return bool(re.search(words, " ".join(map(str, told)), re.IGNORECASE))

    return says


def _is_of_mcp(error: Exception) -> bool:
    return bool(re.match(r"Failed to .+ MCP server", str(error)))  # the SDK has no class for it


def _always(_: object) -> bool:
    return True


class ModelFailed(Exception):
    """A model, or what its server sent, raised an error that no other row names."""


BLOCKED = _says(
    r"content.?(policy|filter|management|exists risk)|invalid_prompt|responsibleai|usage polic"
    r"|data_inspection_failed"
)
TOO_LONG = _says(
    r"context.?(length|window|size)|prompt is too long|input is too long|too many (input )?tokens"
    r"|request too large"
)
OUT_OF_MONEY = _says(r"insufficient.?(quota|balance|funds|credit)|billing_hard_limit")
BUSY = _says(r"rate.?limit|too.?many.?requests|overloaded|at capacity")

MCP_ERROR = vars(mcp).get("MCPError") or vars(mcp)["McpError"]  # its name before version 2
TOO_LARGE = (10334, 17420)  # BSONObjectTooLarge, also of a document that an update would make

SERVERS = (openai.APIError, AnswerFailed)  # an error inside a stream has no status

# The first row that fits counts: a class stands above the classes that it derives from.
REASONS: list[tuple[Any, Callable[[Any], bool], Reason]] = [
    (sdk.InputGuardrailTripwireTriggered, _always, Reason.MESSAGE_BLOCKED),
    (sdk.OutputGuardrailTripwireTriggered, _always, Reason.ANSWER_BLOCKED),
    (sdk.ToolInputGuardrailTripwireTriggered, _always, Reason.ANSWER_BLOCKED),
    (sdk.ToolOutputGuardrailTripwireTriggered, _always, Reason.ANSWER_BLOCKED),
    (sdk.MaxTurnsExceeded, _always, Reason.TOO_MANY_STEPS),
    (sdk.ModelRefusalError, _always, Reason.MODEL_REFUSED),
    (sdk.ModelBehaviorError, _always, Reason.ANSWER_UNREADABLE),
    (ModelFailed, _always, Reason.ANSWER_UNREADABLE),
    (MCP_ERROR, _always, Reason.TOOLS_UNREACHABLE),
    (sdk.UserError, _is_of_mcp, Reason.TOOLS_UNREACHABLE),
    (DocumentTooLarge, _always, Reason.TOO_LARGE),
    (OperationFailure, lambda error: error.code in TOO_LARGE, Reason.TOO_LARGE),
    (LeaseLost, _always, Reason.TAKEN_OVER),
    (Unconfirmed, _always, Reason.DATABASE_SILENT),
    (OperationFailure, _refused, Reason.DATABASE_REFUSED),
    (PyMongoError, _always, Reason.DATABASE_SILENT),
    (openai.APITimeoutError, _always, Reason.MODEL_SILENT),
    (openai.APIConnectionError, _always, Reason.MODEL_UNREACHABLE),
    (openai.APIResponseValidationError, _always, Reason.ANSWER_UNREADABLE),
    (openai.AuthenticationError, _always, Reason.KEY_REFUSED),
    (SERVERS, BLOCKED, Reason.MESSAGE_BLOCKED),
    (openai.PermissionDeniedError, _always, Reason.KEY_REFUSED),
    (openai.NotFoundError, _always, Reason.MODEL_UNKNOWN),
    (SERVERS, _status(402), Reason.QUOTA_USED_UP),
    (SERVERS, OUT_OF_MONEY, Reason.QUOTA_USED_UP),
    (SERVERS, _status(413), Reason.HISTORY_TOO_LONG),
    (SERVERS, _status(429, 529), Reason.MODEL_BUSY),
    (SERVERS, TOO_LONG, Reason.HISTORY_TOO_LONG),
    (SERVERS, _status(408), Reason.MODEL_SILENT),
    (openai.InternalServerError, _always, Reason.MODEL_SILENT),
    (openai.APIStatusError, _always, Reason.REQUEST_REFUSED),
    (SERVERS, BUSY, Reason.MODEL_BUSY),
    (SERVERS, _always, Reason.MODEL_SILENT),
    (TimeoutError, _always, Reason.MODEL_SILENT),
]


def blamed(error: Exception) -> Exception:
    """What to raise for `error` of a model's: the model failed, not the builder's program."""
    return error if _reason(error) else ModelFailed(type(error).__name__)


def failure(error: Exception, *, shown: bool = False, accepted: bool = False) -> TurnFailed:
    """`error` as a TurnFailed. See there for `shown` and `accepted`."""
    if isinstance(error, TurnFailed):
        return error
    reason, cause = _reason(error), error.__cause__
    if reason is None and isinstance(error, sdk.UserError) and isinstance(cause, Exception):
        error, reason = cause, _reason(cause)  # raised by a tool of the builder's
    reason = reason or Reason.PROGRAM_ERROR
    text = None
    if isinstance(error, OperationFailure) and reason is Reason.DATABASE_REFUSED:
        text = f"MongoDB refused a command ({refusal_in(error.details)})."
    elif isinstance(error, SERVERS) and reason is Reason.MESSAGE_BLOCKED:
        text = "The model's provider refuses to answer that. Put it differently."
    elif reason is Reason.PROGRAM_ERROR:
        text = f"This program made a mistake ({type(error).__name__})."
    unknown = isinstance(error, Unconfirmed)
    return TurnFailed(reason, text, shown=shown, accepted=accepted, maybe_stored=unknown)


def _reason(error: Exception) -> Reason | None:
    rows = (row for row in REASONS if isinstance(error, row[0]) and row[1](error))
    return next((reason for _, _, reason in rows), None)
