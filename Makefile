# `make` lists the targets. Works with GNU Make from 3.81 (macOS's own).

SHELL := /bin/sh
.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:

PY := .venv/bin/python
# Set-up finds Java and records it; a program started here gets it as Spark expects it.
WITH_JAVA := JAVA_HOME="$$(head -n 1 .venv/java_home)"

# Options for the program behind a target: make run ARGS=--verbose, make test ARGS='-k dedup -x'
ARGS ?=
# Your own pages instead of the bundled ones, a file, folder, pattern or manifest: make run CORPUS=path
CORPUS ?=
export CORPUS

.PHONY: help run test lint check bench faults setup clean

help: ## list the targets
	@echo "personalake: personas and synthetic data from a web corpus, in Delta tables"
	@echo
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/\1|\2/p' $(firstword $(MAKEFILE_LIST)) | while IFS='|' read -r name does; \
	    do printf '  make %-8s %s\n' "$$name" "$$does"; done

run: setup ## the whole pipeline on the bundled pages, or on CORPUS=path; ARGS=... for its options
	@$(WITH_JAVA) .venv/bin/personalake run --config conf/local.yaml \
	    $(if $(CORPUS),--set "corpus.paths=[\"$$CORPUS\"]") $(ARGS)

test: setup .venv/notebooks ## the tests, without the long ones; ARGS=... for pytest's options
	@$(WITH_JAVA) $(PY) -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS) $(if $(PYTEST_STATUS),; echo $$? >"$(PYTEST_STATUS)")

lint: setup ## ruff and mypy
	@$(PY) -m ruff check
	@$(PY) -m mypy

check: lint test ## what CI runs: lint, then test

bench: setup ## the benchmarks: figures on the screen, and as JSON in tests/bench/results
	@$(WITH_JAVA) $(PY) -m pytest tests/bench -m bench -s $(ARGS)

faults: setup ## the long tests: kills, cuts and endpoints that misbehave
	@$(WITH_JAVA) $(PY) -m pytest -m faults $(ARGS)

clean: ## remove what set-up made (.venv, .jars) and caches; tables in .lake stay, they may have cost money
	@rm -rf .venv .jars .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist spark-warehouse metastore_db derby.log
	@find jobs lib tests notebooks -name __pycache__ -type d -prune -exec rm -rf {} +

# Set-up: an environment, its packages, Java, Delta's jars. Each step leaves a file and is not done again while that
# holds; with all in place nothing touches the network.

setup: .jars/resolved ## what run and test need: .venv, packages, Java, Delta's jars; run and test call it themselves
	@$(if $(filter setup,$(MAKECMDGOALS)),echo "set-up: all is in place" >&2,:)

# An environment of another folder, or whose Python has gone, is as good as none.
ifneq ($(shell cat .venv/made 2>/dev/null; test -x $(PY) || echo broken),$(CURDIR))
.PHONY: .venv/made
endif

# The record alone is no proof: somebody may have removed the jars.
ifeq ($(wildcard .jars/*delta-spark*.jar),)
.PHONY: .jars/resolved
endif

.PHONY: java

.venv/made:
	@sh .make/venv.sh .venv

java: | .venv/made
	@sh .make/java.sh .venv/java_home

# Java first: where there is none, that is better known before the long step.
.venv/installed: .venv/made pyproject.toml constraints.txt | java
	@sh .make/packages.sh .venv
	@touch $@

# What only the notebooks' tests need: a run shall not wait for it.
.venv/notebooks: .venv/installed
	@sh .make/packages.sh .venv notebooks
	@touch $@

.jars/resolved: .venv/installed | java
	@echo "set-up: Delta's jars into .jars" >&2
	@$(WITH_JAVA) $(PY) -m personalake.jars .jars
	@touch $@
