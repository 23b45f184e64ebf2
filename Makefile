# One Makefile for people, pre-commit and CI. `make` lists the targets.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TRAIN := .venv-train/bin
WORKERS ?= 2
.DEFAULT_GOAL := help
.PHONY: help setup setup-train lock lint types test test-slow test-train test-gpu bench bench-gallery bench-renders demo clean \
        train-detection train-reid train-expression train-ssr eval-detect eval-reid eval-fer eval-fer-conditions eval-fer-noise \
        eval-fer-ablation eval-privacy eval-ssr eval-tracking

help: ## list the targets
	@grep -hE '^[a-z -]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  \033[1m%-18s\033[0m %s\n", $$1, $$2}'

setup: $(VENV)/.ready ## install the hash-locked serving and development packages into .venv (no torch)

$(VENV)/.ready: requirements-dev.lock pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-uv.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements-dev.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --offline -e .
	@touch $@

setup-train: .venv-train/.ready ## the same with torch, Mitsuba and TensorRT for RTX into .venv-train (about 6 GB)

.venv-train/.ready: $(VENV)/.ready requirements-train.lock
	@test -x $(TRAIN)/python || $(BIN)/uv venv --quiet --python $(BIN)/python .venv-train
	$(BIN)/uv pip install --quiet --python $(TRAIN)/python --require-hashes -r requirements-train.lock
	$(BIN)/uv pip install --quiet --python $(TRAIN)/python --no-deps --no-build-isolation --offline -e .
	@touch $@

lock: setup ## compile the lock files anew from pyproject.toml
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header pyproject.toml --extra dev --extra train --extra gpu -o requirements-train.lock
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header pyproject.toml --extra dev -c requirements-train.lock -o requirements-dev.lock
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header pyproject.toml -c requirements-train.lock -o requirements.lock
	echo uv | $(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header - -o requirements-uv.lock

lint: setup ## ruff and the layer contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: setup ## strict mypy
	$(BIN)/mypy

test: setup ## unit, contract, property, golden and integration tests on real Kafka, Valkey and Ray (under 12 minutes on 2 cores)
	$(BIN)/pytest -n $(WORKERS) --dist loadgroup -m "not slow and not train and not gpu"

test-slow: setup ## the long proofs: kills under load, the cluster, the README's blocks
	$(BIN)/pytest -m "slow and not train and not gpu" --timeout 900

test-train: setup-train ## what needs torch: training steps, export, engines against torch, TensorRT builds
	$(TRAIN)/pytest -m "train and not gpu" --timeout 900

test-gpu: setup-train ## what needs a GPU
	$(TRAIN)/pytest -m gpu --timeout 900

DATA ?=
train-detection train-reid train-expression train-ssr: train-%: setup-train ## train a network, resumable (runs/), and export it
	$(TRAIN)/python -m training.$* train $(ARGS)

eval-detect: setup ## AP50 of people and faces, landmark error [DATA=FILE.csv]; JSON on the last line
	$(BIN)/python -m models.detection.evaluate $(if $(DATA),--data $(DATA)) $(ARGS)

eval-tracking: setup ## HOTA, IDF1, MOTA by TrackEval DATA=MOT_FOLDER [ARGS="--peer yolox_nano --given --out DIR"]; JSON on the last line
	$(BIN)/python -m benchmarks.mot $(DATA) $(ARGS)

eval-reid: setup-train ## mAP, Rank-1/5, mINP by the Market protocol [DATA=DIR_OR_TAR]; JSON on the last line
	$(TRAIN)/python -m training.reid evaluate $(if $(DATA),--data $(DATA)) $(ARGS)

eval-fer: setup-train ## accuracy, balanced accuracy, calibration error [DATA=DIR_OR_NPZ]; JSON on the last line
	$(TRAIN)/python -m training.expression evaluate $(if $(DATA),--data $(DATA)) $(ARGS)

eval-fer-conditions: setup-train ## the same by resolution, blur, JPEG quality, rotation, with curves [DATA=DIR_OR_NPZ]
	$(TRAIN)/python -m training.expression conditions $(if $(DATA),--data $(DATA)) $(ARGS)

eval-fer-noise: setup-train ## short trainings on 10, 20, 30 % wrong labels: ours beside three others, three seeds (hours)
	$(TRAIN)/python -m training.expression noise $(ARGS)

eval-fer-ablation: setup-train ## short trainings without each part of the method, three seeds (hours)
	$(TRAIN)/python -m training.expression ablate $(ARGS)

eval-privacy: setup ## faces that YuNet (in FOVEAL_MODEL_MIRROR) still finds where faces were hidden [DATA="CLIP..."]
	$(BIN)/python -m benchmarks.privacy $(DATA) $(ARGS)

eval-ssr: setup-train ## PSNR and SSIM beside bilinear, temporal accumulation and OIDN [DATA=DIR]; JSON on the last line
	$(TRAIN)/python -m training.ssr evaluate $(if $(DATA),--data $(DATA)) $(ARGS)

bench: setup ## end-to-end throughput, latency and memory beside the bare loop; writes benchmarks/results/
	$(BIN)/python -m benchmarks

bench-gallery: setup ## galleries of 10 k, 100 k and 1 M vectors: matching beside faiss, a replica's start, a change's way
	$(BIN)/python -m benchmarks.galleries $(ARGS)

bench-renders: setup ## a renderer's frames of 480x270 through Kafka and back, at several rates
	$(BIN)/python -m benchmarks.renders $(ARGS)

demo: setup ## the main job on real input; leaves videos, pictures and summary.json in out/demo/
	$(BIN)/foveal demo

clean: ## remove what was built, recorded and cached (not the environments)
	rm -rf out build dist runs .foveal .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache *.egg-info
	find . -name __pycache__ -not -path './.venv*' -prune -exec rm -rf {} +
