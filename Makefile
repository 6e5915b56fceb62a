# Two commands: `make demo` (no torch) and `make test`.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt
RESULT := examples/sample.segmentation.mp4

.PHONY: demo test lint clean

# Each stamp records one finished installation; a change of the project file repeats it.
.venv/runtime.stamp: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(PIP) -e ".[cpu,video]"
	touch $@

.venv/dev.stamp: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(PIP) -e ".[dev]"
	touch $@ .venv/runtime.stamp

demo: .venv/runtime.stamp
	$(BIN)/lavin-run --task segmentation examples/sample.mp4 --view side-by-side -o $(RESULT)
	@echo "The result: $(RESULT)"

test: .venv/dev.stamp
	$(BIN)/python -m pytest

lint: .venv/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf .venv build *.egg-info $(RESULT)
