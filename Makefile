# `make lab` opens the lessons, `make test` tests everything; both set up what they need.
PY ?= python3
BIN := .venv/bin
.DEFAULT_GOAL := lab
.PHONY: lab test nightly check docs claims notebooks bench clean

lab: .stamp-lab
	$(BIN)/claude-lab

test: .stamp-dev
	$(BIN)/python -m pytest -n 2 --dist loadfile -rs tests --ignore tests/e2e
	$(BIN)/python -m pytest -n 2 --dist loadfile -rs tests/e2e  # apart: playwright leaves a loop running in its thread
	CLAUDE_LAB_VIEW=html $(BIN)/python -m pytest -n 3 -p claude_lab.pytest_plugin --nbmake notebooks  # mostly waiting

nightly: .stamp-dev  # hours
	CLAUDE_LAB_EXAMPLES=10000 $(BIN)/python -m pytest --timeout 0 tests/test_runs_machine.py tests/test_redis_runs.py -k nothing_is_lost
	$(BIN)/python benchmarks/runs.py kills

check: .stamp-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tests/clean_notebooks.py --check
	$(BIN)/python docs/make_floors.py --check
	$(BIN)/python docs/make_faults.py --check
	$(BIN)/python docs/make_server.py --check
	$(BIN)/python docs/make_race.py --check
	$(BIN)/python docs/make_claims.py --check

docs: .stamp-dev claims
	$(BIN)/python docs/make_floors.py
	$(BIN)/python docs/make_faults.py
	$(BIN)/python docs/make_race.py
	$(BIN)/python docs/make_picture.py

claims: .stamp-dev
	$(BIN)/python docs/make_claims.py

notebooks: .stamp-dev
	CLAUDE_LAB_VIEW=html $(BIN)/python -m pytest -p claude_lab.pytest_plugin --nbmake --overwrite notebooks
	$(BIN)/python tests/clean_notebooks.py

bench: .stamp-dev
	$(BIN)/python benchmarks/classroom.py --students 8
	$(BIN)/python benchmarks/start.py
	$(BIN)/python benchmarks/fake.py
	$(BIN)/python benchmarks/proxy.py
	$(BIN)/python benchmarks/recovery.py
	$(BIN)/python benchmarks/runs.py
	$(BIN)/python benchmarks/relay.py --quick
	$(BIN)/python benchmarks/workers.py --quick
	$(BIN)/python benchmarks/sweep.py
	$(BIN)/python benchmarks/view.py --quick

.venv/bin/python:
	$(PY) -m venv .venv

.stamp-lab: pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[lab,fast,redis]'
	touch $@

.stamp-dev: pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch .stamp-lab $@

clean:
	rm -rf .venv .ipykernel-* .stamp-* build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find claude_lab tests -name __pycache__ -prune -exec rm -rf {} +
