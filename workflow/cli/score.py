"""`texreward score`: scores of image files for a prompt, as a table or JSON."""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections.abc import Iterable
from itertools import cycle
from pathlib import Path
from typing import Any

from rewards.picture_files import opened, read_image, shown_size
from texgen import shipped
from texgen.diffusion.prompts import PromptWarning, require_words
from texgen.errors import PlainError
from workflow.cli.checks import check_threads, located
from workflow.config.configuration import load_config
from workflow.config.kinds import OFFICIAL_BACKEND
from workflow.config.metrics import metric_kind
from workflow.config.sheets import ConfigError

BATCH_PIXELS = 2**22
"""Pixels that are opened at a time: one image of 2048 x 2048, or 16 of 512 x 512."""


def add_parser(commands: Any) -> None:
    """Adds the command to the command line."""
    parser = commands.add_parser("score", help="score image files for a prompt")
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="image files; transparency is composited")
    parser.add_argument(
        "--prompt", required=True, action="append", help="one for all images, or as many as there are images"
    )
    parser.add_argument(
        "--every-prompt", action="store_true", help="score every image with every prompt, given in any number"
    )
    parser.add_argument(
        "--metric", action="append", help="a metric of the configuration; again for more (default: all)"
    )
    parser.add_argument(
        "--config",
        default=shipped.project_configuration(),
        help="configuration with the metrics; paper.yaml has the published ones (default: %(default)s)",
    )
    parser.add_argument("--backend", choices=("native", "official"), help="default: the configuration's")
    parser.add_argument(
        "--precision", choices=("float32", "tf32", "float16"), help="default: the configuration's"
    )
    parser.add_argument(
        "--background",
        default="1,1,1",
        help="colour behind transparent pixels, r,g,b in 0 to 1 (default: white)",
    )
    parser.add_argument("--threads", type=int, help="CPU threads (default: torch's choice)")
    parser.add_argument("--json", action="store_true", help="print records as JSON")
    parser.set_defaults(run=score)


def score(options: argparse.Namespace) -> int:
    """Score every image by every metric that judges images."""
    config = load_config(options.config)
    names = chosen_metrics(config, options.metric)
    pairs = paired(options.images, options.prompt, options.every_prompt)
    background = parse_colour(options.background)
    check_threads(options.threads)
    for prompt in options.prompt:
        require_words(prompt)
    backend = options.backend or config.scoring.backend
    precision = options.precision or config.scoring.precision
    refuse_backend(config, names, backend)
    if backend == "official" and precision != "float32":
        raise ConfigError(f"The official packages do not offer --precision {precision}.")
    import torch

    from workflow.runtime.devices import pick_device
    from workflow.steps.scorers import load_metric

    if options.threads is not None:
        torch.set_num_threads(options.threads)
    batches = batches_of(options.images)
    scores: dict[str, list[float]] = {}
    versions: dict[str, str] = {}
    said: dict[str, list[str]] = {}
    device = pick_device()
    for name in names:
        try:
            metric = load_metric(located(config.metrics[name]), device, backend=backend, precision=precision)
        except (OSError, RuntimeError, PlainError) as error:
            raise ConfigError(f"{name}: {error}") from None
        versions[name] = metric.version
        # Read again for every metric: decoding is cheap, and all images may not fit in memory.
        read = (
            (places, [read_image(options.images[place], background) for place in places])
            for places in batches
        )
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", PromptWarning)
            scores[name] = score_images(metric, read, options.prompt, device, options.every_prompt)
        said[name] = [str(each.message) for each in caught if issubclass(each.category, PromptWarning)]
        for text in said[name]:
            print(f"warning: {name}: {text}", file=sys.stderr, flush=True)
        del metric
    if options.json:
        made = {"backend": backend, "precision": precision, "warnings": said}
        print(json.dumps(records(pairs, scores, versions, background, made), indent=2))
    else:
        decimals = {name: metric_kind(config.metrics[name]).decimals for name in names}
        print(table(pairs, scores, decimals, with_prompts=options.every_prompt))
    return 0


def paired(images: list[str], prompts: list[str], every: bool) -> list[tuple[str, str]]:
    """(image, prompt) of each score, all prompts of an image in a row. Raises ConfigError."""
    if every:
        return [(image, prompt) for image in images for prompt in prompts]
    if len(prompts) not in (1, len(images)):
        raise ConfigError(
            f"There are {len(images)} images but {len(prompts)} prompts; give one, or one per image, or "
            "--every-prompt."
        )
    return list(zip(images, cycle(prompts), strict=False))


