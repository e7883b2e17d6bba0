# Two commands matter: make demo, make test.

PYTHON ?= python3
VENV   := .venv
PY     := $(VENV)/bin/python
# one place: job/__init__.py
VERSION := $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' job/__init__.py)
IMAGE  ?= saltworks:$(VERSION)
BUILD  ?= docker build
UV     := $(VENV)/bin/uv pip install --quiet --python $(PY) --compile-bytecode --require-hashes

.PHONY: help demo test chart chart-test flow-long fault fault-part nodes e2e e2e-full lab bench bench-draw scale docs lint image lock

help:                     ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /	/' | expand -t 12

demo: $(VENV)/.runtime    ## the whole job on the embedded default, into ./demo-output
	$(PY) -m job run --root demo-output

test: $(VENV)/.dev        ## the fast tiers: unit, contract, architecture, flow
	$(PY) -m ruff check .
	$(PY) -m pytest -m "unit or contract" -n 2 -q
	$(PY) -m pytest -m "flow and not long"

flow-long: $(VENV)/.dev   ## whole jobs that make test has no time for: every arm, cross-fitting, two recipes, halving, the lab, the benchmarks in small
	$(PY) -m pytest -m "flow and long" --durations=10

fault: $(VENV)/.dev       ## kills, storage trouble, hostile input: every schedule and 25 + 5 real kills
	$(PY) -m pytest -m "fault and not nodes" --whole -n 2 --dist loadfile --durations=20

fault-part: $(VENV)/.dev  ## the part of it that CI has time for
	$(PY) -m pytest -m "fault and not long and not nodes" -n 2 --dist loadfile --durations=10

nodes: $(VENV)/.dev       ## what several Ray nodes do to the job: late, lost, drained, given back; and its scale
	$(PY) -m pytest -m nodes -n 2 --dist loadfile --durations=10

e2e: $(VENV)/.dev         ## the core of the tests on a cluster: KUBECONFIG=… E2E_IMAGE=… E2E_HOST=… (README.md)
	$(PY) -m pytest -m "e2e and not long"

e2e-full: $(VENV)/.dev    ## all of them; writes docs/e2e.md
	$(PY) -m pytest -m e2e --record docs/e2e.md

lab: $(VENV)/.runtime     ## the lab's setting: make lab CIFAR=folder-or-bucket FLAGS='…'; a stand-in without CIFAR
	$(PY) -m bench.lab "$(CIFAR)" $(FLAGS)

bench: $(VENV)/.runtime   ## seconds per room of the demo, what a trial costs beyond its training, the sweep against the lab's loop
	$(PY) -m bench.demo
	$(PY) -m bench.trial_overhead
	$(PY) -m bench.sweep

bench-draw: $(VENV)/.runtime  ## drawing against the lab's loop, and the pipeline beside its generator: FLAGS='--profile sd15 --device cuda'
	$(PY) -m bench.generate $(FLAGS)
	$(PY) -m bench.pipeline

scale: $(VENV)/.dev       ## 10,000 and 100,000 images from plan to publish: memory, requests, time
	$(PY) -m bench.scale --samples 10000,100000

docs: $(VENV)/.dev        ## write what is generated: the README's settings table, the report's schema
	$(PY) -m tests.docs

chart: $(VENV)/.dev       ## write what is generated of the chart: schema, table of values, plain files; then its tests
	$(PY) -m tests.chart_files
	@$(MAKE) chart-test

chart-test: $(VENV)/.dev  ## the tests of the chart alone
	$(PY) -m pytest -m chart -n 2 -q

lint: $(VENV)/.dev        ## the checks that make test begins with
	$(PY) -m ruff check .

image:                    ## the container image: make image IMAGE=name:tag BUILD="docker build"
	$(BUILD) --build-arg VERSION=$(VERSION) --build-arg REVISION=$$(git describe --always --dirty --abbrev=40 --exclude '*') \
	  -t $(IMAGE) -t saltworks .

lock: $(VENV)/.runtime    ## pin anew: names, versions and hashes, no addresses
	$(VENV)/bin/uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-annotate --no-header --quiet --upgrade -o requirements.lock
	$(VENV)/bin/uv pip compile pyproject.toml --extra dev -c requirements.lock --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --no-annotate --no-header --quiet -o requirements-dev.lock
	# the tool of the image's bill of materials: not among dev, for every Ray process would load what it brings (0.9 s of CPU each)
	echo cyclonedx-bom | $(VENV)/bin/uv pip compile - --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-annotate --no-header --quiet -o requirements-bom.lock

$(VENV)/bin/uv: requirements.lock
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v <= (3, 13) else f"saltworks needs Python 3.11 to 3.13, and $(PYTHON) is {v[0]}.{v[1]}: make PYTHON=python3.12 …")'
	$(PYTHON) -m venv $(VENV)
	@sed -n '/^uv==/,/[^\\]$$/p' requirements.lock > $(VENV)/uv.lock   # uv installs the rest; its own pin stands in the same lock
	$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes -r $(VENV)/uv.lock
	@touch $@

$(VENV)/.runtime: $(VENV)/bin/uv requirements.lock
	$(UV) -r requirements.lock
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime requirements-dev.lock
	$(UV) -r requirements-dev.lock
	@touch $@
