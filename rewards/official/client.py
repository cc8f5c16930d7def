"""An image score that the official package computes, in its own environment, on PNG files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from rewards.official.environment import ROOT, interpreter
from rewards.preference.prompt_text import require_prompts
from texgen.errors import PlainError

NAMES = {
    "imagereward": "image-reward 1.5",
    "hpsv2": "hpsv2 1.2.0",
    "pickscore": "model card of PickScore",
    "clipscore": "CLIPScore of image-reward 1.5",
    "aesthetic": "AestheticScore of image-reward 1.5",
    "cyclereward": "cyclereward 0.1.7",
}


class OfficialScore:
    """Called as our scores are, without gradient and slow: each call starts a process and loads a model."""

    higher_is_better = True

    def __init__(self, kind: str, folders: dict[str, Path], **settings: Any) -> None:
        """`folders`: weights, tokenizer, clip, head as the kind needs; `settings`: version, prefix, model.

        Raises EnvironmentMissing when `make official` has not been run.
        """
        self.name = kind
        # Values of HPSv2 v2.0 and v2.1, or with another prefix, cannot be compared with each other.
        chosen = "".join(f", {name} {value}" for name, value in settings.items() if value)
        self.version = f"official: {NAMES[kind]}{chosen}"
        self.typical_range = (0.0, 1.0)
        self._python = interpreter()
        given = {name: str(Path(folder).resolve()) for name, folder in folders.items()}
        self._job = {"kind": kind, "folders": given, **settings}

    def __call__(self, images: Tensor, prompts: list[str]) -> Tensor:
        """`images [B, 3, H, W] in [0, 1]` -> scores `[B]` float32 of the images rounded to 8 bits."""
        if len(prompts) != len(images):
            raise ValueError(f"{len(images)} images but {len(prompts)} prompts; give one prompt per image.")
        return self._score(images, list(enumerate(prompts)))

    def score_matrix(self, images: Tensor, prompts: list[str]) -> Tensor:
        """`[B, P]`: the same of every image with every prompt, as the package does it: each pair anew."""
        require_prompts(prompts)
        pairs = [(index, prompt) for index in range(len(images)) for prompt in prompts]
        return self._score(images, pairs).reshape(len(images), len(prompts))

    def _score(self, images: Tensor, pairs: list[tuple[int, str]]) -> Tensor:
        """Scores of pairs (number of an image, prompt) in their order, by one process."""
        with tempfile.TemporaryDirectory(prefix="texreward-official-") as folder:
            paths = [Path(folder) / f"{index}.png" for index in range(len(images))]
            for path, image in zip(paths, images.detach().cpu(), strict=True):
                pixels = (image.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0)
                Image.fromarray(pixels.numpy()).save(path)
            named = [[str(paths[index]), prompt] for index, prompt in pairs]
            answer = self.ask({**self._job, "pairs": named})
        return torch.tensor(answer["scores"], dtype=torch.float32, device=images.device)

    def ask(self, job: dict[str, Any]) -> dict[str, Any]:
        """The answer of the other environment. Raises PlainError when that fails; its words are printed."""
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
        done = subprocess.run(
            [self._python, "-m", "rewards.official.serve"],
            input=json.dumps(job),
            capture_output=True,
            text=True,
            env=environment,
        )
        if done.returncode != 0:
            said = [line for line in done.stderr.splitlines() if line.strip()]
            print("\n".join(said[-40:]), file=sys.stderr, flush=True)
            reason = said[-1].strip() if said else f"status {done.returncode}"
            raise PlainError(f"{self.version} failed in its own environment ({reason}); its words are above.")
        return json.loads(done.stdout)
