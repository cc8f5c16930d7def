"""Self-attention across views: each view of a batch also looks at other views (SyncMVD, arXiv 2311.12891)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from texgen.render.cameras import turned_from_front


class ViewAttention:
    """Attention processor for a batch of V views, repeated once per half of the guidance pair.

    neighbours: per view the indices of the views whose keys and values it attends to, concatenated, its own
    among them. reference: per view one view that it attends to by itself in addition; the two results are
    averaged while `with_reference` is set.
    """

    def __init__(self, neighbours: Sequence[Sequence[int]], reference: Sequence[int]) -> None:
        self.neighbours, self.reference = neighbours, reference
        self.with_reference = False

    def __call__(
        self,
        attn: nn.Module,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
    ) -> Tensor:
        """hidden_states: [k V, L, C], views fastest. Returns the same shape."""
        views, width = len(self.neighbours), hidden_states.shape[-1]
        query, key, value = (part(hidden_states) for part in (attn.to_q, attn.to_k, attn.to_v))
        rows = []
        for row in range(hidden_states.shape[0]):
            first, view = row - row % views, row % views
            near = [first + other for other in self.neighbours[view]]
            result = _attend(attn, query[row], key[near].flatten(0, 1), value[near].flatten(0, 1))
            if self.with_reference:
                far = first + self.reference[view]
                result = (result + _attend(attn, query[row], key[far], value[far])) / 2
            rows.append(result)
        out = attn.to_out[1](attn.to_out[0](torch.stack(rows)))
        assert out.shape[-1] == width
        return out / attn.rescale_output_factor


def _attend(attn: nn.Module, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """query [L, C], key and value [M, C] -> [L, C], by heads."""
    query, key, value = (x.unflatten(-1, (attn.heads, -1)).transpose(0, 1) for x in (query, key, value))
    return F.scaled_dot_product_attention(query, key, value, scale=attn.scale).transpose(0, 1).flatten(1)


@contextmanager
def across_views(unet: nn.Module, processor: ViewAttention) -> Iterator[ViewAttention]:
    """While the block runs, the UNet's self-attention (attn1) is the processor's; then what it was."""
    before = dict(unet.attn_processors)
    own = {name: processor if ".attn1." in name else known for name, known in before.items()}
    unet.set_attn_processor(dict(own))
    try:
        yield processor
    finally:
        unet.set_attn_processor(before)


def ring_neighbours(azimuths: Sequence[float], elevations: Sequence[float]) -> list[list[int]]:
    """SyncMVD's neighbourhoods. Cameras of the lowest elevation in absolute value form a ring, in the order
    given: each sees the ones before and after it, and itself; the others see the front or back camera of the
    ring, whichever is nearer in azimuth, and themselves."""
    level = min(abs(value) for value in elevations)
    ring = [i for i, value in enumerate(elevations) if abs(value) == level]
    neighbours = []
    for i in range(len(azimuths)):
        if i in ring:
            at = ring.index(i)
            near = [ring[at - 1], i, ring[(at + 1) % len(ring)]]
        else:
            facing = 0.0 if turned_from_front(azimuths[i]) < 90 else 180.0
            near = [nearest_view(azimuths, ring, facing), i]
        neighbours.append(list(dict.fromkeys(near)))
    return neighbours


def nearest_view(azimuths: Sequence[float], among: Sequence[int], azimuth: float) -> int:
    """The view among some whose azimuth is nearest to the one asked for, degrees; the first of equals."""
    return min(among, key=lambda i: abs(180 - (180 - azimuths[i] + azimuth) % 360))
