"""Why a turn failed, as one table: the error of a library, and the reason that it stands for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import openai
from agents import exceptions as sdk
from pymongo.errors import DocumentTooLarge, OperationFailure, PyMongoError

from engine.driver import Unconfirmed
from engine.events import Reason, TurnFailed
from engine.lease import LeaseLost


def _refused(error: Any) -> bool:
    passing = "RetryableWriteError", "TransientTransactionError"
    return not error.timeout and not any(map(error.has_error_label, passing))


def _code(code: str) -> Callable[[Any], bool]:
    return lambda error: error.code == code


def _always(_: object) -> bool:
    return True


# The first row that fits counts: a class stands above the classes that it derives from.
REASONS: list[tuple[type[Exception], Callable[[Any], bool], Reason]] = [
    (sdk.InputGuardrailTripwireTriggered, _always, Reason.MESSAGE_BLOCKED),
    (sdk.OutputGuardrailTripwireTriggered, _always, Reason.ANSWER_BLOCKED),
    (sdk.ToolInputGuardrailTripwireTriggered, _always, Reason.ANSWER_BLOCKED),
    (sdk.ToolOutputGuardrailTripwireTriggered, _always, Reason.ANSWER_BLOCKED),
    (sdk.MaxTurnsExceeded, _always, Reason.TOO_MANY_STEPS),
    (sdk.ModelRefusalError, _always, Reason.MODEL_REFUSED),
    (DocumentTooLarge, _always, Reason.TOO_LARGE),
    (LeaseLost, _always, Reason.TAKEN_OVER),
    (Unconfirmed, _always, Reason.DATABASE_SILENT),
    (OperationFailure, _refused, Reason.DATABASE_REFUSED),
    (PyMongoError, _always, Reason.DATABASE_SILENT),
    (openai.AuthenticationError, _always, Reason.KEY_REFUSED),
    (openai.PermissionDeniedError, _always, Reason.KEY_REFUSED),
    (openai.NotFoundError, _always, Reason.MODEL_UNKNOWN),
    (openai.RateLimitError, _code("insufficient_quota"), Reason.QUOTA_USED_UP),
    (openai.RateLimitError, _always, Reason.MODEL_BUSY),
    (openai.BadRequestError, _code("context_length_exceeded"), Reason.HISTORY_TOO_LONG),
    (openai.BadRequestError, _always, Reason.REQUEST_REFUSED),
    (openai.APITimeoutError, _always, Reason.MODEL_SILENT),
    (openai.APIConnectionError, _always, Reason.MODEL_UNREACHABLE),
    (openai.InternalServerError, _always, Reason.MODEL_SILENT),
    (TimeoutError, _always, Reason.MODEL_SILENT),
]


def blocks_message(error: Exception) -> bool:
    """Whether `error` says that the message must not be sent again."""
    return failure(error).reason is Reason.MESSAGE_BLOCKED


def failure(error: Exception, *, shown: bool = False) -> TurnFailed:
    """`error` as a TurnFailed. `shown`: the customer has seen a part of the answer."""
    if isinstance(error, TurnFailed):
        return error
    rows = (row for row in REASONS if isinstance(error, row[0]) and row[1](error))
    reason = next((reason for _, _, reason in rows), Reason.ANSWER_UNREADABLE)
    text = None
    if reason is Reason.DATABASE_REFUSED:
        text = f"MongoDB refused a command ({error})."
    return TurnFailed(reason, text, shown=shown, maybe_stored=isinstance(error, Unconfirmed))
