"""``result.json``: the inputs, the course and the outputs of one run.

Every file has every key; a section that the run did not reach is null or empty. It holds UIDs, but no other text of the
patient's, study's or institution's modules. ``configs/result.schema.json`` is its JSON schema.
"""

from __future__ import annotations

import platform
import resource
import sys
import traceback
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import acuity
from acuity.errors import AcuityError
from acuity.pipeline.publication import FOLDERS
from acuity.resources import file_sha256

SCHEMA_VERSION = "1.0"

_SECTIONS = ("inputs", "selection", "preparation", "super_resolution", "uncertainty", "measurements")
_DISTRIBUTIONS = ("torch", "monai", "monai-deploy-app-sdk", "holoscan-cu13", "pydicom", "highdicom", "SimpleITK")


@dataclass
class Manifest:
    """The course of a run so far.

    Parameters
    ----------
    sections : top-level keys of ``result.json`` as the stages describe themselves
    timings : seconds by stage, in the order of the stages
    """

    sections: dict[str, Any] = field(default_factory=dict)
    timings: dict[str, float] = field(default_factory=dict)

    @property
    def warnings(self) -> list[str]:
        """Sentences, each once."""
        return list(dict.fromkeys(self.sections.get("warnings", [])))

    def as_dict(self, *, error: BaseException | None, outputs: list[dict[str, Any]]) -> dict[str, Any]:
        """The content of ``result.json``.

        Parameters
        ----------
        error : why the run ended early; None for a success
        outputs : as :func:`list_outputs` gives them
        """
        return {
            "schema_version": SCHEMA_VERSION,
            "status": status_of(error),
            "exit_code": exit_code_of(error),
            "error": describe_error(error),
            **{name: self.sections.get(name) for name in _SECTIONS},
            "models": self.sections.get("models", []),
            "outputs": outputs,
            "warnings": self.warnings,
            "timings_s": {stage: round(seconds, 3) for stage, seconds in self.timings.items()},
            "peak_memory_mib": peak_memory_mib(),
            "software": software(),
        }


def add_sections(sections: dict[str, Any], described: dict[str, Any]) -> None:
    """Add what a stage says of itself; its warnings come behind those of earlier ones."""
    warnings = [*sections.get("warnings", []), *described.get("warnings", [])]
    sections.update(described)
    if warnings:
        sections["warnings"] = warnings


class Interrupted(Exception):  # noqa: N818 - not an error of the program's
    """The process was told to stop by a signal."""

    def __init__(self, signum: int) -> None:
        self.signum = signum
        super().__init__(f"interrupted by signal {signum}")


def status_of(error: BaseException | None) -> str:
    """One of "success", "refused" (an error that Acuity foresaw) and "failed" (any other)."""
    if error is None:
        return "success"
    return "refused" if isinstance(error, AcuityError) else "failed"


def exit_code_of(error: BaseException | None) -> int:
    """The process's exit code: 0, the refusal's own code, 128 + the signal's number, or 1."""
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


def steps_of(error: BaseException) -> str:
    """The traceback of an unforeseen exception without the exception's text, which may hold header values."""
    return f"traceback of {type(error).__name__}:\n{''.join(traceback.format_tb(error.__traceback__))}"


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
