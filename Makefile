# Two commands matter: make demo, make test. `make help` lists the rest.
.DEFAULT_GOAL := help
PYTHON_BIN := .venv/bin/python
SOURCES := lentigo tests benchmarks scripts

.PHONY: help setup demo test lint python-tests app app-tests format docs audit clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 16

setup: ## make .venv with everything the project needs
	@bash scripts/setup.sh

demo: setup ## the whole job on rendered phantoms: train, evaluate, export, classify, report
	@bash scripts/demo.sh

test: setup ## every check: style, types, Python tests, app build, browser tests
	@bash scripts/test.sh

lint: setup ## style and types
	$(PYTHON_BIN) -m ruff check $(SOURCES)
	$(PYTHON_BIN) -m ruff format --check $(SOURCES)
	$(PYTHON_BIN) -m mypy

python-tests: setup ## the Python tests
	$(PYTHON_BIN) -m pytest -n 2

app: setup ## build the phone app and open it
	@bash scripts/build_app.sh
	$(PYTHON_BIN) -m lentigo app

app-tests: setup ## the phone app's tests, in a real browser
	@bash scripts/setup_browser.sh
	@bash app/test.sh

format: setup ## format the Python code
	$(PYTHON_BIN) -m ruff check --fix $(SOURCES)
	$(PYTHON_BIN) -m ruff format $(SOURCES)

docs: setup ## the documentation as a site, with a page for each module, in build/site
	NO_MKDOCS_2_WARNING=1 $(PYTHON_BIN) -m mkdocs build --strict --quiet
	@echo "open build/site/index.html, or: $(PYTHON_BIN) -m http.server -d build/site"

audit: setup ## known vulnerabilities in what is installed and in the app; part of make test
	$(PYTHON_BIN) scripts/audit.py

clean: ## remove what was built, not what was trained
	rm -rf demo build dist .pytest_cache .mypy_cache .ruff_cache lentigo/serving/static
