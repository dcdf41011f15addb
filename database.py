"""The shared AsyncMongoClient: its options, a ping, errors in plain words, redaction."""

from __future__ import annotations

import os
import re
from typing import Any

from pymongo import AsyncMongoClient, timeout
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import ConfigurationError, ConnectionFailure, OperationFailure, PyMongoError

from engine.driver import has_transactions, without_write_concern
from engine.text import refusal_in

DB_NAME = "ecommerce_support"
DEFAULT_URI = "mongodb://localhost:27017"
CONNECT_SECONDS = 5
DEFAULTS: dict[str, Any] = {
    # For each command, its retries included: long enough for a failover to end.
    "timeoutMS": 15_000,
    # Also for the DNS of mongodb+srv://, which timeoutMS does not end.
    "connectTimeoutMS": CONNECT_SECONDS * 1000,
    "appname": "support-chat",
}
LOGIN_REFUSED = (18, 8000)  # error codes: a server's, and Atlas'
# Of an SRV name that the driver could not resolve, in dnspython's words.
UNRESOLVED = r"dns|_mongodb\._tcp|resolution lifetime|nameservers"

Document = dict[str, Any]
Database = AsyncDatabase[Document]


class DatabaseUnavailable(Exception):
    """MongoDB cannot be used; the text says why and what to do, without any password."""


def mongodb_uri() -> str:
    """MONGODB_URI, or the local default if it is unset or empty."""
    return os.environ.get("MONGODB_URI") or DEFAULT_URI


async def connect(uri: str) -> AsyncMongoClient[Document]:
    """Open the process's one client and see that MongoDB answers.

    Options in the URI win over DEFAULTS. Raises DatabaseUnavailable if the URI is not valid, or if
    MongoDB does not answer within CONNECT_SECONDS.
    """
    try:
        client = await _connected(without_write_concern(uri))
        if await has_transactions(client):
            return client
        # Then acknowledged means on disk. Without it, kill -9 of mongod lost the last 100 ms.
        await client.close()
        return await _connected(uri, w="majority")
    except (PyMongoError, ValueError) as error:  # ValueError: a port that is no number
        raise DatabaseUnavailable(explain(error, uri)) from error


async def _connected(uri: str, **more: Any) -> AsyncMongoClient[Document]:
    options = DEFAULTS | more
    options = {k: v for k, v in options.items() if not re.search(rf"(?i)[?&]{k}=", uri)}
    client: AsyncMongoClient[Document] = AsyncMongoClient(uri, tz_aware=True, **options)
    try:
        with timeout(CONNECT_SECONDS):
            await client.admin.command("ping")
    except PyMongoError:
        await client.close()
        raise
    return client


def explain(error: Exception, uri: str) -> str:
    """One line on an error of MongoDB's: which address, why, what to do."""
    if isinstance(error, OperationFailure) and error.code in LOGIN_REFUSED:
        return f"MongoDB ({redact(uri)}) refused the login. Check the user in MONGODB_URI."
    if isinstance(error, OperationFailure):
        return f"MongoDB ({redact(uri)}) refused a command: {refusal_in(error.details)}"
    if isinstance(error, ConfigurationError) and re.search(UNRESOLVED, str(error), re.I):
        told = f"Cannot connect to MongoDB ({redact(uri)}): its name cannot be resolved."
        return f"{told} Check the name in MONGODB_URI, and the network."
    if isinstance(error, (ConfigurationError, ValueError)):
        return f"MONGODB_URI is not valid: {redact(str(error))}"
    reason = "no answer"
    if isinstance(error, ConnectionFailure):
        text = str(error).lower()
        if "connection refused" in text or "connect call failed" in text:
            reason = "connection refused"
        elif "alert internal error" in text or "alert_internal_error" in text:
            told = f"Cannot connect to MongoDB ({redact(uri)}): it ended the TLS handshake."
            return f"{told} In Atlas, put this machine's address on the IP access list."
        elif "ssl" in text or "certificate" in text:
            reason = "TLS handshake failed"
        elif "name or service not known" in text or "nodename nor servname" in text:
            reason = "unknown host"
    advice = "Check MONGODB_URI, and whether this machine may connect to it."
    if re.match(r"mongodb://(.*@)?(localhost|127\.0\.0\.1|\[::1\])(:\d+)?([,/?]|$)", uri):
        advice = "Start it (`make chat` does, on this machine), or set MONGODB_URI."
    return f"Cannot connect to MongoDB ({redact(uri)}): {reason}. {advice}"


def redact(text: str) -> str:
    """`text` with the user and password of every MongoDB URI in it replaced.

    A regular expression, since urlparse fails on several hosts and on unescaped passwords.
    """
    text = re.sub(r"(?is)(mongodb(?:\+srv)?://).*@", r"\1***@", text)
    return re.sub(
        r"(?i)([?&][^=&\s]*(?:password|token|properties)[^=&\s]*=)[^&\s]+", r"\1***", text
    )
