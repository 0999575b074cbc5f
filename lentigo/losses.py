"""Losses for long-tailed classes: cross-entropy, focal, LDAM, and the weighted sum of the last two.

Every loss maps logits (N, K) and class indices (N,) to a scalar. With class weights w, the loss of a batch is the
weighted mean ``sum_i w[y_i] loss_i / sum_i w[y_i]``, PyTorch's convention for cross-entropy. Losses are computed in
float32 at least, also for bfloat16 and float16 logits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lentigo.errors import RecipeError, did_you_mean

LossName = Literal["cross_entropy", "focal", "ldam", "joint"]


def class_weights(class_counts: Sequence[int], exponent: float) -> Tensor:
    """Compute class weights w_j proportional to n_j^(-exponent), with mean 1 over the classes.

    Args:
        class_counts: n_j, number of training images of each class, all positive unless the exponent is 0.
        exponent: 0 for equal weights, 1 for inverse frequency.

    Returns:
        Weights (K,), float32.

    Raises:
        RecipeError: a class has no image, so its weight would be infinite.
    """
    if exponent == 0:
        return torch.ones(len(class_counts))
    _check_counts(class_counts)
    weights = torch.tensor(class_counts, dtype=torch.float64).pow(-exponent)
    return (weights / weights.mean()).float()


def log_priors(class_counts: Sequence[int]) -> Tensor:
    """Compute the logarithm of each class's fraction of the training images, (K,) float32.

    Raises:
        RecipeError: a class has no image.
    """
    _check_counts(class_counts)
    counts = torch.tensor(class_counts, dtype=torch.float64)
    return (counts / counts.sum()).log().float()


def _check_counts(class_counts: Sequence[int]) -> None:
    empty = [index for index, count in enumerate(class_counts) if count < 1]
    if empty:
        raise RecipeError(
            f"class {', '.join(map(str, empty))} (counted from 0) has no training image, so the counts cannot weight"
            " the loss"
        )


def _precise(logits: Tensor) -> Tensor:
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


class Loss(nn.Module):
    """Base class of the losses, with class weights and deferred re-weighting.

    Args:
        weights: (K,) weight of each class.
        drw_epoch: first epoch (from 0) with these weights; before it all classes have weight 1 (deferred re-weighting,
            Cao et al., 2019). None to use the weights from the start.
    """

    weights: Tensor
    weights_in_use: Tensor

    def __init__(self, weights: Tensor, drw_epoch: int | None = None) -> None:
        super().__init__()
        self.drw_epoch = drw_epoch
        self.register_buffer("weights", weights, persistent=False)
        self.register_buffer("weights_in_use", weights.clone(), persistent=False)
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Set the current epoch (from 0), which selects the weights of deferred re-weighting."""
        if self.drw_epoch is not None:
            self.weights_in_use = self.weights.clone() if epoch >= self.drw_epoch else torch.ones_like(self.weights)

    def _weighted_mean(self, losses: Tensor, targets: Tensor) -> Tensor:
        weights = self.weights_in_use[targets]  # (N,)
        return (weights * losses).sum() / weights.sum()


class CrossEntropy(Loss):
    """Weighted cross-entropy, -w log p, with label smoothing (Szegedy et al., CVPR 2016, section 7).

    Args:
        weights: see :class:`Loss`.
        drw_epoch: see :class:`Loss`.
        label_smoothing: fraction of the target spread over all classes, 0 to 1.
        shift: (K,) added to the logits in training only: ``tau log prior`` for logit adjustment (Menon et al., ICLR
            2021, equation 10), which optimises the argmax for balanced accuracy. None for no shift.
    """

    shift: Tensor

    def __init__(
        self,
        weights: Tensor,
        drw_epoch: int | None = None,
        *,
        label_smoothing: float = 0.0,
        shift: Tensor | None = None,
    ) -> None:
        super().__init__(weights, drw_epoch)
        self.label_smoothing = label_smoothing
        self.register_buffer("shift", torch.zeros_like(weights) if shift is None else shift, persistent=False)

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Compute the scalar loss of logits (N, K) and class indices (N,)."""
        logits = _precise(logits) + self.shift
        return F.cross_entropy(
            logits, targets, weight=self.weights_in_use.to(logits.dtype), label_smoothing=self.label_smoothing
        )


class Focal(Loss):
    """Focal loss, -w (1 - p)^gamma log p (Lin et al., ICCV 2017, equation 5), with softmax probabilities p.

    gamma = 0 gives cross-entropy.
    """

    def __init__(self, weights: Tensor, drw_epoch: int | None = None, *, gamma: float = 2.0) -> None:
        super().__init__(weights, drw_epoch)
        self.gamma = gamma

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Compute the scalar loss of logits (N, K) and class indices (N,)."""
        log_p = F.log_softmax(_precise(logits), dim=1).gather(1, targets[:, None]).squeeze(1)  # (N,)
        # 1 - p, accurate near p = 1 and never 0, so that the gradient is finite for gamma < 1.
        miss = (-torch.expm1(log_p)).clamp_min(torch.finfo(log_p.dtype).tiny)
        return self._weighted_mean(-miss.pow(self.gamma) * log_p, targets)


