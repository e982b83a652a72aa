# Two commands do all the set-up: `make demo` and `make test`. The environment is made once, from requirements.lock
# (exact versions with hashes; one file that both uv and pip read), and again only when that file changes.

PYTHON ?= python3
JOBS ?= 3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
unexport PYTHONDONTWRITEBYTECODE # every worker that a test starts would compile all of our modules again: 1.1 s each

.PHONY: demo test soak collector check lint types imports format lock clean

demo: $(READY)
	@$(BIN)/aftermath demo $(ARGS)

test: check # much of it waits; JOBS=0 runs it in one process
	$(BIN)/python -m pytest --numprocesses $(JOBS) --dist loadfile --no-loadscope-reorder --durations 25 $(ARGS)

soak: $(READY)
	$(BIN)/python -m pytest -m soak $(ARGS)

collector: $(READY) # builds a Collector of tests/services/collector (Go, minutes) and runs deploy/otel-collector.yaml on it
	$(BIN)/python -m pytest -m collector $(ARGS)

check: lint types imports

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(READY)
	$(BIN)/mypy

imports: $(READY)
	PYTHONPATH=.:client $(BIN)/lint-imports

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Aftermath needs Python 3.11 or newer; set PYTHON=python3.12, say")'
	@if command -v uv >/dev/null 2>&1; then \
		uv venv --quiet --allow-existing --python $(PYTHON) $(VENV) && \
		uv pip sync --quiet --python $(BIN)/python --require-hashes requirements.lock && \
		uv pip install --quiet --python $(BIN)/python --no-deps --editable .; \
	else \
		$(PYTHON) -m venv $(VENV) && \
		$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements.lock && \
		$(BIN)/python -m pip install --quiet --no-deps --editable .; \
	fi
	@touch $(READY)

lock: # needs uv
	uv pip compile pyproject.toml --extra embedded --group dev --universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --no-annotate --output-file requirements.lock
	uv pip compile pyproject.toml --constraint requirements.lock --universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --no-annotate --output-file requirements-run.lock

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
