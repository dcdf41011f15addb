PYTHON ?= python3
BIN := .venv/$(if $(filter Windows_NT,$(OS)),Scripts,bin)

.PHONY: help chat seed stop test eval bench test-versions picture venv dev python

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

chat: venv ## open the chat, with a database of its own if none runs; ARGS="--email alice@example.com"
	@$(BIN)/python -m local chat $(ARGS)

seed: venv ## put the demo's customers, orders and articles back as they were
	@$(BIN)/python -m local seed $(ARGS)

stop: venv ## end the database that `make chat` started; its data stays
	@$(BIN)/python -m local stop

test: dev ## lint, types and all tests, against a database of their own
	@$(BIN)/python -m ruff check
	@$(BIN)/python -m ruff format --check
	@$(BIN)/python -m mypy
	@$(BIN)/python -m pytest -n 2 $(ARGS)

eval: dev ## support tasks, scored on the database: ARGS="--offline -k 4"
	@$(BIN)/python -m evals.run $(ARGS)

bench: dev ## what this program costs beside the bare SDK
	@$(BIN)/python -m scripts.benchmark $(ARGS)

test-versions: dev ## the tests on every Python found, the oldest SDK and the newest
	@$(BIN)/python -m scripts.versions $(ARGS)

picture: dev ## draw the README's pictures from a real session
	@$(BIN)/python -m scripts.picture

dev: python
	@$(PYTHON) -m local.install requirements.txt requirements-dev.txt

venv: python
	@$(PYTHON) -m local.install requirements.txt

python:
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 10) or sys.exit("Python 3.10 or newer is needed; this is %s. Name another with PYTHON=, such as: make chat PYTHON=python3.12" % sys.version.split()[0])'
