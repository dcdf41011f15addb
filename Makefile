PYTHON ?= python3
RUN := .venv/bin/python

.PHONY: help chat seed recover stop test test-docs lint format eval stalls histories bench picture gone

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

chat: .venv/requirements.done ## open the chat, with a database of its own if none runs; ARGS="--email alice@example.com"
	@$(RUN) -m local chat $(ARGS)

seed: .venv/requirements.done ## put the demo's customers, orders and articles back as they were
	@$(RUN) -m local seed $(ARGS)

recover: .venv/requirements.done ## answer what nobody answered, since a process died or the model failed
	@$(RUN) -m local recover $(ARGS)

stop: .venv/requirements.done ## end the database that `make chat` started; its data stays
	@$(RUN) -m local stop

test: lint ## lint, types and all tests, against a database of their own
	@$(RUN) -E -m pytest -n 4 --dist worksteal $(ARGS)

test-docs: .venv/requirements-docs.done ## the web page of docs/, in a real browser
	@$(RUN) -m mypy docs/*.py
	@$(RUN) -m pytest docs $(ARGS)

lint: .venv/requirements-dev.done ## style, types, and who may import whom
	@$(RUN) -m ruff check
	@$(RUN) -m ruff format --check
	@$(RUN) -m mypy
	@.venv/bin/lint-imports --no-logo

format: .venv/requirements-dev.done ## put the style right
	@$(RUN) -m ruff check --fix
	@$(RUN) -m ruff format

eval: .venv/requirements-eval.done ## score a model on support tasks: ARGS="--model anthropic/..."; none: the offline rules
	@.venv/bin/inspect eval evals/support.py --max-samples 4 $(ARGS)

stalls: .venv/requirements-dev.done ## stall a terminal at each of its commands, and see that nothing late is written
	@$(RUN) -E -m pytest -n 2 --timeout 0 tests/test_stalls.py --every 1 $(ARGS)

histories: .venv/requirements-dev.done ## random turns, kills and cut links in several processes
	@$(RUN) -E -m pytest -s --timeout 0 tests/test_histories.py --seconds 60 $(ARGS)

bench: .venv/requirements-dev.done ## what this program costs beside the bare SDK
	@$(RUN) -m scripts.benchmark $(ARGS)

picture: .venv/requirements-dev.done ## draw the README's pictures from a real session
	@$(RUN) -m scripts.picture

# NAME.txt is installed if .venv/NAME.done is newer than it, and than the files that it includes:
.venv/requirements-dev.done .venv/requirements-eval.done: requirements.txt
.venv/requirements-docs.done: requirements-dev.txt requirements.txt

# A Python that was upgraded away leaves links to nothing.
GONE := $(shell test -x $(RUN) || echo gone)

.venv/%.done: %.txt $(GONE)
	@$(PYTHON) scripts/install.py $(filter %.txt,$^)
