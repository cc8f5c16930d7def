"""Paint one texture of a tuned model again and store what every stage of it looked like, for the figures.

Nothing is stored while textures are made; one seed gives one texture, and the step checks that it did.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from texgen.storage.result_records import check_run, read_run, write_score_record
from workflow import provenance
from workflow.jobs.jobs import TextureJob, TrainJob
from workflow.runtime.devices import claim_gpu, pick_device
from workflow.runtime.locking import work_alone
from workflow.runtime.step_errors import run_step

SAME = 2.5 / 255  # root mean square difference to the stored 8-bit texture that counts as the same


class ChainRecorder:
    """A `texgen.painting.views.Gradient` that keeps each view's chain and its last latents."""

    def __init__(self) -> None:
        self.chains: dict[int, Any] = {}
        self.latents: dict[int, Any] = {}

    def frozen(self) -> bool:
        """True: nothing is differentiated while it watches."""
        return True

    def view(self, run, inputs, parameters, fixed_geometry):
        return run(*inputs)

    def denoise(self, backbone, scheduler, chain, latents, step, index):
        from texgen.diffusion.sampler import denoise

        self.chains[index] = chain
        self.latents[index] = denoise(backbone, scheduler, chain, latents, step)
        return self.latents[index]


class FinishedLatents:
    """A `Gradient` that hands finished latents in, to be differentiated."""

    def __init__(self, latents: dict[int, Any]) -> None:
        self.latents = latents

    def frozen(self) -> bool:
        """True: it evaluates no network, so no adapter needs a gradient."""
        return True

    def view(self, run, inputs, parameters, fixed_geometry):
        return run(*inputs)

    def denoise(self, backbone, scheduler, chain, latents, step, index):
        return self.latents[index]


def stages(painting: TextureJob, training: TrainJob, results: Path, threads: int) -> dict[str, Any]:
    """Arrays of the stages of the first finished asset, see `report.figures.method_diagram`."""
    import numpy as np
    import torch

    from rewards.base import NotApplicable
    from texgen.finetune.items import TrainingItem
    from texgen.mesh.export import load_texture_png
    from texgen.painting.views import Derivative
    from workflow.steps.finetune import build_reward
    from workflow.steps.loading import Adapters, load_method, load_prepared

    torch.set_num_threads(threads)
    device = pick_device()
    reward = build_reward(training, device)
    asset, item = None, None
    for each in painting.assets:
        folder = results / "textures" / painting.method
        run = read_run(folder, each["asset"])
        if run["status"] != "ok":
            continue
        check_run(folder, run, ["texture.png"])
        mesh, geometry = load_prepared(results / "meshes", each["mesh"], device)
        candidate = TrainingItem(mesh, each["prompt"], geometry)
        if reward.refusal(candidate) is None:
            asset, item = each, candidate
            break
    if asset is None:
        raise NotApplicable(
            f"No finished texture of {painting.method} can be judged by the reward of its model."
        )
    adapters = Adapters(results / "models" / painting.model)
    method = load_method(painting, device, adapters)()
    backbone = method.backbone
    watcher = ChainRecorder()
    with torch.no_grad():
        texture, _ = method.paint(item.mesh, item.prompt, asset["seed"], Derivative(watcher))
        images = {index: backbone.decode_latents(z).clamp(0, 1) for index, z in watcher.latents.items()}
    stored = load_texture_png(results / "textures" / painting.method / asset["asset"] / "texture.png")
    difference = float((texture.cpu().float() - stored).square().mean().sqrt())
    leaves = {index: z.detach().requires_grad_() for index, z in watcher.latents.items()}
    given = Derivative(FinishedLatents(leaves))
    again, painted = method.paint(item.mesh, item.prompt, asset["seed"], given)
    value = reward(again, painted, item)
    gradients = torch.autograd.grad(value, list(leaves.values()), allow_unused=True)
    value = value.detach()
    arrays: dict[str, Any] = {
        "views": np.array(sorted(watcher.chains)),
        "texture": again.detach().cpu().float().numpy(),
        "reward": np.array(float(value)),
        "difference": np.array(difference),
    }
    for index, gradient in zip(leaves, gradients, strict=True):
        control = watcher.chains[index].controls[0].image[0].cpu().float()
        magnitude = torch.zeros(leaves[index].shape[-2:]) if gradient is None else gradient[0].norm(dim=0)
        arrays |= {
            f"depth_{index}": control[-1].numpy(),
            f"known_{index}": control[:3].numpy(),
            f"pinned_{index}": watcher.chains[index].pin_late[0, 0].cpu().float().numpy(),
            f"image_{index}": images[index][0].cpu().float().numpy(),
            f"gradient_{index}": magnitude.cpu().float().numpy(),
        }
    camera = method.cameras
    arrays["azimuth"], arrays["elevation"] = camera.azimuth.cpu().numpy(), camera.elevation.cpu().numpy()
    words = {"method": painting.method, **asset}
    arrays |= {f"text_{key}": np.array(str(word)) for key, word in words.items()}
    if difference > SAME:
        print(f"the texture differs from the stored one by {difference:.4f} (another device or version)")
    return arrays


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--texture", type=Path, required=True, help="settings file of the texturing job")
    parser.add_argument("--model", type=Path, required=True, help="settings file of the model's training")
    parser.add_argument("--results", type=Path, required=True, help="results folder")
    parser.add_argument("--out", type=Path, required=True, help="file to write, .npz")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    options = parser.parse_args(arguments)
    import numpy as np

    painting, training = TextureJob.read(options.texture), TrainJob.read(options.model)
    with work_alone(options.out):
        claim = claim_gpu()
        arrays = stages(painting, training, options.results, options.threads)
        with provenance.atomic_path(options.out) as path, open(path, "wb") as file:
            np.savez_compressed(file, **arrays)
        write_score_record(options.out, {})
        if claim is not None:
            claim.close()
    print(
        f"{options.out}: {len(arrays['views'])} views of {arrays['text_asset']}, "
        f"reward {float(arrays['reward']):.4f}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(run_step(main))
