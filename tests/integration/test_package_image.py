"""The CPU image, really built and run: as another user, read-only, without a network, against `python app.py`.

Podman builds it from the context that the packaging command leaves. The base image is pulled where a registry can be
reached; elsewhere a minimal Debian with its own Python 3.11 takes its place. Wheels come from the index of this
machine's pip, through a web server of the test's, as from a mirror in a hospital.
"""

from __future__ import annotations

import functools
import http.server
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset, dcmread

from acuity.demo.study import write_demo_study
from tests.dicom_builder import truncate
from tools.package import write_cpu_context
from tools.package_manifests import read_revision

pytestmark = pytest.mark.slow
USER = 12345  # who calls: neither root nor the image's own user
IMAGE = "localhost/acuity:test"
# Coarse enough to take a minute, and still super-resolved by 2; one thread, so that sums have one order.
OPTIONS = ("--spacing", "2")
THREADS = "1"


@dataclass(frozen=True)
class Podman:
    """Podman with a storage of its own."""

    storage: Path
    runtime: str

    def __call__(self, *arguments: object, timeout: float = 600) -> subprocess.CompletedProcess[str]:
        options = f"--root {self.storage}/root --runroot {self.storage}/run --storage-driver overlay"
        options += f" --runtime {self.runtime} --cgroup-manager cgroupfs"
        command = ["podman", *shlex.split(options), *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)

    def run(self, *arguments: object, timeout: float = 600) -> subprocess.CompletedProcess[str]:
        """A container as the guide has it; the limits are those that any machine allows."""
        limits = f"--network none --read-only --user {USER}:{USER} --ulimit nofile=1024:1024 --ulimit nproc=4096:4096"
        return self("run", "--rm", *shlex.split(limits), *arguments, timeout=timeout)


def work(done: subprocess.CompletedProcess[str]) -> subprocess.CompletedProcess[str]:
    """What must succeed for the tests to begin."""
    assert done.returncode == 0, f"{done.args}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done


