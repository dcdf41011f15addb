PYTHON ?= python3
BIN := .venv/$(if $(filter Windows_NT,$(OS)),Scripts,bin)

.PHONY: help chat seed stop test venv python

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

chat: venv ## open the chat, with a database of its own if none runs; ARGS="--email alice@example.com"
	@$(BIN)/python -m local chat $(ARGS)

seed: venv ## put the demo's customers, orders and articles back as they were
	@$(BIN)/python -m local seed $(ARGS)

stop: venv ## end the database that `make chat` started; its data stays
	@$(BIN)/python -m local stop

test: python ## lint, types and all tests, against a database of their own
	@$(PYTHON) -m local.install requirements.txt requirements-dev.txt
	@$(BIN)/python -m ruff check
	@$(BIN)/python -m ruff format --check
	@$(BIN)/python -m mypy
	@$(BIN)/python -m pytest -n 2 $(ARGS)

venv: python
	@$(PYTHON) -m local.install requirements.txt

python:
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 10) or sys.exit("Python 3.10 or newer is needed; this is %s. Name another with PYTHON=, such as: make chat PYTHON=python3.12" % sys.version.split()[0])'
