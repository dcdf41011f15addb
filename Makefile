PYTHON ?= python3
RUN := .venv/bin/python

.PHONY: help chat seed stop test test-docs lint format eval stalls histories bench test-versions picture gone

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

chat: .venv/requirements.done ## open the chat, with a database of its own if none runs; ARGS="--email alice@example.com"
	@$(RUN) -m local chat $(ARGS)

seed: .venv/requirements.done ## put the demo's customers, orders and articles back as they were
	@$(RUN) -m local seed $(ARGS)

stop: .venv/requirements.done ## end the database that `make chat` started; its data stays
	@$(RUN) -m local stop

test: lint ## lint, types and all tests, against a database of their own
	@$(RUN) -m pytest -n 3 --dist worksteal $(ARGS)

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
	@$(RUN) -m scripts.stalls $(ARGS)

histories: .venv/requirements-dev.done ## random turns, kills and cut links in several processes
	@$(RUN) -m scripts.histories $(ARGS)

bench: .venv/requirements-dev.done ## what this program costs beside the bare SDK
	@$(RUN) -m scripts.benchmark $(ARGS)

test-versions: .venv/requirements-dev.done ## the tests on every Python found, the oldest SDK and the newest
	@$(RUN) -m scripts.versions $(ARGS)

picture: .venv/requirements-dev.done ## draw the README's pictures from a real session
	@$(RUN) -m scripts.picture

# NAME.txt is installed if .venv/NAME.done is newer than it, and than the files that it includes:
.venv/requirements-dev.done .venv/requirements-eval.done: requirements.txt
.venv/requirements-docs.done: requirements-dev.txt requirements.txt

# A Python that was upgraded away leaves links to nothing.
GONE := $(shell test -x $(RUN) || echo gone)
FILES = $(filter %.txt,$^)
# Standard input is the lock, so that two makes wait for each other; flock(1) is not on macOS.
CHECK_AND_LOCK = import sys, fcntl; from importlib.util import find_spec; \
	sys.version_info >= (3, 10) or sys.exit("Python 3.10 or newer is needed; this is %s. Name \
	another with PYTHON=, such as: make chat PYTHON=python3.12" % sys.version.split()[0]); \
	find_spec("ensurepip") or sys.exit("This Python cannot make virtual environments. \
	On Debian and Ubuntu: sudo apt install python3-venv"); \
	fcntl.flock(0, fcntl.LOCK_EX)

.venv/%.done: %.txt $(GONE)
	@exec < requirements.txt; $(PYTHON) -c '$(CHECK_AND_LOCK)' || exit; \
	test -x $(RUN) && test -e $@ && test -z "$$(find $(FILES) -newer $@)" && exit; \
	echo "Installing the Python packages into .venv (once) ..." >&2; \
	said=$$({ .venv/bin/pip --version > /dev/null 2>&1 || { rm -rf .venv; $(PYTHON) -m venv .venv; } && \
		$(RUN) -m pip install --quiet --disable-pip-version-check $(FILES:%=-r %); } 2>&1) && \
	touch $(FILES:%.txt=.venv/%.done) || \
	{ echo "$$said"; echo "The installation failed; run it again to resume."; exit 1; } >&2
