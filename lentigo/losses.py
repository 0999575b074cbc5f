"""Losses for long-tailed classes: cross-entropy, focal, LDAM, and the joint of the last two.

Every loss maps logits (N, K) and class indices (N,) to a scalar. With class weights w, all take the same weighted
mean over the batch, ``sum_i w[y_i] loss_i / sum_i w[y_i]``, which is PyTorch's convention for cross-entropy.
Everything is computed in float32 at least, so bfloat16 and float16 logits are safe.
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
    """Weight of each class, w_j proportional to n_j^(-exponent), with mean 1 over the classes.

    Args:
        class_counts: n_j, training images of each class, all positive unless the exponent is 0.
        exponent: 0 for equal weights, 1 for inverse frequency.

    Returns:
        Weights (K,), float32.

    Raises:
        RecipeError: a class has no image, so that its weight would be infinite.
    """
    if exponent == 0:
        return torch.ones(len(class_counts))
    _check_counts(class_counts)
    weights = torch.tensor(class_counts, dtype=torch.float64).pow(-exponent)
    return (weights / weights.mean()).float()


def log_priors(class_counts: Sequence[int]) -> Tensor:
    """Logarithm of each class's fraction of the training images, (K,) float32.

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
            f"class {', '.join(map(str, empty))} (counted from 0) has no training image, so the loss cannot be weighted"
            " by counts"
        )


def _precise(logits: Tensor) -> Tensor:
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


class Loss(nn.Module):
    """Base of the losses: class weights, which deferred re-weighting switches on later.

    Args:
        weights: (K,) weight of each class.
        drw_epoch: first epoch (from 0) with these weights; before it all classes weigh the same (deferred
            re-weighting, Cao et al., 2019). None: the weights hold from the start.
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
        """Tell the loss which epoch (from 0) begins; with deferred re-weighting this switches the weights."""
        if self.drw_epoch is not None:
            self.weights_in_use = self.weights.clone() if epoch >= self.drw_epoch else torch.ones_like(self.weights)

    def _weighted_mean(self, losses: Tensor, targets: Tensor) -> Tensor:
        weights = self.weights_in_use[targets]  # (N,)
        return (weights * losses).sum() / weights.sum()


class CrossEntropy(Loss):
    """Weighted cross-entropy.

    Args:
        weights: see :class:`Loss`, as of the others.
        drw_epoch: likewise.
        label_smoothing: fraction of the target spread over all classes, 0 to 1.
        shift: (K,) added to the logits in training only: ``tau log prior`` for logit adjustment (Menon et al., ICLR
            2021, equation 10), whose plain argmax then aims at balanced accuracy. None for none.
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
        """Scalar loss of logits (N, K) and class indices (N,)."""
        logits = _precise(logits) + self.shift
        return F.cross_entropy(
            logits, targets, weight=self.weights_in_use.to(logits.dtype), label_smoothing=self.label_smoothing
        )


class Focal(Loss):
    """Focal loss, -w (1 - p)^gamma log p (Lin et al., ICCV 2017, equation 5), over the softmax.

    Cross-entropy is the case of gamma 0.
    """

    def __init__(self, weights: Tensor, drw_epoch: int | None = None, *, gamma: float = 2.0) -> None:
        super().__init__(weights, drw_epoch)
        self.gamma = gamma

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Scalar loss of logits (N, K) and class indices (N,)."""
        log_p = F.log_softmax(_precise(logits), dim=1).gather(1, targets[:, None]).squeeze(1)  # (N,)
        # 1 - p, exact near p = 1; never 0, for gamma < 1.
        miss = (-torch.expm1(log_p)).clamp_min(torch.finfo(log_p.dtype).tiny)
        return self._weighted_mean(-miss.pow(self.gamma) * log_p, targets)


class LDAM(Loss):
    """Label-distribution-aware margin loss (Cao et al., NeurIPS 2019, equations 12-13), on a plain linear head.

    The true class's logit is lowered by its margin ``m_j = max_margin * (n_j / min n)^(-1/4)``, all logits are
    multiplied by ``scale``, and cross-entropy follows. The reference normalises features and classifier weights, which
    bounds the logits by 1, and therefore scales by s = 30. A plain linear head has unbounded logits and learns its own
    scale: s = 1 is the default here, so that ``softmax(logits)`` at prediction is the distribution that was trained.
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
        """Scalar loss of logits (N, K) and class indices (N,)."""
        logits = _precise(logits)
        margins = F.one_hot(targets, logits.shape[1]) * self.margins  # (N, K)
        return F.cross_entropy(self.scale * (logits - margins), targets, weight=self.weights_in_use.to(logits.dtype))


