# Everything from a fresh clone, with nothing installed but python3 (3.11 or later) and make:
#   make demo    train and test on made-up rows         make lint    format, style and types
#   make compare compare models and rules on such rows  make bench   the measured claims, hours of CPU
#   make test    the whole test suite
# `make fast` is the part of the suite that answers within minutes; `make newest` runs it with the newest versions.

PYTHON ?= python3
VENV ?= .venv
WORKERS ?= 2
BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt
DEMO = runs/demo
PEERS = build/peers
KUAIRAND ?= data/kuairand

.PHONY: demo compare test fast newest lint types bench
.DELETE_ON_ERROR:

demo: $(VENV)/.core
	rm -rf $(DEMO)
	$(BIN)/mtlzoo fit -c configs/experiment/demo.yaml --trainer.default_root_dir $(DEMO)
	$(BIN)/mtlzoo test -c $(DEMO)/*/version_0/config.yaml --ckpt_path best

compare: $(VENV)/.core
	$(BIN)/mtlzoo compare configs/compare/demo.yaml --out runs/compare --jobs 2

# One thread per worker, or the workers' threads wait for each other.
test: $(VENV)/.dev
	OMP_NUM_THREADS=1 POLARS_MAX_THREADS=2 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal --durations 10

fast: $(VENV)/.dev
	OMP_NUM_THREADS=1 POLARS_MAX_THREADS=2 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m "not slow"

# The quick part of the suite with the newest versions, in an environment of its own; gigabytes, as torch brings CUDA.
newest:
	$(PYTHON) -m venv .venv-newest
	.venv-newest/bin/python -m pip install --disable-pip-version-check -c constraints-newest.txt -e ".[dev]"
	OMP_NUM_THREADS=1 POLARS_MAX_THREADS=2 .venv-newest/bin/python -m pytest -n $(WORKERS) --dist worksteal -m "not slow"

lint: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(MAKE) types

# mypy can't follow the folder mapping of an editable install, so it gets a tree of links laid out as the mapping says.
types: $(VENV)/.dev
	rm -rf build/typed
	mkdir -p build/typed/mtlzoo
	cd build/typed/mtlzoo && ln -s ../../../zoo/* ../../../callbacks ../../../configs ../../../datamodules .
	MYPYPATH=build/typed $(BIN)/mypy -p mtlzoo
	MYPYPATH=build/typed $(BIN)/mypy --explicit-package-bases tests benchmarks examples

bench: $(VENV)/.bench $(PEERS)
	$(BIN)/python benchmarks/batch_size.py
	$(BIN)/python benchmarks/compare_page.py
	$(BIN)/python benchmarks/conflicts.py --root $(KUAIRAND)
	$(BIN)/python benchmarks/coverage.py
	$(BIN)/python benchmarks/embedding.py
	$(BIN)/python benchmarks/experts.py
	$(BIN)/python benchmarks/kills.py
	$(BIN)/python benchmarks/libraries.py
	$(BIN)/python benchmarks/metrics.py
	$(BIN)/python benchmarks/pmtrec_epoch.py
	$(BIN)/python benchmarks/prepare.py
	$(BIN)/python benchmarks/ranking.py
	$(BIN)/python benchmarks/resampling.py
	$(BIN)/python benchmarks/serving.py
	$(BIN)/python benchmarks/surgery.py
	$(BIN)/python benchmarks/training.py --peers $(PEERS)
	$(BIN)/python benchmarks/pictures.py
	for file in configs/compare/[!d]*.yaml; do $(BIN)/mtlzoo compare $$file --out build/compare/$$(basename $$file .yaml); done
	$(BIN)/python benchmarks/publish.py build/compare/models_and_rules docs/results.md

# A stamp per set of packages: installed again only when the versions or the package list change.
$(VENV)/pyvenv.cfg:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.core: $(VENV)/pyvenv.cfg pyproject.toml constraints.txt
	$(PIP) -e .
	touch $@

$(VENV)/.dev: $(VENV)/pyvenv.cfg pyproject.toml constraints.txt
	$(PIP) -e ".[dev]"
	touch $@ $(VENV)/.core

$(VENV)/.bench: $(VENV)/pyvenv.cfg pyproject.toml constraints.txt
	$(PIP) -e ".[bench]"
	touch $@ $(VENV)/.core

# The libraries that training is compared with stay out of the environment; they use its torch.
$(PEERS): | $(VENV)/.bench
	$(PIP) --no-deps --target $@ torch-rechub==0.8.0 deepctr-torch==0.2.9
