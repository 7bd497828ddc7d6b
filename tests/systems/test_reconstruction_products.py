import pytest
import torch

from recon.fields import SDFNetwork, sdf_and_gradient
from recon.systems.reconstruction import bf16_backward_products


def derivatives(field, points, coarse):
    field.zero_grad()
    sample, gradient = sdf_and_gradient(field, points, analytic=True)
    total = sample.sdf.abs().mean() + (gradient.norm(dim=1) - 1).square().mean()
    with bf16_backward_products(coarse):
        total.backward()
    return sample.sdf.detach(), torch.cat([p.grad.flatten() for p in field.parameters()])


def test_a_coarse_backward_pass_changes_derivatives_by_less_than_a_hundredth_and_distances_not_at_all():
    torch.manual_seed(0)
    field, points = SDFNetwork(width=128, depth=4, skip=(2,), feature_size=8), torch.rand(512, 3) * 2 - 1
    (sdf, exact), (same, coarse) = (derivatives(field, points, wanted) for wanted in (False, True))
    assert torch.equal(sdf, same)
    assert (coarse - exact).norm() < 0.01 * exact.norm()
    if torch.cpu._is_amx_tile_supported():
        assert not torch.equal(coarse, exact)


@pytest.mark.parametrize("wanted", [True, False])
def test_precision_is_given_back_even_after_an_error(wanted):
    before = torch.get_float32_matmul_precision()
    with pytest.raises(RuntimeError), bf16_backward_products(wanted):
        raise RuntimeError
    assert torch.get_float32_matmul_precision() == before
