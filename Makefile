# Every target sets up what it needs: a Python >= 3.12 is found or fetched, .venv is made from the lock.
.PHONY: help demo run test check faults bench fuzz docs coverage mutants pictures
.DEFAULT_GOAL := check
BIN := .venv/bin

help:                     ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

.venv/.ok: requirements.lock pyproject.toml bin/venv bin/pythons
	sh bin/venv

demo: .venv/.ok           ## see the whole loop with real processes
	$(BIN)/sessiontape demo

run: .venv/.ok            ## record what players send: make run UPSTREAM=https://…
	@test -n "$(UPSTREAM)" || { echo 'say what to record: make run UPSTREAM=https://…' >&2; exit 2; }
	$(BIN)/sessiontape record --upstream "$(UPSTREAM)"

check: .venv/.ok          ## run the fast static checks; what 'make' alone does
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

# A part of the tests runs on every Python that is there, and with the lowest versions of all libraries.
test: .venv/.ok           ## run all checks and tests, a real PostgreSQL included
	sh bin/test

# tests/faults with the numbers that docs/guarantees.md names; each test prints its seed and figures.
faults: .venv/.ok         ## kill, hang and fill up what there is, 50 times; half an hour
	$(BIN)/pytest tests/faults --all-rounds -rP

coverage: .venv/.ok       ## tell which branches the tests take, in our processes too
	$(BIN)/pytest -n auto --cov --cov-report=term

# Changes of core/ and recording/. It goes on where it stopped.
mutants: .venv/.ok        ## tell how many mutants the unit tests notice; takes two hours
	$(BIN)/python -m pip install -q 'mutmut>=3.8,<4'
	$(BIN)/mutmut run
	$(BIN)/mutmut export-cicd-stats

bench: .venv/.ok          ## measure speed, as ratios to a peer in the same run
	$(BIN)/python -m benchmarks

fuzz: .venv/.ok           ## send broken bodies to the rules, and broken streams to the lane
	$(BIN)/python -m tests.fuzz
	$(BIN)/python -m tests.fuzz_lane

pictures: .venv/.ok       ## take the pictures of pages in docs/pictures anew; needs Chromium
	$(BIN)/python docs/pictures.py

docs: .venv/.ok           ## write the rule pages, and the schemas of files, anew
	$(BIN)/python -m proxy_addon.reporting.rule_pages docs/rules
	$(BIN)/python -m proxy_addon.core.fixtures.fixture_schema >docs/fixture.schema.json
	$(BIN)/python -m proxy_addon.core.scenarios.scenario_schema >docs/scenario.schema.json
	$(BIN)/python -m proxy_addon.core.audits.plan_schema >docs/plan.schema.json
	$(BIN)/python docs/scenarios.py
