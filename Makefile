# make demo       install what is needed and reconstruct the head that ships with the project
# make test       install what is needed and pass the tests
# make test-fast  those that take no longer than a few seconds, for daily work
# make soak       an hour of kills, signals and failing disks on running commands, and of broken files (MINUTES=10 for less)
# make lint       formatting, lint and types
# make format     format, and fix what can be fixed
# make house      draw the rooms of recon/ and what they import: docs/house.svg
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
JOBS   ?= -n logical --maxprocesses=4 --dist=worksteal  # tests side by side; JOBS= runs them one by one

.PHONY: demo test test-fast soak lint format house clean

$(VENV)/.core: pyproject.toml setup.py constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q --upgrade pip
	$(BIN)/pip install -q -c constraints.txt -e .
	touch $@

$(VENV)/.dev: $(VENV)/.core
	$(BIN)/pip install -q -c constraints.txt -e '.[dev]'
	$(BIN)/pip install -q --no-deps h3ds==0.4.0
	touch $@

demo: $(VENV)/.core
	$(BIN)/python train.py scene=demo views=3

test: $(VENV)/.dev
	-$(BIN)/python -c "from recon.perception.weights import bring_networks; bring_networks()"  # networks that look at photographs; without them their tests skip
	$(BIN)/python -m pytest $(JOBS) --durations=10

test-fast: $(VENV)/.dev
	$(BIN)/python -m pytest $(JOBS) -m "not slow"

soak: $(VENV)/.dev
	$(BIN)/python -m tests.soak minutes=$(or $(MINUTES),60)

lint: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(VENV)/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

house: $(VENV)/.core
	$(BIN)/python tools/draw_house.py

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache build *.egg-info
