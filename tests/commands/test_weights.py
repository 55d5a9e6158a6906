"""``acuity weights``."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch

from acuity.cli import main
from acuity.networks.srresnet import SRResNet


@pytest.fixture
def color(tmp_path: Path) -> Path:
    """RankSRGAN's weights, small, for three channels, with its own names."""
    torch.manual_seed(0)
    names = {
        "trunk.": "recon_trunk.",
        "conv_trunk.": "LRconv.",
        "conv_up.0.": "upconv1.",
        "conv_up.1.": "upconv2.",
        "conv_hr.": "HRconv.",
    }
    state = {}
    for key, value in SRResNet(3, 3, features=4, blocks=2).state_dict().items():
        old = next((old for old in names if key.startswith(old)), "")
        state[names.get(old, "") + key.removeprefix(old)] = value
    torch.save(state, tmp_path / "published.pth")
    return tmp_path / "published.pth"


@torch.inference_mode()
def test_import_writes_one_channel_and_prints_what_was_found(
    color: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "gray.pt"
    assert main(["weights", "import", str(color), str(out)]) == 0
    said = capsys.readouterr().out
    sha256 = hashlib.sha256(color.read_bytes()).hexdigest()
    for text in ("SRResNet", "4 features, 2 blocks", "x4", "RankSRGAN", sha256):
        assert text in said
    network = SRResNet(features=4, blocks=2)
    network.load_state_dict(torch.load(out, weights_only=True))
    torch.manual_seed(0)
    published = SRResNet(3, 3, features=4, blocks=2)  # the fixture's weights again
    image = torch.rand(1, 1, 5, 5)
    expected = published(image.expand(-1, 3, -1, -1)).mean(dim=1, keepdim=True)
    torch.testing.assert_close(network(image), expected, atol=1e-5, rtol=0)

    assert main(["weights", "show", str(out)]) == 0
    said = capsys.readouterr().out
    assert "Acuity" in said and hashlib.sha256(out.read_bytes()).hexdigest() in said
    assert f"{sum(p.numel() for p in network.parameters()):,}" in said


def test_show_writes_nothing(color: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["weights", "show", str(color)]) == 0
    assert "RankSRGAN" in capsys.readouterr().out
    assert [path.name for path in color.parent.iterdir()] == ["published.pth"]


def test_what_cannot_be_read_or_written_is_refused(
    color: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["weights", "show", str(tmp_path / "absent.pth")]) == 70
    assert capsys.readouterr().err.startswith("acuity: data: absent.pth cannot be read as weights")
    before = color.read_bytes()
    assert main(["weights", "import", str(color), str(color)]) == 60
    assert "File exists" in capsys.readouterr().err
    assert color.read_bytes() == before
    assert main(["weights", "import", str(color), str(tmp_path / "nowhere" / "out.pt")]) == 60
    assert "No such file or directory" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["weights"], ["weights", "import", "x"], ["weights", "burn", "x"]])
def test_a_wrong_command_line_ends_with_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2
    assert "usage: acuity weights" in capsys.readouterr().err
