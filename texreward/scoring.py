"""Scores of images for prompts, by the metrics of a configuration."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rewards.picture_files import composited, read_image
from texgen import shipped
from texgen.diffusion.prompts import require_words
from texreward.opening import device_of, quiet_loading
from workflow.cli.checks import located
from workflow.cli.score import chosen_metrics, score_images
from workflow.config.configuration import load_config
from workflow.config.sheets import ConfigError
from workflow.steps.scorers import load_metric


def score(
    images: Any,
    prompts: str | Sequence[str],
    metrics: Sequence[str] | None = None,
    config: str = "config",
    background: tuple[float, float, float] = (1.0, 1.0, 1.0),
    device: str | None = None,
) -> dict[str, Tensor]:
    """Metric -> scores [N], float32 on the CPU, of N images, each for its prompt.

    images: one or a sequence of files, PIL images or tensors [3, H, W] in [0, 1] (sRGB values), or a tensor
    [N, 3, H, W] such as `Result.render` gives. prompts: one for all images, or N. metrics: names of metrics
    of renders in the configuration; None = all. config: "config" (the miniature's scorers, whose numbers
    compare with nothing else), "paper" (the published ones, downloaded once), or a file. background: colour
    behind transparent pixels, r, g, b in [0, 1]. device: cpu or cuda; None = a GPU where there is one.
    Raises ValueError in one sentence for what cannot be read or scored.

    Examples:
        >>> white = torch.ones(2, 3, 64, 64)
        >>> scores = score(white, "a red cube", metrics=["clipscore"])
        >>> scores["clipscore"].shape, bool(scores["clipscore"][0] == scores["clipscore"][1])
        (torch.Size([2]), True)
    """
    texts = [prompts] if isinstance(prompts, str) else list(prompts)
    for text in texts:
        require_words(text)
    pictures = [_pixels(each, background) for each in _listed(images)]
    if not pictures:
        raise ConfigError("score: there is no image; give at least one.")
    if len(texts) not in (1, len(pictures)):
        raise ConfigError(
            f"score: there are {len(pictures)} images but {len(texts)} prompts; give one, or one per image."
        )
    found = load_config(shipped.configuration(config) if "." not in fspath(config) else config)
    names = chosen_metrics(found, None if metrics is None else list(metrics))
    device = device_of("score", device)
    scores = {}
    for name in names:
        with quiet_loading():
            metric = load_metric(located(found.metrics[name]), device, precision=found.scoring.precision)
        batches = [(places, [pictures[each] for each in places]) for places in _by_size(pictures)]
        scores[name] = torch.tensor(score_images(metric, batches, texts, device))
    return scores


def _listed(images: Any) -> Iterable[Any]:
    """The images one by one."""
    if isinstance(images, Tensor):
        return list(images) if images.ndim == 4 else [images]
    single = isinstance(images, str | PathLike) or not isinstance(images, Sequence)
    return [images] if single else images


def _pixels(image: Any, background: tuple[float, float, float]) -> Tensor:
    """[1, 3, H, W] in [0, 1] of a file, a PIL image or a tensor. Raises PlainError."""
    if isinstance(image, str | PathLike):
        return read_image(str(Path(image)), background)
    if not isinstance(image, Tensor):
        try:
            return composited(image, background)
        except AttributeError:
            raise ConfigError(
                f"score: an image is of type {type(image).__name__}; give a file, a PIL image or a tensor."
            ) from None
    if image.ndim != 3 or image.shape[0] != 3 or not image.is_floating_point():
        raise ConfigError(
            f"score: an image is a {image.dtype} tensor of shape {tuple(image.shape)}; give [3, H, W] of "
            "floating point numbers in [0, 1]."
        )
    low, high = float(image.min()), float(image.max())
    if not (-1e-3 <= low and high <= 1 + 1e-3):
        raise ConfigError(
            f"score: the values of an image are {low:.3g} to {high:.3g}; give values in [0, 1]."
        )
    return image.detach().float().clamp(0, 1)[None]


def _by_size(pictures: list[Tensor]) -> list[list[int]]:
    """Places of the images of each size."""
    sizes: dict[tuple[int, ...], list[int]] = {}
    for place, picture in enumerate(pictures):
        sizes.setdefault(tuple(picture.shape), []).append(place)
    return list(sizes.values())
