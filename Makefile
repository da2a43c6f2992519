# Each target first creates .venv, or updates it when it is out of date.
PYTHON ?= python3
PORT ?= 8000
MINUTES ?= 20
VENV := .venv
BIN := $(VENV)/bin
export TRACKSIDE_HOME ?= home

.PHONY: run test test-all test-postgres test-postgres-all check install bench bench-long torture torture-cluster fuzz gpu gpu-data audit screenshots timm-table clean

run: $(VENV)/.run
	$(BIN)/trackside serve --port $(PORT) --demo

test: $(VENV)/.dev $(VENV)/.browser
	TRACKSIDE_TEST_BROWSER="$$(cat $(VENV)/.browser)" $(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder -m "not long"

# Before a release: all tests, also those that take long.
test-all: $(VENV)/.dev $(VENV)/.browser
	TRACKSIDE_TEST_BROWSER="$$(cat $(VENV)/.browser)" $(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

# The tests of the database once more, on a real PostgreSQL server of their own: `initdb` and `pg_ctl` have to be on the
# PATH. STATEMENTS are those whose SQL is worth it and that train little; `make test-postgres-all` runs all but the
# browser's. TRACKSIDE_TEST_POSTGRES=required: a missing PostgreSQL is a failure, otherwise they are skipped.
ON_POSTGRES := TRACKSIDE_TEST_DATABASE=postgresql $(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder
STATEMENTS := $(addprefix tests/app/,storage jobs metrics runs results reports diagnosis datasets worker web \
	host/test_telemetry.py commands/test_reindex.py commands/test_database_refusals.py) \
	$(addprefix tests/web/,runs results reports shares scripts test_health.py test_pages.py test_events_api.py \
	test_tasks_api.py test_bad_input.py test_bad_input_table.py) tests/crash/test_postgres.py
TRAINING := $(addprefix --ignore=tests/web/runs/,test_steering.py test_validation_split.py)

test-postgres: $(VENV)/.dev
	$(ON_POSTGRES) -m "not long" $(TRAINING) $(STATEMENTS)

test-postgres-all: $(VENV)/.dev
	$(ON_POSTGRES) tests/app tests/web tests/crash tests/client

check: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.dev
	$(BIN)/python -m pip install -qq --disable-pip-version-check --constraint constraints.txt --editable '.[bench]'
	$(BIN)/python -m tests.benchmarks

bench-long: $(VENV)/.dev
	$(BIN)/python -m tests.benchmarks.guidance
	$(BIN)/python -m tests.benchmarks.long

fuzz: $(VENV)/.dev
	TRACKSIDE_TEST_EXAMPLES=300 $(BIN)/python -m pytest tests/app/jobs/test_queue_machine.py tests/app/jobs/test_fuzz_ingest.py
	$(BIN)/python -m tests.fuzz

# Try the GPU path on one NVIDIA GPU, in about 8 minutes: see tests/gpu/README.md. make gpu DATA=gpu-data
gpu: $(VENV)/.dev
	$(BIN)/python -m tests.gpu --out gpu.jsonl $(if $(DATA),--data $(DATA))

# Write CIFAR-100 in a form to be carried along: make gpu-data FROM=cifar100.zip. FROM may also be a dataset of the home.
gpu-data: $(VENV)/.dev
	$(BIN)/python -m tests.gpu.mosaics --from $(or $(FROM),cifar100) --to $(or $(DATA),gpu-data)

# Check the versions in constraints.txt for known vulnerabilities. Requires network access.
audit: $(VENV)/.dev
	$(BIN)/python -m pip install -qq --disable-pip-version-check --constraint constraints.txt --editable '.[audit]'
	$(BIN)/pip-audit --strict --no-deps --disable-pip --requirement constraints.txt

# make torture MINUTES=5 for a short one.
torture: $(VENV)/.dev
	$(BIN)/python -m tests.crash.torture --minutes $(MINUTES)

# Three nodes in namespaces, as root: make torture-cluster MINUTES=5 for a short one.
torture-cluster: $(VENV)/.dev
	$(BIN)/python -m tests.cluster.torture --minutes $(MINUTES)

# Describe the networks of the installed timm anew, in about 15 minutes: trainer/spec/timm_models.json.
timm-table: $(VENV)/.dev
	$(BIN)/python -m tests.timm_table

screenshots: $(VENV)/.dev $(VENV)/.browser
	TRACKSIDE_TEST_BROWSER="$$(cat $(VENV)/.browser)" $(BIN)/python -m tests.screenshots

install: $(VENV)/.run

$(VENV)/.run: pyproject.toml constraints.txt
	@echo "Trackside sets itself up in $(VENV):"
	@echo "  1. a Python environment"
	@echo "  2. PyTorch and the other packages of constraints.txt: about 3 GB to download, 6 GB of disk"
	@echo "  3. trackside itself"
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -qq --disable-pip-version-check --upgrade pip
	$(BIN)/python -m pip install -qq --disable-pip-version-check --constraint constraints.txt --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.run
	$(BIN)/python -m pip install -qq --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

# The path of a Chromium: an installed one, else Debian's package, else Playwright's build.
$(VENV)/.browser: $(VENV)/.dev
	$(BIN)/python tests/browser/find_browser.py > $@.new
	@mv $@.new $@

clean:
	rm -rf $(VENV) build dist *.egg-info
