"""Every bundle keeps the MONAI Bundle specification, and its configs run, tiny, on random NIfTI."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import monai.bundle
import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from packaging.requirements import Requirement

from acuity import __version__
from acuity.anatomy import Sequence
from acuity.models.bundle import load_bundle
from acuity.models.segmentation import segment
from acuity.research.datasets.brats import FILE_SUFFIX, brain_mask, read_image
from acuity.research.options import FOLDS
from acuity.research.recipe_file import recipe_names
from acuity.resources import config_file
from tests.bundles.conftest import CASES, REPOSITORY, SHAPE, X4, X4_PREFIX, config, metadata, run, write_case
from tools.release_segmentation import assembled

SUPER_RESOLUTION = "brain_mri_super_resolution"
SEGMENTATION = "brain_tumor_segmentation"
BUNDLES = sorted(folder.name for folder in (REPOSITORY / "bundles").iterdir())
SCHEMA = Path(__file__).with_name("metadata_schema.json")


def verify_metadata(file: Path) -> None:
    """As ``python -m monai.bundle verify_metadata`` does; it downloads no schema where the file is there already."""
    digest = hashlib.sha256(SCHEMA.read_bytes()).hexdigest()
    monai.bundle.verify_metadata(meta_file=str(file), filepath=str(SCHEMA), hash_val=digest, hash_type="sha256")


@pytest.fixture
def checkpoint(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Seeded random weights of the bundle that the test is about, so that no test needs the released ones."""
    bundle = request.node.callspec.params["bundle"]
    parser = ConfigParser(ConfigParser.load_config_file(config(bundle, "inference")))
    torch.manual_seed(0)
    state = parser.get_parsed_content("network_def").state_dict()
    for name in state:
        if name.startswith("fine.") and name.endswith(".head.weight"):
            state[name] *= 100  # so that some voxels are tumor and others are not
    torch.save(state, tmp_path / "model.pt")
    return tmp_path / "model.pt"


def test_all_bundles_are_tested() -> None:
    """The two of the clinical chain, and those of the x4 methods that are released."""
    assert sorted([SUPER_RESOLUTION, SEGMENTATION, *X4]) == BUNDLES
    assert set(X4) <= {X4_PREFIX + name for name in recipe_names(config_file("sr"))}