def chosen_metrics(config: Any, wanted: list[str] | None) -> list[str]:
    """Names of the metrics to compute: the wanted ones, or all that judge images. Raises ConfigError."""
    judging = [name for name, each in config.metrics.items() if not metric_kind(each).judges_texture]
    for name in wanted or []:
        if name not in judging:
            raise ConfigError(f"There is no image metric {name!r}; allowed are {', '.join(judging)}.")
    return wanted or judging


def refuse_backend(config: Any, names: list[str], backend: str) -> None:
    """Raises ConfigError for a metric that the official packages cannot score."""
    for name in names if backend == "official" else []:
        if config.metrics[name].kind not in OFFICIAL_BACKEND:
            raise ConfigError(
                f"The official packages cannot score {name}; choose others by --metric, or --backend native."
            )


def parse_colour(text: str) -> tuple[float, ...]:
    """r,g,b in 0 to 1. Raises ConfigError."""
    try:
        colour = tuple(float(part) for part in text.split(","))
    except ValueError:
        colour = ()
    if len(colour) != 3 or not all(0 <= part <= 1 for part in colour):
        raise ConfigError(f"--background is {text!r}; give three numbers from 0 to 1 such as 0.5,0.5,0.5.")
    return colour


def batches_of(paths: list[str]) -> list[list[int]]:
    """Places of images of one size, as many together as make `BATCH_PIXELS`, and at least one.

    Only the head of each file is read. Raises ConfigError for what is not an image.
    """
    by_size: dict[tuple[int, int], list[int]] = {}
    for place, path in enumerate(paths):
        with opened(path) as image:
            by_size.setdefault(shown_size(image), []).append(place)
    batches = []
    for (width, height), places in by_size.items():
        count = max(1, BATCH_PIXELS // (width * height))
        batches += [places[start : start + count] for start in range(0, len(places), count)]
    return batches


def score_images(
    metric, batches: Iterable[tuple[list[int], list]], prompts: list[str], device: str, every: bool = False
) -> list[float]:
    """Scores in the order of `paired`. batches: places and images `[1, 3, H, W]` of one size each."""
    import torch

    rows: dict[int, list[float]] = {}
    for places, images in batches:
        batch = torch.cat(images).to(device)
        with torch.no_grad():
            if every:
                found = metric.score_matrix(batch, prompts)
            else:
                found = metric(batch, [prompts[i % len(prompts)] for i in places])[:, None]
        rows |= zip(places, found.tolist(), strict=True)
    return [value for place in sorted(rows) for value in rows[place]]


def records(pairs, scores, versions, background, made: dict[str, Any]) -> dict[str, Any]:
    """Everything that the numbers depend on, as plain JSON."""
    return {
        "background": list(background),
        **made,
        "versions": versions,
        "images": [
            {"image": path, "prompt": prompt, **{name: values[index] for name, values in scores.items()}}
            for index, (path, prompt) in enumerate(pairs)
        ],
    }


def table(
    pairs: list[tuple[str, str]],
    scores: dict[str, list[float]],
    decimals: dict[str, int],
    with_prompts: bool = False,
) -> str:
    """Aligned text, one line per pair and one column per metric."""
    texts = ["image", "prompt"] if with_prompts else ["image"]
    lines = [[*texts, *scores]]
    names = distinct_names([path for path, _ in pairs])
    for index, (name_of_file, prompt) in enumerate(zip(names, (p for _, p in pairs), strict=True)):
        values = [f"{column[index]:.{decimals[name]}f}" for name, column in scores.items()]
        lines.append([*(name_of_file, prompt)[: len(texts)], *values])
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column < len(texts) else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    )


def distinct_names(paths: list[str]) -> list[str]:
    """The paths, each cut to as few of its last parts as keep different files different."""
    parts = [Path(path).parts for path in paths]
    for count in range(1, max((len(each) for each in parts), default=0) + 1):
        names = [str(Path(*each[-count:])) if each else path for each, path in zip(parts, paths, strict=True)]
        if len(set(names)) == len(set(paths)):
            return names
    return list(paths)
