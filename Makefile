# Sets itself up from nothing: `make demo`, `make test`. A second call is instant; edited ext/*.pyx are rebuilt.

VENV := .venv
PYTHON := $(VENV)/bin/python
PIP := PIP_DISABLE_PIP_VERSION_CHECK=1 $(PYTHON) -m pip install -qq --constraint constraints.txt --editable
BUILD := pyproject.toml setup.py constraints.txt engine/dance/_version.py $(wildcard ext/*.pyx)

# Scripts find `labelgen`, `models` and `training` from any folder.
PATH_FILE = $(PYTHON) -c 'import pathlib, sysconfig; pathlib.Path(sysconfig.get_path("purelib"), "dance-checkout.pth").write_text("$(CURDIR)\n")'

.PHONY: help demo listen test lint build clean

help: ## say what there is
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1\t\2/p' Makefile | expand -t 14

demo: $(VENV)/.demo ## play the bundled song through the engine; a picture and the events go to demo-out/
	@$(VENV)/bin/dance play data/demo/song.ogg --truth data/demo/song.tsv --out demo-out

listen: $(VENV)/.listen ## show the drums that the microphone hears
	@$(VENV)/bin/dance listen

test: $(VENV)/.test ## run all tests
	@OMP_NUM_THREADS=1 $(PYTHON) -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile

lint: $(VENV)/.dev ## check style and types
	@$(VENV)/bin/ruff check
	@$(VENV)/bin/ruff format --check
	@$(VENV)/bin/mypy

build: $(VENV)/.dev ## build sdist and wheel into dist/
	@$(PYTHON) -m build

clean: ## remove what was built; .venv, data and checkpoints stay
	rm -rf build dist demo-out engine/*.egg-info engine/dance/*.so ext/*.c $(VENV)/.demo $(VENV)/.listen $(VENV)/.test $(VENV)/.dev

# What each task installs. The larger ones include the smaller.
$(VENV)/.demo: $(BUILD)
	@.ci/setup demo
	@echo "dance: installing the engine"
	@$(PIP) '.[files,show]'
	@$(PATH_FILE)
	@touch $@

$(VENV)/.listen: $(BUILD)
	@.ci/setup listen
	@echo "dance: installing the engine and PyAudio"
	@$(PIP) '.[mic,files,show]'
	@$(PATH_FILE)
	@touch $(VENV)/.demo $@

$(VENV)/.test: $(BUILD)
	@.ci/setup test
	@echo "dance: installing everything for tests and training; this takes some minutes"
	@$(PIP) '.[test]'
	@$(PATH_FILE)
	@touch $(VENV)/.demo $(VENV)/.listen $@

$(VENV)/.dev: $(BUILD)
	@.ci/setup test
	@echo "dance: installing everything for development; this takes some minutes"
	@$(PIP) '.[dev]'
	@$(PATH_FILE)
	@touch $(VENV)/.demo $(VENV)/.listen $(VENV)/.test $@
