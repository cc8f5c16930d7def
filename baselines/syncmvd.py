"""SyncMVD (Liu et al., arXiv 2311.12891) on the shared core.

All views are denoised together. Their self-attention sees neighbouring views; while t > 200 the step from one
noise level to the next is taken on a texture of latents, into which the views' clean estimates are baked with
weights cosine ** e, e rising from 0 to 6; afterwards each view steps by itself. Cost: 30 steps x 10 views =
300 evaluations on the guidance pair, in 30 batches.

Settings are those of the released program (MIT); where this differs stands in docs/baselines.md. Its sampler,
DDPM, is DDIM with eta 1, which is what runs here, on textures as on views.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from baselines.networks import require_networks
from baselines.presets.syncmvd import FACTS, SyncMVDSettings
from texgen import seeds
from texgen.backprojection.backproject import PixelMap, face_visibility
from texgen.backprojection.fill import padding_index
from texgen.backprojection.fit import blur
from texgen.backprojection.project import texel_visibility
from texgen.backprojection.trimap import dilate
from texgen.diffusion.backbone import Backbone
from texgen.diffusion.conditioning import control_of_depth, resize
from texgen.diffusion.guidance import Control
from texgen.diffusion.schedules import ddim_posterior, make_scheduler, signal_level, split_prediction
from texgen.diffusion.view_attention import ViewAttention, across_views, nearest_view, ring_neighbours
from texgen.mesh.mesh import Mesh
from texgen.painting.chains import draw
from texgen.painting.measured import Painted, TextureResult, measured
from texgen.painting.presets import Preset
from texgen.painting.running import Remembered, method_scene, painted_at_once, preset_cameras
from texgen.painting.scene import Scene
from texgen.painting.views import Progress
from texgen.render.atlas import Atlas
from texgen.render.cameras import Cameras
from texgen.render.images import GeometryBuffer, geometry_buffer
from texgen.timing import Stopwatch

_BRIGHT = [(1, 0, 0), (1, 1, 0), (0, 1, 0), (0, 1, 1), (0, 0, 1), (1, 0, 1)]
COLOURS = torch.tensor(
    [(0, 0, 0), (1, 1, 1), *_BRIGHT, *((r / 2, g / 2, b / 2) for r, g, b in _BRIGHT)], dtype=torch.float32
)
"""Solid colours behind the views, black and white first: HTML's sixteen without silver and grey, as in the
released program."""
BLACK, WHITE = 0, 1


@dataclass(eq=False)
class Views:
    """What the mesh alone decides.

    latent_maps, colour_maps: per view, between its pixels and the texture of latents or colours. *_visible,
    *_cosine: [V, T, T] per texel of either texture, visible in {0, 1}. mask: [V, 1, h, w] object in latents.
    control: [V, C, S, S].
    """

    scene: Scene
    latent_maps: list[PixelMap]
    colour_maps: list[PixelMap]
    latent_visible: Tensor
    latent_cosine: Tensor
    colour_visible: Tensor
    colour_cosine: Tensor
    mask: Tensor
    control: Tensor


def blend_views(
    baked: Sequence[Tensor], visible: Tensor, cosine: Tensor, exponent: float
) -> tuple[Tensor, Tensor]:
    """Weighted mean of textures baked from views, and the weights' sum.

    baked: V times [C, T, T]. visible, cosine: [V, T, T]. Weights are visible * cosine ** exponent, with an
    exponent of 0 taken as 1, as released. Texels that no view sees take the nearest seen one in the texture
    plane. Returns [C, T, T] and [1, T, T]. Raises ValueError when no texel is seen.
    """
    weights = visible * cosine ** (exponent if exponent > 0 else 1.0)
    total = weights.sum(0, keepdim=True)
    mean = sum(b * w for b, w in zip(baked, weights, strict=True)) / total.clamp(min=1e-12)
    nearest = padding_index((total > 1e-12).to(total.dtype)).reshape(-1)
    return mean.flatten(1)[:, nearest].reshape(mean.shape), total


class SyncMVD:
    """The method: (mesh, prompt, seed, progress=None) -> TextureResult."""

    def __init__(
        self, backbone: Backbone, preset: Preset, settings: SyncMVDSettings, cached_meshes: int = 2
    ) -> None:
        require_networks(backbone, FACTS, preset, settings)
        self.backbone, self.preset, self.settings = backbone, preset, settings
        self._views = Remembered(self._prepare, cached_meshes)

    def __call__(self, mesh: Mesh, prompt: str, seed: int, progress: Progress | None = None) -> TextureResult:
        return measured(self.backbone, lambda: self._paint(self._views(mesh), prompt, seed, progress))

    def _prepare(self, mesh: Mesh) -> Views:
        preset, settings, backbone = self.preset, self.settings, self.backbone
        scene = method_scene(mesh, preset, backbone.device)
        small = method_scene(mesh, preset.replace(texture_size=settings.latent_texture_size), backbone.device)
        cameras = preset_cameras(preset, scene.mesh).to(scene.mesh.vertices.device)
        latent_side = preset.image_size // backbone.latent_scale
        latent_maps, colour_maps, latent_seen, colour_seen, masks, depths = ([] for _ in range(6))
        for view in scene.views:
            camera = cameras[view.index]
            buffer = geometry_buffer(scene.mesh, camera, latent_side, preset.rasterizer)
            masks.append(buffer.mask)
            latent_maps.append(PixelMap.of(buffer, settings.latent_texture_size))
            colour_maps.append(PixelMap.of(view.buffer, preset.texture_size))
            latent_seen.append(self._seen(scene.mesh, small.atlas, camera, view.buffer))
            colour_seen.append(self._seen(scene.mesh, scene.atlas, camera, view.buffer))
            depths.append(blur(resize(view.depth, preset.image_size), 5, 2.0))
        role = preset.control_role
        control = control_of_depth(role, backbone.control_channels(role), torch.cat(depths))
        latent, colour = ([torch.stack(e) for e in zip(*s, strict=True)] for s in (latent_seen, colour_seen))
        return Views(scene, latent_maps, colour_maps, *latent, *colour, torch.cat(masks), control)

    def _seen(
        self, mesh: Mesh, atlas: Atlas, camera: Cameras, buffer: GeometryBuffer
    ) -> tuple[Tensor, Tensor]:
        """Visibility of an atlas's texels from one camera, and their cosines, [T, T] each."""
        seen = texel_visibility(mesh, atlas, camera, self.preset.render_size)
        seen = face_visibility(seen, buffer, atlas)
        # Cosines reach one texel beyond the charts, like the visibility, as if filled.
        near = padding_index(atlas.mask).reshape(-1)
        cosine = seen.cosine.flatten()[near].reshape(seen.cosine.shape[-2:])
        return dilate(seen.visible[None], 3)[0, 0], cosine

    def _texts(self, prompt: str, words: Sequence[str]) -> Tensor:
        """[2 V, L, D]: the negative prompts of all views, then their prompts."""
        preset = self.preset
        negative = [
            preset.negative_prompt + ("" if word == "front" else self.settings.front_negative)
            for word in words
        ]
        return self.backbone.encode_prompts(negative + [preset.view_prompt(prompt, word) for word in words])

    def _paint(self, views: Views, prompt: str, seed: int, progress: Progress | None) -> Painted:
        preset, settings, backbone, scene = self.preset, self.settings, self.backbone, views.scene
        watch = Stopwatch(backbone.device)
        text = self._texts(prompt, [view.word for view in scene.views])
        scheduler = make_scheduler(
            backbone.scheduler_config, "ddim", preset.steps, preset.spacing, preset.last_signal
        )
        identity = (seed, scene.mesh.shape_key(), prompt, preset.name)
        like, side = scene.mesh.vertices, settings.latent_texture_size
        channels, latent_side = backbone.latent_channels, views.mask.shape[-1]

        def normal(shape: tuple[int, ...], *purpose: object) -> Tensor:
            return draw(shape, like, *identity, *purpose)

        texture = normal((channels, side, side), "texture")
        shape = (len(scene.views), channels, latent_side, latent_side)
        backdrop = normal(shape, "backdrop")
        latents = self._composed(views, texture, backdrop)
        palette = self._palette(views)
        colours = self._backgrounds(identity, len(scene.views))

        azimuths = [view.azimuth for view in scene.views]
        elevations = [view.elevation for view in scene.views]
        neighbours = ring_neighbours(azimuths, elevations)
        front = nearest_view(azimuths, range(len(azimuths)), 0.0)
        train = scheduler.config.num_train_timesteps
        times = scheduler.timesteps.tolist()
        processor = ViewAttention(neighbours, [front] * len(neighbours))
        with backbone.uncaptured(), across_views(backbone.unet, processor) as attention:
            for i in range(preset.steps):
                t = int(times[i])
                attention.with_reference = t > settings.reference_until
                strength = control_scale(settings, i, times, train) * preset.control_scale
                controls = [Control(preset.control_role, views.control, strength)]
                prediction = backbone.predict(latents, t, text, controls, preset.guidance_scale)
                original, direction = split_prediction(scheduler, prediction, i, latents)
                if t > train - settings.texture_step_until * train:
                    exponent = settings.exponent * i / preset.steps
                    baked = [m.bake(o) for m, o in zip(views.latent_maps, original, strict=True)]
                    clean, _ = blend_views(baked, views.latent_visible, views.latent_cosine, exponent)
                    texture = self._texture_step(scheduler, clean, texture, i, normal)
                    solid = palette[colours[i]]
                    level = signal_level(scheduler, i)
                    # The released program mixes without square roots; kept, since the views are used to it.
                    behind = (1 - level) * backdrop + level * solid
                    latents = self._composed(views, texture, behind)
                else:
                    mean, spread = ddim_posterior(scheduler, original, direction, i, preset.eta)
                    latents = mean + spread * normal(shape, "views", i)
                if progress is not None:
                    progress(len(scene.views), len(scene.views), i + 1, preset.steps)
        images = resize(backbone.decode_latents(latents).clamp(0, 1), preset.render_size)
        baked = [m.bake(image) for m, image in zip(views.colour_maps, images, strict=True)]
        result, total = blend_views(baked, views.colour_visible, views.colour_cosine, settings.exponent)
        painted = (total > 0).to(result.dtype) * scene.atlas.mask.to(result.dtype)
        watch.lap(len(scene.views))
        return Painted(result, painted, watch.onto([painted_at_once(view) for view in scene.views]))

    def _texture_step(self, scheduler, clean: Tensor, texture: Tensor, i: int, normal) -> Tensor:
        """The posterior step on the texture: from its clean estimate and its noise."""
        level = signal_level(scheduler, i)
        noise = (texture - level**0.5 * clean) / (1 - level) ** 0.5
        mean, spread = ddim_posterior(scheduler, clean, noise, i, 1.0)
        return mean + spread * normal(texture.shape, "texture", i)

    def _composed(self, views: Views, texture: Tensor, behind: Tensor) -> Tensor:
        """[V, C, h, w]: the texture of latents in every view, over a background."""
        seen = torch.stack([m.render(texture) for m in views.latent_maps])
        return seen * views.mask + behind * (1 - views.mask)

    def _palette(self, views: Views) -> Tensor:
        """[14, C, 1, 1] or [1, C, 1, 1]: mean latents of solid pictures of the background colours."""
        size = self.preset.image_size
        colours = COLOURS if self.settings.random_background else torch.tensor([self.preset.background])
        pictures = colours.to(views.mask)[:, :, None, None].expand(-1, -1, size, size)
        latents = [self.backbone.encode_images(picture[None]) for picture in pictures]
        return torch.cat(latents).mean((2, 3), keepdim=True)

    def _backgrounds(self, identity: tuple, count: int) -> list[list[int]]:
        """Per step and view a colour: any until 40 % of the steps, black or white until 80 %, then frozen."""
        if not self.settings.random_background:
            return [[0] * count] * self.preset.steps
        random = seeds.generator(*identity, "colours")
        chosen: list[list[int]] = []
        for i in range(self.preset.steps):
            if i < 0.4 * self.preset.steps:
                chosen.append(torch.randint(len(COLOURS), (count,), generator=random).tolist())
            elif i < 0.8 * self.preset.steps:
                pick = torch.randint(2, (count,), generator=random)
                chosen.append([(BLACK, WHITE)[k] for k in pick.tolist()])
            else:
                chosen.append(chosen[-1])
        return chosen


def control_scale(settings: SyncMVDSettings, i: int, times: Sequence[float], train: int) -> float:
    """Strength of the ControlNet at step i of the time steps: off once control_until of the steps are over.

    It falls with time from control_start to control_end, a step late, because the released program sets it at
    the end of each step for the next one; its first step has the end's.
    """
    if (i + 1) / len(times) > settings.control_until:
        return 0.0
    if i == 0:
        return settings.control_end
    progress = (1 - times[i - 1] / train) / settings.control_until
    if progress > 1:
        return settings.control_start
    return progress * settings.control_end + (1 - progress) * settings.control_start


def syncmvd(backbone: Backbone, **overrides: Any) -> SyncMVD:
    """SyncMVD as a method; overrides: fields of its preset and of `SyncMVDSettings`.

    backbone: with a ControlNet "depth", or the role that stands in for it.
    """
    return SyncMVD(backbone, *FACTS.resolved(overrides))
