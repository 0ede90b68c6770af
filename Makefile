# Two commands matter: `make run` does the main job, `make test` proves it. Both start from a bare clone.

PYTHON = .venv/bin/python
BIN = .venv/bin

GATES = types public-types layers style generated

.PHONY: help setup run test check $(GATES) suite format api sync schema bench clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' Makefile

setup: ## Make .venv as uv.lock says (nothing to do when it is current)
	@sh tools/bootstrap.sh

run: setup ## Fork a sandbox on the embedded island and run a real command in it
	@$(PYTHON) -m skerry.demo

test: setup ## Every gate, then every test
	@$(MAKE) --no-print-directory check
	@$(MAKE) --no-print-directory suite

check: setup ## Style, types, layers, generated files
	@$(MAKE) --no-print-directory -j2 --output-sync=target $(GATES)

# Side by side, because each is busy with one processor; each one's words stay together.
types:
	$(BIN)/mypy
public-types:
	$(BIN)/basedpyright
layers:
	$(BIN)/lint-imports --no-cache
style:
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
generated:
	$(PYTHON) tools/generate_sync.py --check
	$(PYTHON) tools/check_tree.py

suite: setup ## The tests alone
	@sh tools/test_packages.sh
	$(BIN)/pytest -n 3 --dist worksteal $(PYTEST_FLAGS)

format: setup ## Format and mend what can be mended by a machine
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

sync: setup ## Regenerate the synchronous twins
	$(PYTHON) tools/generate_sync.py

api: setup ## Accept the present public API as the golden one
	$(PYTHON) tools/public_api.py --write

schema: setup ## Write anew what a new database begins with, after a migration was added
	$(PYTHON) tools/schema.py --write

bench: setup ## Measure, and print ratios with raw samples
	$(PYTHON) -m bench

clean: ## Remove the environment and every cache
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