class LDAM(Loss):
    """Label-distribution-aware margin loss (Cao et al., NeurIPS 2019, equations 12-13), for a linear head.

    The loss is the cross-entropy of ``scale`` times the logits, after the true class's logit is reduced by its margin
    ``m_j = max_margin * (n_j / min n)^(-1/4)``. The reference normalises features and classifier weights, which bounds
    the logits by 1, and uses a scale of 30. The logits of a linear head are unbounded and their scale is learned. The
    default scale is therefore 1, so that ``softmax(logits)`` at prediction is the trained distribution.
    """

    margins: Tensor

    def __init__(
        self,
        weights: Tensor,
        drw_epoch: int | None = None,
        *,
        class_counts: Sequence[int],
        max_margin: float = 0.5,
        scale: float = 1.0,
    ) -> None:
        super().__init__(weights, drw_epoch)
        self.scale = scale
        self.register_buffer("margins", ldam_margins(class_counts, max_margin), persistent=False)

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Compute the scalar loss of logits (N, K) and class indices (N,)."""
        logits = _precise(logits)
        margins = F.one_hot(targets, logits.shape[1]) * self.margins  # (N, K)
        return F.cross_entropy(self.scale * (logits - margins), targets, weight=self.weights_in_use.to(logits.dtype))


def ldam_margins(class_counts: Sequence[int], max_margin: float) -> Tensor:
    """Compute margins (K,) proportional to n_j^(-1/4), with maximum ``max_margin``.

    Raises:
        RecipeError: a class has no image.
    """
    _check_counts(class_counts)
    margins = torch.tensor(class_counts, dtype=torch.float64).pow(-0.25)
    return (margins * (max_margin / margins.max())).float()


class Joint(Loss):
    """Joint loss ``alpha * focal + (1 - alpha) * LDAM`` (Shi et al., 2023), both with the current class weights."""

    def __init__(self, focal: Focal, ldam: LDAM, *, alpha: float = 0.5) -> None:
        super().__init__(focal.weights)
        self.alpha, self.focal, self.ldam = alpha, focal, ldam

    def set_epoch(self, epoch: int) -> None:
        """Set the current epoch of both terms."""
        for term in self.children():
            if isinstance(term, Loss):
                term.set_epoch(epoch)

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Compute the scalar loss of logits (N, K) and class indices (N,)."""
        loss: Tensor = self.alpha * self.focal(logits, targets) + (1 - self.alpha) * self.ldam(logits, targets)
        return loss


def create_loss(
    name: LossName | str,
    class_counts: Sequence[int],
    *,
    weight_exponent: float = 0.0,
    label_smoothing: float = 0.0,
    gamma: float = 2.0,
    alpha: float = 0.5,
    max_margin: float = 0.5,
    scale: float = 1.0,
    drw_epoch: int | None = None,
    logit_adjustment: float = 0.0,
) -> Loss:
    """Build a loss by name.

    Args:
        name: ``cross_entropy``, ``focal``, ``ldam`` or ``joint``.
        class_counts: number of training images of each class, in output order.
        weight_exponent: exponent of :func:`class_weights`; 0 for equal weights.
        label_smoothing: for cross-entropy only, 0 to 1.
        gamma: exponent of focal and joint.
        alpha: fraction of the focal term in joint, 0 to 1.
        max_margin: largest margin of LDAM and joint.
        scale: scale of LDAM and joint.
        drw_epoch: first epoch with class weights; needs ``weight_exponent`` above 0.
        logit_adjustment: factor tau of :func:`log_priors`, for cross-entropy only; 0 for none, 1 for balanced error.

    Returns:
        The loss; with ``drw_epoch``, call its ``set_epoch`` at the start of each epoch.

    Raises:
        RecipeError: an unknown name, a value out of range, or an option that has no effect.
    """
    if name not in get_args(LossName):
        raise RecipeError(f"unknown loss {name!r}{did_you_mean(name, get_args(LossName))}")
    if not 0 <= alpha <= 1:
        raise RecipeError(f"loss alpha should be from 0 to 1, not {alpha}")
    if not 0 <= label_smoothing < 1:
        raise RecipeError(f"label_smoothing should be at least 0 and below 1, not {label_smoothing}")
    if gamma < 0 or max_margin < 0 or scale <= 0:
        raise RecipeError(
            f"gamma and max_margin should not be negative, and scale above 0 (gamma={gamma}, max_margin={max_margin},"
            f" scale={scale})"
        )
    for option, value in (("label_smoothing", label_smoothing), ("logit_adjustment", logit_adjustment)):
        if value and name != "cross_entropy":
            raise RecipeError(f"{option} belongs to cross_entropy, not to {name}")
    if drw_epoch is not None and weight_exponent == 0:
        raise RecipeError("drw_epoch defers the class weights, and there are none: set weight_exponent above 0 as well")
    weights = class_weights(class_counts, weight_exponent)
    if name == "cross_entropy":
        shift = logit_adjustment * log_priors(class_counts) if logit_adjustment else None
        return CrossEntropy(weights, drw_epoch, label_smoothing=label_smoothing, shift=shift)
    focal = Focal(weights, drw_epoch, gamma=gamma)
    if name == "focal":
        return focal
    ldam = LDAM(weights, drw_epoch, class_counts=class_counts, max_margin=max_margin, scale=scale)
    return ldam if name == "ldam" else Joint(focal, ldam, alpha=alpha)
