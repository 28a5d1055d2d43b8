# Drydock. `make` alone prints what there is.
#
#   ENGINE=auto|docker|process   where a local job runs (auto: Docker where it answers)
#   DATA=FOLDER                  images to train on, one folder a class (default: drawn demo data)
#   PRETRAINED=FOLDER            weights, given to the job as its channel `pretrained`
#   SOURCE=FOLDER PROGRAM=FILE   your own script, for local-script
#   SET="PATH=VALUE ..."         changes to the request, e.g. SET="HyperParameters.epochs=3"

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

PYTHON3 ?= python3
PYTHON := .venv/bin/python
ENGINE ?= auto
PORT ?= 4700
DATA ?=
PRETRAINED ?=
SOURCE ?= examples/script
PROGRAM ?= train.py
export SOURCE PROGRAM
SET ?=
DEMO_DATA := data/synthetic
DOCUMENT := jobs/train.yaml

# Evaluated where it is used: asking Docker takes a moment, and most targets do not need to.
engine = $(shell $(PYTHON) -m local_mode.engines $(ENGINE))
job_options = $(foreach change,$(SET),--set '$(change)') $(if $(PRETRAINED),--channel 'pretrained=$(PRETRAINED)')

.PHONY: help
help:  ## Print this help
	@awk 'BEGIN {FS = ":.*## "; print "Usage: make TARGET [ENGINE=auto|docker|process] [DATA=FOLDER] [SET=\"PATH=VALUE ...\"]\n"} \
		/^[a-z-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# --- Environments -------------------------------------------------------------------------------
# One .venv; what is added to it grows with what is asked for. A stamp holds each step, so that a
# changed lock file installs again and an unchanged one costs nothing.

.PHONY: setup
setup: .venv/.host  ## Make .venv with what the host needs to send and run jobs (no torch)

.PHONY: setup-train
setup-train: .venv/.train  ## Add what the training image holds (torch), for the process engine and the tests

.venv/bin/python:
	@$(PYTHON3) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "error: $(PYTHON3) is older than 3.11; name a newer one: make PYTHON3=python3.12 ..." >&2; exit 1; }
	$(PYTHON3) -m venv .venv

.venv/.host: requirements/host.txt pyproject.toml | .venv/bin/python
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r $<
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

.venv/.train: docker/train/requirements.txt docker/train/sagemaker-training.txt .venv/.host
	@command -v cc >/dev/null || \
		{ echo "error: sagemaker-training is compiled at installation: install a C compiler (Debian: apt-get install gcc python3-dev)" >&2; exit 1; }
	@echo "installing PyTorch and the rest of the training image's packages (several GB, once)"
	$(PYTHON) -m pip install $(if $(MAKE_TERMOUT),,--quiet) --disable-pip-version-check --require-hashes --no-deps -r docker/train/requirements.txt
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps --no-build-isolation -r docker/train/sagemaker-training.txt
	@# Both packages install a program named `train`; ours is the image's, so it comes last.
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --force-reinstall --editable .
	@touch $@

.venv/.dev: requirements/dev.txt .venv/.host
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r $<
	@touch $@

# --- Jobs ---------------------------------------------------------------------------------------

.PHONY: local-train
local-train: setup  ## Train on this machine, through the local SageMaker; DATA=FOLDER for your own images
	@engine=$(engine); \
	case $$engine in docker) $(MAKE) build ;; process) $(MAKE) setup-train ;; *) exit 2 ;; esac; \
	data='$(DATA)'; \
	if [ -z "$$data" ]; then data=$(DEMO_DATA); $(PYTHON) -m drydock.data.synthetic --output "$$data"; fi; \
	DATA="$$data" $(PYTHON) -m jobs run $(DOCUMENT) --local --engine "$$engine" --port $(PORT) $(job_options)

.PHONY: local-script
local-script: setup  ## Train with a script of your own on this machine: SOURCE=FOLDER [PROGRAM=train.py]
	@$(MAKE) local-train DOCUMENT=jobs/script.yaml

.PHONY: train
train: setup  ## Send the same request to AWS (needs ROLE_ARN, BUCKET, DATA=s3://..., a pushed image)
	@DATA='$(DATA)' $(PYTHON) -m jobs run jobs/train.yaml $(job_options)

.PHONY: up
up: setup  ## Keep the local SageMaker running at http://127.0.0.1:4700, for any AWS client
	@$(PYTHON) -m local_mode up --engine $(ENGINE) --port $(PORT)

# --- Images -------------------------------------------------------------------------------------

.PHONY: build
build:  ## Build the training image
	@docker/build.sh

.PHONY: push
push: setup  ## Push the built image to ECR (AWS_REGION), or to REGISTRY=HOST:PORT
	@./build_and_push.sh --no-build $(if $(REGISTRY),--registry '$(REGISTRY)')

.PHONY: base
base:  ## Make the Debian base image with debootstrap, where no registry answers
	@docker/base/make-base.sh

.PHONY: image-size
image-size: build  ## Print the image's compressed size in a registry, and the time of a rebuild
	@docker/image-size.sh

# --- Tests --------------------------------------------------------------------------------------

.PHONY: test
test: .venv/.dev .venv/.train  ## Lint and test everything, on every engine there is
	@$(MAKE) lint
	@if [ "$(engine)" = docker ]; then $(MAKE) build; fi
	$(PYTHON) -m pytest

.PHONY: test-quick
test-quick: .venv/.dev .venv/.train  ## The tests that take seconds and need no Docker
	$(PYTHON) -m pytest -m 'not slow and not docker'

.PHONY: lint
lint: .venv/.dev .venv/.train  ## ruff, mypy, shellcheck, hadolint
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy
	git ls-files '*.sh' .ci/run | xargs .venv/bin/shellcheck
	git ls-files '*Dockerfile' | xargs .venv/bin/hadolint

.PHONY: format
format: .venv/.dev  ## Format the code
	$(PYTHON) -m ruff check --fix .
	$(PYTHON) -m ruff format .

.PHONY: docs
docs: .venv/.train  ## Write the tables in docs/ that are generated from the code
	$(PYTHON) -m local_mode.support_document
	$(PYTHON) docs/write_training.py

.PHONY: lock
lock: .venv/.dev  ## Lock the requirements again (versions and hashes)
	@requirements/lock.sh

.PHONY: clean
clean:  ## Remove what was built and downloaded; jobs and objects in .drydock stay
	rm -rf build dist .venv .mypy_cache .pytest_cache .ruff_cache src/*.egg-info
