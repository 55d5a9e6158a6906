"""libcudart is loaded for holoscan, and for holoscan only."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from acuity import _cuda_runtime


def run_python(code: str, *options: str) -> str:
    """Standard output of a fresh interpreter, started outside the repository."""
    done = subprocess.run(
        [sys.executable, *options, "-c", code], cwd="/", capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_every_interpreter_of_the_environment_has_the_hook() -> None:
    assert "HoloscanImportHook" in run_python("import sys; print(*(type(finder).__name__ for finder in sys.meta_path))")


def test_start_up_loads_nothing_heavy() -> None:
    heavy = {"numpy", "torch", "monai", "holoscan", "cuda", "pydicom", "highdicom"}
    modules = run_python("import sys; print(*{name.partition('.')[0] for name in sys.modules})").split()
    assert "acuity" in modules
    assert heavy.isdisjoint(modules)


def test_library_is_the_one_of_the_environment() -> None:
    # In a fresh process: in this one, another version may already be loaded.
    library = Path(run_python("from acuity._cuda_runtime import load_cuda_runtime; print(load_cuda_runtime())"))
    assert library.name == "libcudart.so.13"
    assert Path(sys.prefix).resolve() in library.resolve().parents


def test_hook_waits_for_holoscan_then_steps_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[str] = []
    monkeypatch.setattr(_cuda_runtime, "load_cuda_runtime", lambda: loaded.append("libcudart"))
    hook = _cuda_runtime.HoloscanImportHook()
    monkeypatch.setattr(sys, "meta_path", [hook])

    hook.find_spec("monai")
    hook.find_spec("holoscan.core")
    assert (loaded, sys.meta_path) == ([], [hook])

    hook.find_spec("holoscan")
    assert (loaded, sys.meta_path) == (["libcudart"], [])


@pytest.mark.parametrize(("soft", "expected"), [(8 * 2**20, 32 * 2**20), (64 * 2**20, 64 * 2**20)])
def test_stack_is_as_large_as_holoscan_wants(soft: int, expected: int) -> None:
    code = (
        f"import resource; resource.setrlimit(resource.RLIMIT_STACK, ({soft}, resource.getrlimit(3)[1]))\n"
        "from acuity._cuda_runtime import raise_stack_limit; raise_stack_limit(); print(resource.getrlimit(3)[0])"
    )
    assert int(run_python(code)) == expected


def test_hook_is_installed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "meta_path", [])
    monkeypatch.delitem(sys.modules, "holoscan", raising=False)
    _cuda_runtime.install_import_hook()
    _cuda_runtime.install_import_hook()
    assert [type(finder) for finder in sys.meta_path] == [_cuda_runtime.HoloscanImportHook]


def test_absent_library_leaves_the_message_to_holoscan(monkeypatch: pytest.MonkeyPatch) -> None:
    pathfinder = pytest.importorskip("cuda.pathfinder")

    def not_found(name: str) -> None:
        raise pathfinder.DynamicLibNotFoundError(name)

    monkeypatch.setattr(pathfinder, "load_nvidia_dynamic_lib", not_found)
    assert _cuda_runtime.load_cuda_runtime() is None
