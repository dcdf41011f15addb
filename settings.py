"""The settings, from the environment or `.env` (see env.example): which model answers."""

from __future__ import annotations

import logging
import os
import re
import ssl
import sys
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit

from dotenv import dotenv_values

if TYPE_CHECKING:
    from agents import Model, ModelSettings

    from engine.models.chat_client import Replay

VENDOR_URL = "https://api.openai.com/v1"


def load_settings() -> None:
    """Read the `.env` of this folder, and no other. What the environment sets wins."""
    try:
        # Notepad puts a mark before the first name; not every version of dotenv skips it.
        for name, value in dotenv_values(
            Path(__file__).with_name(".env"), encoding="utf-8-sig"
        ).items():
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


NUMBERS = {  # settings that are numbers above 0: their unit, and the most that makes sense
    "CONVERSATION_TTL_DAYS": ("days", 100_000),
    "OPENAI_FIRST_SECONDS": ("seconds", 3_600),
    "OPENAI_STALL_SECONDS": ("seconds", 3_600),
    "OPENAI_HISTORY_TOKENS": ("tokens", 10_000_000),
}
CHOICES = {  # the first is the default
    "OPENAI_API": ("responses", "chat_completions"),
    "OPENAI_PARALLEL_TOOL_CALLS": ("auto", "omit"),
    "OPENAI_INCLUDE_USAGE": ("true", "false"),
    "OPENAI_REPLAY_REASONING": ("auto", "always", "never"),
}


def missing_setting(offline: bool) -> str | None:
    """What stops the chat from starting, in plain words; None if nothing does."""
    for name, allowed in CHOICES.items():
        if _choice(name) not in allowed:
            return f"{name} must be {', '.join(allowed[:-1])} or {allowed[-1]}."
    for name, (unit, most) in NUMBERS.items():
        number = os.environ.get(name) or "1"
        if not number.replace(".", "", 1).isdecimal() or not 0 < float(number) < most:
            return f"{name} must be a number of {unit} above 0 and below {most:,}."
    return _bad_address() or (None if offline else _bad_surroundings() or _bad_key())


def _bad_address() -> str | None:
    try:
        parts = urlsplit(os.environ.get("OPENAI_BASE_URL") or VENDOR_URL)
        valid = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        valid = False
    if not valid:
        return "OPENAI_BASE_URL must be an address such as http://127.0.0.1:8000/v1."
    if parts.query or parts.fragment:  # the client would put the path behind it
        return "OPENAI_BASE_URL must be an address without a query: it ends with its path (/v1)."
    return None


def _bad_key() -> str | None:
    key = os.environ.get("OPENAI_API_KEY", "")
    if not (key.isascii() and key.isprintable()):
        return "OPENAI_API_KEY has a character that no key has. Copy it again."
    if not only_rules():
        return None
    return "OPENAI_API_KEY is not set. Put it in .env, or try --offline."


def only_rules() -> bool:
    """Whether no language model is named, neither by a key nor by an address (it may need none)."""
    return not (os.environ.get("OPENAI_API_KEY") or os.environ.get("OPENAI_BASE_URL"))


def _bad_surroundings() -> str | None:
    """What the client of the model's server would fail at, by the variable that causes it."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        name = name.lower() if os.environ.get(name.lower()) else name
        address = os.environ.get(name, "")
        try:
            scheme = urlsplit(address if "://" in address else f"http://{address}").scheme
        except ValueError:  # half of an IPv6 address
            scheme = ""
        if scheme in ("socks5", "socks5h"):
            if not find_spec("socksio"):
                return f"{name} names a SOCKS proxy: run `pip install socksio`, or unset {name}."
        elif scheme not in ("http", "https"):
            return f"{name} must be a proxy's address such as http://127.0.0.1:3128, or unset."
    if file := os.environ.get("SSL_CERT_FILE"):
        try:
            ssl.create_default_context(cafile=file)
        except OSError:  # no such file, or no certificate in it
            return f"SSL_CERT_FILE has no certificates: {file}. Correct it, or unset it."
    return None


def history_tokens() -> int | None:
    """How many tokens of the history the model is sent at most; None for no such limit."""
    tokens = os.environ.get("OPENAI_HISTORY_TOKENS")
    return int(float(tokens)) if tokens else None


def choose_model(offline: bool) -> tuple[Model, ModelSettings]:
    """The model that the environment names, or the rule-based one, and its default settings."""
    from agents import ModelSettings, OpenAIChatCompletionsModel, OpenAIResponsesModel
    from agents.models import get_default_model, get_default_model_settings
    from openai import Timeout

    from engine.models.chat_client import ChatClient
    from engine.models.checked import FIRST_SECONDS, STALL_SECONDS, CheckedModel

    key = os.environ.get("OPENAI_API_KEY")
    url = os.environ.get("OPENAI_BASE_URL") or VENDOR_URL
    # Traces go to the vendor wherever the model is: customers' words must not go there unasked.
    if offline or not key or url.rstrip("/") != VENDOR_URL:
        _disable_tracing()
    if offline:
        from local.offline_model import OfflineModel

        return OfflineModel(), ModelSettings()
    # Not by OPENAI_DEFAULT_MODEL, the SDK's own: it makes the name lower case.
    name = os.environ.get("OPENAI_MODEL") or get_default_model()
    # CheckedModel waits and asks again: it tells what it waits for, and asks no server again that
    # is still loading its model.
    client = ChatClient(
        api_key=key or "none", base_url=url, timeout=Timeout(None, connect=10.0), max_retries=0
    )
    client.replay_reasoning = cast("Replay", _choice("OPENAI_REPLAY_REASONING"))
    settings = ModelSettings()
    model: Model = OpenAIResponsesModel(name, client)
    if _choice("OPENAI_API") == "chat_completions":
        # Over this API, a server counts the tokens of a stream only if it is asked to.
        settings.include_usage = _choice("OPENAI_INCLUDE_USAGE") == "true" or None
        always = _choice("OPENAI_REPLAY_REASONING") == "always"
        replay = (lambda it: it.reasoning.origin_model == it.model) if always else None
        model = OpenAIChatCompletionsModel(name, client, should_replay_reasoning_content=replay)
    checked = CheckedModel(
        model,
        first_seconds=float(os.environ.get("OPENAI_FIRST_SECONDS") or FIRST_SECONDS),
        stall_seconds=float(os.environ.get("OPENAI_STALL_SECONDS") or STALL_SECONDS),
        retries=2,
        omit=[] if _takes_parallel_tool_calls(name) else ["parallel_tool_calls"],
    )
    return checked, get_default_model_settings(name).resolve(settings)


def _choice(name: str) -> str:
    return os.environ.get(name) or CHOICES[name][0]


def _takes_parallel_tool_calls(model: str) -> bool:
    """Whether to send the agents' `parallel_tool_calls`: OpenAI's o1, o3 and o4-mini refuse it."""
    refuses = re.search(r"(^|/)o[134](-|$)", model)
    return _choice("OPENAI_PARALLEL_TOOL_CALLS") == "auto" and not refuses


def _disable_tracing() -> None:
    """Like the SDK's set_tracing_disabled, which would first build a client of the vendor's."""
    from agents.tracing import set_trace_provider
    from agents.tracing.provider import DefaultTraceProvider

    provider = DefaultTraceProvider()
    provider.set_disabled(True)
    set_trace_provider(provider)
