"""The tests. What they, and all processes that they start, read of the surroundings is set here.

It is done when this package is imported: before the product, the SDK or a test can read any of it.
A green run then means the same in a wide window, in a narrow one, without one, and under nohup.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time

# Whether programs start at all, and what only pip, pytest or the runner of a CI reads.
KEPT = ("PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH", "CI", "PIP_", "PY_COLORS", "PYTEST_")


def _set_environment() -> None:
    kept = {name: value for name, value in os.environ.items() if name.startswith(KEPT)}
    if proxy := os.environ.get("HTTPS_PROXY") or os.environ.get("https_proxy"):
        kept.setdefault("PIP_PROXY", proxy)  # mongod may have to be installed
    if os.environ.get("NO_COLOR"):
        kept.setdefault("PY_COLORS", "0")  # pytest's own output
    os.environ.clear()
    os.environ.update(kept)
    os.environ["TZ"] = "<+14>-14"  # far from UTC: a local time in place of UTC is noticed
    time.tzset()
    # No server of a test speaks TLS; without this, each client reads all authorities, for 30 ms.
    os.environ["SSL_CERT_DIR"] = os.devnull
    # pytest imports readline, which exports the window's size for programs that C starts;
    # os.environ does not show it.
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401
    for name in ("COLUMNS", "LINES"):
        os.unsetenv(name)


def _obey_signals() -> None:
    """Let the processes that we start obey what nohup or a script's background job ignores.

    They inherit an ignored signal, and no handler. This process still does nothing on it.
    """
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)


_set_environment()
_obey_signals()
