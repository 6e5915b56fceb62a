"""Which library, which engines, and what is said where there is no GPU."""

from __future__ import annotations

import ast
import importlib
import inspect
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import lavin_deploy as lavin
from lavin_deploy.bundle.reader import Bundle, open_bundle
from lavin_deploy.engines.gpu import Gpu
from lavin_deploy.engines.identity import BuildOptions, Identity, graph_label, onnx_digest
from lavin_deploy.engines.library import Library
from lavin_deploy.engines.store import EngineStore
from lavin_deploy.errors import BundleError, InputError
from lavin_deploy.runtime.backends.tensorrt import choose_library, make_tensorrt
from lavin_deploy.runtime.device.cuda import driver
from tests.helpers.toy_bundle import write_toy

pytestmark = pytest.mark.bundle
ADA = Gpu(index=0, name="Ada", capability=(8, 9), memory=24 << 30, processors=128, driver=(13, 0))
RTX = Library("tensorrt-rtx", None, "1.7.1.116")
JETPACK = Library("tensorrt", None, "10.3.0.26")


@pytest.fixture
def bundle(tmp_path: Path) -> Iterator[Bundle]:
    write_toy(tmp_path / "toy.lavin")
    with open_bundle(tmp_path / "toy.lavin") as opened:
        yield opened


def installed(*libraries: Library) -> Callable[[str], Library]:
    def load(target: str) -> Library:
        for library in libraries:
            if library.target == target:
                return library
        raise InputError(f"{target} is not installed.")

    return load


def keep_engine(bundle: Bundle, library: Library, **changes: object) -> None:
    """Keep an engine for the toy's modulation graph."""
    variant = bundle.variant()
    graph = variant.graph("modulation")
    identity = Identity(
        graph=graph_label(graph),
        precision=variant.precision,
        dialect=variant.dialect,
        onnx=onnx_digest(bundle.manifest, variant, graph),
        library=library.target,
        version=library.version,
        options=BuildOptions(capabilities=("8.9",)),
    )
    EngineStore(bundle).add(replace(identity, **changes), b"plan", "", 1.0)  # type: ignore[arg-type]


def test_the_gpu_is_asked_before_anything_else(bundle: Bundle) -> None:
    def no_gpu() -> Gpu:
        raise InputError("no GPU here.")

    def never(target: str) -> Library:
        raise AssertionError("a library was imported without a GPU")

    with pytest.raises(InputError, match="no GPU here"):
        make_tensorrt(bundle, gpu_here=no_gpu, library_here=never)


def test_missing_engines_are_told_before_the_first_frame(bundle: Bundle) -> None:
    with pytest.raises(BundleError, match=r"no engine for modulation.*run: lavin-build"):
        make_tensorrt(bundle, dialect="portable", gpu_here=lambda: ADA, library_here=installed(RTX))


def test_engines_that_fit_make_a_back_end(bundle: Bundle) -> None:
    keep_engine(bundle, JETPACK)
    backend = make_tensorrt(bundle, gpu_here=lambda: ADA, library_here=installed(JETPACK))
    assert (backend.name, backend.variant.dialect) == ("tensorrt", "portable")


def test_engines_of_another_version_are_refused(bundle: Bundle) -> None:
    keep_engine(bundle, JETPACK, version="10.7.0.1")
    with pytest.raises(BundleError, match=r"built by tensorrt 10\.7\.0\.1, here is 10\.3\.0\.26"):
        make_tensorrt(bundle, gpu_here=lambda: ADA, library_here=installed(JETPACK))


def test_of_two_libraries_the_one_with_engines(bundle: Bundle) -> None:
    store = EngineStore(bundle)
    assert choose_library(store, installed(JETPACK, RTX)) == JETPACK
    keep_engine(bundle, RTX)
    assert choose_library(store, installed(JETPACK, RTX)) == RTX
    with pytest.raises(InputError, match=r"tensorrt is not installed\. Or: tensorrt-rtx is not"):
        choose_library(store, installed())


def test_auto_says_why_it_stays_on_the_cpu(bundle: Bundle) -> None:
    with lavin.load(bundle.path) as model:
        assert model.choice.endswith("; the bundle has no engines")
    keep_engine(bundle, RTX)
    with lavin.load(bundle.path) as model:
        assert model.backend == "onnxruntime"
        assert "; no NVIDIA driver is installed here" in model.choice


