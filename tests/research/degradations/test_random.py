"""What is drawn has the published ranges and probabilities."""

import math
from collections import Counter
from functools import lru_cache

import numpy as np
import pytest
import torch
from skimage import data

from acuity.research.degradations import random as draws
from acuity.research.degradations import steps
from acuity.research.degradations.steps import apply

DRAWS = [
    draws.draw_bicubic,
    draws.draw_kspace,
    draws.draw_bsrgan,
    draws.draw_bsrgan_mri,
    draws.draw_real_esrgan,
    draws.draw_real_esrgan_mri,
]
COUNT = 1000


@pytest.fixture(scope="module")
def image():
    return torch.from_numpy(data.camera()[128:176, 200:264] / 255.0).float()[None, None].repeat(2, 1, 1, 1)


CLEAN = draws.draw_bicubic(np.random.default_rng(0), 4)


@lru_cache
def many(draw, scale=4):
    rng = np.random.default_rng(0)
    return [draw(rng, scale) for _ in range(COUNT)]


def of(kind, sequences):
    return [step for sequence in sequences for step in sequence if isinstance(step, kind)]


def near(share, probability, count=COUNT):
    """Within four standard errors."""
    return abs(share - probability) < 4 * math.sqrt(probability * (1 - probability) / count)


def spans(values, low, high):
    """All within the range, and close to both ends of it."""
    slack = 0.05 * (high - low)
    return low <= min(values) < low + slack and high - slack < max(values) <= high


