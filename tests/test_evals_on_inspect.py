# ruff: noqa: E402
"""The evals on Inspect AI: a model's calls go over its bridge, its log holds what was said, stopped
runs go on, and nothing stays in MongoDB. Skipped if Inspect AI is not installed.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from database import Document
from local.mongod import Mongod

MISSING = "Inspect AI is not installed: pip install -r requirements-eval.txt"
pytest.importorskip("inspect_ai", reason=MISSING)

from inspect_ai import eval as run
from inspect_ai import score
from inspect_ai.log import EvalLog, EvalSample, list_eval_logs, read_eval_log
from inspect_ai.model import ContentReasoning, ContentText, ModelOutput, ModelUsage, get_model
from inspect_ai.scorer import Score

from evals.support import passed, support

ROOT = Path(__file__).parent.parent
RETURN = {"order_id": "ORD-1001", "reason": "not powerful enough"}
DONE = "ORD-1001 is on its way back to us, and $1,484.98 to you."


@pytest.fixture
def databases(mongod: Mongod, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """The databases of trials that exist now; the evals use the same MongoDB."""
    monkeypatch.setenv("MONGODB_URI", mongod.uri)

    def names() -> list[str]:
        with MongoClient[Document](mongod.uri) as client:
            return [name for name in client.list_database_names() if name.startswith("eval_")]

    return names


def answer(input: list[Any], tools: list[Any], *_: Any, last: str = DONE) -> ModelOutput:
    """A language model that hands over, calls the tool, and then says `last`."""
    if "transfer_to_orders" in [tool.name for tool in tools]:
        output = ModelOutput.for_tool_call("mockllm", "transfer_to_orders", {})
    elif getattr(input[-1], "function", None) == "initiate_return":
        output = ModelOutput.from_content("mockllm", last)
    else:
        output = ModelOutput.for_tool_call("mockllm", "initiate_return", RETURN)
    output.usage = ModelUsage(input_tokens=100, output_tokens=10, total_tokens=110)
    return output


def evaluate(logs: Path, answer: Callable[..., ModelOutput] | None = None, k: int = 1) -> EvalLog:
    """The task `return`, answered by `answer` over the bridge or by the offline model."""
    model = get_model("mockllm/model", memoize=False, custom_outputs=answer) if answer else None
    (log,) = run(
        support,
        model=model,
        task_args={"k": k},
        sample_id="return",
        max_samples=1,
        log_dir=str(logs),
        display="none",
    )
    return log


def results(log: EvalLog) -> dict[str | None, float]:
    return {each.reducer: each.metrics["mean"].value for each in log.results.scores}


def passed_in(log: EvalLog) -> Score:
    """The score of the only trial."""
    (sample,) = log.samples
    return sample.scores["passed"]


def lines_of(sample: EvalSample) -> list[str]:
    """The messages as a reader sees them: who, and the text or the tool."""
    lines = []
    for message in sample.messages:
        calls = [call.function for call in getattr(message, "tool_calls", None) or []]
        lines.append(f"{message.role}: {' '.join(calls) or message.text}")
    return lines


def assert_shows_a_return(log: EvalLog) -> None:
    assert log.status == "success"
    (sample,) = log.samples
    lines = lines_of(sample)
    assert lines[:2] == [
        "user: I want to return ORD-1001, it is not powerful enough.",
        "assistant: transfer_to_orders",
    ]
    asked = lines.index("user: <yes>") - 1
    assert "Return order ORD-1001: Aero 14 Laptop" in lines[asked]
    assert lines[asked + 2] == "assistant: initiate_return"
    assert lines[asked + 3].startswith("tool: Return initiated for order ORD-1001.")
    calls = [call for m in sample.messages for call in getattr(m, "tool_calls", None) or []]
    assert RETURN["order_id"] in [call.arguments.get("order_id") for call in calls]


def test_the_log_of_an_offline_run_shows_what_was_said(
    databases: Callable[[], list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = evaluate(tmp_path)
    assert "No --model is given: the rule-based offline model answers." in capsys.readouterr().err
    assert_shows_a_return(log)
    assert passed_in(log).explanation == "Nothing was wrong."
    assert databases() == []


def test_a_model_of_any_provider_is_bridged_and_its_tokens_are_counted(
    databases: Callable[[], list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = evaluate(tmp_path, answer)
    assert "No --model" not in capsys.readouterr().err
    assert_shows_a_return(log)
    assert lines_of(log.samples[0])[-1] == f"assistant: {DONE}"
    assert passed_in(log).value == "C"
    calls: list[Any] = [event for event in log.samples[0].events if event.event == "model"]
    assert len(calls) == 3
    assert "initiate_return" in [tool.name for tool in calls[1].tools]
    assert log.stats.model_usage["mockllm/model"].total_tokens == 330
    assert databases() == []


def test_what_a_model_thinks_is_kept_for_it_and_not_scored(
    databases: Callable[[], list[str]], tmp_path: Path
) -> None:
    """Or a thought of $1,484.98 would pass for an answer, and one of TRK-7781005 for a leak."""
    thought = "Her refund is $1,484.98. TRK-7781005 is another's."
    seen: list[str] = []

    def thinks(*request: Any) -> ModelOutput:
        seen.extend(message.model_dump_json() for message in request[0])
        output = answer(*request, last="ORD-1001 is on its way back to us.")
        text = ContentText(text=output.completion, internal={"id": "TRK-7781005"})
        output.message.content = [ContentReasoning(reasoning=thought, signature="s"), text]
        return output

    passed = passed_in(evaluate(tmp_path, thinks))
    assert passed.explanation == r"words: nothing like 1,?484\.98 in the last answer"
    assert passed.answer == "ORD-1001 is on its way back to us."
    assert any(f'"reasoning":"{thought}"' in message for message in seen)


def test_pass_hat_k_is_the_chance_that_k_trials_all_pass(
    databases: Callable[[], list[str]], tmp_path: Path
) -> None:
    calls = iter(range(1, 100))  # three in each trial

    def forgets_the_refund_once(*request: Any) -> ModelOutput:
        return answer(*request, last="Done." if next(calls) == 9 else DONE)

    log = evaluate(tmp_path, forgets_the_refund_once, k=4)
    assert results(log) == {"pass_k_1": 0.75, "pass_k_2": 0.5, "pass_k_3": 0.25, "pass_k_4": 0}
    wrong = [s.scores["passed"] for s in log.samples or [] if s.scores]
    (found,) = [each.explanation for each in wrong if each.value == "I"]
    assert found.startswith("words: nothing like")


def test_a_provider_that_fails_is_an_error_and_no_score(
    databases: Callable[[], list[str]], tmp_path: Path
) -> None:
    def breaks_down(*_: Any) -> ModelOutput:
        raise ConnectionError("no route to the model")

    log = evaluate(tmp_path, breaks_down)
    assert log.status == "error"
    assert "no route to the model" in log.error.traceback
    assert [sample.scores for sample in log.samples or []] == [{}]
    assert databases() == []


def test_a_log_is_scored_again_without_a_model_or_a_database(
    databases: Callable[[], list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = evaluate(tmp_path)
    monkeypatch.setenv("MONGODB_URI", "mongodb://127.0.0.1:1")
    monkeypatch.setattr("evals.score.TODAY", "another day")
    again = score(read_eval_log(log.location), passed(), action="overwrite", display="none")
    assert results(log) == {"pass_k_1": 1}
    assert passed_in(again).explanation.startswith(
        "database: orders ORD-1001 was returned, but not as it"
    )


def command(*arguments: str) -> subprocess.Popen[str]:
    """`inspect`, as a reader types it."""
    return subprocess.Popen(
        [Path(sys.executable).parent / "inspect", *arguments],
        cwd=ROOT,
        env={**os.environ, "NO_COLOR": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_ctrl_c_keeps_finished_trials_and_leaves_nothing_behind(
    databases: Callable[[], list[str]], tmp_path: Path
) -> None:
    logs = ("--log-dir", str(tmp_path), "--display", "plain")
    evaluation = ("eval", "evals/support.py", "-T", "k=2", "--max-samples", "2", *logs)
    seen: set[str] = set()
    with command(*evaluation, "--sample-id", "status,return,resume,cancel") as process:
        while len(seen) < 4 and process.poll() is None:  # at least two are finished
            seen.update(databases())
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        output = process.communicate()[0]
    assert "Traceback" not in output
    assert databases() == []
    (name,) = list_eval_logs(str(tmp_path))
    stopped = read_eval_log(name)
    assert stopped.status == "cancelled"
    kept = {sample.uuid for sample in stopped.samples or [] if sample.scores}
    assert 2 <= len(kept) < 8

    with command("eval-retry", name.name, *logs) as process:
        output = process.communicate()[0]
    assert process.returncode == 0, output
    last = read_eval_log(list_eval_logs(str(tmp_path))[0])
    assert last.status == "success"
    assert len(last.samples) == 8
    assert kept <= {sample.uuid for sample in last.samples}
    assert re.search(r"pass_k_1", output)
