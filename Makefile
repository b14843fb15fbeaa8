# Each target sets up what it needs in $(VENV): on a fresh clone any of them works alone.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
# Where PyTorch's CPU wheels are, for machines without a GPU whose default index holds only CUDA builds.
TORCH_INDEX ?=
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))
JOBS ?= 2
TRIALS ?= 10000000

.PHONY: demo test test-gpu test-lowest lint validate faults audit bench bench-scale train docs lock clean

demo: $(VENV)/.local          ## examine the bundled models on the phantom tasks; writes runs/demo/report.html
	$(BIN)/palpate demo

test: $(VENV)/.dev lint       ## linters, types, and every fast test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist worksteal

lint: $(VENV)/.dev            ## ruff and mypy --strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

validate: $(VENV)/.dev        ## the long checks (writes docs/validation.md): simulations, killing at a hundred moments, published figures
	PALPATE_RECORD=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist worksteal -m slow --timeout 3600

faults: $(VENV)/.dev          ## provoke every fault of docs/reliability.md and write its table: half an hour
	PALPATE_RECORD=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist worksteal -m "slow or not slow" --timeout 3600 \
	  tests/golden/test_kill_and_resume.py tests/golden/test_damage.py tests/golden/test_full_disk.py tests/golden/test_faults.py \
	  tests/golden/test_faults_in_models.py tests/golden/test_asked_instead.py tests/golden/test_endpoint_study.py tests/golden/test_same_numbers_on_ray.py

audit:                        ## ask the advisory service about every pinned version (needs a network)
	test -d build/audit || $(PYTHON) -m venv build/audit
	build/audit/bin/python -m pip install --quiet --upgrade pip-audit
	build/audit/bin/pip-audit --no-deps --disable-pip --strict -r constraints.txt

test-gpu: $(VENV)/.dev         ## what only an NVIDIA GPU can show: exactness, kernels, memory, quantised weights
	TRITON_INTERPRET=0 $(BIN)/python -m pytest -m gpu

# All that needs no extra but xlsx.
LOWEST := tests/unit tests/contract tests/golden/test_damage.py tests/golden/test_kill_and_resume.py $(addprefix --ignore tests/unit/, \
  models cases/test_broken_files.py cases/test_dicom.py cases/test_nifti.py stages/test_inspect.py store/test_partitions.py)
test-lowest:                  ## the core's tests with every declared package at its lower bound; tools of the tests at their newest
	rm -rf build/lowest && $(PYTHON) -m venv build/lowest
	$(PYTHON) tests/lowest.py pyproject.toml xlsx > build/lowest.txt
	build/lowest/bin/python -m pip install --quiet --disable-pip-version-check -c build/lowest.txt -e ".[xlsx]" \
	  pytest pytest-timeout pytest-xdist hypothesis psutil statsmodels scikit-learn num2words
	OMP_NUM_THREADS=1 build/lowest/bin/python -m pytest -n $(JOBS) --dist worksteal $(LOWEST)

bench: $(VENV)/.dev           ## speed and memory, as a table and as JSON
	$(BIN)/python -m benchmarks.all

bench-scale: $(VENV)/.dev     ## a run of ten million trials (AT=folder keeps it, TRIALS=1000000 makes it smaller): half an hour, 15 GB of disk
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.scale --trials $(TRIALS) $(if $(AT),--at $(AT))

train: $(VENV)/.dev           ## train the bundled models anew (ten minutes on one GPU)
	$(BIN)/python -m training.train_all --out build/bundled

docs: $(VENV)/.docs          ## the documentation as a site, in site/
	$(BIN)/python docs/pages.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

lock:                         ## take the newest versions that pyproject.toml admits, torch, transformers and triton held, and write them down
	rm -rf build/lock && $(PYTHON) -m venv build/lock
	grep -E '^(torch|transformers|triton)==' constraints.txt > build/held.txt
	build/lock/bin/python -m pip install --quiet -c build/held.txt -e ".[local,dev]"
	(grep '^#' constraints.txt; build/lock/bin/python -m pip freeze --exclude-editable | sed 's/+cpu$$//') > build/lock.txt
	mv build/lock.txt constraints.txt

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.local: $(VENV)/bin/python pyproject.toml constraints.txt
	$(PIP) -e ".[local]"
	touch $@

$(VENV)/.dev: $(VENV)/bin/python pyproject.toml constraints.txt
	$(PIP) -e ".[local,dev]"
	touch $@ $(VENV)/.local

$(VENV)/.docs: $(VENV)/.dev
	$(PIP) -e ".[docs]"
	touch $@

clean:
	rm -rf $(VENV) build dist runs .pytest_cache .mypy_cache .ruff_cache
