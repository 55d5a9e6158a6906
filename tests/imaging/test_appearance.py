"""What T1, T2 and FLAIR look like, on phantoms of real anatomy."""

from __future__ import annotations

import numpy as np
import pytest

from acuity.anatomy import Sequence
from acuity.imaging.appearance import CLASSES, CONTRADICTED, MEASURES, measure_appearance, recognize
from acuity.research.synthetic.phantom import Phantom, make_phantom
from acuity.volume import Volume


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    return make_phantom(seed=4, spacing_mm=3.0)


def probabilities(volume: Volume, brain: Volume) -> dict[Sequence, float]:
    measures = measure_appearance(volume, brain)
    assert measures is not None and measures.shape == (len(MEASURES),)
    return recognize(measures)


@pytest.mark.parametrize("sequence", Sequence)
def test_each_sequence_is_recognized(phantom: Phantom, sequence: Sequence) -> None:
    kind = Sequence.T1 if sequence is Sequence.T1C else sequence
    found = probabilities(phantom.volumes[sequence], phantom.brain)
    assert sum(found.values()) == pytest.approx(1.0)
    assert max(found, key=lambda s: found[s]) is kind


def test_t1_and_t2_contradict_each_other(phantom: Phantom) -> None:
    assert probabilities(phantom.volumes[Sequence.T1], phantom.brain)[Sequence.T2] < CONTRADICTED
    assert probabilities(phantom.volumes[Sequence.T2], phantom.brain)[Sequence.T1] < CONTRADICTED


@pytest.mark.parametrize(("gain", "offset"), [(1e-4, 0.0), (7.0, 300.0)])
def test_units_do_not_matter(phantom: Phantom, gain: float, offset: float) -> None:
    for volume in phantom.volumes.values():
        other = probabilities(volume.with_array(gain * volume.array + offset), phantom.brain)
        found = probabilities(volume, phantom.brain)
        assert [other[c] for c in CLASSES] == pytest.approx([found[c] for c in CLASSES], abs=1e-3)


def test_an_image_without_tissues_is_not_judged(phantom: Phantom) -> None:
    t1 = phantom.volumes[Sequence.T1]
    noise = np.random.default_rng(0).normal(500.0, 15.0, t1.shape).astype(np.float32)
    assert measure_appearance(t1.with_array(noise), phantom.brain) is None
    assert measure_appearance(t1, phantom.brain.with_array(np.zeros(t1.shape, dtype=np.uint8))) is None
