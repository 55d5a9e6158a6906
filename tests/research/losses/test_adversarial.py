"""Adversarial losses point the right way and are the published formulas."""

import pytest
import torch

from acuity.research.losses.adversarial import LEAST_SQUARES, RELATIVISTIC, VANILLA

GOOD, BAD = torch.full((4, 1), 3.0), torch.full((4, 1), -3.0)
GAMES = pytest.mark.parametrize("game", [VANILLA, RELATIVISTIC, LEAST_SQUARES], ids=["vanilla", "ra", "ls"])


@GAMES
def test_the_generator_pays_for_fakes_that_look_fake(game):
    assert game.generator(GOOD, GOOD / 3) < game.generator(GOOD, BAD)


@GAMES
def test_the_discriminator_pays_for_confusing_them(game):
    assert game.discriminator(GOOD, BAD) < game.discriminator(BAD, GOOD)


@GAMES
@pytest.mark.parametrize("shape", [(4, 1), (2, 1, 5, 6)], ids=["image", "pixels"])
def test_the_two_sides_pull_the_fakes_apart(game, shape):
    fake = torch.full(shape, 0.5, requires_grad=True)
    real = torch.full(shape, 0.5)
    (toward_real,) = torch.autograd.grad(game.generator(real, fake), fake)
    (toward_fake,) = torch.autograd.grad(game.discriminator(real, fake), fake)
    assert (toward_real < 0).all() and (toward_fake > 0).all()


def test_vanilla_is_the_negative_log_of_the_probability():
    real, fake = torch.tensor([[2.0], [0.5]]), torch.tensor([[-1.0], [3.0]])
    d_real, d_fake = torch.sigmoid(real), torch.sigmoid(fake)
    torch.testing.assert_close(VANILLA.generator(real, fake), -d_fake.log().mean())
    torch.testing.assert_close(VANILLA.discriminator(real, fake), -d_real.log().mean() - (1 - d_fake).log().mean())


def test_relativistic_is_the_formula_of_the_paper():
    real, fake = torch.tensor([[2.0], [0.5]]), torch.tensor([[-1.0], [3.0]])
    below = torch.sigmoid(real - fake.mean())  # E[real] against the mean fake, and the other way round
    above = torch.sigmoid(fake - real.mean())
    torch.testing.assert_close(RELATIVISTIC.generator(real, fake), -((1 - below).log().mean() + above.log().mean()) / 2)
    torch.testing.assert_close(
        RELATIVISTIC.discriminator(real, fake), -(below.log().mean() + (1 - above).log().mean()) / 2
    )


def test_least_squares_is_zero_at_its_targets():
    ones, zeros = torch.ones(3, 1), torch.zeros(3, 1)
    assert LEAST_SQUARES.generator(zeros, ones) == 0
    assert LEAST_SQUARES.discriminator(ones, zeros) == 0
    assert LEAST_SQUARES.discriminator(zeros, ones) == 2
