"""What both datastores promise, asked of a folder and of a real archive alike."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray

from acuity.anatomy import SEGMENTS, Sequence
from acuity.dicom.writing.model_info import ModelInfo
from acuity.errors import AcuityError, DataError, InputNotFoundError
from acuity.research.datasets.layouts import patient_of
from acuity.volume import RAS_LPS, Grid, Volume
from label.case import read_case, read_volume, write_volume
from label.datastores.archive import ArchiveDatastore
from label.datastores.dicomweb import Archive
from label.datastores.folder import FolderDatastore
from label.datastores.store import CaseDatastore
from tests.dicom_builder import STUDY_UID, uid
from tests.label_cases import SUFFIX, centroid, draw, speckle, truth
from tests.orthanc import Orthanc, running_orthanc
from tests.research.layouts import AFFINE, LAYOUTS, made_up, save, write_layout, write_one
from tests.study_phantom import image, oblique_grid, write_study

GRIDS = dict.fromkeys(Sequence, oblique_grid((8.0, 8.0, 8.0))) | {
    Sequence.FLAIR: oblique_grid((6.0, 7.0, 9.0), (4.0, 12.0, -7.0))
}
MODEL = {"model": "tumor_segmentation", "params": {"version": "0.3.0", "weights_sha256": "c" * 64}}


@dataclass
class Store:
    """A place with one complete case and an incomplete one, and how to put more there."""

    open: Callable[[], CaseDatastore]
    ids: dict[Sequence, str]
    complete_other: Callable[[], str]
    derived: Callable[[CaseDatastore, list[str]], int]
    datastore: CaseDatastore = field(init=False)

    def __post_init__(self) -> None:
        self.datastore = self.open()

    @property
    def case(self) -> str:
        return self.ids[Sequence.T1C]


def folder_store(folder: Path) -> Store:
    def write(case: str, sequences: list[Sequence]) -> None:
        (folder / case).mkdir(exist_ok=True)
        for sequence in sequences:
            grid = GRIDS[sequence]
            array = image(sequence, grid).round().astype(np.float32)
            nib.save(nib.Nifti1Image(array, RAS_LPS @ grid.affine), folder / case / f"{case}_{SUFFIX[sequence]}.nii.gz")

    def complete_other() -> str:
        write("other", [Sequence.FLAIR])
        return "other"

    write("case", list(Sequence))
    write("other", [Sequence.T1, Sequence.T1C, Sequence.T2])
    ids = {sequence: f"case_{suffix}" for sequence, suffix in SUFFIX.items()} | {Sequence.T1C: "case"}
    return Store(
        lambda: FolderDatastore(folder),
        ids,
        complete_other,
        lambda _, paths: sum(Path(path).is_file() for path in paths),
    )


def archive_store(folder: Path, orthanc: Orthanc) -> Store:
    def write(study: str) -> Path:
        # a patient each, and phantoms that differ in nothing else
        write_study(
            folder / study,
            GRIDS,
            noise=0.0,
            StudyInstanceUID=uid(study),
            PatientID=study,
            FrameOfReferenceUID=uid(study, "frame"),
        )
        for file in (folder / study).rglob("*.dcm"):
            _move_to_study(file, study)
        return folder / study

    def complete_other() -> str:
        orthanc.send(folder / "other" / "FLAIR")
        return str(uid("other", uid_of("T1c", 2)))

    def uid_of(name: str, number: int) -> str:
        return str(uid(STUDY_UID, name, number))

    orthanc.send(write("case"))
    write("other")
    for sequence in ("T1", "T1c", "T2"):
        orthanc.send(folder / "other" / sequence)
    ids = {s: str(uid("case", uid_of(s.value, n))) for n, s in enumerate(Sequence, start=1)}
    return Store(
        lambda: ArchiveDatastore(Archive(orthanc.dicomweb), folder / "cache"),
        ids,
        complete_other,
        lambda _, uids: sum(len(orthanc.find("Series", SeriesInstanceUID=u)) for u in uids),
    )


def _move_to_study(file: Path, study: str) -> None:
    ds = pydicom.dcmread(file)
    ds.SeriesInstanceUID = uid(study, ds.SeriesInstanceUID)
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = uid(study, ds.SOPInstanceUID)
    ds.save_as(file)


@pytest.fixture(scope="module", params=["folder", pytest.param("archive", marks=pytest.mark.slow)])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "folder":
        yield folder_store(folder)
        return
    (folder / "orthanc").mkdir()
    with running_orthanc(folder / "orthanc") as orthanc:
        yield archive_store(folder, orthanc)


def drawn(folder: Path, labels: NDArray[Any], grid: Grid) -> str:
    return draw(folder / "drawn.nii.gz", labels, grid)


def voxels(path: str) -> NDArray[np.uint8]:
    assert path, "no label"
    return np.asarray(nib.load(path).dataobj)


class TestContract:
    def test_complete_cases_are_listed_once_by_their_t1c(self, store: Store) -> None:
        assert store.datastore.list_images() == [store.case]

    @pytest.mark.parametrize("sequence", list(Sequence))
    def test_each_image_opens_the_case_on_its_own_grid(self, store: Store, sequence: Sequence) -> None:
        path = store.datastore.get_image_uri(store.ids[sequence])
        case = read_case(path)
        assert case.reference is sequence
        assert list(case.volumes) == list(Sequence)
        for found, volume in case.volumes.items():
            assert volume.array.dtype == np.float32
            assert volume.grid.same_as(GRIDS[found], 1e-4)
            np.testing.assert_allclose(volume.array, image(found, GRIDS[found]), atol=0.51)

    def test_viewers_open_the_image_where_it_lies(self, store: Store) -> None:
        """ITK, which 3D Slicer reads with, finds each voxel at its millimeters."""
        grid = GRIDS[Sequence.FLAIR]
        picture = sitk.ReadImage(store.datastore.get_image_uri(store.ids[Sequence.FLAIR]))
        assert picture.GetSize() == grid.shape
        index = (3, 14, 7)
        np.testing.assert_allclose(
            picture.TransformIndexToPhysicalPoint(index), (grid.affine @ [*index, 1])[:3], atol=1e-3
        )

    @pytest.mark.parametrize("sequence", [Sequence.T1C, Sequence.FLAIR])
    def test_a_drawn_label_comes_back_voxel_for_voxel(self, store: Store, tmp_path: Path, sequence: Sequence) -> None:
        grid, image_id = GRIDS[sequence], store.ids[sequence]
        label = store.datastore.save_label(image_id, drawn(tmp_path, speckle(grid), grid), "final", {"user": "anna"})
        assert label == image_id
        np.testing.assert_array_equal(voxels(store.datastore.get_label_uri(label, "final")), speckle(grid))
        (pair,) = store.datastore.datalist()  # the training sees the image that was drawn on
        np.testing.assert_array_equal(voxels(pair["label"]), speckle(grid))
        assert read_case(pair["image"]).opened.grid.same_as(grid, 1e-4)

    def test_a_label_is_placed_on_the_image_that_is_opened(self, store: Store, tmp_path: Path) -> None:
        t1c, flair = GRIDS[Sequence.T1C], GRIDS[Sequence.FLAIR]
        store.datastore.save_label(store.case, drawn(tmp_path, truth(t1c), t1c), "final", {})
        placed = voxels(store.datastore.get_label_uri(store.ids[Sequence.FLAIR], "final"))
        assert placed.shape == flair.shape
        distance = centroid(placed, flair) - centroid(truth(t1c), t1c)
        assert np.linalg.norm(distance) < 0.5 * flair.spacing.min()
        volume = float((truth(t1c) > 0).sum() * t1c.voxel_volume)
        assert float((placed > 0).sum() * flair.voxel_volume) == pytest.approx(volume, rel=0.02)

    def test_the_newest_label_counts(self, store: Store, tmp_path: Path) -> None:
        grid = GRIDS[Sequence.T1C]
        for seed in (1, 2):
            store.datastore.save_label(store.case, drawn(tmp_path, speckle(grid, seed), grid), "final", {})
        np.testing.assert_array_equal(voxels(store.datastore.get_label_uri(store.case, "final")), speckle(grid, 2))
        assert store.datastore.status()["label_tags"]["final"] == 1

    def test_a_models_label_and_a_persons_are_told_apart(self, store: Store, tmp_path: Path) -> None:
        grid = GRIDS[Sequence.T1C]
        store.datastore.save_label(store.case, drawn(tmp_path, speckle(grid, 3), grid), "original", dict(MODEL))
        store.datastore.save_label(store.case, drawn(tmp_path, speckle(grid, 4), grid), "final", {"user": "anna"})
        store.datastore.save_label(store.case, drawn(tmp_path, speckle(grid, 5), grid), "second-reader", {"user": "bo"})
        for datastore in (store.datastore, store.open()):  # also after a restart
            labels = datastore.get_labels_by_image_id(store.ids[Sequence.T2])
            assert labels == dict.fromkeys(("final", "original", "second-reader"), store.ids[Sequence.T2])
            for seed, tag in ((3, "original"), (4, "final"), (5, "second-reader")):
                np.testing.assert_array_equal(voxels(datastore.get_label_uri(store.case, tag)), speckle(grid, seed))
        assert store.datastore.get_label_info(store.case, "final")["user"] == "anna"
        assert store.datastore.get_labeled_images("second-reader") == [store.case]
        assert store.datastore.get_unlabeled_images("third") == [store.case]

    def test_values_mean_what_their_names_say(self, store: Store, tmp_path: Path) -> None:
        """3D Slicer numbers segments by their order, and names them as they were named, more or less."""
        grid = GRIDS[Sequence.T1C]
        as_drawn = np.array([0, 3, 1, 0, 2], np.uint8)[speckle(grid)]  # 1 -> 3, 2 -> 1, 4 -> 2
        info = [{"name": "peritumoral edema", "idx": 1}, {"name": "ENHANCING", "idx": 2}, {"name": SEGMENTS[0].name}]
        store.datastore.save_label(store.case, drawn(tmp_path, as_drawn, grid), "final", {"label_info": info})
        np.testing.assert_array_equal(voxels(store.datastore.get_label_uri(store.case, "final")), speckle(grid))

    def test_no_tumor_is_a_label_too(self, store: Store, tmp_path: Path) -> None:
        grid = GRIDS[Sequence.T1C]
        store.datastore.save_label(store.case, drawn(tmp_path, np.zeros(grid.shape, np.uint8), grid), "final", {})
        assert not voxels(store.datastore.get_label_uri(store.case, "final")).any()
        assert store.datastore.get_labeled_images() == [store.case]

    @pytest.mark.parametrize("change", ["shape", "shift", "value", "name", "file"])
    def test_a_label_that_does_not_fit_is_refused_and_changes_nothing(
        self, store: Store, tmp_path: Path, change: str
    ) -> None:
        grid = GRIDS[Sequence.T1C]
        store.datastore.save_label(store.case, drawn(tmp_path, speckle(grid, 6), grid), "final", {})
        other = Grid(grid.shape, np.array(grid.affine) + np.array([[0, 0, 0, 2.5]] + [[0] * 4] * 3))
        info: dict[str, Any] = {}
        labels = speckle(grid)
        path = drawn(tmp_path, labels, grid)
        if change == "shape":
            path = drawn(tmp_path, speckle(GRIDS[Sequence.FLAIR]), GRIDS[Sequence.FLAIR])
        elif change == "shift":
            path = drawn(tmp_path, labels, other)
        elif change == "value":
            path = drawn(tmp_path, np.where(labels == 4, 3, labels).astype(np.uint8), grid)
        elif change == "name":
            info = {"label_info": [{"name": "Segment 1"}, {"name": "EDEMA"}, {"name": "x"}, {"name": "ENHANCING"}]}
        else:
            Path(path).write_bytes(b"no image")
        with pytest.raises(DataError):
            store.datastore.save_label(store.case, path, "final", info)
        np.testing.assert_array_equal(voxels(store.datastore.get_label_uri(store.case, "final")), speckle(grid, 6))

    @pytest.mark.parametrize("bad", ["", "..", "../case", "/etc/passwd", "case/../case", "1.2/../3", "1.2.3.4", "a b"])
    def test_ids_that_are_none_are_refused(self, store: Store, tmp_path: Path, bad: str) -> None:
        grid = GRIDS[Sequence.T1C]
        path = drawn(tmp_path, speckle(grid), grid)
        for ask in (
            store.datastore.get_image_uri,
            store.datastore.get_image_info,
            store.datastore.get_labels_by_image_id,
            lambda image: store.datastore.get_label_uri(image, "final"),
            lambda image: store.datastore.save_label(image, path, "final", {}),
            lambda image: store.datastore.update_image_info(image, {"x": 1}),
            store.datastore.remove_image,
        ):
            with pytest.raises((InputNotFoundError, DataError)):
                ask(bad)

    @pytest.mark.parametrize("bad", ["..", "../..", "a/b", "", "x" * 33, ".hidden", "final\n", "ü"])
    def test_tags_that_are_none_are_refused(self, store: Store, tmp_path: Path, bad: str) -> None:
        grid = GRIDS[Sequence.T1C]
        path = drawn(tmp_path, speckle(grid), grid)
        for ask in (
            lambda: store.datastore.get_label_uri(store.case, bad),
            lambda: store.datastore.save_label(store.case, path, bad, {}),
            lambda: store.datastore.remove_label(store.case, bad),
            lambda: store.datastore.update_label_info(store.case, bad, {}),
        ):
            with pytest.raises(DataError):
                ask()

    def test_a_label_that_is_not_there(self, store: Store) -> None:
        assert store.datastore.get_label_uri(store.case, "absent") == ""
        assert store.datastore.get_label(store.case, "absent") is None
        assert store.datastore.get_label_by_image_id(store.case, "absent") == ""
        assert store.datastore.get_label_info(store.case, "absent") == {}

    def test_notes_survive_a_restart_and_belong_to_the_case(self, store: Store) -> None:
        store.datastore.update_image_info(store.ids[Sequence.FLAIR], {"strategy": {"random": {"ts": 1}}})
        store.datastore.update_image_info(store.case, {"dice": 0.5})
        again = store.open()
        info = again.get_image_info(store.ids[Sequence.T1])
        assert info == {"strategy": {"random": {"ts": 1}}, "dice": 0.5, "name": store.ids[Sequence.T1]}
        again.set_name("Ward 5")
        assert store.datastore.name() == "Ward 5"

    def test_the_listing_is_json(self, store: Store, tmp_path: Path) -> None:
        grid = GRIDS[Sequence.T1C]
        store.datastore.save_label(store.case, drawn(tmp_path, speckle(grid), grid), "final", {})
        listed = json.loads(json.dumps(store.datastore.json()))
        assert "final" in listed["objects"][store.case]["labels"]
        status = store.datastore.status()
        assert (status["total"], status["completed"]) == (1, 1)

    def test_the_dataset_is_a_zip_of_labeled_cases(self, store: Store, tmp_path: Path) -> None:
        grid = GRIDS[Sequence.T1C]
        store.datastore.save_label(store.case, drawn(tmp_path, speckle(grid), grid), "final", {})
        with zipfile.ZipFile(store.datastore.get_dataset_archive(None)) as archive:
            names = {f"case_0001/{name}.nii.gz" for name in ("T1", "T1c", "T2", "FLAIR", "label")}
            assert set(archive.namelist()) == names
            archive.extract("case_0001/label.nii.gz", tmp_path)
        np.testing.assert_array_equal(voxels(str(tmp_path / "case_0001" / "label.nii.gz")), speckle(grid))

    def test_computed_images_are_stored_and_change_no_case(self, store: Store) -> None:
        case = read_case(store.datastore.get_image_uri(store.case))
        stored = store.datastore.save_derived(
            store.case,
            {Sequence.T1C: case.opened, Sequence.FLAIR: case.volumes[Sequence.FLAIR]},
            ModelInfo("sr", "1", "d" * 64),
        )
        assert store.derived(store.datastore, stored) == 2
        assert store.datastore.list_images() == [store.case]
        assert Path(store.datastore.get_image_uri(store.case)).is_file()

    def test_what_becomes_complete_is_listed_at_once(self, store: Store) -> None:
        """Last, because it adds a case."""
        other = store.complete_other()
        assert sorted(store.datastore.list_images()) == sorted([store.case, other])
        assert other in store.datastore.get_unlabeled_images()
        first, second = (read_case(store.datastore.get_image_uri(image)) for image in (store.case, other))
        assert first.patient != second.patient


def test_an_image_written_for_viewers_says_the_same_twice(tmp_path: Path) -> None:
    """sform and qform agree, whichever a reader takes."""
    grid = GRIDS[Sequence.FLAIR]
    write_volume(Volume(np.zeros(grid.shape, np.float32), grid.affine), tmp_path / "t1.nii.gz")
    header = nib.load(tmp_path / "t1.nii.gz").header
    assert int(header["sform_code"]) == int(header["qform_code"]) == 1
    np.testing.assert_allclose(header.get_sform(), header.get_qform(), atol=1e-4)


@pytest.mark.parametrize("read", [read_case, lambda path: read_volume(Path(path))])
def test_what_is_no_image_of_a_case_is_refused(tmp_path: Path, read: Callable[[str], Any]) -> None:
    (tmp_path / "t1.nii.gz").write_bytes(b"no image")
    (tmp_path / "notes.txt").write_text("x")
    for name in ("t1.nii.gz", "absent.nii.gz", "notes.txt", ""):
        with pytest.raises(AcuityError):
            read(str(tmp_path / name))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_cases_of_every_layout_are_served(layout: str, tmp_path: Path) -> None:
    names = write_layout(layout, tmp_path)
    store = FolderDatastore(tmp_path)
    assert store.list_images() == sorted(names)
    for seed, name in enumerate(names):
        images, labels = made_up(seed)
        case = read_case(store.get_image_uri(name))
        assert (case.reference, case.patient) == (Sequence.T1C, patient_of(name))
        for sequence, array in zip(Sequence, images, strict=True):
            served = nib.load(store.get_image_uri(f"{name}_{SUFFIX[sequence]}"))
            np.testing.assert_array_equal(served.get_fdata(), array)
            np.testing.assert_allclose(served.affine, AFFINE)
            np.testing.assert_array_equal(case.volumes[sequence].array, array)
    drawn = tmp_path / "drawn.nii.gz"
    save(labels, AFFINE, drawn)
    store.save_label(names[-1], str(drawn), "final", {})
    (pair,) = store.datalist()
    np.testing.assert_array_equal(nib.load(pair["label"]).get_fdata(), labels)
    store.save_derived(names[0], case.volumes, ModelInfo("sr", "1", "a" * 64))
    assert store.list_images() == sorted(names)  # what was computed is no further case

    store.remove_image(names[0])
    assert store.list_images() == sorted(names)[1:]
    with pytest.raises(InputNotFoundError):
        store.get_image_uri(names[0])


def test_a_changed_file_of_the_decathlon_is_served_anew(tmp_path: Path) -> None:
    name, *_ = write_layout("decathlon", tmp_path)
    store = FolderDatastore(tmp_path)
    before = Path(store.get_image_uri(name))
    first = before.stat()
    assert Path(store.get_image_uri(name)).stat().st_ino == first.st_ino  # written once
    write_one("decathlon", tmp_path, name, *made_up(7))
    np.testing.assert_array_equal(read_volume(Path(store.get_image_uri(name))).array, made_up(7)[0][1])
    with pytest.raises(DataError, match="the Medical Decathlon's"):
        store.add_image("new_t1", str(before), {})


def test_of_two_cases_of_one_name_none_is_listed(tmp_path: Path) -> None:
    for folder in ("HGG", "LGG"):
        write_one("2018", tmp_path, f"{folder}/same", *made_up(0))
    assert FolderDatastore(tmp_path).list_images() == []


@pytest.mark.parametrize("name", ["../outside", "/etc", "a\0b", "x" * 300, ".acuity", "labels", "derived", ""])
def test_an_id_never_becomes_a_path(name: str, tmp_path: Path) -> None:
    write_one("2021", tmp_path, "outside", *made_up(0))
    (tmp_path / "in").mkdir()
    with pytest.raises(InputNotFoundError):
        FolderDatastore(tmp_path / "in").get_image_uri(name)


@pytest.mark.parametrize(("fault", "message"), [(np.nan, "not finite"), (0, "0 everywhere"), (1, "is a mask")])
def test_an_image_that_is_none_is_refused_by_name(fault: float, message: str, tmp_path: Path) -> None:
    images, labels = made_up(0)
    images[2] = images[2] * 0 + fault
    if fault == 1:
        images[2] = labels
    write_one("2023", tmp_path, "a", images, labels)
    with pytest.raises(DataError, match=f"T2.*{message}"):
        read_case(FolderDatastore(tmp_path).get_image_uri("a"))
