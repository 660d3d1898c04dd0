.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

help:  ## print these targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-8s %s\n", $$1, $$2}'

$(STAMP): pyproject.toml
	@test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	@echo "installing cleanpipe and what it needs into $(VENV): about a minute, once"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

# What some tests want and nothing else: torch, which trains the small models of `cleanpipe stability` and
# takes 900 MB, and the libraries that read exports and cards back.
# The version is the one whose CPU build pip is likely to find; another: make torch TORCH='torch>=2.5'
TORCH ?= torch==2.13.0

$(VENV)/.torch: $(STAMP)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check '$(TORCH)' -e '.[probe,readback]'
	@touch $@

torch: $(VENV)/.torch  ## the extras `probe` and `readback`: tests that want them are skipped without

clusters: $(STAMP)  ## Dask, Ray, boto3 and a small S3 server: tests of many machines are skipped without
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[clusters]'

demo: $(STAMP)  ## clean sample_data/ with the Prefect flow and say what was kept and dropped
	@$(BIN)/cleanpipe run configs/sample.yaml --prefect

test: $(STAMP)  ## every claim at its smallest size
	$(BIN)/python -m pytest -q -n auto

proof: $(STAMP)  ## every claim at its full size: minutes to hours
	$(BIN)/python -m pytest -q -m proof tests/proof tests/flows

bench: $(STAMP)  ## whole runs beside Polars' copy; CORPORA names folders of Parquet or JSON lines
	$(BIN)/python benchmarks/whole_runs.py configs/bench.yaml $(CORPORA)

parity: $(STAMP)  ## datatrove's filters beside ours; CORPORA names folders of JSON lines
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[bench]'
	$(BIN)/python benchmarks/parity.py $(CORPORA)

peers: $(STAMP)  ## deduplication beside the peers, in an environment of their own; CORPORA names files
	@test -d .venv-peers || $(PYTHON) -m venv .venv-peers
	@.venv-peers/bin/python -m pip install --quiet --disable-pip-version-check -r benchmarks/peers.txt
	$(BIN)/python benchmarks/dedup_peers.py .venv-peers/bin/python $(CORPORA) --json peers.json

check: $(STAMP)  ## lint, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

.PHONY: help torch clusters demo test proof bench parity peers check
