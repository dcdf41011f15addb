"""The settings, from the environment or `.env` (see env.example): which model answers."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from dotenv import dotenv_values

if TYPE_CHECKING:
    from agents import Model, ModelSettings

STALL_SECONDS = 45.0  # without a byte from the model's server; then ask again, twice at most
VENDOR_URL = "https://api.openai.com/v1"


def load_settings() -> None:
    """Read the `.env` of this folder, and no other. What the environment sets wins."""
    try:
        for name, value in dotenv_values(Path(__file__).with_name(".env")).items():
            # Unlike load_dotenv: an empty variable does not hide the one in .env.
            os.environ[name] = os.environ.get(name) or value or ""
    except (OSError, ValueError) as error:  # no right to read it, another encoding, a NUL
        sys.exit(f"Cannot read .env ({error}). Save it as plain UTF-8 text.")
    for name in [name for name in os.environ if name.startswith(("OPENAI_", "MONGODB_"))]:
        os.environ[name] = os.environ[name].strip()  # `$(cat key)` may end in a space


def log_problems(debug: bool) -> None:
    """With `debug`, warnings and tracebacks go to stderr, without the key and any password."""
    handler = logging.StreamHandler()
    handler.setFormatter(_WithoutSecrets())
    logging.basicConfig(level=logging.WARNING if debug else logging.CRITICAL, handlers=[handler])
    logging.captureWarnings(True)
    warnings.simplefilter("default" if debug else "ignore")  # such as the driver's on the URI


class _WithoutSecrets(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        from database import redact

        text, key = redact(super().format(record)), os.environ.get("OPENAI_API_KEY")
        return text.replace(key, "***") if key else text


def missing_setting(offline: bool) -> str | None:
    """What stops the chat from starting, in plain words; None if nothing does."""
    if os.environ.get("OPENAI_API", "responses") not in ("", "responses", "chat_completions"):
        return "OPENAI_API must be responses or chat_completions."
    days = os.environ.get("CONVERSATION_TTL_DAYS") or "1"
    if not days.replace(".", "", 1).isdecimal() or not 0 < float(days) < 100_000:
        return "CONVERSATION_TTL_DAYS must be a number of days above 0."
    try:
        parts = urlsplit(os.environ.get("OPENAI_BASE_URL") or VENDOR_URL)
        valid = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        valid = False
    if not valid:
        return "OPENAI_BASE_URL must be an address such as http://127.0.0.1:8000/v1."
    key = os.environ.get("OPENAI_API_KEY", "")
    if not (key.isascii() and key.isprintable()):
        return "OPENAI_API_KEY has a character that no key has. Copy it again."
    if offline or not only_rules():
        return None
    return "OPENAI_API_KEY is not set. Put it in .env, or try --offline."


def only_rules() -> bool:
    """Whether no language model is named, neither by a key nor by an address (it may need none)."""
    return not (os.environ.get("OPENAI_API_KEY") or os.environ.get("OPENAI_BASE_URL"))


def choose_model(offline: bool) -> tuple[Model, ModelSettings]:
    """The model that the environment names, or the rule-based one, and its default settings."""
    from agents import (
        OpenAIChatCompletionsModel,
        OpenAIResponsesModel,
        set_tracing_disabled,
    )
    from agents.models import get_default_model, get_default_model_settings
    from openai import AsyncOpenAI

    key = os.environ.get("OPENAI_API_KEY")
    url = os.environ.get("OPENAI_BASE_URL") or VENDOR_URL
    # Traces go to the vendor wherever the model is: customers' words must not go there unasked.
    if offline or not key or url.rstrip("/") != VENDOR_URL:
        set_tracing_disabled(True)  # never False: it would win over the user's own opt-out
    if offline:
        from agents import ModelSettings

        from local.offline_model import OfflineModel

        return OfflineModel(), ModelSettings()
    # Not by OPENAI_DEFAULT_MODEL, the SDK's own: it makes the name lower case.
    name = os.environ.get("OPENAI_MODEL") or get_default_model()
    client = AsyncOpenAI(api_key=key or "none", base_url=url, timeout=STALL_SECONDS, max_retries=2)
    kind: type[OpenAIChatCompletionsModel] | type[OpenAIResponsesModel] = OpenAIResponsesModel
    if os.environ.get("OPENAI_API") == "chat_completions":
        kind = OpenAIChatCompletionsModel
    return kind(name, client), get_default_model_settings(name)