@pytest.fixture(scope="module")
def context(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("context")
    write_cpu_context(folder, read_revision(repository))
    return folder


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    if shutil.which("podman") is None:
        pytest.skip("podman, which builds and runs the image, is not installed (Debian: podman, runc)")
    folder = tmp_path_factory.mktemp("storage")
    yield folder
    podman = Podman(folder, "runc")
    podman("rm", "--all", "--force")
    podman("rmi", "--all", "--force")
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def base(context: Path, storage: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Name of the base image: the Dockerfile's own, or a stand-in."""
    podman = Podman(storage, "runc")
    dockerfile = (context / "Dockerfile").read_text()
    named = re.findall(r"^ARG BASE_IMAGE=(\S+)$", dockerfile, re.MULTILINE)[0]
    if podman("pull", "--quiet", named).returncode == 0:
        return named
    if shutil.which("debootstrap") is None or os.getuid() != 0:
        pytest.skip(f"{named} cannot be pulled, and a stand-in needs debootstrap and root")
    folder = tmp_path_factory.mktemp("base")
    command = ["debootstrap", "--variant=minbase", "--include=python3,python3-venv", "bookworm", f"{folder}/root"]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"{named} cannot be pulled, and Debian's packages cannot be reached: {made.stdout[-300:]}")
    devices = [f"--exclude=./{name}/*" for name in ("dev", "proc", "sys")]
    subprocess.run(["tar", "-C", folder / "root", "-cf", folder / "root.tar", *devices, "."], check=True)
    work(podman("import", "--quiet", folder / "root.tar", "localhost/python:stand-in"))
    shutil.rmtree(folder)
    return "localhost/python:stand-in"


@pytest.fixture(scope="module")
def podman(storage: Path, base: str) -> Podman:
    """An engine that can run a container here."""
    said = ""
    for runtime in ("crun", "runc"):
        if shutil.which(runtime):
            done = Podman(storage, runtime).run(base, "true")
            if done.returncode == 0:
                return Podman(storage, runtime)
            said += done.stderr
    pytest.skip(f"no container runs on this machine: {said or 'neither crun nor runc is installed'}")


@pytest.fixture(scope="module")
def index(context: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of an index that holds the locked wheels and nothing else."""
    folder = tmp_path_factory.mktemp("wheels")
    options = shlex.split("--quiet --require-hashes --no-deps --only-binary :all: --requirement")
    command = [sys.executable, "-m", "pip", "download", "--dest", str(folder), *options, f"{context}/requirements.lock"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=3600, check=False)
    if done.returncode:
        pytest.skip(f"the wheels cannot be downloaded: {done.stderr[-300:]}")
    for wheel in list(folder.glob("*.whl")):
        package = folder / wheel.name.partition("-")[0].lower().replace("_", "-").replace(".", "-")
        package.mkdir(exist_ok=True)
        wheel.rename(package / wheel.name)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    server.server_close()
    shutil.rmtree(folder)


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def image(podman: Podman, base: str, index: str, context: Path) -> Podman:
    """The engine, the image built."""
    options = shlex.split(f"--isolation chroot --network host --pull=never --tag {IMAGE}")
    for argument in (f"BASE_IMAGE={base}", f"PIP_INDEX_URL={index}", "PIP_EXTRA_INDEX_URL="):
        options += ["--build-arg", argument]
    work(podman("build", *options, context, timeout=3600))
    return podman


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    write_demo_study(folder, spacing=(4.0, 4.0, 4.0))
    return folder


def in_container(podman: Podman, study: Path, out: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The image on a study, as the caller of ``out``'s owner."""
    out.mkdir()
    os.chown(out, USER, USER)
    for path in [study, *study.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    mounts = ["--volume", f"{study}:/var/holoscan/input:ro", "--volume", f"{out}:/var/holoscan/output"]
    return podman.run(*mounts, "--env", f"OMP_NUM_THREADS={THREADS}", IMAGE, *arguments, timeout=7200)


def as_script(repository: Path, study: Path, out: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """``python app.py`` on a study."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("HOLOSCAN_", "ACUITY_"))}
    return subprocess.run(
        [sys.executable, repository / "app.py", "-i", study, "-o", out, *arguments],
        env={**inherited, "OMP_NUM_THREADS": THREADS},
        capture_output=True,
        text=True,
        timeout=7200,
        check=False,
    )


def read(folder: Path) -> dict[str, Dataset]:
    return {path.relative_to(folder).as_posix(): dcmread(path) for path in sorted(folder.rglob("*.dcm"))}


def result(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    return content


def test_a_good_study_gives_the_same_voxels(image: Podman, repository: Path, study: Path, tmp_path: Path) -> None:
    contained = in_container(image, study, tmp_path / "image", *OPTIONS)
    script = as_script(repository, study, tmp_path / "script", *OPTIONS)
    assert (contained.returncode, script.returncode) == (0, 0), contained.stderr + script.stderr
    found, expected = read(tmp_path / "image"), read(tmp_path / "script")
    assert list(found) == list(expected)
    assert {name.partition("/")[0] for name in found} == {"series", "seg", "report", "overview"}
    for name, ds in found.items():
        if "PixelData" in ds:
            assert ds.PixelData == expected[name].PixelData, name
    for name in ("seg/segmentation_sr.dcm", "seg/segmentation_source.dcm"):
        assert np.count_nonzero(found[name].pixel_array), f"{name} is empty: nothing was compared"
    for section in ("models", "measurements", "warnings"):
        assert result(tmp_path / "image")[section] == result(tmp_path / "script")[section]


def test_outputs_belong_to_the_caller(image: Podman, study: Path, tmp_path: Path) -> None:
    assert in_container(image, spoil(study, tmp_path, missing_sequence), tmp_path / "out").returncode == 30
    assert {path.stat().st_uid for path in (tmp_path / "out").rglob("*")} == {USER}


def missing_sequence(folder: Path) -> None:
    shutil.rmtree(series(folder, "FLAIR"))


def missing_slice(folder: Path) -> None:
    files = sorted(series(folder, "T2").iterdir())
    files[len(files) // 2].unlink()


def truncated_pixels(folder: Path) -> None:
    files = sorted(series(folder, "T1").iterdir())
    truncate(files[3], 0.7)


def series(folder: Path, name: str) -> Path:
    """The demo study's folder of one sequence, such as 04_FLAIR."""
    return next(path for path in folder.iterdir() if path.name.partition("_")[2] == name)


def spoil(study: Path, folder: Path, fault: Callable[[Path], None]) -> Path:
    copy = Path(shutil.copytree(study, folder / "in"))
    fault(copy)
    return copy


@pytest.mark.parametrize(("fault", "code"), [(missing_sequence, 30), (missing_slice, 22), (truncated_pixels, 26)])
def test_a_refused_study_has_the_same_exit_code(
    fault: Callable[[Path], None], code: int, image: Podman, repository: Path, study: Path, tmp_path: Path
) -> None:
    spoiled = spoil(study, tmp_path, fault)
    contained = in_container(image, spoiled, tmp_path / "image")
    script = as_script(repository, spoiled, tmp_path / "script")
    assert (contained.returncode, script.returncode) == (code, code), contained.stderr + script.stderr
    assert os.listdir(tmp_path / "image") == ["result.json"]
    assert result(tmp_path / "image")["error"] == result(tmp_path / "script")["error"]


def test_a_wrong_command_line_ends_with_2(image: Podman, study: Path, tmp_path: Path) -> None:
    done = in_container(image, study, tmp_path / "out", "--spacing", "0")
    assert done.returncode == 2
    assert "between 0.25 and 10 mm" in done.stderr


def test_manifests_and_content_come_out(image: Podman, context: Path, tmp_path: Path) -> None:
    for name in ("app", "pkg"):
        shown = work(image.run(IMAGE, "show", name)).stdout
        assert json.loads(shown) == json.loads((context / "map" / f"{name}.json").read_text())
    (tmp_path / "export").mkdir()
    os.chown(tmp_path / "export", USER, USER)
    work(image.run("--volume", f"{tmp_path}/export:/var/run/holoscan/export", IMAGE, "extract"))
    weights = "models/brain_tumor_segmentation/models/model.pt"
    assert (tmp_path / "export" / weights).read_bytes() == (context / weights).read_bytes()
    assert (tmp_path / "export" / "config" / "app.yaml").read_bytes() == (context / "app.yaml").read_bytes()
    assert (tmp_path / "export" / "app" / "app.py").is_file() and (tmp_path / "export" / "docs" / "LICENSE").is_file()
    assert "extract" in work(image.run(IMAGE, "help")).stdout


def test_without_a_temporary_folder_it_says_what_to_mount(image: Podman) -> None:
    done = image.run("--read-only-tmpfs=false", IMAGE)
    assert done.returncode == 1
    assert "--tmpfs /tmp" in done.stderr


def test_image_is_described_and_not_root_s(image: Podman, context: Path) -> None:
    config = json.loads(work(image("image", "inspect", IMAGE)).stdout)[0]["Config"]
    assert config["User"] == "1000:1000"
    assert config["Entrypoint"] == ["/var/holoscan/entrypoint.py"]
    manifest = json.loads((context / "map" / "app.json").read_text())
    assert config["Labels"]["org.opencontainers.image.version"] == manifest["version"]
    variables = dict(variable.split("=", 1) for variable in config["Env"])
    assert manifest["environment"].items() <= variables.items()
    listed = work(image.run("--entrypoint", "ls", IMAGE, "/etc/monai", "/etc/holoscan")).stdout.split()
    assert listed.count("app.json") == listed.count("pkg.json") == 2


def test_environment_is_the_locked_one_without_cuda(image: Podman, context: Path) -> None:
    listed = work(image.run("--entrypoint", "python3", IMAGE, "-m", "pip", "list", "--format", "json")).stdout
    installed = {package["name"].lower(): package["version"] for package in json.loads(listed)}
    assert installed["torch"] == "2.13.0+cpu"
    assert [name for name in installed if name.startswith("nvidia")] == ["nvidia-cuda-runtime"]
    assert "monailabel" not in installed and "pytest" not in installed
