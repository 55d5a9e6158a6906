"""Make the MONAI Application Package: the build contexts of its two images and, where docker runs, the images.

Both contexts hold files of the commit that is checked out; changes that are not committed are left out. The same commit
gives the same context byte for byte.
"""

from __future__ import annotations

import argparse
import io
import json
import logging
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

import yaml
from holoscan_cli.__main__ import parse_args
from holoscan_cli.packager.arguments import PackagingArguments
from holoscan_cli.packager.container_builder import PythonAppBuilder
from holoscan_cli.packager.parameters import PlatformBuildResults, PlatformParameters

from acuity import __version__
from acuity.errors import AcuityError, DataError, OutputError
from tools.package_manifests import (
    BUNDLES,
    Revision,
    app_manifest,
    labels,
    pkg_manifest,
    read_revision,
    write_json,
)
from tools.supply_chain.lock import IMAGE, REPOSITORY, read_versions

FLAVORS = ("cpu", "sdk")
# Parts of acuity/ that neither the application nor a bundle that it loads imports.
LEFT_OUT = (
    "acuity/cli.py",
    "acuity/commands",
    "acuity/demo",
    "acuity/pipeline/inspection.py",
    "acuity/research",
)
CODE = ("app.py", "acuity", "operators", "configs/sequences.yaml", "configs/result.schema.json")
# What inference reads of a bundle, and what says what it is. Its other configs name classes of LEFT_OUT.
BUNDLE_FILES = ("LICENSE*", "configs/metadata.json", "configs/inference.json", "models/model.pt", "docs/*")
DOCUMENTS = ("README.md", "LICENSE", "CHANGELOG.md", ":(glob)docs/*.md")
# The Dockerfile that the SDK generates has no values for these: `docker build` must do without arguments.
ARGUMENTS = {"UNAME": "holoscan", "UID": "1000", "GID": "1000"}


def write_cpu_context(context: Path, revision: Revision) -> None:
    """Write the context of the CPU image into an empty folder."""
    _export_application(revision, context)
    _export(revision, ["deploy/image/Dockerfile", "deploy/image/entrypoint.py"], context, "deploy/image/")
    description = yaml.safe_load((context / "app.yaml").read_text(encoding="utf-8"))
    dockerfile = (context / "Dockerfile").read_text(encoding="utf-8")
    write_json(app_manifest(description, dockerfile), context / "map" / "app.json")
    write_json(pkg_manifest(description), context / "map" / "pkg.json")
    (context / "Dockerfile").write_text(dockerfile + labels(description, revision), encoding="utf-8")
    normalize(context, revision.time)


class ContextBuilder(PythonAppBuilder):
    """The SDK's builder up to the point where it calls docker: it leaves its context."""

    def _build_internal(self, dockerfile: str, platform_parameters: PlatformParameters) -> PlatformBuildResults:
        return PlatformBuildResults(platform_parameters)


def write_sdk_context(context: Path, revision: Revision, tag: str) -> None:
    """Write what ``monai-deploy package`` builds from into an empty folder.

    What it generates is kept but for three things: the command gets ``exec``, without which its entry point loses the
    application's exit code; the manifests go to /etc/monai as well; arguments of the build get values.

    Raises
    ------
    DataError
        When the packager generates another Dockerfile than expected.
    """
    with tempfile.TemporaryDirectory(prefix="acuity-package-") as folder:
        stage = Path(folder)
        _export_application(revision, stage)
        description = yaml.safe_load((stage / "app.yaml").read_text(encoding="utf-8"))
        versions = read_versions((stage / "requirements.lock").read_text(encoding="utf-8"))
        (stage / "app" / "requirements.txt").write_text(pins(versions), encoding="utf-8")
        words = {
            "--sdk": "monai-deploy",
            "--platform": "x86_64",
            "--config": stage / "app.yaml",
            "--docs": stage / "docs",
            "--source": IMAGE / "artifacts.json",
            "--build-cache": stage / "cache",
            "--tag": tag,
        }
        logging.getLogger("packager").setLevel(logging.WARNING)
        options = parse_args(
            ["monai-deploy", "package", f"{stage}/app/app.py", *(str(w) for kv in words.items() for w in kv)]
        )
        options.models = stage / "models"  # not by --models, whose check of a folder leaves it open
        parsed = PackagingArguments(options, folder)
        write_json(exec_command(parsed.application_manifest.data), context / "map" / "app.json")
        write_json(parsed.package_manifest.data, context / "map" / "pkg.json")
        builder = ContextBuilder(parsed.build_parameters, str(context))
        for platform in parsed.platforms:
            builder.build(platform)
    dockerfile = with_arguments((context / "Dockerfile").read_text(encoding="utf-8"))
    # hosts of the specification's first version look there
    dockerfile += "\nCOPY ./map /etc/monai\n" + labels(description, revision)
    (context / "Dockerfile").write_text(dockerfile, encoding="utf-8")
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