@pytest.mark.parametrize("scale", [2, 4])
@pytest.mark.parametrize("draw", DRAWS)
def test_the_result_is_exactly_a_part_of_the_size_and_repeats(draw, scale, image):
    for seed in range(12):
        first, again = (apply(image, draw(np.random.default_rng(seed), scale)) for _ in range(2))
        assert first.shape == (2, 1, 48 // scale, 64 // scale)
        torch.testing.assert_close(first, again, atol=0, rtol=0)
        assert torch.isfinite(first).all()
        if draw not in (draws.draw_bicubic, draws.draw_kspace):
            assert first.min() >= 0


@pytest.mark.parametrize("draw", DRAWS[2:])
def test_draws_differ(draw):
    rng = np.random.default_rng(0)
    found = [draw(rng, 4) for _ in range(20)]
    degraded = [steps for steps in found if steps != CLEAN]
    assert len(set(degraded)) == len(degraded) >= 5


@pytest.mark.parametrize("draw", DRAWS[2:])
def test_a_degraded_image_still_shows_the_same(draw):
    """No degradation shifts or loses the image: it correlates best with what bicubic shrinking gives."""
    image = torch.from_numpy(data.camera()[64:192, 160:320] / 255.0).float()[None, None]
    clean = apply(image, draws.draw_bicubic(np.random.default_rng(0), 4))[0, 0].numpy()
    rng, correlations = np.random.default_rng(1), []
    for _ in range(30):
        low = apply(image, draw(rng, 4))[0, 0].numpy()
        correlations.append([np.corrcoef(np.roll(low, n, axis=1).ravel(), clean.ravel())[0, 1] for n in (-1, 0, 1)])
    mean = np.mean(correlations, axis=0)
    assert mean[1] > 0.8 and mean[1] == mean.max()
    assert abs(mean[0] - mean[2]) < 0.02


def test_bsrgan_shrinks_first_in_a_quarter_of_x4_and_never_at_x2():
    def first_shrinks(sequences):
        firsts = [s[0] for s in sequences if isinstance(s[0], steps.Resize)]
        return [first.interpolation for first in firsts if first.divisor == 2]

    found = first_shrinks(many(draws.draw_bsrgan))
    assert near(len(found) / COUNT, 0.25)
    assert near(found.count("antialiased") / len(found), 0.5, len(found))
    assert not first_shrinks(many(draws.draw_bsrgan, 2))


def test_bsrgan_blurs_as_published():
    sequences = many(draws.draw_bsrgan, 2)
    blurs = [b for b in of(steps.Blur, sequences) if b.shift == 0]
    assert len(blurs) == 2 * COUNT
    assert {b.size for b in blurs} == set(range(7, 26, 2))
    even = [b.sigmas[0] for b in blurs if b.sigmas[0] == b.sigmas[1]]
    uneven = [s**2 for b in blurs if b.sigmas[0] != b.sigmas[1] for s in b.sigmas]
    assert near(len(even) / len(blurs), 0.5, len(blurs))
    assert spans(even, 0, 2.4) and spans(uneven, 0, 6)
    assert spans([b.angle for b in blurs if b.angle], 0, math.pi)


def test_bsrgan_downsamples_before_the_last_resizing():
    divisors, decimated = [], 0
    for sequence in many(draws.draw_bsrgan, 2):
        sizes = [n for n, step in enumerate(sequence) if isinstance(step, steps.Resize | steps.Decimate)]
        assert len(sizes) == 2
        first, last = (sequence[n] for n in sizes)
        assert isinstance(last, steps.Resize) and last.divisor == 2
        if isinstance(first, steps.Decimate):
            decimated += 1
            kernel = sequence[sizes[0] - 1]
            assert isinstance(kernel, steps.Blur) and (kernel.size, kernel.shift) == (25, -0.5)
            assert 0.1 <= kernel.sigmas[0] <= 1.2
        else:
            divisors.append(first.divisor)
    assert near(decimated / COUNT, 0.25)
    assert spans(divisors, 1, 4)


def test_bsrgans_noise_and_jpeg():
    sequences = many(draws.draw_bsrgan)
    assert {round(n.sigma * 255) for n in of(steps.GaussianNoise, sequences)} == set(range(2, 26))
    assert all(isinstance(s[-1], steps.Jpeg) for s in sequences)
    assert near(np.mean([len(of(steps.Jpeg, [s])) == 2 for s in sequences]), 0.9)
    assert {j.quality for j in of(steps.Jpeg, sequences)} == set(range(30, 96))


def test_bsrgan_shuffles():
    """Each of the operations that may stand first of the shuffled ones does so."""
    first = Counter(type(s[0]).__name__ for s in many(draws.draw_bsrgan, 2))
    assert set(first) == {"Blur", "Resize", "GaussianNoise", "Jpeg"}
    # Two blurs, and the blur of a decimation; the downsampling holds two of six places.
    assert near(first["Resize"] / COUNT, 0.75 / 3)
    assert near(first["GaussianNoise"] / COUNT, 1 / 6 * 0.9 + 0.1 / 5)


@pytest.mark.parametrize("draw", [draws.draw_bsrgan_mri, draws.draw_real_esrgan_mri])
def test_half_of_the_mri_forms_are_clean(draw):
    assert near(np.mean([steps == CLEAN for steps in many(draw)]), 0.5)


@pytest.mark.parametrize("draw", [draws.draw_bsrgan_mri, draws.draw_real_esrgan_mri])
def test_the_mri_forms_hold_nothing_of_a_camera(draw):
    sequences = many(draw)
    kinds = {type(step) for sequence in sequences for step in sequence}
    assert not kinds & {steps.GaussianNoise, steps.PoissonNoise, steps.Jpeg, steps.RoundTo8Bits}
    assert kinds >= {steps.RicianNoise, steps.GibbsRinging, steps.PartialFourier}
    partial, ringing = of(steps.PartialFourier, sequences), of(steps.GibbsRinging, sequences)
    total = len(partial) + len(ringing)
    assert near(len(partial) / total, 0.25, total)
    assert spans([p.fraction for p in partial], 5 / 8, 7 / 8) and {p.axis for p in partial} == {-2, -1}
    assert spans([f for g in ringing for f in g.fractions], 0.6, 1)


def test_real_esrgans_kernels():
    sequences = many(draws.draw_real_esrgan)
    firsts = [s[0] for s in sequences]
    sincs = [k for k in firsts if isinstance(k, steps.Sinc)]
    blurs = [k for k in firsts if isinstance(k, steps.Blur)]
    assert near(len(sincs) / COUNT, 0.1)
    assert {b.size for b in blurs} == set(range(7, 22, 2))
    small, large = ([s.cutoff for s in sincs if (s.size < 13) == is_small] for is_small in (True, False))
    assert min(small) >= math.pi / 3 and math.pi / 5 <= min(large) < math.pi / 3
    assert spans([s for b in blurs for s in b.sigmas], 0.2, 3.0)
    published = {
        ("gaussian", True): 0.45,
        ("gaussian", False): 0.25,
        ("generalized", True): 0.12,
        ("generalized", False): 0.03,
        ("plateau", True): 0.12,
        ("plateau", False): 0.03,
    }
    shapes: Counter[tuple[str, bool]] = Counter((b.shape, b.sigmas[0] == b.sigmas[1]) for b in blurs)
    for kind, probability in published.items():
        assert near(shapes[kind] / len(blurs), probability, len(blurs)), kind
    generalized = [b.beta for b in blurs if b.shape == "generalized"]
    assert 0.5 <= min(generalized) < 0.6 and 3.5 < max(generalized) <= 4
    assert near(np.mean([beta < 1 for beta in generalized]), 0.5, len(generalized))
    assert all(1 <= b.beta <= 2 for b in blurs if b.shape == "plateau")
    assert all(b.beta == 1 for b in blurs if b.shape == "gaussian")


def test_real_esrgans_two_stages():
    sequences = many(draws.draw_real_esrgan)
    resizes = [of(steps.Resize, [s]) for s in sequences]
    for stage, full, limits, shares in ((0, 1, (0.15, 1.5), (0.2, 0.7, 0.1)), (1, 4, (0.3, 1.2), (0.3, 0.4, 0.3))):
        factors = np.array([full / r[stage].divisor for r in resizes])
        assert spans(factors, *limits)
        for share, probability in zip((factors > 1, factors < 1, factors == 1), shares, strict=True):
            assert near(share.mean(), probability)
    assert all(len(r) == 3 and r[2].divisor == 4 for r in resizes)
    assert {r.interpolation for row in resizes for r in row} == {"area", "bilinear", "bicubic"}

    noises: list[list] = [of(steps.GaussianNoise | steps.PoissonNoise, [s]) for s in sequences]
    for stage, level, scale in ((0, 30, 3.0), (1, 25, 2.5)):
        gaussian = [n[stage].sigma * 255 for n in noises if isinstance(n[stage], steps.GaussianNoise)]
        assert near(len(gaussian) / COUNT, 0.5)
        assert spans(gaussian, 1, level)
        assert spans([n[stage].scale for n in noises if isinstance(n[stage], steps.PoissonNoise)], 0.05, scale)


def test_real_esrgans_second_blur_is_left_out_in_a_fifth_and_narrower():
    after_first = []
    for sequence in many(draws.draw_real_esrgan):
        jpeg = next(n for n, step in enumerate(sequence) if isinstance(step, steps.Jpeg))
        after_first.append(sequence[jpeg + 1])
    blurred = [step for step in after_first if not isinstance(step, steps.Resize)]
    assert near(len(blurred) / COUNT, 0.8)
    assert spans([s for b in blurred if isinstance(b, steps.Blur) for s in b.sigmas], 0.2, 1.5)


def test_real_esrgans_end():
    sequences = many(draws.draw_real_esrgan)
    assert all(isinstance(s[-1], steps.RoundTo8Bits) for s in sequences)
    assert {j.quality for j in of(steps.Jpeg, sequences)} == set(range(30, 96))
    tails = [s[-4:-1] for s in sequences]
    jpeg_last = [isinstance(t[-1], steps.Jpeg) for t in tails]
    assert near(np.mean(jpeg_last), 0.5)
    filtered = [isinstance(t[1] if last else t[2], steps.Sinc) for t, last in zip(tails, jpeg_last, strict=True)]
    assert near(np.mean(filtered), 0.8)
    assert all(len(of(steps.Jpeg, [s])) == 2 for s in sequences)


def test_nothing_is_random_about_bicubic_and_kspace():
    for draw in (draws.draw_bicubic, draws.draw_kspace):
        rng = np.random.default_rng(0)
        assert draw(rng, 4) == draw(rng, 4)
        assert rng.random() == np.random.default_rng(0).random()
