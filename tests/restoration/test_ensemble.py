from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from mambair_cli.restoration.ensemble import MEMBERS, inverse, self_ensemble, transform


@pytest.mark.parametrize("member", range(MEMBERS))
def test_inverse_is_exact(member):
    x = torch.rand(1, 3, 5, 7)
    assert torch.equal(inverse(transform(x, member), member), x)


def test_the_members_are_the_eight_symmetries_of_the_square():
    x = torch.arange(9.0).view(1, 1, 3, 3)
    assert len({tuple(transform(x, member).flatten().tolist()) for member in range(MEMBERS)}) == 8


def equivariant(x):
    """Commutes with flips and turns: a symmetric kernel, point-wise functions, global pooling."""
    kernel = torch.tensor([[1.0, 2.0, 1.0], [2.0, 5.0, 2.0], [1.0, 2.0, 1.0]]) / 17
    filtered = functional.conv2d(x, kernel.expand(3, 1, 3, 3), padding=1, groups=3)
    return functional.interpolate(
        torch.tanh(filtered) + x.mean((2, 3), keepdim=True), scale_factor=2
    )


@settings(deadline=None)
@given(st.integers(1, 20), st.integers(1, 20), st.sampled_from([1, 2, 3, 4]))
def test_self_ensemble_of_an_equivariant_network_is_the_plain_run(height, width, batch):
    x = torch.rand(1, 3, height, width)
    torch.testing.assert_close(
        self_ensemble(partial(map, equivariant), x, batch), equivariant(x), rtol=0, atol=1e-6
    )


def test_self_ensemble_is_the_mean_over_the_members():
    weights = torch.rand(1, 3, 6, 6)

    def oriented(x):
        return x * weights[:, :, : x.shape[2], : x.shape[3]]

    x = torch.rand(1, 3, 4, 6)
    expected = sum(inverse(oriented(transform(x, m)), m) for m in range(MEMBERS)) / MEMBERS
    torch.testing.assert_close(self_ensemble(partial(map, oriented), x, 4), expected)


@pytest.mark.parametrize(
    ("batch", "sizes"), [(4, [4, 4]), (2, [2] * 4), (3, [3, 1] * 2), (1, [1] * 8)]
)
def test_members_of_one_shape_run_together(batch, sizes):
    seen = []

    def restore(x):
        seen.append(tuple(x.shape))
        return x

    x = torch.rand(1, 3, 4, 6)
    torch.testing.assert_close(self_ensemble(partial(map, restore), x, batch), x)
    assert [shape[0] for shape in seen] == sizes
    assert {shape[2:] for shape in seen} == {(4, 6), (6, 4)}
