# `make run` and `make test` are all that a newcomer needs; both set up what they use.

.DEFAULT_GOAL := help
.PHONY: help setup run test check demo-drift up down reference lock clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: .venv/ready ## Install everything into .venv, from pinned requirements

.venv/ready: requirements.lock requirements-nodeps.lock pyproject.toml infra/setup.sh
	@bash infra/setup.sh

run: setup ## The main job: from raw data to a candidate that waits for your approval
	@.venv/bin/perpetune run

test: setup ## The whole test suite
	@.venv/bin/python -m pytest

check: setup ## Lint, format and types, as before each commit
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy

demo-drift: setup ## Traffic drifts, the alarm goes off, a retrained candidate recovers
	@bash infra/demo_drift.sh

up: setup ## Start Prefect and MLflow on loopback, with scheduled deployments
	@.venv/bin/perpetune up

down: ## Stop them
	@.venv/bin/perpetune down

reference: setup ## Write the pages of docs/reference that come from the code anew
	@.venv/bin/python -m tasks.settings.reference > docs/reference/settings.md
	@.venv/bin/python -m tasks.evaluate.reference > docs/reference/metrics-and-gates.md
	@.venv/bin/python -m tasks.records.reference > docs/reference/record-formats.md
	@.venv/bin/python -m tasks.curate.report.reference docs/reference/curation-reasons.md

lock: setup ## Pin requirements.lock anew from pyproject.toml
	@bash infra/lock.sh

clean: ## Remove local state and outputs (not .venv, not data/)
	rm -rf .perpetune artifacts
