"""Value and gradient of a softplus network with their derivatives, written out by hand.

Autograd needs the graph of the gradient to differentiate it again; here one function returns f and ∇f, and its
backward is the second derivative, layer by layer. The numbers are the same to rounding, with fewer passes over memory.
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
    """Outputs of an MLP, and the gradient of the first of them by the inputs; both differentiable once.

    Args:
        inputs: of the first layer and of those with a skip.
        weights: of the linear layers; softplus follows each but the last.
        biases: of the linear layers.
        skip: layers, neither the first nor the last, that take the inputs again after the hidden units, all divided by
            √2.
        beta: sharpness of the softplus.
    """
    result: tuple[Tensor, Tensor] = _ValueAndGradient.apply(inputs, skip, beta, *weights, *biases)
    return result


def gradient_by_points(
    encoded_gradient: Float[Tensor, "points encoded"],
    points: Float[Tensor, "points 3"],
    encoding: FrequencyEncoding,
) -> Float[Tensor, "points 3"]:
    """A gradient by points x, from the gradient by their encoding (x, sin ωx, cos ωx): the chain rule."""
    own = encoded_gradient[:, :3]
    sines, cosines = encoded_gradient[:, 3:].unflatten(1, (2, -1, 3)).unbind(1)
    frequencies = encoding.frequencies.to(points.dtype)[:, None]
    angles = points[:, None] * frequencies
    return own + ((sines * angles.cos() - cosines * angles.sin()) * frequencies).sum(1)


class _ValueAndGradient(torch.autograd.Function):
    """Value and gradient of the network as one differentiable operation.

    With layer l: x_l its input, a_l = W_l x_l + b_l, σ_l = softplus'(a_l) = 1 − exp(−β softplus(a_l)), and of the
    first output y₀ q_l = ∂y₀/∂a_l and r_l = q_l W_l = ∂y₀/∂x_l. A bar is the derivative of the loss.
    """

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, skip: frozenset[int], beta: float, *layers: Tensor) -> Any:
        """Compute the value up through the layers, and the gradient down again."""
        count = len(layers) // 2
        weights, biases = layers[:count], layers[count:]
        layer_inputs, complements = [inputs], []  # x_l, and 1 - σ_l
        for index in range(count - 1):
            raw = torch.addmm(biases[index], layer_inputs[-1], weights[index].t())
            hidden = softplus(raw, beta=beta)
            complements.append(torch.mul(hidden, -beta).exp_())
            if index + 1 in skip:
                hidden = torch.cat([hidden, inputs], dim=1).div_(math.sqrt(2))
            layer_inputs.append(hidden)
        value = torch.addmm(biases[-1], layer_inputs[-1], weights[-1].t())

        width = inputs.shape[1]
        raw_gradients: list[Tensor] = []  # q_l
        by_layer, gradient = weights[-1][:1], None  # r_l, and what the skips add up to
        for index in range(count - 2, -1, -1):
            if index + 1 in skip:
                part = by_layer[:, -width:] / math.sqrt(2)
                gradient = part if gradient is None else gradient + part
                by_layer = by_layer[:, :-width] / math.sqrt(2)
            raw_gradients.append(torch.addcmul(by_layer, by_layer, complements[index], value=-1))
            by_layer = raw_gradients[-1] @ weights[index]
        raw_gradients.reverse()
        gradient = by_layer if gradient is None else gradient + by_layer
        ctx.skip, ctx.beta, ctx.count = skip, beta, count
        ctx.save_for_backward(*weights, *layer_inputs, *complements, *raw_gradients)
        return value, gradient

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, value_bar: Tensor, gradient_bar: Tensor) -> Any:
        """Go back through the gradient, up the layers; then through gradient and value, down the layers."""
        count = ctx.count
        saved = ctx.saved_tensors
        weights, layer_inputs = saved[:count], saved[count : 2 * count]
        complements, raw_gradients = saved[2 * count : 3 * count - 1], saved[3 * count - 1 :]
        wants = ctx.needs_input_grad
        back = _BackwardPass(
            weights, layer_inputs, complements, raw_gradients, ctx.skip, ctx.beta, wants[3 : 3 + count]
        )
        back.up(gradient_bar)
        inputs_bar = back.down(value_bar, wants[0])
        return inputs_bar, None, None, *back.weights_bar, *back.biases_bar


class _BackwardPass:
    """The backward pass of `_ValueAndGradient`: `up` and then `down` the layers, and what they share."""

    def __init__(
        self,
        weights: Sequence[Tensor],
        layer_inputs: Sequence[Tensor],
        complements: Sequence[Tensor],
        raw_gradients: Sequence[Tensor],
        skip: frozenset[int],
        beta: float,
        wanted: Sequence[bool],
    ) -> None:
        self.weights, self.layer_inputs, self.complements, self.raw_gradients = (
            weights,
            layer_inputs,
            complements,
            raw_gradients,
        )
        self.skip, self.beta, self.wanted = skip, beta, wanted
        self.weights_bar: list[Tensor | None] = [None] * len(weights)
        self.biases_bar: list[Tensor | None] = [None] * len(weights)
        self.raw_bars: list[Tensor] = []

    def up(self, gradient_bar: Tensor) -> None:
        """Compute q̄_l = r̄_l W_lᵀ and r̄_{l+1} = q̄_l σ_l; their part of ā_l is β q̄_l q_l (1 − σ_l)."""
        bar = gradient_bar
        for index in range(len(self.weights) - 1):
            if self.wanted[index]:
                self.weights_bar[index] = self.raw_gradients[index].t() @ bar
            raw_bar = bar @ self.weights[index].t()
            bar = torch.addcmul(raw_bar, raw_bar, self.complements[index], value=-1)
            self.raw_bars.append(raw_bar.mul_(self.complements[index]).mul_(self.raw_gradients[index]))
            if index + 1 in self.skip:
                bar = torch.cat([bar, gradient_bar], dim=1).div_(math.sqrt(2))
        if self.wanted[-1]:
            last = torch.zeros_like(self.weights[-1])
            last[0] = bar.sum(0)
            self.weights_bar[-1] = last

    def down(self, value_bar: Tensor, wants_inputs: bool) -> Tensor | None:
        """Compute ā_l = h̄_l σ_l + the part that `up` found, and x̄_l = ā_l W_l.

        Returns:
            The derivative by the inputs; None if it is not wanted.
        """
        inputs_bar: Tensor | None = None
        width = self.layer_inputs[0].shape[1]
        bar = value_bar
        for index in range(len(self.weights) - 1, -1, -1):
            if index < len(self.raw_bars):
                bar = torch.addcmul(bar, bar, self.complements[index], value=-1).add_(
                    self.raw_bars[index], alpha=self.beta
                )
            if self.wanted[index]:
                found = self.weights_bar[index]
                assert found is not None
                found.addmm_(bar.t(), self.layer_inputs[index])
                self.biases_bar[index] = bar.sum(0)
            if index == 0 and not wants_inputs:
                return None
            bar = bar @ self.weights[index]
            if index in self.skip:
                part = bar[:, -width:] / math.sqrt(2)
                inputs_bar = part if inputs_bar is None else inputs_bar + part
                bar = bar[:, :-width] / math.sqrt(2)
        return bar if inputs_bar is None else bar + inputs_bar
