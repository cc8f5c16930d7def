"""InTeX (Tang et al., arXiv 2403.11878) on the shared painter.

All that distinguishes it is policy: eleven views, UniPC with 20 steps, refine regions pinned for the first
60 % of the steps, splatting back-projection with a running mean over splat counts, nearest-neighbour dilation
at the end. Cost: at most 11 x 20 = 220 evaluations of UNet and ControlNet on the guidance pair; a view with
nothing to generate costs none.

Known differences from the authors' program: images are upsampled to the render size bilinearly and the final
texture is not passed through a super-resolution network (the program uses Real-ESRGAN for both); visibility
is found by ray queries instead of nvdiffrast, without antialiased silhouettes; -1 is set in the control image
after resizing, not before; the border of painted regions is averaged over their painted part only; a texel's
centre lies at half-integers.
"""

from __future__ import annotations

from typing import Any

from baselines.presets.intex import FACTS
from texgen.diffusion.backbone import Backbone
from texgen.painting.pipeline import TexGen


def intex(backbone: Backbone, cached_meshes: int = 2, **overrides: Any) -> TexGen:
    """InTeX as a method: (mesh, prompt, seed, progress=None) -> TextureResult.

    backbone: Stable Diffusion 1.5 class with a ControlNet of the role "depth_inpaint" (6 channels: rgb with
    -1 where unknown, then depth three times). overrides: fields of the preset "intex" (sizes for a small
    backbone, prompt template ...).
    """
    return TexGen(backbone, FACTS.resolved(overrides)[0], cached_meshes)
