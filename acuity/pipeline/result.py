"""``result.json``: what one run was given, what it did and what came of it.

Every key is there in every file; what was not reached is null or empty. It holds UIDs, but no other text of the
patient's, study's or institution's modules. ``configs/result.schema.json`` is its JSON schema.
"""

from __future__ import annotations

import platform
import resource
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import acuity
from acuity.errors import AcuityError
from acuity.pipeline.publication import FOLDERS
from acuity.resources import file_sha256

SCHEMA_VERSION = "1.0"

_DISTRIBUTIONS = ("torch", "monai", "monai-deploy-app-sdk", "holoscan-cu13", "pydicom", "highdicom", "SimpleITK")


@dataclass
class Manifest:
    """What is known of a run so far.

    Parameters
    ----------
    sections : top-level keys of ``result.json`` as the stages describe themselves
    timings : seconds by stage, in the order of the stages
    warnings : sentences, each once
    """

    sections: dict[str, Any] = field(default_factory=dict)
    timings: dict[str, float] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def add(self, described: Mapping[str, Any]) -> None:
        """Take over what a stage says of itself; ``models`` and ``warnings`` add up, the rest replaces."""
        for key, value in described.items():
            if key == "warnings":
                self.warnings.extend(warning for warning in value if warning not in self.warnings)
            elif key == "models":
                self.sections["models"] = [*self.sections.get("models", []), *value]
            else:
                self.sections[key] = value

    def as_dict(self, *, error: BaseException | None, outputs: list[dict[str, Any]]) -> dict[str, Any]:
        """The content of ``result.json``.

        Parameters
        ----------
        error : why the run ended early; None for a success
        outputs : as :func:`list_outputs` gives them
        """
        refusal = describe_error(error)
        return {
            "schema_version": SCHEMA_VERSION,
            "status": status_of(error),
            "exit_code": exit_code_of(error),
            "error": refusal,
            "inputs": self.sections.get("inputs"),
            "selection": self.sections.get("selection"),
            "preparation": self.sections.get("preparation"),
            "super_resolution": self.sections.get("super_resolution"),
            "uncertainty": self.sections.get("uncertainty"),
            "measurements": self.sections.get("measurements"),
            "models": self.sections.get("models", []),
            "outputs": outputs,
            "warnings": self.warnings,
            "timings_s": {stage: round(seconds, 3) for stage, seconds in self.timings.items()},
            "peak_memory_mib": peak_memory_mib(),
            "software": software(),
        }


class Interrupted(Exception):  # noqa: N818 - not an error of the program's
    """The process was told to stop by a signal."""

    def __init__(self, signum: int) -> None:
        self.signum = signum
        super().__init__(f"interrupted by signal {signum}")


def status_of(error: BaseException | None) -> str:
    """One of "success", "refused" (a refusal that Acuity foresaw) and "failed" (anything else)."""
    if error is None:
        return "success"
    return "refused" if isinstance(error, AcuityError) else "failed"


def exit_code_of(error: BaseException | None) -> int:
    """What the process ends with: 0, the refusal's own code, 128 + the signal's number, or 1."""
    if error is None:
        return 0
    if isinstance(error, AcuityError):
        return error.exit_code
    return 128 + error.signum if isinstance(error, Interrupted) else 1


def describe_error(error: BaseException | None) -> dict[str, Any] | None:
    """The ``error`` section; of an unforeseen exception only its type, for its text may hold header values."""
    if error is None:
        return None
    if isinstance(error, AcuityError):
        code, found, rule, remedy = error.code, error.found, error.rule, error.remedy
    elif isinstance(error, Interrupted):
        code, found, rule, remedy = "interrupted", f"The run was stopped by signal {error.signum}.", "", "Run it again."
    else:
        code, found, rule = "internal", f"Unexpected {type(error).__name__} {_where(error)}.", ""
        remedy = "This is a fault of the program. Please report it with this file."
    return {"code": code, "exit_code": exit_code_of(error), "found": found, "rule": rule, "remedy": remedy}


def list_outputs(folder: Path) -> list[dict[str, Any]]:
    """Every file of the output folders below ``folder``, sorted: path relative to it, bytes and SHA-256."""
    files = sorted(path for name in FOLDERS for path in (folder / name).rglob("*") if path.is_file())
    return [
        {"path": path.relative_to(folder).as_posix(), "bytes": path.stat().st_size, "sha256": file_sha256(path)}
        for path in files
    ]


def peak_memory_mib() -> int:
    """The most memory that the process held at once, in MiB."""
    try:  # on Linux getrusage counts what the parent held at the time of the fork, this does not
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) // 1024
    except OSError:
        pass
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak // (1024 * 1024 if sys.platform == "darwin" else 1024))


def software() -> dict[str, str]:
    """Versions of Acuity, Python and the libraries that results depend on."""
    versions = {"acuity": acuity.__version__, "python": platform.python_version()}
    for name in _DISTRIBUTIONS:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


def _where(error: BaseException) -> str:
    """File name and line of the innermost frame, without the machine's folders."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return "at an unknown place"
    return f"in {Path(trace.tb_frame.f_code.co_filename).name}, line {trace.tb_lineno}"
