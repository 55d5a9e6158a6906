"""The build contexts of the two images: the small one for CPUs, and the one of the SDK's own packager."""

from __future__ import annotations

import json
import logging
import re
import shutil
import tempfile
from pathlib import Path

from holoscan_cli.__main__ import parse_args
from holoscan_cli.packager.arguments import PackagingArguments
from holoscan_cli.packager.container_builder import PythonAppBuilder
from holoscan_cli.packager.parameters import PlatformBuildResults, PlatformParameters

from acuity.errors import DataError
from tools.package_content import Revision, copy_bundles, copy_code, copy_documents, normalize
from tools.package_manifests import (
    PACKAGING,
    app_manifest,
    check,
    labels,
    pkg_manifest,
    read_description,
    write_json,
)

LOCK = PACKAGING / "requirements-cpu.lock"
# The generated Dockerfile has no values for these: `docker build` must do without arguments.
ARGUMENTS = {"UNAME": "holoscan", "UID": "1000", "GID": "1000"}


def write_cpu_context(repository: Path, context: Path, revision: Revision) -> None:
    """Write the context of the CPU image into an empty folder.

    Raises
    ------
    DataError
        When the file of hashed requirements is absent, or the context is not what it must be.
    """
    description = read_description(repository)
    dockerfile = (PACKAGING / "Dockerfile").read_text(encoding="utf-8")
    copy_code(repository, context / "app")
    copy_bundles(repository, context / "models")
    copy_documents(repository, context / "docs")
    write_json(app_manifest(description, dockerfile), context / "map" / "app.json")
    write_json(pkg_manifest(description), context / "map" / "pkg.json")
    (context / "requirements.txt").write_text(_lock(), encoding="utf-8")
    shutil.copyfile(repository / "app.yaml", context / "app.yaml")
    shutil.copyfile(PACKAGING / "entrypoint.py", context / "entrypoint.py")
    (context / "Dockerfile").write_text(dockerfile + labels(description, revision), encoding="utf-8")
    check(context)
    normalize(context, revision.time)


class ContextBuilder(PythonAppBuilder):
    """The SDK's builder up to the point where it calls docker: it leaves its context."""

    def _build_internal(self, dockerfile: str, platform_parameters: PlatformParameters) -> PlatformBuildResults:
        return PlatformBuildResults(platform_parameters)


def write_sdk_context(repository: Path, context: Path, revision: Revision, tag: str) -> None:
    """Write what ``monai-deploy package`` builds from into an empty folder.

    What it generates is kept but for three things: the command gets ``exec``, without which its entry point loses the
    application's exit code; the manifests go to /etc/monai as well; arguments of the build get values.

    Raises
    ------
    DataError
        When the packager generates something other than expected, or the context is not what it must be.
    """
    with tempfile.TemporaryDirectory(prefix="acuity-package-") as staging:
        stage = Path(staging)
        copy_code(repository, stage / "app")
        copy_bundles(repository, stage / "models")
        copy_documents(repository, stage / "docs")
        (stage / "app" / "requirements.txt").write_text(pins(_lock()), encoding="utf-8")
        shutil.copyfile(repository / "app.yaml", stage / "app.yaml")
        arguments = [
            "monai-deploy",
            "package",
            str(stage / "app" / "app.py"),
            "--sdk",
            "monai-deploy",
            "--platform",
            "x86_64",
            "--config",
            str(stage / "app.yaml"),
            "--docs",
            str(stage / "docs"),
            "--source",
            str(PACKAGING / "artifacts.json"),
            "--build-cache",
            str(stage / "cache"),
            "--tag",
            tag,
        ]
        logging.getLogger("packager").setLevel(logging.WARNING)
        options = parse_args(arguments)
        options.models = stage / "models"  # not by --models, whose check of a folder leaves it open
        parsed = PackagingArguments(options, staging)
        write_json(exec_command(parsed.application_manifest.data), context / "map" / "app.json")
        write_json(parsed.package_manifest.data, context / "map" / "pkg.json")
        builder = ContextBuilder(parsed.build_parameters, str(context))
        for platform in parsed.platforms:
            builder.build(platform)
    file = context / "Dockerfile"
    dockerfile = with_arguments(file.read_text(encoding="utf-8"))
    extra = "\n# where hosts of the specification's first version look\nCOPY ./map /etc/monai\n"
    file.write_text(dockerfile + extra + labels(read_description(repository), revision), encoding="utf-8")
    check(context)
    normalize(context, revision.time)


def exec_command(manifest: dict[str, object]) -> dict[str, object]:
    """``app.json`` of the packager, its command (a JSON list in a string) begun with ``exec``."""
    return {**manifest, "command": json.dumps(["exec", *json.loads(str(manifest["command"]))])}


def with_arguments(dockerfile: str) -> str:
    """The packager's Dockerfile with values for its arguments.

    Raises
    ------
    DataError
        When an argument is absent or has a value.
    """
    for name, value in ARGUMENTS.items():
        dockerfile, count = re.subn(rf"^ARG {name}$", f"ARG {name}={value}", dockerfile, flags=re.MULTILINE)
        if count != 1:
            raise DataError(
                f"The packager's Dockerfile has {count} lines `ARG {name}`.",
                rule="It has one, which gets a value.",
                remedy="Use the version of holoscan-cli that requirements.txt names.",
            )
    return dockerfile


def pins(lock: str) -> str:
    """``name==version`` lines of the file of hashes for the SDK's image, so that both images run the same versions.

    Without the hashes, which are those of the CPU image's wheels; without torch's mark of a CPU build; and without the
    CUDA runtime, which the GPU build of torch brings in the version that it was made with.
    """
    found = re.findall(r"^([A-Za-z0-9][\w.-]*)==([\w.!]+)(?:\+[\w.]+)?", lock, flags=re.MULTILINE)
    return "".join(f"{name}=={version}\n" for name, version in found if name != "nvidia-cuda-runtime")


def _lock() -> str:
    if not LOCK.is_file():
        raise DataError(
            f"packaging/{LOCK.name} was not found.",
            rule="An image installs the versions and hashes that this file names.",
            remedy="Check out the repository whole.",
        )
    return LOCK.read_text(encoding="utf-8")
