"""A tiny painter, items and a reward that the tests of the algorithms share."""

import torch
from reference.tiny_models import load_miniature

from texgen.finetune.items import TrainingItem
from texgen.mesh.mesh import Mesh
from texgen.painting.pipeline import TexGen
from texgen.painting.presets import PRESETS
from texgen.render.cameras import Cameras

PRESET = PRESETS["texgen"].replace(
    rig="tilted_2view",
    image_size=16,
    render_size=16,
    texture_size=16,
    steps=3,
    guidance_scale=2.0,
    crop=False,
    prompt_template="{prompt}",
    negative_prompt="",
)


def tiny_painter(folder, dtype=torch.float32):
    """The miniature family, random, with an adapter that is not zero; two views that overlap."""
    backbone = load_miniature(folder, dtype)
    backbone.add_lora(rank=1)
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in backbone.lora_parameters():
            parameter.normal_(std=0.3, generator=random)
    return TexGen(backbone, PRESET, cameras=Cameras.orbit([20.0, 70.0], [0.0, 10.0]))


def tetrahedron(name="tetra"):
    """Four faces with charts of their own."""
    vertices = torch.tensor([[0.0, 0.7, 0.0], [-0.8, -0.6, 0.5], [0.8, -0.6, 0.5], [0.0, -0.6, -0.8]])
    faces = torch.tensor([[0, 1, 2], [0, 2, 3], [0, 3, 1], [1, 3, 2]])
    corner = torch.tensor([[0.05, 0.05], [0.45, 0.05], [0.05, 0.45]])
    offsets = torch.tensor([[0.0, 0.0], [0.5, 0.0], [0.0, 0.5], [0.5, 0.5]])
    uvs = (corner[None] + offsets[:, None]).reshape(-1, 2)
    normals = torch.nn.functional.normalize(vertices, dim=-1)
    return Mesh(name, vertices, faces, uvs, torch.arange(12).reshape(4, 3), normals, torch.zeros(3), 1.0)


def redness(texture, painted, item):
    """Red against green and blue, averaged over what was painted: a reward anybody can check by eye."""
    surplus = texture[0] - (texture[1] + texture[2]) / 2
    return (surplus * painted[0]).sum() / painted.sum()


ITEMS = [TrainingItem(tetrahedron(), prompt) for prompt in ("a red cow", "a blue cow", "a vase")]
HELDOUT = [TrainingItem(tetrahedron("other"), "a red vase")]
