# `make demo` restores the example photo, `make test` checks everything. Both need only Python >= 3.11 and keep what
# they install in .venv; a second call finds it there and starts at once.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
NEWEST := build/newest
WORKERS ?= $(shell n=$$(nproc 2>/dev/null || echo 2); [ $$n -gt 4 ] && echo 4 || echo $$n)
EXAMPLE := docs/example/shadow.jpg
FUZZ_SECONDS ?= 20

# --no-compile: bytecode of what is really imported is written at its first run, which keeps the base install small.
# -qq: silent unless something fails.
PIP := $(BIN)/python -m pip --disable-pip-version-check install -qq --no-compile -c constraints.txt
PACKAGES := training kernels export runtime benchmarks
TYPES := $(VENV)/types

.DELETE_ON_ERROR:
.PHONY: help demo test test-slow test-newest lint cpu-kernels cpp-test cpp-fuzz gpu clean

help:
	@echo "make demo       restore $(EXAMPLE) with the bundle that comes along, into demo/"
	@echo "make test       ruff, mypy and the tests"
	@echo "make test-slow  the tests that take long, then test-newest"
	@echo "make test-newest  the newest versions that pyproject.toml allows, into $(NEWEST), and the tests that feel them"
	@echo "make cpu-kernels  build the CPU kernels (needs cmake, g++ and two libraries: docs/cpp.md) and put them into $(VENV)"
	@echo "make cpp-test   build and test the C++ library in build/release (docs/cpp.md says what to install first)"
	@echo "make cpp-fuzz   its libFuzzer targets, FUZZ_SECONDS=$(FUZZ_SECONDS) each (needs clang)"
	@echo "make gpu        replace the CPU build of ONNX Runtime by the CUDA one (they cannot be installed together)"
	@echo "make clean      remove demo/ and the caches, and keep $(VENV)"

demo: $(VENV)/.base
	@mkdir -p demo
	@$(BIN)/shadowdiffusion restore $(EXAMPLE) -o demo/restored.jpg --overwrite
	@echo "The restored photo is demo/restored.jpg; compare it with $(EXAMPLE)."

test: lint
	@$(BIN)/python -m pytest -q -n $(WORKERS) --dist loadgroup -m "not slow"

test-slow: $(VENV)/.test
	@$(BIN)/python -m pytest -q -n $(WORKERS) --dist loadgroup -m slow
	@$(MAKE) --no-print-directory test-newest

# Without constraints.txt, afresh at each call. A CUDA build of PyTorch brings the one Triton that it goes with.
test-newest: | $(BIN)/python
	@$(BIN)/python -m venv --clear $(NEWEST)
	@$(NEWEST)/bin/python -m pip --disable-pip-version-check install -qq --no-compile -e '.[test]'
	@$(NEWEST)/bin/python -m pip --disable-pip-version-check freeze --exclude-editable
	@$(NEWEST)/bin/python -m pytest -q -n $(WORKERS) --dist loadgroup -m "not slow" tests/kernels tests/runtime tests/export

# mypy knows nothing of the mapping in setup.py: a link shows it the folders below the name that they are installed as.
lint: $(VENV)/.test
	@$(BIN)/ruff check .
	@mkdir -p $(TYPES) && ln -sfn ../.. $(TYPES)/shadowdiffusion
	@$(BIN)/mypy $(PACKAGES:%=$(TYPES)/shadowdiffusion/%) tests

cpu-kernels: $(VENV)/.base
	@cmake --preset cpu-kernels
	@cmake --build --preset cpu-kernels
	@cmake --install build/cpu-kernels --prefix $(VENV)
	@$(PIP) -e '.[engines]'

cpp-test: $(VENV)/.cpp
	@cmake --preset release
	@cmake --build --preset release
	@ctest --preset release

cpp-fuzz:
	@cmake --preset fuzz -DSHADOWDIFFUSION_FUZZ_SECONDS=$(FUZZ_SECONDS)
	@cmake --build --preset fuzz
	@ctest --preset fuzz

# Both builds of ONNX Runtime write into the same folder: whichever is removed takes files of the other with it, so
# both go and one comes back.
gpu: $(VENV)/.base
	@$(BIN)/python -m pip -qq uninstall -y onnxruntime onnxruntime-gpu
	@$(PIP) "onnxruntime-gpu[cuda,cudnn]>=1.31,<2"
	@$(BIN)/python -c "import onnxruntime; print('ONNX Runtime', onnxruntime.__version__, 'can use', *onnxruntime.get_available_providers())"

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) not found: install Python 3.11 or newer, or run make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or newer is needed and $(PYTHON) is %d.%d: run make PYTHON=/path/to/a/newer/python3" % sys.version_info[:2])'
	@$(PYTHON) -m venv $(VENV) || { echo "$(PYTHON) has no working venv module (on Debian and Ubuntu: apt install python3-venv)" >&2; rm -rf $(VENV); exit 1; }

$(VENV)/.base: pyproject.toml setup.py constraints.txt | $(BIN)/python
	@echo "installing the runtime into $(VENV)"
	@$(PIP) -e .
	@touch $@

$(VENV)/.test: pyproject.toml setup.py constraints.txt | $(BIN)/python
	@echo "installing the runtime and what the tests need into $(VENV) (a minute or two)"
	@$(PIP) -e '.[test]'
	@touch $@ $(VENV)/.base

$(VENV)/.cpp: pyproject.toml setup.py constraints.txt | $(BIN)/python
	@echo "installing OpenVINO into $(VENV), which runs the networks of the C++ library"
	@$(PIP) -e '.[cpp]'
	@touch $@ $(VENV)/.base

clean:
	@rm -rf demo build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
