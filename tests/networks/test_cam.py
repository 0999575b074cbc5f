"""Grad-CAM in closed form, against its definition by autograd."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from lentigo.errors import NetworkError
from lentigo.networks import PooledHead
from lentigo.networks.cam import activation_slope, closed_form_cam

ACTIVATIONS: list[nn.Module] = [nn.Hardswish(), nn.ReLU(), nn.LeakyReLU(0.2), nn.Identity()]


def by_autograd(head: PooledHead, maps: Tensor) -> Tensor:
    """Selvaraju et al., ICCV 2017, equations 1 and 2, one class at a time."""
    maps = maps.clone().requires_grad_()
    logits, _ = head(maps)
    cams = []
    for k in range(logits.shape[1]):
        (gradient,) = torch.autograd.grad(logits[:, k].sum(), maps, retain_graph=True)
        cams.append(torch.relu((gradient.mean((2, 3), keepdim=True) * maps).sum(1)))
    return torch.stack(cams, 1).detach()  # (N, K, h, w)


@pytest.mark.parametrize("activation", [*ACTIVATIONS, None], ids=lambda a: type(a).__name__)
def test_closed_form_is_grad_cam(activation: nn.Module | None) -> None:
    torch.manual_seed(0)
    head = PooledHead(12, 5, hidden=None if activation is None else 40, activation=activation, dropout=0.5).eval()
    if head.hidden is not None:
        nn.init.normal_(head.hidden.weight, std=2)  # reach both ends of hardswish
    maps = torch.randn(3, 12, 4, 6) * 2
    with torch.no_grad():
        cam = closed_form_cam(head, maps)
    assert cam.shape == (3, 5, 4, 6)
    assert float(cam.max()) > 0
    assert torch.allclose(cam, by_autograd(head, maps), atol=1e-5, rtol=1e-5)
    assert torch.allclose(closed_form_cam(head.train(), maps), cam)  # dropout has no part in it


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=lambda a: type(a).__name__)
def test_slopes_are_the_derivatives(activation: nn.Module) -> None:
    z = torch.linspace(-5, 5, 400, requires_grad=True)
    (expected,) = torch.autograd.grad(activation(z).sum(), z)
    assert torch.allclose(activation_slope(activation, z.detach()), expected, atol=1e-6)


def test_other_activations_are_refused() -> None:
    with pytest.raises(NetworkError, match="for Tanh; known: Hardswish"):
        activation_slope(nn.Tanh(), torch.zeros(1))
