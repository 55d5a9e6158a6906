"""The one class of inference tasks: a case in, a mask on the opened series' grid or a statement out."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.infer_v2 import InferTask, InferType

from acuity.errors import DataError
from acuity.pipeline.stages import model_info
from acuity.volume import Volume
from label.case import Case, read_case
from label.datastores.store import FINAL, ORIGINAL, CaseDatastore
from label.doubts import Doubts
from label.masks import LABEL_INFO, LABELS, read_labels, read_upload, write_mask
from label.request import SaveRequest, checked
from label.status import RUNNING, Task
from label.tasks.clicks import read_clicks, scribbled
from label.tasks.work import Finding, Report, Workplace, describe_model
from label.uploads import EXTENSIONS
from label.versions import TUMOR

Request = Mapping[str, Any]
# From a case and a request to labels or None, and a description for the client.
Work = Callable[[Case, Request, Report], tuple[Volume | None, dict[str, Any]]]


class CaseTask(InferTask):
    """A task on a case of four sequences.

    Masks are uint8 with the values that ``labels`` names, whatever else a client asks for. The weights of models are
    neither given out nor taken: ``get_path`` knows none.

    Parameters
    ----------
    task : as the status names it
    description : a sentence for people
    work : from a case and a request to labels and a description
    kind : tells viewers how to ask
    labels : names and values of its masks; none for a task that makes no mask
    """

    def __init__(
        self,
        task: Task,
        description: str,
        work: Work,
        *,
        kind: InferType = InferType.SEGMENTATION,
        labels: Mapping[str, int] = LABELS,
    ) -> None:
        super().__init__(kind, dict(labels), 3, description, {"result_extension": list(EXTENSIONS)} if labels else None)
        self._task: Task = task
        self._work = work

    def is_valid(self) -> bool:
        """Always: whether the models load is seen when they are asked."""
        return True

    def __call__(self, request: Request) -> tuple[str | None, dict[str, Any]]:
        """Work on the case that ``request["image"]`` is the path of an image of.

        Returns
        -------
        Path of the mask, a temporary file of the caller's, or None; and a description, as JSON.

        Raises
        ------
        AcuityError : the case or the request is not valid, or a stage of the library refuses
        HTTPException : the task was stopped
        """
        started = time.perf_counter()
        RUNNING.begin(self._task)
        try:
            case = read_case(Path(request["image"]))
            labels, description = self._work(case, request, RUNNING.report)
            path = None if labels is None else str(write_mask(labels, _extension(request)))
        finally:
            RUNNING.end()
        mask = {} if labels is None else {"label_names": LABELS, "label_info": LABEL_INFO}
        return path, {**description, **mask, "latencies": {"total": round(time.perf_counter() - started, 2)}}


def make_tasks(workplace: Workplace, datastore: CaseDatastore[Any], doubts: Doubts) -> dict[str, CaseTask]:
    """The tasks by name.

    Parameters
    ----------
    datastore : where refinement finds the mask of a case, and derived series go
    doubts : remember how sure the model was of each case, for active learning
    """

    def noted(request: Request, finding: Finding) -> tuple[Volume, dict[str, Any]]:
        if "image_id" in request and finding.uncertainty:
            doubts.note(str(request["image_id"]), finding.model.weights_sha256, finding.uncertainty)
        return finding.labels, finding.describe()

    def segment(case: Case, request: Request, report: Report) -> tuple[Volume, dict[str, Any]]:
        return noted(request, workplace.segment(case, report))

    def super_resolve_and_segment(case: Case, request: Request, report: Report) -> tuple[Volume, dict[str, Any]]:
        finding = workplace.super_resolve_and_segment(case, report)
        network = describe_model(workplace.models.super_resolution)
        return finding.labels, finding.describe() | {"super_resolution": network}

    def super_resolve(case: Case, request: Request, report: Report) -> tuple[None, dict[str, Any]]:
        if "image_id" not in request:
            raise DataError(
                "Series are derived from a case of the datastore.",
                rule="They are stored beside it.",
                remedy="Name an image of the datastore.",
            )
        images = workplace.super_resolve(case, lambda done: report(0.9 * done))
        bundle = workplace.models.super_resolution
        stored = datastore.save_derived(str(request["image_id"]), images.volumes, model_info(bundle))
        series = dict(zip([sequence.value for sequence in images.volumes], stored, strict=True))
        return None, {**describe_model(bundle), **images.describe(), "series": series}

    def refine(case: Case, request: Request, report: Report) -> tuple[Volume, dict[str, Any]]:
        clicks = read_clicks(request, case.opened.grid)
        mask = _uploaded(request, case)
        if request.get("scribbles") is True:
            if mask is None:
                raise DataError(
                    "Scribbles are announced, but no label map came with the request.",
                    rule="Scribbles are a label map on the grid of the opened series.",
                    remedy="Send it as label.",
                )
            # The uploaded map holds the scribbles; the mask that they correct is in the datastore.
            clicks += scribbled(mask)
            mask = None
        if not clicks:
            raise DataError(
                "There is no click and no scribble.",
                rule="They say where the mask is wrong.",
                remedy="Click into a part that is missing, or that is too much.",
            )
        mask = mask or _stored(datastore, request)
        if mask is None:
            mask = workplace.segment(case, lambda done: report(0.4 * done)).labels
        return noted(request, workplace.refine(case, mask, clicks, report))

    return {
        TUMOR: CaseTask("find", "Finds the tumor in the four sequences as they were measured", segment),
        "super_resolve_and_segment": CaseTask(
            "find", "Finds the tumor in the super-resolved sequences", super_resolve_and_segment
        ),
        "super_resolution": CaseTask(
            "sharpen",
            "Super-resolves the four sequences and stores them beside the case",
            super_resolve,
            kind=InferType.OTHERS,
            labels={},
        ),
        "refinement": CaseTask(
            "correct", "Corrects the mask of a case by clicks or scribbles", refine, kind=InferType.DEEPEDIT
        ),
    }


def _extension(request: Request) -> str:
    wanted = request.get("result_extension") or EXTENSIONS[0]
    return str(wanted[0] if isinstance(wanted, list) else wanted)


def _uploaded(request: Request, case: Case) -> Volume | None:
    """The label map of a request, which ``label.web`` has put into a file of ours."""
    file = request.get("label_file")
    if not isinstance(file, Path):  # a text would be the client's, not the server's
        return None
    segments = checked(SaveRequest, {"label_info": request.get("label_info")}, "params").label_info
    return read_upload(file, segments or [], case.opened.grid)


def _stored(datastore: Datastore, request: Request) -> Volume | None:
    """The mask of a case that people corrected, else that of a model."""
    for tag in (FINAL, ORIGINAL):
        label = datastore.get_label_by_image_id(request["image_id"], tag) if "image_id" in request else ""
        if label:
            return read_labels(Path(datastore.get_label_uri(label, tag)))
    return None
