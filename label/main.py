"""Acuity's MONAI Label app: which datastore, which tasks, which training."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastapi import HTTPException
from monailabel.config import settings
from monailabel.interfaces.app import MONAILabelApp
from monailabel.interfaces.datastore import Datastore, DefaultLabelTag
from monailabel.interfaces.tasks.batch_infer import BatchInferTask

from acuity import __version__
from acuity.errors import AcuityError, ArchiveError
from label.case import read_case
from label.datastores.archive import ArchiveDatastore
from label.datastores.dicomweb import Archive
from label.datastores.folder import FolderDatastore
from label.datastores.store import CaseDatastore
from label.doubts import Doubts, doubt
from label.learning.scoring import OverlapScoring
from label.learning.strategies import NextCase, anyone, least_sure, oldest
from label.learning.training import FineTuning
from label.masks import LABELS
from label.tasks.infer import CaseTask, make_tasks
from label.tasks.work import Workplace
from label.versions import TUMOR, ServedModels

BUNDLES = Path(__file__).resolve().parent.parent / "bundles"
MODELS = Path.home() / ".local" / "share" / "acuity" / "models"
_SEARCH_FILTER = "MONAI_LABEL_DICOMWEB_SEARCH_FILTER"

_log = logging.getLogger(__name__)


class AcuityLabel(MONAILabelApp):
    """Tumor segmentation and super-resolution of cases of four sequences.

    Parameters
    ----------
    app_dir : the folder of this file
    studies : a folder of cases, or the http(s) address of a DICOMweb service
    conf : "bundles", the folder of the released bundles, and "models", the folder for versions, lists of patients and
        doubts
    """

    def __init__(self, app_dir: str, studies: str, conf: dict[str, str]) -> None:
        self.models_folder = Path(conf.get("models") or MODELS)
        self.served = ServedModels(self.models_folder, Path(conf.get("bundles") or BUNDLES))
        self.workplace = Workplace(self.served)
        self.doubts = Doubts(self.models_folder / "doubts.json")
        super().__init__(
            app_dir,
            studies,
            conf,
            name="Acuity",
            version=__version__,
            labels=LABELS,
            description="Brain tumors in T1, contrast-enhanced T1, T2 and FLAIR",
        )

    def init_datastore(self) -> CaseDatastore[Any]:
        """A folder, or an archive behind DICOMweb: its address with MONAI Label's settings of user and password, cache
        and, where it is set, search filter.
        """
        if not self.studies.startswith(("http://", "https://")):
            return FolderDatastore(Path(self.studies))
        cache = Path(settings.MONAI_LABEL_DATASTORE_CACHE_PATH or self.models_folder.parent / "cache")
        archive = Archive(
            self.studies,
            settings.MONAI_LABEL_DATASTORE_USERNAME or None,
            settings.MONAI_LABEL_DATASTORE_PASSWORD or None,
        )
        # Its default asks for CT, and no case would be found: only a setting that somebody has made counts.
        filters = settings.MONAI_LABEL_DICOMWEB_SEARCH_FILTER if _SEARCH_FILTER in settings.model_fields_set else {}
        return ArchiveDatastore(archive, cache, filters)

    def init_infers(self) -> dict[str, CaseTask]:
        """Segmentation of the measured and of the super-resolved images, super-resolution, refinement."""
        return make_tasks(self.workplace, self._datastore, self.doubts)

    def init_trainers(self) -> dict[str, FineTuning]:
        """Fine-tuning of the segmentation."""
        return {TUMOR: FineTuning(self.served.versions, self.models_folder)}

    def init_strategies(self) -> dict[str, NextCase]:
        """Which case comes next."""
        return {
            "uncertainty": NextCase("The case that the model is least sure of", least_sure(self._doubt_of, self._look)),
            "random": NextCase("Any case", anyone),
            "oldest": NextCase("The case that waits longest", oldest),
        }

    def init_scoring_methods(self) -> dict[str, OverlapScoring]:
        """How well the masks of the model agree with the corrected ones."""
        return {"overlap": OverlapScoring()}

    def init_batch_infer(self) -> _OneByOne:
        """Inference on many cases, one after the other."""
        return _OneByOne()

    def infer(self, request: dict[str, Any], datastore: Datastore | None = None) -> dict[str, Any]:
        """Run a task on a case of the datastore, named by its id; a path in a request is never opened.

        Raises
        ------
        HTTPException : there is no such task, or the request names no case
        AcuityError : as the task
        """
        store = datastore or self.datastore()
        task = self._infers.get(request.get("model"))
        if task is None:
            raise HTTPException(
                404, f"There is no task {str(request.get('model'))[:40]!r}. It is one of {', '.join(self._infers)}."
            )
        image_id = request.get("image")
        if "session" in request or not isinstance(image_id, str) or not image_id:
            raise HTTPException(
                422,
                "A session or an uploaded file holds one image, and a case needs T1, T1c, T2 and "
                "FLAIR. Add the case to the datastore, and name its id as image.",
            )
        path = store.get_image_uri(image_id)
        inner = {**request, "image": path, "image_id": image_id}
        if self._infers_threadpool is None:
            mask, description = task(inner)
        else:
            mask, description = self._infers_threadpool.submit(task, inner).result()
        tag = request.get("label_tag") or DefaultLabelTag.ORIGINAL.value
        label: str | None = mask
        if mask and request.get("save_label"):
            label = store.save_label(image_id, mask, tag, {"model": description["bundle"], "params": description})
        return {"label": label, "tag": tag, "file": mask, "params": description}

    def _doubt_of(self, image_id: str) -> float | None:
        return self.doubts.of(image_id, self.served.segmentation.weights_sha256)

    def _look(self, image_id: str) -> float:
        finding = self.workplace.segment(read_case(self._datastore.get_image_uri(image_id)), lambda _: None)
        self.doubts.note(image_id, finding.model.weights_sha256, finding.uncertainty)
        return doubt(finding.uncertainty)


class _OneByOne(BatchInferTask):
    """Batch inference of all cases in turn; MONAI Label's own spreads them over GPUs, and ends with the first error."""

    def __call__(
        self, request: dict[str, Any], datastore: CaseDatastore[Any], infer: Callable[..., dict[str, Any]]
    ) -> dict[str, Any]:
        """The description of each case's mask by the case's id, or the reason why there is none."""
        images = sorted(self.get_images(request, datastore))[: int(request.get("max_batch_size") or 0) or None]
        found: dict[str, Any] = {}
        for number, image_id in enumerate(images, start=1):
            one = {**request, "image": image_id, "save_label": True}
            try:
                result = infer(one, datastore)
                found[image_id] = result["params"]
                if result["file"]:
                    Path(result["file"]).unlink(missing_ok=True)
            except ArchiveError:
                raise
            except AcuityError as error:
                found[image_id] = {"error": error.code, "detail": str(error)}
            _log.info("batch: %d of %d cases", number, len(images))
        return found