@pytest.mark.parametrize("bundle", BUNDLES)
class TestBundle:
    def test_has_the_files_of_the_specification(self, bundle: str) -> None:
        folder = REPOSITORY / "bundles" / bundle
        for name in ("metadata", "inference", "train", "evaluate"):
            assert Path(config(bundle, name)).is_file()
        assert "Apache License" in (folder / "LICENSE").read_text()
        assert "BraTS" in (folder / "LICENSE").read_text()
        card = (folder / "docs" / "README.md").read_text()
        for citation in ("Menze", "Bakas", "Baid", "not for primary diagnosis"):
            assert citation in card

    def test_metadata_passes_monai(self, bundle: str) -> None:
        verify_metadata(Path(config(bundle, "metadata")))

    def test_metadata_that_lacks_a_field_does_not_pass(self, bundle: str, tmp_path: Path) -> None:
        content = metadata(bundle)
        del content["network_data_format"]
        (tmp_path / "metadata.json").write_text(json.dumps(content))
        with pytest.raises(ValueError, match="'network_data_format' is a required property"):
            verify_metadata(tmp_path / "metadata.json")

    def test_versions_are_those_of_the_requirements(self, bundle: str) -> None:
        content = metadata(bundle)
        lines = (REPOSITORY / "requirements.txt").read_text().splitlines()
        pins = {r.name: r for line in lines if line[:1].isalpha() for r in [Requirement(line.split("  #")[0])]}
        assert content["monai_version"] in pins["monai"].specifier
        assert content["pytorch_version"] in pins["torch"].specifier
        assert content["numpy_version"] in pins["numpy"].specifier
        others = dict(content["required_packages_version"])
        assert others.pop("acuity-mr") == __version__
        for name, version in others.items():
            assert version in pins[name].specifier
        assert list(content["changelog"])[-1] == content["version"]

    def test_configs_name_classes_of_the_installed_package(self, bundle: str) -> None:
        network = json.loads(Path(config(bundle, "inference")).read_text())["network_def"]
        assert network["_target_"].startswith("acuity.networks.")
        trained = json.loads(Path(config(bundle, "train")).read_text())["network_def"]
        assert trained.keys() == network.keys()
        for name, value in trained.items():  # of an ensemble, the members are trained one by one
            assert network[name] == value or value in network[name]["networks"]

    def test_network_takes_and_gives_what_the_metadata_says(self, bundle: str) -> None:
        monai.bundle.verify_net_in_out(
            net_id="network_def",
            meta_file=config(bundle, "metadata"),
            config_file=config(bundle, "inference"),
            device="cpu",
            n=24 if bundle in X4 else 1,
            any=24,
        )

    @pytest.mark.slow
    def test_command_line_runs_inference(self, bundle: str, tiny_brats: Path, checkpoint: Path, tmp_path: Path) -> None:
        done = subprocess.run(
            [
                *(sys.executable, "-m", "monai.bundle", "run"),
                *("--config_file", config(bundle, "inference"), "--meta_file", config(bundle, "metadata")),
                *("--bundle_root", str(tmp_path), "--dataset_dir", str(tiny_brats)),
                *("--checkpoint", str(checkpoint), "--output_dir", str(tmp_path / "out")),
            ],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert len(list((tmp_path / "out").rglob("*.nii.gz"))) >= len(CASES)

    def test_exported_to_torchscript_it_gives_the_same_voxels(self, bundle: str, tmp_path: Path) -> None:
        folder = REPOSITORY / "bundles" / bundle
        monai.bundle.ckpt_export(
            net_id="network_def",
            filepath=str(tmp_path / "model.ts"),
            ckpt_file=str(folder / "models" / "model.pt"),
            meta_file=config(bundle, "metadata"),
            config_file=config(bundle, "inference"),
            bundle_root=str(folder),
        )
        exported = torch.jit.load(tmp_path / "model.ts")
        network = load_bundle(REPOSITORY / "bundles", bundle).network.cpu()
        torch.manual_seed(0)
        shapes = (
            [(1, 4, 20, 17, 18), (1, 4, 32, 16, 16)] if bundle == SEGMENTATION else [(1, 1, 21, 34), (2, 1, 16, 32)]
        )
        with torch.inference_mode():
            for image in map(torch.rand, shapes):
                assert torch.equal(exported(image), network(image))

    def test_released_weights_fit(self, bundle: str) -> None:
        released = load_bundle(REPOSITORY / "bundles", bundle)
        assert released.version == metadata(bundle)["version"]
        assert not released.network.training


def with_weights(bundle: str, checkpoint: Path, folder: Path) -> Path:
    """A copy of the bundle that holds the checkpoint as its released weights."""
    copy = folder / bundle
    shutil.copytree(REPOSITORY / "bundles" / bundle / "configs", copy / "configs")
    (copy / "models").mkdir()
    shutil.copy(checkpoint, copy / "models" / "model.pt")
    return copy


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="session")
def turned_case(tiny_brats: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the first case, stored along other axes: to the head, the right and the front."""
    folder = tmp_path_factory.mktemp("turned")
    (folder / "turned").mkdir()
    for file in (tiny_brats / "first").glob("*.nii.gz"):
        image = nib.as_closest_canonical(nib.load(file))
        turned = nib.Nifti1Image(np.asarray(image.dataobj).transpose(2, 0, 1), image.affine[:, [2, 0, 1, 3]])
        nib.save(turned, folder / "turned" / file.name.replace("first", "turned"))
    return folder


def canonical(file: Path) -> nib.Nifti1Image:
    return nib.as_closest_canonical(nib.load(file))


@pytest.mark.parametrize("bundle", [SEGMENTATION])
def test_segmentation_writes_labels_on_the_images_own_grid(
    bundle: str, tiny_brats: Path, turned_case: Path, checkpoint: Path, tmp_path: Path
) -> None:
    options = {"checkpoint": str(checkpoint), "output_dir": str(tmp_path)}
    for data in (tiny_brats, turned_case):
        run(bundle, "inference", dataset_dir=str(data), **options)
    straight = nib.load(tmp_path / "first" / "first_labels.nii.gz")
    turned = nib.load(tmp_path / "turned" / "turned_labels.nii.gz")
    assert straight.shape == SHAPE
    assert turned.shape == (SHAPE[2], SHAPE[0], SHAPE[1])
    assert straight.get_data_dtype() == np.uint8
    labels = np.asarray(straight.dataobj)
    assert set(np.unique(labels)) <= {0, 1, 2, 4}
    assert len(np.unique(labels)) > 1  # random weights do draw something that a wrong flip would move
    back = nib.as_closest_canonical(turned)
    np.testing.assert_allclose(back.affine, nib.as_closest_canonical(straight).affine)
    np.testing.assert_array_equal(np.asarray(back.dataobj), np.asarray(nib.as_closest_canonical(straight).dataobj))


@pytest.mark.parametrize("bundle", [SEGMENTATION])
@pytest.mark.parametrize("spacing", [(1, 1, 1), (2, 2, 2), (1, 1, 3), (0.8, 1.5, 1.2)])
def test_labels_are_those_of_the_application(
    bundle: str, spacing: tuple[float, ...], checkpoint: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write_case(tmp_path / "data" / "case.1", np.random.default_rng(2), (18, 20, 14), np.diag([*spacing, 1.0]))
    weights = torch.load(checkpoint, weights_only=True)
    weights["coarse.head.bias"] += 3  # so that it suspects a tumor, and the fine networks are asked
    torch.save(weights, checkpoint)
    options = {"checkpoint": str(checkpoint), "output_dir": str(tmp_path), "choices#smallest_part_ml": 0.01}
    run(bundle, "inference", dataset_dir=str(tmp_path / "data"), **options)
    assert "case.1: 100%" in capfd.readouterr().err

    loaded = load_bundle(with_weights(bundle, checkpoint, tmp_path / "models").parent, bundle)
    loaded = dataclasses.replace(
        loaded, postprocessing=dataclasses.replace(loaded.postprocessing, smallest_part_ml=0.01)
    )
    files = {sequence: tmp_path / "data" / "case.1" / f"case.1_{end}.nii.gz" for sequence, end in FILE_SUFFIX.items()}
    volumes = {sequence: read_image(file) for sequence, file in files.items()}
    brain = volumes[Sequence.T1].with_array(brain_mask(volumes).astype(np.uint8))
    expected = segment(volumes, brain, loaded).labels.array
    assert len(np.unique(expected)) > 1
    written = nib.load(tmp_path / "case.1" / "case.1_labels.nii.gz")
    np.testing.assert_allclose(written.header.get_zooms(), spacing, rtol=1e-6)
    np.testing.assert_array_equal(np.asarray(written.dataobj), expected)


@pytest.mark.parametrize("bundle", [SEGMENTATION])
def test_segmentation_is_scored_by_region(bundle: str, tiny_brats: Path, checkpoint: Path, tmp_path: Path) -> None:
    copy = with_weights(bundle, checkpoint, tmp_path)
    run(bundle, "evaluate", bundle_root=str(copy), dataset_dir=str(tiny_brats), cases=[CASES[0]])
    rows = read_csv(copy / "eval" / "segmentation.csv")
    assert [row["region"] for row in rows] == ["ET", "TC", "WT"]
    # 4x4x4 voxels of 1 mm are enhancing or necrotic, 2x2x2 of them necrotic; 7x7x6 are tumor
    assert [float(row["true_volume_ml"]) for row in rows] == pytest.approx([0.056, 0.064, 0.294])
    assert all(0 <= float(row["dsc"]) <= 1 for row in rows)
    assert {row["input"] for row in rows} == {"HR"} and {row["model"] for row in rows} == {bundle}


@pytest.mark.parametrize("bundle", [SEGMENTATION])
def test_choices_are_made_on_cases_that_were_held_out(
    bundle: str, tiny_brats: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = with_weights(bundle, checkpoint, tmp_path)
    options = {"split_parts": {"validation": [CASES[1]]}, "folds": [[CASES[1]], [], [], []], "choices#phantoms": 0}
    run(bundle, "evaluate", run_id="compare", bundle_root=str(copy), dataset_dir=str(tiny_brats), **options)
    rows = read_csv(copy / "eval" / "choices.csv")
    assert {row["case"] for row in rows} <= {CASES[1], f"{CASES[1]}, mirrored"}
    assert {row["region"] for row in rows if row["case"] == CASES[1]} == {"ET", "TC", "WT"}
    text = (copy / "eval" / "choices.md").read_text().split("```json\n")[1].split("\n```")[0]
    assert text in capsys.readouterr().out
    best = json.loads(text)
    inference = json.loads((copy / "configs" / "inference.json").read_text())
    inference["choices"] = best["choices"]
    (copy / "configs" / "inference.json").write_text(json.dumps(inference))
    assert load_bundle(tmp_path, bundle).postprocessing.thresholds == tuple(best["choices"]["thresholds"])


@pytest.mark.parametrize("bundle", [SUPER_RESOLUTION])
def test_super_resolution_keeps_the_field_of_view(
    bundle: str, tiny_brats: Path, turned_case: Path, checkpoint: Path, tmp_path: Path
) -> None:
    common = {"checkpoint": str(checkpoint), "output_dir": str(tmp_path)}
    images = "$[{'image': path} for path in glob.glob(os.path.join(@dataset_dir, '*_t2.nii.gz'))]"
    for folder, spacing in ((tiny_brats / "first", [1.0, 1.0, 0.5]), (turned_case / "turned", [0.5, 1.0, 1.0])):
        run(bundle, "inference", dataset_dir=str(folder), spacing=spacing, datalist=images, **common)
    for name in ("first", "turned"):
        image = canonical(tmp_path / f"{name}_t2_sr.nii.gz")
        assert image.shape == (*SHAPE[:2], 2 * SHAPE[2])
        np.testing.assert_allclose(image.header.get_zooms(), [1.0, 1.0, 0.5])
        first_corner = image.affine @ [-0.5, -0.5, -0.5, 1]
        np.testing.assert_allclose(first_corner[:3], [0.5 - SHAPE[0], 0.5 - SHAPE[1], -0.5], atol=1e-6)


@pytest.mark.parametrize("bundle", [SUPER_RESOLUTION])
def test_super_resolution_is_scored_beside_interpolation(
    bundle: str, tiny_brats: Path, checkpoint: Path, tmp_path: Path
) -> None:
    # A generator that removes nothing is interpolation, which the projection onto the data may only improve.
    weights = torch.load(checkpoint, weights_only=True)
    for name in weights:
        if name.startswith("conv_out"):
            weights[name].fill_(1e-12)
    torch.save(weights, checkpoint)
    copy = with_weights(bundle, checkpoint, tmp_path)
    run(bundle, "evaluate", bundle_root=str(copy), dataset_dir=str(tiny_brats), cases=[CASES[0]])
    rows = read_csv(copy / "eval" / "super_resolution.csv")
    psnr = {(row["sequence"], row["method"]): float(row["psnr"]) for row in rows}
    assert {sequence for sequence, _ in psnr} == {"T1", "T1c", "T2", "FLAIR"}
    for sequence, _ in psnr:
        assert psnr[sequence, "super_resolved"] >= psnr[sequence, "tricubic"] > 5


@pytest.mark.slow
def test_segmentation_trains_resumes_and_logs(tiny_brats: Path, tmp_path: Path) -> None:
    arguments = {
        "phantoms": 0,
        "dataset_dir": str(tiny_brats),
        "output_dir": str(tmp_path),
        "device": "cpu",
        "coarse#recipe#patch": [8, 8, 8],
        "member#recipe#patch": [8, 8, 3],
        "coarse_iterations": 1,
    }
    run(SEGMENTATION, "train", **arguments, iterations=1)
    assert set(json.loads((tmp_path / "split.json").read_text())["train"]) < set(CASES)
    coarse = torch.load(tmp_path / "coarse" / "checkpoint.pt", weights_only=True)
    assert coarse["iteration"] == 1
    run(SEGMENTATION, "train", **arguments, iterations=2)
    assert torch.load(tmp_path / "coarse" / "checkpoint.pt", weights_only=True)["iteration"] == 1
    assert torch.load(tmp_path / "fold3" / "checkpoint.pt", weights_only=True)["iteration"] == 2
    assert len(list((tmp_path / "fold3" / "log").glob("events.*"))) == 2
    parser = ConfigParser(ConfigParser.load_config_file(config(SEGMENTATION, "inference")))
    network = parser.get_parsed_content("network_def")
    parts = {"coarse": "coarse", **{f"fine.networks.{n}": f"fold{n}" for n in range(FOLDS)}}
    weights = [f"{part}={tmp_path / folder / 'best.pt'}" for part, folder in parts.items()]
    assert set(assembled(network, weights)) == set(network.state_dict())


@pytest.mark.slow
def test_super_resolution_trains_resumes_and_logs(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    volumes = [rng.uniform(0.1, 1, (20, 20, 20)).astype(np.float16)]
    arguments = {
        "output_dir": str(tmp_path),
        "train_volumes": volumes,
        "validation_volumes": volumes,
        "device": "cpu",
        "pixel_iterations": 1,
        "batch_size": 2,
        "patch": 32,
        "recipe#loss_weights#perceptual": 0.0,
    }
    run(SUPER_RESOLUTION, "train", **arguments, iterations=1)
    run(SUPER_RESOLUTION, "train", **arguments, iterations=2)
    assert torch.load(tmp_path / "pixel" / "checkpoint.pt", weights_only=True)["iteration"] == 1
    assert torch.load(tmp_path / "adversarial" / "checkpoint.pt", weights_only=True)["iteration"] == 2
    assert len(list((tmp_path / "adversarial" / "log").glob("events.*"))) == 2
    parser = ConfigParser(ConfigParser.load_config_file(config(SUPER_RESOLUTION, "inference")))
    released = torch.load(tmp_path / "adversarial" / "best.pt", weights_only=True)
    parser.get_parsed_content("network_def").load_state_dict(released)