@pytest.fixture(scope="module")
def lean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """TensorRT's lean runtime under TensorRT's name; without a driver its Runtime is a bad pointer
    and the process ends in it."""
    folder = tmp_path_factory.mktemp("lean")
    parts = [f"tensorrt-lean-cu13-{part}==10.16.1.11" for part in ("libs", "bindings")]
    install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(folder)]
    subprocess.run([*install, *parts], check=True)
    (folder / "tensorrt.py").write_text("from tensorrt_lean_bindings import *\n")
    asked = "import tensorrt as t; t.Runtime(t.Logger()).deserialize_cuda_engine(bytes(100))"
    done = subprocess.run(
        [sys.executable, "-c", asked], env={**os.environ, "PYTHONPATH": str(folder)}
    )
    assert done.returncode == -signal.SIGSEGV
    return folder


@pytest.mark.skipif(Path("/dev/nvidia0").exists(), reason="there is a GPU")
def test_a_process_without_a_driver_ends_with_a_sentence(tmp_path: Path, lean: Path) -> None:
    """Not with a crash, though libraries that hand out bad pointers are installed."""
    for name in ("tensorrt_rtx", "cuda.bindings.driver"):
        pytest.importorskip(name)
    write_toy(tmp_path / "toy.lavin")
    words = ["--task", "brighten", "--backend", "tensorrt", "--bundle", str(tmp_path / "toy.lavin")]
    picture = Path(__file__).parents[3] / "examples" / "sample.mp4"
    done = subprocess.run(
        [sys.executable, "-c", "from lavin_deploy.cli.run import run; run()", *words, picture],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(lean)},
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: no NVIDIA driver is installed here (libcuda.so.1 cannot")


def test_the_driver_has_every_function_that_is_asked() -> None:
    bindings = pytest.importorskip("cuda.bindings.driver")
    asked = {
        node.args[0].value
        for node in ast.walk(ast.parse(inspect.getsource(driver)))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "ask"
        and isinstance(node.args[0], ast.Constant)
    }
    assert len(asked) > 20
    assert not [name for name in asked if not hasattr(bindings, name)]
    assert hasattr(bindings.CUstream_flags, "CU_STREAM_NON_BLOCKING")
    assert hasattr(bindings.CUstreamCaptureMode, "CU_STREAM_CAPTURE_MODE_THREAD_LOCAL")
    assert hasattr(bindings.CUevent_flags, "CU_EVENT_DEFAULT")


def test_the_libraries_have_every_name_that_is_used() -> None:
    """Of the runtime's half; the builder's half runs for real."""
    trt = importlib.import_module("tensorrt_rtx")
    assert hasattr(trt.Runtime, "engine_host_code_allowed")
    assert hasattr(trt.Runtime, "deserialize_cuda_engine")
    for name in ("num_io_tensors", "get_tensor_name", "get_tensor_dtype", "get_tensor_shape"):
        assert hasattr(trt.ICudaEngine, name)
    for name in ("set_tensor_address", "execute_async_v3"):
        assert hasattr(trt.IExecutionContext, name)
    assert {kind.name for kind in (trt.float32, trt.float16, trt.bfloat16)} == {
        "FLOAT",
        "HALF",
        "BF16",
    }


def test_the_kernels_are_their_source(tmp_path: Path) -> None:
    """The PTX that ships is what nvcc makes of the file beside it, for an older driver."""
    if shutil.which("nvcc") is None:
        pytest.skip("nvcc is not installed")
    source = driver.KERNELS.with_suffix(".cu")
    words = ["nvcc", "-ptx", "-arch=compute_75", source, "-o", tmp_path / "new.ptx"]
    subprocess.run(words, check=True)
    lines = [line for line in (tmp_path / "new.ptx").read_text().splitlines() if line]
    compiled = [".version 7.5" if line.startswith(".version") else line for line in lines]
    compiled = [line for line in compiled if not line.startswith("//")]
    assert driver.KERNELS.read_text().splitlines() == compiled
    for architecture in ("75", "87", "90", "120"):
        out = tmp_path / architecture
        subprocess.run(["ptxas", f"-arch=sm_{architecture}", driver.KERNELS, "-o", out], check=True)