def ldam_margins(class_counts: Sequence[int], max_margin: float) -> Tensor:
    """Margins (K,) proportional to n_j^(-1/4), the largest being ``max_margin``.

    Raises:
        RecipeError: a class has no image.
    """
    _check_counts(class_counts)
    margins = torch.tensor(class_counts, dtype=torch.float64).pow(-0.25)
    return (margins * (max_margin / margins.max())).float()


class Joint(Loss):
    """``alpha * focal + (1 - alpha) * LDAM``, both with the class weights in use."""

    def __init__(
        self,
        weights: Tensor,
        drw_epoch: int | None = None,
        *,
        class_counts: Sequence[int],
        alpha: float = 0.5,
        gamma: float = 2.0,
        max_margin: float = 0.5,
        scale: float = 1.0,
    ) -> None:
        super().__init__(weights)
        self.alpha = alpha
        self.focal = Focal(weights, drw_epoch, gamma=gamma)
        self.ldam = LDAM(weights, drw_epoch, class_counts=class_counts, max_margin=max_margin, scale=scale)

    def set_epoch(self, epoch: int) -> None:
        """Pass the epoch on to both terms."""
        for term in self.children():
            if isinstance(term, Loss):
                term.set_epoch(epoch)

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Scalar loss of logits (N, K) and class indices (N,)."""
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
        class_counts: training images of each class, in output order.
        weight_exponent: of :func:`class_weights`; 0 for none.
        label_smoothing: of cross-entropy only, 0 to 1.
        gamma: of focal and joint.
        alpha: of joint: the fraction of the focal term.
        max_margin: of LDAM and joint.
        scale: of LDAM and joint.
        drw_epoch: deferred re-weighting from this epoch on (it needs ``weight_exponent`` above 0).
        logit_adjustment: tau of :func:`log_priors`, of cross-entropy only; 0 for none, 1 for balanced error.

    Returns:
        The loss; call ``set_epoch`` at each epoch's start where ``drw_epoch`` is given.

    Raises:
        RecipeError: unknown name, values out of range, or options that do nothing together.
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
    if label_smoothing and name != "cross_entropy":
        raise RecipeError(f"label_smoothing belongs to cross_entropy, not to {name}")
    if logit_adjustment and name != "cross_entropy":
        raise RecipeError(f"logit_adjustment belongs to cross_entropy, not to {name}")
    if drw_epoch is not None and weight_exponent == 0:
        raise RecipeError("drw_epoch defers the class weights, and there are none: set weight_exponent above 0 as well")
    weights = class_weights(class_counts, weight_exponent)
    match name:
        case "cross_entropy":
            shift = logit_adjustment * log_priors(class_counts) if logit_adjustment else None
            return CrossEntropy(weights, drw_epoch, label_smoothing=label_smoothing, shift=shift)
        case "focal":
            return Focal(weights, drw_epoch, gamma=gamma)
        case "ldam":
            return LDAM(weights, drw_epoch, class_counts=class_counts, max_margin=max_margin, scale=scale)
        case _:
            return Joint(
                weights,
                drw_epoch,
                class_counts=class_counts,
                alpha=alpha,
                gamma=gamma,
                max_margin=max_margin,
                scale=scale,
            )
