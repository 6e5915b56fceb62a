# Two commands: `make demo` (no torch) and `make test`; `make quick` while at work.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt
JOBS ?= auto  # processes of pytest; auto is one for each core
RESULT := examples/sample.segmentation.mp4

.PHONY: demo test quick soak lint cpp cpp-check plugins cuda-all plugin-wheel gpu-wheels clean

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
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal

# What a change breaks first, in under a minute.
quick: .venv/dev.stamp
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal -q -m unit

# Proofs that make test has no time for; each has a short form there.
soak: .venv/dev.stamp
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal -m soak

lint: .venv/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The C and C++ runtime, into build/cpp; scripts/cpp_packages.sh names what it takes.
cpp:
	cmake -S cpp -B build/cpp
	cmake --build build/cpp --parallel 2

# Sanitizers, 64-bit ARM under qemu, fuzzing.
cpp-check: .venv/dev.stamp
	scripts/cpp_check.sh

# CUDA kernels and TensorRT plugins; nvcc is needed, a GPU is not.
plugins:
	PYTHON=$(PYTHON) scripts/build_plugins.sh

cuda-all:
	PYTHON=$(PYTHON) scripts/build_plugins.sh all

plugin-wheel: cuda-all
	cp build/plugins/liblavin_plugins.so build/plugins/libtensorrt_rtx.so packaging/plugins/lavin_deploy_plugins/
	$(PYTHON) -m pip wheel -q --no-deps -w build/wheels packaging/plugins
	@ls build/wheels/lavin_deploy_plugins-*.whl

# What scripts/gpu_check.sh installs where there is torch, but no index; plugins are built there.
gpu-wheels:
	$(PYTHON) -m pip wheel -q --disable-pip-version-check --no-deps -w build/gpu-wheels \
		-c constraints.txt tensorrt-rtx-cu13 tensorrt-rtx-cu13-libs tensorrt-rtx-cu13-bindings \
		polygraphy cuda-bindings cuda-pathfinder onnx onnx-ir onnxscript onnxruntime ml_dtypes numpy \
		protobuf flatbuffers safetensors click tqdm pillow packaging typing_extensions \
		kernel-lens==2.0.1 cmake==4.1.2 nvidia-cuda-sanitizer-api==13.5.25
	@ls build/gpu-wheels

clean:
	rm -rf .venv build packaging/plugins/lavin_deploy_plugins/*.so *.egg-info $(RESULT)