def pins(versions: dict[str, str]) -> str:
    """The lock's versions as requirements of the SDK's image, so that both images run the same ones.

    Without hashes, for its wheels are others; without torch's mark of a CPU build; and without the CUDA runtime, which
    the GPU build of torch brings in the version that it was made with.
    """
    wanted = {name: pin.partition("+")[0] for name, pin in versions.items() if name != "nvidia-cuda-runtime"}
    return "".join(f"{name}=={pin}\n" for name, pin in wanted.items())


def normalize(folder: Path, time: int) -> None:
    """Give the folder and everything below it one time and one of two modes, whatever umask and clock say."""
    for path in [*folder.rglob("*"), folder]:
        executable = path.is_dir() or path.read_bytes()[:2] == b"#!"
        path.chmod(0o755 if executable else 0o644)
    for path in [*folder.rglob("*"), folder]:
        os.utime(path, (time, time))


def _export_application(revision: Revision, folder: Path) -> None:
    """Extract code, models and documents into app/, models/ and docs/ of a folder, description and lock beside."""
    _export(revision, [*CODE, *(f":(exclude){part}" for part in LEFT_OUT)], folder / "app")
    bundle_files = [f"bundles/{bundle}/{file}" for bundle in BUNDLES for file in BUNDLE_FILES]
    _export(revision, bundle_files, folder / "models", "bundles/")
    _export(revision, DOCUMENTS, folder / "docs")
    _export(revision, ["app.yaml", "deploy/image/requirements.lock"], folder, "deploy/image/")


def _export(revision: Revision, paths: Sequence[str], folder: Path, prefix: str = "") -> None:
    """Extract files of a commit, their paths without ``prefix``.

    Raises
    ------
    DataError
        When the commit holds no file of one of the paths.
    """
    command = ["git", "-C", str(REPOSITORY), "archive", "--format=tar", revision.commit, "--", *paths]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        raise DataError(
            f"The commit {revision.commit} cannot be packaged: {done.stderr.decode().strip()}.",
            rule="An image holds code, documents and the weights of the application's two bundles.",
            remedy="Commit what is missing.",
        )
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        for member in archive:
            if member.isfile():
                member.name = member.name.removeprefix(prefix)
                archive.extract(member, folder, filter="data")


def make_package(flavor: str, folder: Path, tag: str) -> Path:
    """Write the context of one flavor into ``folder``/``flavor``; an earlier one there is replaced.

    Raises
    ------
    OutputError
        When the folder holds something other than an earlier context.
    """
    context = folder / flavor
    if context.exists() and not (context / "map" / "app.json").is_file() and any(context.iterdir()):
        raise OutputError(
            f"The folder {context} holds other files.",
            rule="A context is written to a new or empty folder, or replaces an earlier one.",
            remedy="Name another folder with --output.",
        )
    shutil.rmtree(context, ignore_errors=True)
    context.mkdir(parents=True)
    revision = read_revision(REPOSITORY)
    if flavor == "cpu":
        write_cpu_context(context, revision)
    else:
        write_sdk_context(context, revision, tag)
    return context


def docker_is_running() -> bool:
    """Whether an engine answers; the program alone is none."""
    try:
        return subprocess.run(["docker", "info"], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def main(argv: Sequence[str] | None = None) -> int:
    """Make what the arguments ask for; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flavor", choices=FLAVORS, action="append", help="default: both")
    parser.add_argument("--output", type=Path, default=Path("dist/map"), metavar="DIR", help="default: %(default)s")
    parser.add_argument(
        "--tag",
        default=f"acuity:{__version__}",
        metavar="NAME:TAG",
        help="of the images; -cpu or -sdk is added (default: %(default)s)",
    )
    args = parser.parse_args(argv)
    try:
        for flavor in args.flavor or FLAVORS:
            tag = f"{args.tag}-{flavor}"
            context = make_package(flavor, args.output, tag)
            megabytes = sum(path.stat().st_size for path in context.rglob("*") if path.is_file()) / 1e6
            print(f"build context: {context}, {megabytes:.0f} MB", flush=True)
            command = ["docker", "build", "--tag", tag, str(context)]
            if not docker_is_running():
                print(f"No docker engine answers. To build the image: {' '.join(command)}")
            elif code := subprocess.run([*command, "--platform", "linux/amd64"], check=False).returncode:
                return code  # docker has said why
    except AcuityError as error:
        print(f"error: {error.code}: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
