"""The ways to find a tumor that are compared: released bundles, networks trained by recipe, and the forest."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence as Seq
from dataclasses import asdict, dataclass, field
from pathlib import Path

from acuity.errors import DataError
from acuity.research.bundles import bundle_origin, find_bundles
from acuity.research.evaluation.tables import require_unique
from acuity.research.forest.segmenter import load_forest
from acuity.research.segmenters import Segmenter, bundle_segmenter, load_segmenter
from acuity.research.store import files_sha256
from acuity.resources import config_file


@dataclass(frozen=True)
class SegmentationModel:
    """A way to find a tumor.

    Parameters
    ----------
    name : of its rows and folders; unique in an evaluation
    origin : what identifies it, as JSON
    """

    name: str
    segmenter: Segmenter = field(repr=False)
    origin: Mapping[str, object]


def bundle_model(models: str | Path, name: str) -> SegmentationModel:
    """A released bundle; raises as ``bundle_models``."""
    (model,) = bundle_models(Path(models), [name])
    return model


def bundle_models(models: Path, names: Seq[str] | None) -> list[SegmentationModel]:
    """Released bundles.

    Parameters
    ----------
    names : of the bundles; None takes all in ``models`` that segment

    Raises
    ------
    BundleNotFoundError : one is not there, or none segments
    BundleError : one cannot be loaded, or is named and does not segment
    """
    bundles = find_bundles(models, lambda bundle: hasattr(bundle.network, "coarse_logits"), "segments", names)
    return [
        SegmentationModel(
            bundle.name,
            bundle_segmenter(bundle),
            bundle_origin(bundle)
            | {"fine_weight": bundle.network.fine_weight, "choices": asdict(bundle.postprocessing)},
        )
        for bundle in bundles
    ]


def trained_model(name: str, recipe: str, weights: Path) -> SegmentationModel:
    """A network that ``acuity train seg`` trained.

    Parameters
    ----------
    recipe : its name, of configs/seg

    Raises
    ------
    DataError : either is absent, or they do not belong together
    """
    file = config_file("seg") / f"{recipe}.yaml"
    segmenter = load_segmenter(file, weights)
    return SegmentationModel(name, segmenter, {"recipe": recipe, "sha256": files_sha256([file, weights])})


def forest_model(name: str, file: Path) -> SegmentationModel:
    """A random forest that ``acuity train forest`` trained.

    Raises
    ------
    DataError : it is absent, or no forest
    """
    return SegmentationModel(name, load_forest(file), {"forest": file.name, "sha256": files_sha256([file])})


def require_models(models: Seq[SegmentationModel]) -> None:
    """Raise DataError where there is no model, or two share a name."""
    if not models:
        raise DataError(
            "No model is given.", rule="A tumor is sought by a model.", remedy="Name a bundle, weights or a forest."
        )
    require_unique([model.name for model in models], "model")
