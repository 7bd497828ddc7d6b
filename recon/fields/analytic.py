"""Value and gradient of a softplus network with their derivatives, written out by hand.

Autograd needs the graph of the gradient to differentiate it again; here one function returns f and ∇f, and its
backward is the second derivative, layer by layer. The same numbers to rounding, with fewer passes over memory.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import softplus

from recon.fields.encoding import FrequencyEncoding


def value_and_gradient(
    inputs: Float[Tensor, "points inputs"],
    weights: Sequence[Float[Tensor, "_ _"]],
    biases: Sequence[Float[Tensor, " _"]],
    skip: frozenset[int],
    beta: float,
) -> tuple[Float[Tensor, "points outputs"], Float[Tensor, "points inputs"]]:
    """An MLP's outputs, and the derivative of the first of them by the inputs; both differentiable once.

    Args:
        inputs: what the first layer and those with a skip see.
        weights: of the linear layers; softplus follows each but the last.
        biases: of the linear layers.
        skip: layers, neither the first nor the last, that see the inputs again after the hidden units, all divided by
            √2.
        beta: sharpness of the softplus.
    """
    result: tuple[Tensor, Tensor] = _ValueAndGradient.apply(inputs, skip, beta, *weights, *biases)
    return result


def of_points(
    slope: Float[Tensor, "points encoded"], points: Float[Tensor, "points 3"], encoding: FrequencyEncoding
) -> Float[Tensor, "points 3"]:
    """The derivative by points x, of that by their encoding (x, sin ωx, cos ωx)."""
    own = slope[:, :3]
    sines, cosines = slope[:, 3:].unflatten(1, (2, -1, 3)).unbind(1)
    frequencies = encoding.frequencies.to(points.dtype)[:, None]
    angles = points[:, None] * frequencies
    return own + ((sines * angles.cos() - cosines * angles.sin()) * frequencies).sum(1)


class _ValueAndGradient(torch.autograd.Function):
    """With layer l: x_l its input, a_l = W_l x_l + b_l, σ_l = softplus'(a_l) = 1 − exp(−β softplus(a_l)), and of the
    first output y₀ q_l = ∂y₀/∂a_l and r_l = q_l W_l = ∂y₀/∂x_l. A bar is the derivative of the loss.
    """

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, skip: frozenset[int], beta: float, *layers: Tensor) -> Any:
        """Up through the layers, and down again for the slope."""
        count = len(layers) // 2
        weights, biases = layers[:count], layers[count:]
        seen, bends = [inputs], []  # bends: 1 - σ
        for index in range(count - 1):
            raw = torch.addmm(biases[index], seen[-1], weights[index].t())
            hidden = softplus(raw, beta=beta)
            bends.append(torch.mul(hidden, -beta).exp_())
            if index + 1 in skip:
                hidden = torch.cat([hidden, inputs], dim=1).div_(math.sqrt(2))
            seen.append(hidden)
        value = torch.addmm(biases[-1], seen[-1], weights[-1].t())

        width = inputs.shape[1]
        falls: list[Tensor] = []
        fall, slope = weights[-1][:1], None
        for index in range(count - 2, -1, -1):
            if index + 1 in skip:
                part = fall[:, -width:] / math.sqrt(2)
                slope = part if slope is None else slope + part
                fall = fall[:, :-width] / math.sqrt(2)
            falls.append(torch.addcmul(fall, fall, bends[index], value=-1))
            fall = falls[-1] @ weights[index]
        falls.reverse()
        slope = fall if slope is None else slope + fall
        ctx.skip, ctx.beta, ctx.count = skip, beta, count
        ctx.save_for_backward(*weights, *seen, *bends, *falls)
        return value, slope

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, value_bar: Tensor, slope_bar: Tensor) -> Any:
        """The slope's way back, up through the layers; then both down."""
        count = ctx.count
        saved = ctx.saved_tensors
        weights, seen = saved[:count], saved[count : 2 * count]
        bends, falls = saved[2 * count : 3 * count - 1], saved[3 * count - 1 :]
        wants = ctx.needs_input_grad
        back = _Back(weights, seen, bends, falls, ctx.skip, ctx.beta, wants[3 : 3 + count])
        back.up(slope_bar)
        inputs_bar = back.down(value_bar, wants[0])
        return inputs_bar, None, None, *back.weights_bar, *back.biases_bar


class _Back:
    """The backward pass; what its two ways share."""

    def __init__(
        self,
        weights: Sequence[Tensor],
        seen: Sequence[Tensor],
        bends: Sequence[Tensor],
        falls: Sequence[Tensor],
        skip: frozenset[int],
        beta: float,
        wanted: Sequence[bool],
    ) -> None:
        self.weights, self.seen, self.bends, self.falls = weights, seen, bends, falls
        self.skip, self.beta, self.wanted = skip, beta, wanted
        self.weights_bar: list[Tensor | None] = [None] * len(weights)
        self.biases_bar: list[Tensor | None] = [None] * len(weights)
        self.given: list[Tensor] = []

    def up(self, slope_bar: Tensor) -> None:
        """q̄_l = r̄_l W_lᵀ; what it gives to a_l is β q̄_l q_l (1 − σ_l), and r̄_{l+1} = q̄_l σ_l."""
        bar = slope_bar
        for index in range(len(self.weights) - 1):
            if self.wanted[index]:
                self.weights_bar[index] = self.falls[index].t() @ bar
            fall_bar = bar @ self.weights[index].t()
            bar = torch.addcmul(fall_bar, fall_bar, self.bends[index], value=-1)
            self.given.append(fall_bar.mul_(self.bends[index]).mul_(self.falls[index]))
            if index + 1 in self.skip:
                bar = torch.cat([bar, slope_bar], dim=1).div_(math.sqrt(2))
        if self.wanted[-1]:
            last = torch.zeros_like(self.weights[-1])
            last[0] = bar.sum(0)
            self.weights_bar[-1] = last

    def down(self, value_bar: Tensor, wants_inputs: bool) -> Tensor | None:
        """ā_l = h̄_l σ_l + what `up` found, and x̄_l = ā_l W_l; the derivative by the inputs, if it is wanted."""
        inputs_bar: Tensor | None = None
        width = self.seen[0].shape[1]
        bar = value_bar
        for index in range(len(self.weights) - 1, -1, -1):
            if index < len(self.given):
                bar = torch.addcmul(bar, bar, self.bends[index], value=-1).add_(
                    self.given[index], alpha=self.beta
                )
            if self.wanted[index]:
                found = self.weights_bar[index]
                assert found is not None
                found.addmm_(bar.t(), self.seen[index])
                self.biases_bar[index] = bar.sum(0)
            if index == 0 and not wants_inputs:
                return None
            bar = bar @ self.weights[index]
            if index in self.skip:
                part = bar[:, -width:] / math.sqrt(2)
                inputs_bar = part if inputs_bar is None else inputs_bar + part
                bar = bar[:, :-width] / math.sqrt(2)
        return bar if inputs_bar is None else bar + inputs_bar
