# make run      start Landscape; AUDIT_DB=path imports that file first, PORT=8001 is another port,
#               DEMO=no leaves an empty database empty
# make test     everything the project checks, against a PostgreSQL that it starts itself
# make check    style, types, floors, settings, migrations: a few seconds
# make faults   the kill, race and tampering tests with their full counts
# make bench    every published figure
# make help     this text

PORT ?= 8000
AUDIT_DB ?=
DEMO ?= yes
PYTHON := .venv/bin/python

# A production that is complete and leads nowhere: settings are checked as they will be used.
PRODUCTION := env LANDSCAPE_DEBUG=false LANDSCAPE_ALLOWED_HOSTS=landscape.example \
	LANDSCAPE_SECRET_KEY=only-for-this-check-0123456789-abcdefghijklmnopqrstuvwxyz-9876543210 \
	LANDSCAPE_DATABASE_URL=postgresql://nobody@localhost/nothing \
	LANDSCAPE_BROKER_URL=redis://localhost/0 LANDSCAPE_AUTHORITY=landscape.example/audit \
	LANDSCAPE_TRUSTED_PROXIES=1

.PHONY: run test check faults bench help environment
.DEFAULT_GOAL := help

run:
	@.ci/environment requirements.txt
	@exec $(PYTHON) manage.py up --port $(PORT) $(if $(AUDIT_DB),--import "$(AUDIT_DB)") \
		$(if $(filter no,$(DEMO)),--no-demo)

test: check
	@exec $(PYTHON) tests/passes.py

check: environment
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	find templates -name '*.html' | xargs -r .venv/bin/djade --check --target-version 5.2
	.venv/bin/mypy
	.venv/bin/lint-imports --no-logo
	$(PRODUCTION) $(PYTHON) manage.py check --deploy --fail-level WARNING
	$(PYTHON) manage.py makemigrations --check --dry-run

faults: environment
	LANDSCAPE_FAULTS=full $(PYTHON) -m pytest -m faults
	LANDSCAPE_FAULTS=full $(PYTHON) -m pytest tests/integrity/test_attacks.py

bench: environment
	@for script in benchmarks/*.py; do \
		if [ -e "$$script" ]; then echo "== $$script"; $(PYTHON) "$$script" || exit 1; fi; \
	done

environment:
	@.ci/environment requirements-dev.txt

help:
	@sed -n 's/^# //p; /^$$/q' Makefile
