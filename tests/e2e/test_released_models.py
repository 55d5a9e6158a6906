"""The whole workbench as it is released, nothing stood in for: its command line, its models, its training."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from playwright.sync_api import Browser, Page, Route, expect
from pydicom import FileDataset, dcmread
from pydicom.uid import generate_uid

from acuity.anatomy import SEGMENTS
from acuity.demo.study import write_demo_study
from acuity.dicom.reading.read_seg import read_segmentation
from acuity.dicom.writing.segmentation import write_annotation
from acuity.research.synthetic.phantom import Phantom
from label.case import read_case
from label.datastores.archive import ArchiveDatastore
from label.datastores.dicomweb import Archive
from label.door import read_or_make_secret
from label.versions import tumor_versions
from tests.e2e.launched import Launcher, address
from tests.e2e.viewer import (
    as_in_viewer,
    dice,
    in_viewer,
    instances,
    logged_in,
    on_grid,
    open_study,
    paint,
    pane,
    press,
    segmentations,
    series_of,
    settled,
)
from tests.judges import dciodvfy_errors
from workbench.demo import store

pytestmark = pytest.mark.slow

SPACING = (2.0, 2.0, 2.0)
EDEMA = SEGMENTS[1]
# What networks take on one busy core.
_MODEL_MS, _TRAINING_MS = 1_200_000, 1_800_000


@dataclass(frozen=True)
class Released:
    """A workbench that runs, and a study in it.

    Parameters
    ----------
    truth : of the study, on the grid of its four series
    series : UIDs of these
    """

    url: str
    token: str
    dicomweb: str
    models: Path
    bundles: Path
    study: str
    truth: Phantom
    series: list[str]


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Iterator[Released]:
    """Three patients: one that nobody has annotated, and two whose tumors somebody has outlined."""
    folder = tmp_path_factory.mktemp("released")
    launcher = Launcher(folder / "state", repository)
    try:
        url, _, token = address(launcher.up()).partition("/login#token=")
        password = read_or_make_secret(launcher.state / "archive-password")
        dicomweb = f"http://acuity:{password}@127.0.0.1:{launcher.ports['--orthanc-port']}/dicom-web"
        truth, headers = stored_study(folder, dicomweb, 0)
        for seed in (1, 2):
            outlined(folder, dicomweb, *stored_study(folder, dicomweb, seed))
        yield Released(
            url,
            token,
            dicomweb,
            launcher.state / "models",
            repository / "bundles",
            str(headers[0][0].StudyInstanceUID),
            truth,
            [str(series[0].SeriesInstanceUID) for series in headers],
        )
    finally:
        launcher.call("down")


def stored_study(folder: Path, dicomweb: str, seed: int) -> tuple[Phantom, list[list[FileDataset]]]:
    """A patient's study in the archive; the truth, and the headers of each series."""
    truth = write_demo_study(folder / f"study-{seed}", seed=seed, spacing=SPACING, phantom_spacing_mm=SPACING[0])
    headers = []
    for series in sorted((folder / f"study-{seed}").iterdir()):
        files = sorted(series.iterdir())
        store(dicomweb, files)
        headers.append([dcmread(file, stop_before_pixels=True) for file in files])
    return truth, headers


def outlined(folder: Path, dicomweb: str, truth: Phantom, headers: list[list[FileDataset]]) -> None:
    """Store the truth as what a person has drawn."""
    labels = replace(truth.labels, frame_of_reference_uid=str(headers[0][0].FrameOfReferenceUID))
    path = folder / "outlined.dcm"
    write_annotation(
        labels,
        headers[0],
        path,
        series_uid=generate_uid(),
        series_number=900,
        annotator="Colleague",
        description="Tumor, corrected",
    )
    store(dicomweb, [path])


@pytest.fixture
def page(released: Released, browser: Browser) -> Iterator[Page]:
    """The study, open."""
    page = logged_in(browser, released.url, released.token)
    open_study(page, released.url, released.study)
    yield page
    page.close()


def whole_tumor(path: Path, released: Released) -> float:
    """The Dice of a stored segmentation with the truth; mirrored in any axis, it would fit worse by far."""
    found = on_grid(read_segmentation(path), released.truth.labels) > 0
    truth = released.truth.labels.array > 0
    overlap = dice(found, truth)
    assert max(dice(np.flip(found, axis), truth) for axis in range(3)) < overlap - 0.2
    return overlap


