"""Tasks on cases of a folder: masks where the lesion is, on the series that is open, and refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from fastapi import HTTPException
from numpy.typing import NDArray

from acuity.anatomy import Sequence
from acuity.errors import DataError, MissingSequenceError
from acuity.volume import Grid
from label.case import read_case
from label.datastores.folder import FolderDatastore
from label.doubts import Doubts
from label.status import RUNNING, Status
from label.tasks import work
from label.tasks.infer import CaseTask, make_tasks
from label.tasks.work import Workplace
from label.versions import ServedModels
from tests.label_cases import FLAIR_GRID, GRID, centroid, seen, truth, write_case, write_label, write_trainable_bundles
from tests.study_phantom import lesion_centroid


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("studies")
    write_case(folder, "case", grids={Sequence.FLAIR: FLAIR_GRID})
    write_case(folder, "plain")
    return folder


@pytest.fixture(scope="module")
def doubts(tmp_path_factory: pytest.TempPathFactory) -> Doubts:
    return Doubts(tmp_path_factory.mktemp("models") / "doubts.json")


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    folder = tmp_path_factory.mktemp("bundles")
    return Workplace(ServedModels(folder / "models", write_trainable_bundles(folder / "bundles")))


@pytest.fixture(scope="module")
def tasks(root: Path, workplace: Workplace, doubts: Doubts) -> dict[str, CaseTask]:
    return make_tasks(workplace, FolderDatastore(root), doubts)


def ask(tasks: dict[str, CaseTask], name: str, root: Path, image: str, **request: Any) -> tuple[Path | None, dict]:
    path = FolderDatastore(root).get_image_uri(image)
    file, said = tasks[name]({"image": path, "image_id": image, **request})
    return (Path(file) if file else None), said


def read(file: Path | None) -> tuple[NDArray[np.uint8], Grid]:
    assert file is not None
    mask = seen(file)
    file.unlink()
    return mask


@pytest.mark.parametrize(("image", "grid"), [("case", GRID), ("case_flair", FLAIR_GRID)])
def test_the_mask_lies_on_the_opened_series(
    tasks: dict[str, CaseTask], root: Path, doubts: Doubts, image: str, grid: Grid
) -> None:
    mask, found = read((answer := ask(tasks, "tumor_segmentation", root, image))[0])
    assert mask.dtype == np.uint8 and set(np.unique(mask)) <= {0, 1, 2, 4}
    assert found.same_as(grid)
    assert np.linalg.norm(centroid(mask, found) - lesion_centroid()) < 3.0
    said = answer[1]
    assert said["label_names"] == {
        "Necrotic and non-enhancing tumor core": 1,
        "Peritumoral edema": 2,
        "Enhancing tumor": 4,
    }
    assert said["version"] == "0.0.1" and set(said["uncertainty"]) == {"ET", "TC", "WT"}
    assert doubts.of(image, said["weights_sha256"]) is not None


@pytest.mark.slow
def test_super_resolution_is_segmented_on_the_same_grid(tasks: dict[str, CaseTask], root: Path) -> None:
    file, said = ask(tasks, "super_resolve_and_segment", root, "plain")
    mask, found = read(file)
    assert found.same_as(GRID)
    assert np.linalg.norm(centroid(mask, found) - lesion_centroid()) < 3.0
    assert said["super_resolution"]["bundle"] == "brain_mri_super_resolution"


def test_images_are_super_resolved_once(workplace: Workplace, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever sharpens to look, and then to find the tumor, waits once."""
    made: list[object] = []

    def make(*_: object, **__: object) -> object:
        made.append(object())
        return made[-1]

    monkeypatch.setattr(work, "super_resolve_study", make)
    mine = Workplace(workplace.models)
    store = FolderDatastore(root)
    plain, moved = (read_case(Path(store.get_image_uri(name))) for name in ("plain", "case"))
    first = mine.super_resolve(plain, lambda _: None)
    assert mine.super_resolve(plain, lambda _: None) is first
    assert mine.super_resolve(moved, lambda _: None) is not first
    assert len(made) == 2


