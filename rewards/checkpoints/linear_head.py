"""Heads of five linear layers without activations, folded to the one affine map that they are."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor

# Linear layers of the head of width D-1024-128-64-16-1; the numbers between are its dropouts.
LAION_LAYERS = ("layers.0", "layers.2", "layers.4", "layers.6", "layers.7")


def fold_head(state: dict[str, Tensor], where: str = "head") -> tuple[Tensor, Tensor]:
    """One affine map `(weight [D], bias [])`, float64, from {weight, bias} or the five layers.

    W_n (... (W_1 x + b_1) ...) + b_n = (W_n ... W_1) x + (the biases carried through). It changes scores by
    about 1e-7 and removes the dropouts. Other keys are an error.
    """
    if set(state) == {"weight", "bias"}:
        layers = [("weight", "bias")]
    else:
        layers = [(f"{layer}.weight", f"{layer}.bias") for layer in LAION_LAYERS]
        wrong = set(state) ^ {key for pair in layers for key in pair}
        if wrong:
            raise ValueError(
                f"{where}: weight {min(wrong)!r} is missing or unexpected; expected a linear or LAION head."
            )
    weight, bias = fold_layers([(state[weight], state[bias]) for weight, bias in layers])
    if len(bias) != 1:
        raise ValueError(f"{where}: the head has {len(bias)} outputs; expected one score.")
    return weight[0], bias[0]


def fold_layers(layers: Iterable[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Linear layers (weight, bias) one after the other as one: `(weight [O, I], bias [O])`, float64."""
    weight, bias = None, None
    for matrix, offset in layers:
        matrix, offset = matrix.double(), offset.double().reshape(-1)
        matrix = matrix.reshape(len(offset), -1)
        weight = matrix if weight is None else matrix @ weight
        bias = offset if bias is None else matrix @ bias + offset
    return weight, bias