def test_training_says_whether_the_candidate_is_served(page: Page, released: Released, pictures: Path) -> None:
    asked = []

    def shortened(route: Route) -> None:
        asked.append(json.loads(route.request.post_data or ""))
        route.continue_(post_data=json.dumps({**asked[-1], "iterations": 2}))

    page.route("**/monai/train/tumor_segmentation", shortened)
    page.locator("#acuity-train").click()
    train = page.locator("#acuity-train")
    expect(train).to_have_text("Training ...", timeout=_TRAINING_MS)
    expect(train).to_be_disabled()
    expect(train).to_have_text("Train", timeout=_TRAINING_MS)
    said = page.locator("#acuity-panel output").inner_text()
    page.screenshot(path=pictures / "trained.png")
    assert asked == [{}]
    versions = tumor_versions(released.models, released.bundles)
    (candidate,) = versions.candidates()
    assert said == candidate.reason
    assert said.startswith("Served: mean Dice " if candidate.served else "Kept aside: mean Dice ")
    assert versions.served == (candidate.number if candidate.served else 0)
    assert candidate.training["iterations"] == 2


def test_a_painted_correction_is_what_training_gets(
    page: Page, released: Released, pictures: Path, tmp_path: Path
) -> None:
    pane(page, "AX FLAIR").click()
    assert press(page, "segment", _MODEL_MS).startswith("Tumor outlined")
    found_file = segmentations(released.dicomweb, released.study, tmp_path)[-1]
    assert whole_tumor(found_file, released) > 0.7
    settled(page)
    found = in_viewer(page)
    np.testing.assert_array_equal(as_in_viewer(on_grid(read_segmentation(found_file), released.truth.labels)), found)
    paint(page, "AX FLAIR", EDEMA.name)
    painted = in_viewer(page)
    assert np.count_nonzero(painted != found) > 5
    page.screenshot(path=pictures / "corrected.png")
    assert press(page, "save").startswith("Saved")

    datastore = ArchiveDatastore(Archive(released.dicomweb), tmp_path / "cache")
    (pair,) = (pair for pair in datastore.datalist() if study_of(pair["image"]) == released.study)
    np.testing.assert_array_equal(as_in_viewer(np.asarray(nib.load(pair["label"]).dataobj)), painted)


def pressed_on_flair(page: Page, button: str, picture: Path) -> str:
    """Press a button on the FLAIR series, and picture what is shown then; what the panel tells."""
    pane(page, "AX FLAIR").click()
    told = press(page, button, _MODEL_MS)
    settled(page)
    page.screenshot(path=picture)
    return told


def study_of(image: str) -> str:
    """The study that an image of the datastore is of."""
    return str(read_case(Path(image)).opened.source_images[0].StudyInstanceUID)


def test_sharpened_series_come_beside_the_measured(
    page: Page, released: Released, pictures: Path, tmp_path: Path
) -> None:
    told = pressed_on_flair(page, "sharpen", pictures / "sharpened.png")
    assert told.startswith("The sharpened series is on the right")
    derived = {}
    for uid in set(series_of(released.dicomweb, released.study, "MR")) - set(released.series):
        files = instances(released.dicomweb, released.study, uid, tmp_path)
        derived[uid] = dcmread(files[0], stop_before_pixels=True)
        assert len(files) > released.truth.labels.shape[2]
        assert dciodvfy_errors(files[0]) == []
    assert len(derived) == 4
    assert all(header.ImageType[0] == "DERIVED" and min(header.PixelSpacing) < 1.5 for header in derived.values())
    shown = page.evaluate("""() => [...services.viewportGridService.getState().viewports.values()]
        .map(({ displaySetInstanceUIDs: [id] }) => services.displaySetService.getDisplaySetByUID(id))
        .map((set) => [set.SeriesDescription, set.SeriesInstanceUID])""")
    assert [uid in derived for _, uid in shown] == [False, True]
    assert shown[0][0] == "AX FLAIR" and "FLAIR" in shown[1][0]


def test_the_tumor_in_sharpened_images_comes_back_on_the_measured(
    page: Page, released: Released, pictures: Path, tmp_path: Path
) -> None:
    told = pressed_on_flair(page, "sharpen-and-segment", pictures / "sharpened-and-found.png")
    assert told.startswith("Tumor outlined")
    path = segmentations(released.dicomweb, released.study, tmp_path)[-1]
    labels, truth = read_segmentation(path), released.truth.labels
    np.testing.assert_allclose(labels.affine[:3, :3], truth.affine[:3, :3], atol=1e-5)
    assert labels.shape[:2] == truth.shape[:2]
    assert whole_tumor(path, released) > 0.7
    np.testing.assert_array_equal(as_in_viewer(on_grid(labels, truth)), in_viewer(page))
