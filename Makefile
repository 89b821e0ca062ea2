# Every target sets up what it needs: a Python >= 3.12 is found or fetched, .venv is made from the lock.
.PHONY: demo run test check bench fuzz docs coverage mutants
.DEFAULT_GOAL := check
BIN := .venv/bin

.venv/.ok: requirements.lock pyproject.toml bin/venv bin/pythons
	sh bin/venv

demo: .venv/.ok           ## the whole loop with real processes
	$(BIN)/sessiontape demo

run: .venv/.ok            ## record: make run UPSTREAM=https://…
	@test -n "$(UPSTREAM)" || { echo 'say what to record: make run UPSTREAM=https://…' >&2; exit 2; }
	$(BIN)/sessiontape record --upstream "$(UPSTREAM)"

check: .venv/.ok          ## the fast static checks
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

test: check               ## everything, PostgreSQL included; a part on every Python and with the lowest versions
	sh bin/test

coverage: .venv/.ok       ## which branches the tests take, those of our processes included
	$(BIN)/pytest -n auto --cov --cov-report=term

mutants: .venv/.ok        ## how many changes of core/ and recording/ the unit tests notice; takes two hours, goes on where it stopped
	$(BIN)/python -m pip install -q 'mutmut>=3.8,<4'
	$(BIN)/mutmut run
	$(BIN)/mutmut export-cicd-stats

bench: .venv/.ok          ## speed, as ratios to a peer in the same run
	$(BIN)/python -m benchmarks

fuzz: .venv/.ok           ## 200,000 broken bodies against the rules; the seed is printed
	$(BIN)/python -m tests.fuzz

docs: .venv/.ok           ## write the pages of the rules anew
	$(BIN)/python -m proxy_addon.reporting.rule_pages docs/rules
