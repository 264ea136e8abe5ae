# make demo    from nothing to persistence images of real digits, and a picture of them
# make test    the whole suite, on every Python found here
# make soak    faults on purpose for MINUTES=30: kills, failing calls, races, damage, hostile files
# make lint    style and types
# make bench   times of our kernels beside those of the libraries
# make clean   remove the environments

PYTHON ?= $(shell command -v python3.11 || command -v python3)
NEWEST ?= $(shell sh tests/find_python.sh 3.13)
VENV := .venv
# Compiled when imported, and then kept: most of what is installed never is.
unexport PYTHONDONTWRITEBYTECODE
PIP := -m pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt
JOBS ?= 3
MINUTES ?= 30
PYTEST := -m pytest -q
# One more than cores: many tests wait, for SLURM, for killed processes, for a browser.
PARALLEL := -n $(JOBS) --dist loadfile --no-loadscope-reorder
# Of the newest versions: what meets numpy, zarr and numba. Commands, pictures and processes do not.
PLAIN := $(addprefix --ignore=tests/pipeline/test_,cli.py compare.py delays_command.py figures.py \
	isolated.py jit.py legacy.py limits.py ondemand.py report.py report_windows.py)

.PHONY: demo test test-reference test-newest test-giotto soak lint bench clean

demo: $(VENV)/demo.done
	$(VENV)/bin/pipeline demo --png demo.png

test: test-reference test-newest test-giotto

test-reference: $(VENV)/test.done
	$(VENV)/bin/python -m tests.compile_kernels
	$(VENV)/bin/python $(PYTEST) $(PARALLEL)

# The newest numpy and zarr need a newer Python; training has its own, older floor.
test-newest:
ifeq ($(NEWEST),)
	@echo "skipped: no Python 3.13 found, so the newest numpy and zarr are not tested"
else
	$(MAKE) .venv-newest/test.done
	.venv-newest/bin/python -m tests.compile_kernels
	.venv-newest/bin/python $(PYTEST) $(PARALLEL) -m "not slow" $(PLAIN) \
		tests/pi_cache tests/pipeline tests/sources
endif

# giotto-tda pins numpy < 2, so it lives in an environment of its own.
test-giotto: .venv-giotto/test.done
	.venv-giotto/bin/python $(PYTEST) tests/pipeline/test_engines.py tests/pipeline/test_delays.py

# Root is needed for cut power and full disks; what cannot run here is named in the table.
soak: $(VENV)/test.done
	$(VENV)/bin/python -m tests.faults.soak --minutes $(MINUTES)
	$(VENV)/bin/python -m tests.faults.sabotage

lint: $(VENV)/test.done
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

bench: .venv-giotto/test.done $(VENV)/test.done
	.venv-giotto/bin/python $(PIP) cripser
	.venv-giotto/bin/python -m benchmarks.kernels
	.venv-giotto/bin/python -m benchmarks.start_up
	.venv-giotto/bin/python -m benchmarks.two_processes
	.venv-giotto/bin/python -m benchmarks.plan
	.venv-giotto/bin/python -m benchmarks.build_rate
	.venv-giotto/bin/python -m benchmarks.first_touch
	.venv-giotto/bin/python -m benchmarks.wearables
	$(VENV)/bin/python -m benchmarks.render
	$(VENV)/bin/python -m benchmarks.training_read

clean:
	rm -rf .venv .venv-newest .venv-giotto

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/demo.done: pyproject.toml | $(VENV)/bin/python
	$(VENV)/bin/python $(PIP) -e ".[pipeline,gudhi,plots]"
	touch $@

$(VENV)/test.done: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(VENV)/bin/python $(PIP) -e ".[pipeline,gudhi,plots,parquet,cluster,serve,remote,train,huggingface,test]"
	touch $@

.venv-newest/test.done: pyproject.toml
	$(NEWEST) -m venv .venv-newest
	.venv-newest/bin/python $(PIP) -e ".[pipeline,gudhi,plots,parquet,cluster,serve,remote,test]"
	touch $@

.venv-giotto/test.done: pyproject.toml
	$(PYTHON) -m venv .venv-giotto
	.venv-giotto/bin/python $(PIP) -e ".[pipeline,gudhi,giotto,plots,test]"
	touch $@
