"""The shared AsyncMongoClient: how to connect, and what to say when MongoDB does not answer."""

from __future__ import annotations

import os
import re
from typing import Any

from pymongo import AsyncMongoClient, timeout
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import (
    ConfigurationError,
    ConnectionFailure,
    InvalidURI,
    OperationFailure,
    PyMongoError,
)

DB_NAME = "ecommerce_support"
DEFAULT_URI = "mongodb://localhost:27017"
CONNECT_SECONDS = 5
DEFAULTS: dict[str, Any] = {
    # For each command, its retries included: long enough for a failover to end.
    "timeoutMS": 15_000,
    # Acknowledged means on disk: without it, kill -9 of mongod lost the last 100 ms.
    "w": "majority",
    "appname": "support-chat",
}
AUTHENTICATION_FAILED = 18

Document = dict[str, Any]
Database = AsyncDatabase[Document]


class DatabaseUnavailable(Exception):
    """MongoDB cannot be used; the text says why and what to do, without any password."""


def mongodb_uri() -> str:
    """MONGODB_URI, or the local default where it is unset or empty."""
    return os.environ.get("MONGODB_URI") or DEFAULT_URI


async def connect(uri: str) -> AsyncMongoClient[Document]:
    """Open the process's one client and see that MongoDB answers.

    Options in the URI win over DEFAULTS. Raises DatabaseUnavailable within CONNECT_SECONDS where
    MongoDB does not answer.
    """
    options = {k: v for k, v in DEFAULTS.items() if not re.search(rf"(?i)[?&]{k}=", uri)}
    try:
        client: AsyncMongoClient[Document] = AsyncMongoClient(uri, tz_aware=True, **options)
    except (PyMongoError, ValueError) as error:  # ValueError: a port that is no number
        raise DatabaseUnavailable(explain(error, uri)) from error
    try:
        with timeout(CONNECT_SECONDS):
            await client.admin.command("ping")
    except PyMongoError as error:
        await client.close()
        raise DatabaseUnavailable(explain(error, uri)) from error
    return client


def explain(error: Exception, uri: str) -> str:
    """One line for a failure to connect: which address, why, what to do."""
    if isinstance(error, OperationFailure) and error.code == AUTHENTICATION_FAILED:
        return f"MongoDB ({redact(uri)}) refused the login. Check the user in MONGODB_URI."
    if isinstance(error, OperationFailure):
        return f"MongoDB ({redact(uri)}) refused a command: {str(error)[:80]}"
    if isinstance(error, (InvalidURI, ConfigurationError, ValueError)):
        return f"MONGODB_URI is not valid: {redact(str(error))}"
    reason = "no answer"
    if isinstance(error, ConnectionFailure):
        text = str(error).lower()
        if "connection refused" in text or "connect call failed" in text:
            reason = "connection refused"
        elif "ssl" in text or "certificate" in text:
            reason = "TLS handshake failed"
        elif "name or service not known" in text or "nodename nor servname" in text:
            reason = "unknown host"
    return (
        f"Cannot connect to MongoDB ({redact(uri)}): {reason}. "
        "Start it (make chat does), or set MONGODB_URI."
    )


def redact(text: str) -> str:
    """`text` with the user and password of every MongoDB URI in it replaced.

    A regular expression, since urlparse fails on several hosts and on unescaped passwords.
    """
    text = re.sub(r"(?is)(mongodb(?:\+srv)?://).*@", r"\1***@", text)
    return re.sub(
        r"(?i)([?&][^=&\s]*(?:password|token|properties)[^=&\s]*=)[^&\s]+", r"\1***", text
    )
