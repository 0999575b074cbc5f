"""Grad-CAM in closed form, for networks whose head is global pooling and one or two linear layers.

Grad-CAM (Selvaraju et al., ICCV 2017, equations 1-2) weights each feature map by the mean gradient of a class's logit.
For a mean over positions followed by linear layers, this gradient needs no autograd:

    alpha[k, c] = (1 / hw) sum_m W2[k, m] act'(z_m) W1[m, c],    cam_k = relu(sum_c alpha[k, c] A_c)

with feature maps A (C, h, w), z = W1 mean(A) + b1, and W2 the output layer. Batch normalisation of z, if any, scales
act' in evaluation. With one linear layer alpha is its weight divided by hw. The code is plain tensor arithmetic, so it
can be traced into ONNX.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lentigo.errors import NetworkError
from lentigo.networks.network import PooledHead


def closed_form_cam(head: PooledHead, maps: Tensor) -> Tensor:
    """Compute exact Grad-CAM of every class.

    Args:
        head: the network's pooled head, in evaluation mode (without dropout).
        maps: (N, C, h, w), the input of the head.

    Returns:
        (N, K, h, w), at least 0, in units of the logits, not scaled to [0, 1].

    Raises:
        NetworkError: the head's activation is not supported by :func:`activation_slope`.
    """
    height, width = maps.shape[2:]
    flat = maps.flatten(2)  # (N, C, hw)
    output = head.output.weight  # (K, D)
    if head.hidden is None:
        cam = torch.matmul(output, flat)  # (N, K, hw)
    else:
        z = head.norm(head.hidden(flat.mean(2)))  # (N, D)
        slope = activation_slope(head.activation, z) * head.norm_slope()  # (N, D)
        alpha = torch.matmul(output * slope[:, None, :], head.hidden.weight)  # (N, K, C)
        cam = torch.matmul(alpha, flat)  # (N, K, hw)
    return torch.relu(cam / (height * width)).reshape(-1, cam.shape[1], height, width)


def activation_slope(activation: nn.Module, z: Tensor) -> Tensor:
    """Compute the derivative of an activation, element by element.

    Args:
        activation: Hardswish, ReLU, LeakyReLU or Identity.
        z: the arguments, any shape.

    Returns:
        The derivatives, of the shape of ``z``.

    Raises:
        NetworkError: another activation.
    """
    match activation:
        case nn.Identity():
            return torch.ones_like(z)
        case nn.ReLU():
            return (z > 0).to(z.dtype)
        case nn.LeakyReLU():
            return torch.where(z > 0, torch.ones_like(z), torch.full_like(z, activation.negative_slope))
        case nn.Hardswish():
            # x relu6(x + 3) / 6: slope x / 3 + 1/2 between -3 and 3.
            inner = torch.where(z < 3, z / 3 + 0.5, torch.ones_like(z))
            return torch.where(z > -3, inner, torch.zeros_like(z))
        case _:
            raise NetworkError(
                f"no closed-form class-activation map for {type(activation).__name__}; known: Hardswish, Identity,"
                " LeakyReLU, ReLU"
            )
