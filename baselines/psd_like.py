"""Score distillation on the texture itself, guided by preferences: DreamDPO's objective, and "PSD-like".

Every step renders one view, noises it twice to one level, predicts both, and lets a score say which one-step
image is better. The difference of the two predictions then moves the texture; no gradient of the score is
needed. DreamDPO (arXiv 2502.04370) as its program computes it is `objective="dreamdpo"`. The method PSD
(arXiv 2603.01594) has published no code; "psd-like" is our reconstruction from its abstract and reviews and
must not be called PSD: winner's and loser's text-conditioned predictions are weighed by how unsure the score
is, and the negative prompt's embedding is tuned along, within a bound. Cost: four single evaluations a step
(two noises, with text and without), six where the embedding is tuned; the programs take thousands of steps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from baselines.networks import require_networks
from baselines.presets.psd_like import FACTS, PSDSettings
from texgen import seeds
from texgen.diffusion.backbone import Backbone
from texgen.diffusion.conditioning import control_of_depth, zoom
from texgen.diffusion.guidance import Control
from texgen.diffusion.schedules import make_scheduler, noised, split_prediction
from texgen.mesh.mesh import Mesh
from texgen.painting.chains import draw
from texgen.painting.measured import Painted, TextureResult, measured
from texgen.painting.presets import Preset
from texgen.painting.running import Remembered, method_scene, painted_at_once, view_texts
from texgen.painting.scene import Scene, complete
from texgen.painting.state import TextureState, View
from texgen.painting.views import Progress
from texgen.render.images import shade
from texgen.timing import Stopwatch

PairScore = Callable[[Tensor, list[str]], Tensor]
"""Images [B, 3, S, S] in [0, 1] and one prompt for each -> [B], higher is better."""


def dreamdpo_direction(
    guided: Tensor, conditional: Tensor, noise: Tensor, scores: Tensor, threshold: float = 0.0
) -> Tensor:
    """DreamDPO's direction [1, C, h, w] from a pair (first axis 2): guided and conditional noise predicted.

    With w the winner, l the loser: (guided_w - noise_w) - (conditional_l - noise_l), or only the winner's
    part where the scores differ by less than the threshold (where the released code forgets noise_w).
    """
    w = int(scores.argmax())
    direction = guided[w] - noise[w]
    if float((scores[w] - scores[1 - w]).detach()) >= threshold:
        direction = direction - (conditional[1 - w] - noise[1 - w])
    return direction[None]


def psd_like_direction(
    guided: Tensor, conditional: Tensor, noise: Tensor, scores: Tensor, weight: float, temperature: float
) -> Tensor:
    """[guided_w - noise_w] + omega {[conditional_w - noise_w] - [conditional_l - noise_l]}: a reconstruction.

    omega = weight (1 - sigmoid((score_w - score_l) / temperature)): pairs that are hard to tell count most.
    """
    w = int(scores.argmax())
    gap = (scores[w] - scores[1 - w]).detach()
    omega = weight * (1 - torch.sigmoid(gap / temperature))
    pair = (conditional[w] - noise[w]) - (conditional[1 - w] - noise[1 - w])
    return (guided[w] - noise[w] + omega * pair)[None]


@dataclass(eq=False)
class Negative:
    """The embedding of the negative prompt, which psd-like tunes within a bound."""

    start: Tensor
    offset: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.offset = torch.zeros_like(self.start)

    def step(self, gradient: Tensor, rate: float, bound: float) -> None:
        """A normalised gradient step downhill, then back into the ball of root mean square `bound`."""
        self.offset = self.offset - rate * gradient / gradient.pow(2).mean().sqrt().clamp(min=1e-12)
        size = self.offset.pow(2).mean().sqrt()
        self.offset = self.offset * (bound / size.clamp(min=bound))


class PairDraw(NamedTuple):
    """What one step looks at. latents: [1, C, h, w] of the view; i: place of its time step in the scheduler's
    list; noise: [2, C, h, w], of both members."""

    view: View
    latents: Tensor
    i: int
    noise: Tensor


class PSDLike:
    """The method: (mesh, prompt, seed, progress=None) -> TextureResult. score: what ranks the pairs."""

    def __init__(
        self,
        backbone: Backbone,
        score: PairScore,
        preset: Preset,
        settings: PSDSettings,
        cached_meshes: int = 2,
    ) -> None:
        require_networks(backbone, FACTS, preset, settings)
        self.backbone, self.score, self.preset, self.settings = backbone, score, preset, settings
        self._scene = Remembered(lambda mesh: method_scene(mesh, preset, backbone.device), cached_meshes)

    def __call__(self, mesh: Mesh, prompt: str, seed: int, progress: Progress | None = None) -> TextureResult:
        return measured(self.backbone, lambda: self._optimise(self._scene(mesh), prompt, seed, progress))

    def _optimise(self, scene: Scene, prompt: str, seed: int, progress: Progress | None) -> Painted:
        preset, settings, watch = self.preset, self.settings, Stopwatch(self.backbone.device)
        like, size = scene.mesh.vertices, preset.texture_size
        identity = (seed, scene.mesh.shape_key(), prompt, preset.name)
        random = seeds.generator(*identity, "views and times")
        texts = view_texts(self.backbone, preset, prompt, scene)
        negative = Negative(texts[0][:1])
        config = self.backbone.scheduler_config
        # All training time steps, so that step i of the list is the time train - 1 - i.
        train = int(config.get("num_train_timesteps", 1000))
        scheduler = make_scheduler({**config, "timestep_spacing": "linspace"}, "ddim", train)
        pyramid = [like.new_zeros(1, 3, max(size >> k, 1), max(size >> k, 1)) for k in range(settings.levels)]
        optimiser = torch.optim.Adam(
            [level.requires_grad_(True) for level in pyramid], lr=settings.learning_rate, betas=(0.9, 0.99)
        )
        reach = like.new_zeros(1, size, size)
        for step in range(preset.steps):
            view = scene.views[int(torch.randint(len(scene.views), (1,), generator=random))]
            over = step / max(preset.steps - 1, 1)
            optimiser.param_groups[0]["lr"] = settings.learning_rate * (1 + (settings.last_rate - 1) * over)
            upper = settings.t_max + (settings.t_until - settings.t_max) * over
            share = settings.t_min + (upper - settings.t_min) * float(torch.rand(1, generator=random))
            t = min(int(share * train), train - 1)
            with torch.enable_grad():
                texture = compose(pyramid)
                image = shade(view.buffer, texture, preset.background)
                latents = self.backbone.encode_images(zoom(image, view.crop, preset.image_size))
                text = torch.cat([negative.start + negative.offset, texts[view.index][1:]])
                tune = bool(settings.negative_every) and step % settings.negative_every == 0
                noise = draw((2, *latents.shape[1:]), like, *identity, "noise", step)
                drawn = PairDraw(view, latents.detach(), train - 1 - t, noise)
                tuned = negative if tune and settings.objective == "psd-like" else None
                direction = self._direction(scheduler, drawn, text, prompt, tuned)
                alpha = float(scheduler.alphas_cumprod[t])
                target = (latents - (1 - alpha) * direction).detach()
                loss = 0.5 * F.mse_loss(latents, target, reduction="sum")
                optimiser.zero_grad()
                loss.backward()
            reach += (pyramid[0].grad[0].abs().sum(0, keepdim=True) > 0).to(reach.dtype)
            optimiser.step()
            if progress is not None:
                progress(1, 1, step + 1, preset.steps)
        texture = compose(pyramid).detach()
        state = TextureState(texture * (reach > 0), (reach > 0).to(texture.dtype), torch.zeros_like(reach))
        texture, painted = complete(preset, scene, state)
        watch.lap(len(scene.views))
        return Painted(texture, painted, watch.onto([painted_at_once(view) for view in scene.views]))

    def _direction(
        self,
        scheduler,
        drawn: PairDraw,
        text: Tensor,
        prompt: str,
        negative: Negative | None,
    ) -> Tensor:
        """What the pair says, [1, C, h, w]; with `negative`, its embedding is tuned on the way."""
        preset, settings = self.preset, self.settings
        view, latents, i, noise = drawn
        t = int(scheduler.timesteps[i])
        noisy = noised(scheduler, latents.expand(2, -1, -1, -1), noise, t)
        control = self._control(view)

        def predict(embedding: Tensor) -> Tensor:
            """Clean latents and noise [2, 2, C, h, w] predicted for both members with one text [1, L, D]."""
            both = embedding.expand(2, -1, -1)
            out = self.backbone.predict(noisy, t, torch.cat([both, both]), [control], 1.0)
            return torch.stack(split_prediction(scheduler, out, i, noisy))

        def judged(guided: Tensor) -> Tensor:
            return self.score(self.backbone.decode_latents(guided[0]).clamp(0, 1), [prompt] * 2)

        with torch.no_grad():
            conditional = predict(text[1:])
        scale = preset.guidance_scale
        if negative is not None:
            with torch.enable_grad():
                embedding = text[:1].detach().requires_grad_(True)
                scores = judged(scale * conditional + (1 - scale) * predict(embedding))
                gap = (scores.max() - scores.min()) / settings.temperature
                loss = -F.logsigmoid(gap) - settings.negative_score * scores.mean()
                (gradient,) = torch.autograd.grad(loss, embedding)
            negative.step(gradient, settings.negative_rate, settings.negative_bound)
            text = torch.cat([negative.start + negative.offset, text[1:]])
        with torch.no_grad():
            guided = scale * conditional + (1 - scale) * predict(text[:1])
            scores = judged(guided)
        pair = (guided[1], conditional[1], noise, scores)
        if settings.objective == "dreamdpo":
            return dreamdpo_direction(*pair, settings.threshold)
        return psd_like_direction(*pair, settings.pair_weight, settings.temperature)

    def _control(self, view: View) -> Control:
        """The ControlNet with its image [1, C, S, S]: depth, and nothing known."""
        role, depth = self.preset.control_role, zoom(view.depth, view.crop, self.preset.image_size)
        image = control_of_depth(role, self.backbone.control_channels(role), depth)
        return Control(role, image, self.preset.control_scale)


def compose(pyramid: list[Tensor]) -> Tensor:
    """[3, T, T] in (0, 1): the levels [1, 3, t, t] enlarged, summed and squashed; zeros give middle grey."""
    size = pyramid[0].shape[-2:]
    total = sum(F.interpolate(p, size=size, mode="bilinear", align_corners=False) for p in pyramid)
    return torch.sigmoid(total)[0]


def psd_like(backbone: Backbone, score: PairScore, **overrides: Any) -> PSDLike:
    """psd-like (or DreamDPO) as a method; overrides: fields of its preset and of `PSDSettings`.

    backbone: with a ControlNet "depth", or the role that stands in for it. score: an image score, e.g. of
    `rewards.preference`; differentiable where the negative embedding is tuned.
    """
    return PSDLike(backbone, score, *FACTS.resolved(overrides))