@pytest.mark.slow
def test_derived_series_go_beside_the_case(tasks: dict[str, CaseTask], root: Path) -> None:
    file, said = ask(tasks, "super_resolution", root, "plain")
    assert file is None
    assert set(said["series"]) == {"T1", "T1c", "T2", "FLAIR"}
    for path in said["series"].values():
        assert sitk.ReadImage(path).GetSpacing() == pytest.approx((1.0, 1.0, 1.0))


def test_clicks_change_the_stored_mask_of_people(tasks: dict[str, CaseTask], root: Path) -> None:
    drawn = truth()
    write_label(root, "plain", drawn)
    inside = [int(n) for n in np.argwhere(drawn == 2)[0]]
    mask, _ = read(ask(tasks, "refinement", root, "plain", background=[inside])[0])
    assert mask[tuple(inside)] == 0
    far = np.linalg.norm((np.argwhere(drawn) - inside) * 4.0, axis=1) > 25
    np.testing.assert_array_equal(mask[drawn > 0][far], drawn[drawn > 0][far])
    (root / "labels" / "final" / "plain.nii.gz").unlink()


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({}, "There is no click"),
        ({"Enhancing tumor": [[1, 2]]}, "clicks of Enhancing tumor.0.2 is not valid. Field required"),
        ({"Enhancing tumor": [[1, 2, 999]]}, "voxel 1, 2, 999"),
        ({"background": [[-1, 2, 3]]}, "voxel -1, 2, 3"),
        ({"Enhancing tumor": [[1, 2, float("nan")]]}, "voxel 1, 2, nan"),
        ({"Enhancing tumor": 5}, "clicks of Enhancing tumor is not valid. Input should be a valid list"),
        ({"foreground": [[1, 2, 3]], "label": "liver"}, "without the name of a known label"),
        ({"background": [[1, 1, 1]] * 501}, "501 clicks"),
        ({"scribbles": True}, "no label map came"),
    ],
)
def test_clicks_that_make_no_sense_are_refused(
    tasks: dict[str, CaseTask], root: Path, request_: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        ask(tasks, "refinement", root, "plain", **request_)


def test_an_incomplete_case_is_refused(tasks: dict[str, CaseTask], root: Path, tmp_path: Path) -> None:
    folder = write_case(tmp_path, "half")
    (folder / "half_t2.nii.gz").unlink()
    with pytest.raises(MissingSequenceError, match="^T2 is missing"):
        tasks["tumor_segmentation"]({"image": str(folder / "half_t1ce.nii.gz")})


def test_a_result_is_written_as_what_viewers_read(tasks: dict[str, CaseTask], root: Path) -> None:
    with pytest.raises(DataError, match=r"asked for as '\.exe'"):
        ask(tasks, "tumor_segmentation", root, "plain", result_extension=".exe")


def test_a_task_is_watched_and_stopped(root: Path) -> None:
    seen: list[Status | None] = []

    def stopping(case: Any, request: Any, report: Any) -> Any:
        seen.append(RUNNING.status())
        RUNNING.stop()
        report(0.5)

    task = CaseTask("find", "", stopping)
    with pytest.raises(HTTPException, match="was stopped"):
        task({"image": FolderDatastore(root).get_image_uri("plain")})
    assert seen == [Status("find", 0, 100)]
    assert RUNNING.status() is None


def test_a_client_cannot_name_a_file_of_the_server(tasks: dict[str, CaseTask], root: Path) -> None:
    with pytest.raises(DataError, match="no label map came"):
        ask(tasks, "refinement", root, "plain", scribbles=True, label_file="/etc/passwd")


@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_networks_see_axes_that_run_left_back_and_up(axes: tuple[int, int, int]) -> None:
    matrix = np.zeros((4, 4))
    matrix[3, 3] = 1
    for column, axis in enumerate(axes):
        matrix[axis, column] = -2.0 if column == 1 else 2.0
    grid = Grid((10, 12, 14), matrix).canonical().with_spacing((1.0, 1.0, 1.0))
    np.testing.assert_allclose(grid.affine[:3, :3], np.eye(3), atol=1e-12)
    corners = np.array(np.meshgrid(*[[-0.5, n - 0.5] for n in (10, 12, 14)])).reshape(3, -1)
    places = matrix[:3, :3] @ corners
    np.testing.assert_allclose(grid.origin - 0.5, places.min(axis=1))
    np.testing.assert_allclose(grid.origin + np.array(grid.shape) - 0.5, places.max(axis=1))
