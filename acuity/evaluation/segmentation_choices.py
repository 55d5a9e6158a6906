"""What training leaves open of the segmentation, chosen on validation cases: weight, views, tidying."""

from __future__ import annotations

from collections.abc import Sequence as Seq
from itertools import product
from pathlib import Path

import torch
from tqdm import tqdm

from acuity.anatomy import Region
from acuity.data import brats
from acuity.evaluation.tables import mean_table, write_csv
from acuity.imaging.regions import with_enclosed_core, without_small_parts
from acuity.inference.bundle import load_bundle
from acuity.inference.segmentation import ALL_VIEWS, LEFT_RIGHT, ONE_VIEW, coarse_to_fine
from acuity.metrics.overlap import dice
from acuity.networks.equiunet import CoarseToFine
from acuity.training.segmentation import prepare_cases


def compare(
    *,
    data: str | None,
    models: str,
    output: str,
    cases: Seq[str],
    fine_weights: Seq[float] = (0.0, 0.3, 0.5, 0.7, 1.0),
    smallest_parts: Seq[float] = (0.0, 0.05, 0.1, 0.2, 1.0),
    bundle: str = "brain_tumor_segmentation",
) -> Path:
    """Score every combination on ``cases``, the coarse network seen from all sides.

    Returns
    -------
    The CSV of a row for each case, region and combination; a Markdown table of the means lies beside it.
    """
    model = load_bundle(Path(models), bundle)
    network: CoarseToFine = model.network  # type: ignore[assignment]
    rows: list[dict[str, str | float]] = []
    for case in tqdm(prepare_cases(brats.data_folder(data), cases), desc="choices"):
        image, target = case.image.float().to(model.device), case.regions.numpy().astype(bool)
        for fine_views in (ONE_VIEW, LEFT_RIGHT, ALL_VIEWS):
            # Logits are linear in the weight: two runs give every other.
            ends = {}
            for end in (0.0, 1.0):
                network.fine_weight = end
                with torch.inference_mode():
                    ends[end] = coarse_to_fine(image, network, coarse_views=ALL_VIEWS, fine_views=fine_views).cpu()
            for weight, smallest in product(fine_weights, smallest_parts):
                kept = without_small_parts((torch.lerp(ends[0.0], ends[1.0], weight) > 0).numpy(), smallest)
                rows += [
                    {"case": case.name, "region": region.value, "fine views": str(len(fine_views)),
                     "fine weight": str(weight), "smallest part": str(smallest), "enclosed": enclosed,
                     "dice": dice(p, t)}
                    for enclosed, preds in (("left", kept), ("core", with_enclosed_core(kept)))
                    for region, p, t in zip(Region, preds, target, strict=True)
                ]  # fmt: skip
    folder = Path(output)
    write_csv(rows, folder / "choices.csv")
    table = mean_table(rows, by=["fine views", "fine weight", "smallest part", "enclosed"], values=["dice"])
    (folder / "choices.md").write_text(table)
    return folder / "choices.csv"
