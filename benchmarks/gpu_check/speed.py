"""How long things take at full size, beside what the arithmetic alone would take."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.gpu_check.correct import prediction_inputs
from benchmarks.gpu_check.models import clip_l14, torus
from benchmarks.gpu_check.record import milliseconds
from rewards.preference.clip_score import CLIPScore
from texgen.diffusion.backbone import Backbone
from texgen.finetune.gradients import Exact, LastK, Strategy
from texgen.painting.pipeline import TexGen
from texgen.painting.presets import get_preset
from texgen.painting.scene import Viewpoints
from texgen.painting.views import Derivative
from texgen.timing import Stopwatch


def rates(device: torch.device, tiny: bool) -> dict[str, Any]:
    """Measured rates of the device: products in float16, copies."""
    side = 256 if tiny else 8192
    dtype = torch.float16 if device.type == "cuda" else torch.float32
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    took = milliseconds(lambda: a @ b, device)
    copied = milliseconds(lambda: a.clone(), device)
    return {
        "matmul_tflop_s": 2 * side**3 / took / 1e9,
        "copy_tb_s": 2 * a.numel() * a.element_size() / copied / 1e9,
    }


def prediction(backbone: Backbone, side: int, tflop_s: float | None) -> dict[str, Any]:
    """Milliseconds of a guided prediction: plain, captured, with an adapter beside and merged; the floor."""
    arguments, device = prediction_inputs(backbone, side), backbone.device
    own = backbone.captured
    out: dict[str, Any] = {}

    def timed() -> float:
        return milliseconds(lambda: backbone.predict(*arguments), device)

    with torch.no_grad():
        backbone.captured = None
        out["adapter_beside_plain_ms"] = timed()
        with backbone.lora_merged():  # as without one
            out["plain_ms"] = timed()
            with FlopCounterMode(display=False) as flops:
                backbone.predict(*arguments)
        out["tflop"] = flops.get_total_flops() / 1e12
        backbone.captured = own
        if own is not None:
            out["adapter_beside_captured_ms"] = timed()
            with backbone.lora_merged():
                out["captured_ms"] = timed()
                out["kernel_ms"] = kernel_milliseconds(lambda: backbone.predict(*arguments))
            out["gpu_busy_share_captured"] = out["kernel_ms"] / out["captured_ms"]
    if tflop_s:
        out["floor_ms"] = out["tflop"] / tflop_s * 1000
    return out


def kernel_milliseconds(run) -> float:
    """Milliseconds that kernels ran, from torch's profiler."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        run()
        torch.cuda.synchronize()
    return sum(event.self_device_time_total for event in profiler.key_averages()) / 1000


def _painter(backbone: Backbone, name: str, tiny: bool) -> TexGen:
    """A method at a preset's published settings, or at small ones."""
    small = {"image_size": 64, "render_size": 64, "texture_size": 64, "steps": 2}
    return TexGen(backbone, get_preset(name, **(small if tiny else {})))


def painting(backbone: Backbone, name: str, tiny: bool, repeats: int = 2) -> dict[str, Any]:
    """Seconds a mesh at a preset's published settings, the first (with captures) and later ones; memory."""
    method = _painter(backbone, name, tiny)
    runs = [
        method(torus(f"torus{i}", *((24, 12) if tiny else (160, 96))), "a red brick torus", i)
        for i in range(repeats + 1)
    ]
    last = runs[-1]
    return {
        "first_s": runs[0].spent.wall,
        "wall_s": [run.spent.wall for run in runs[1:]],
        "device_s": [run.spent.device for run in runs[1:]],
        "views": len(last.views),
        "calls": last.calls,
        "peak_gb": last.peak_memory_bytes / 1e9,
        "checks": {"finite": bool(last.texture.isfinite().all())},
    }


def training(backbone: Backbone, tiny: bool) -> dict[str, Any]:
    """An optimiser step's gradient through all steps and through the last: passes, seconds, peak memory, for
    2 and for 6 views."""
    method = _painter(backbone, "texgen", tiny)
    mesh = torus("torus", 48, 24)
    score = CLIPScore(clip_l14(backbone.device, tiny, max_batch=8, recompute=True))
    out: dict[str, Any] = {"checks": {}}
    for label, strategy, limit in (("last_1", LastK(1), 72), ("exact", Exact(), 180)):
        for views in (2, 6):
            out[f"{label}_{views}_views"] = _step(method, mesh, strategy, score, views)
        six, two = out[f"{label}_6_views"], out[f"{label}_2_views"]
        if not tiny:
            out["checks"][f"{label}: at most {limit} passes"] = six["passes"] <= limit
        if six["peak_gb"]:
            growth = six["peak_gb"] / two["peak_gb"] - 1
            out[f"{label}_memory_growth_2_to_6_views"] = growth
            out["checks"][f"{label}: memory flat within 10 %"] = growth < 0.1
    return out


def _step(method: TexGen, mesh, strategy: Strategy, score: CLIPScore, views: int) -> dict[str, Any]:
    backbone = method.backbone
    device, viewpoints = backbone.device, Viewpoints(indices=range(views))
    cuda = device.type == "cuda"

    def paint(gradient):
        return method.paint(mesh, "a red torus", 0, Derivative(gradient, soft=True), viewpoints)

    def run() -> None:
        for parameter in backbone.lora_parameters():
            parameter.grad = None
        for texture, _ in strategy.paintings(paint, 0):
            images = texture[None].expand(2, -1, -1, -1)
            (-score(images, ["a red torus"] * 2).mean()).backward()

    for _ in range(2):  # the second is captured
        run()
    if cuda:
        torch.cuda.reset_peak_memory_stats(device)
    strategy.evaluations.reset()
    watch = Stopwatch(device)
    run()
    spent = watch.spent()
    finite = all(p.grad is None or bool(p.grad.isfinite().all()) for p in backbone.lora_parameters())
    return {
        "device_s": spent.device,
        "wall_s": spent.wall,
        "passes": strategy.evaluations.total,
        "peak_gb": torch.cuda.max_memory_allocated(device) / 1e9 if cuda else 0.0,
        "reserved_gb": torch.cuda.max_memory_reserved(device) / 1e9 if cuda else 0.0,
        "finite": finite,
    }


def compiled(backbone: Backbone, side: int, tiny: bool) -> dict[str, Any]:
    """With blocks compiled: seconds until the first result, a prediction, meshes, a training step."""
    from texgen.diffusion.compiled import compile_blocks

    arguments, device = prediction_inputs(backbone, side), backbone.device
    with torch.no_grad(), backbone.lora_merged():
        plain = backbone.predict(*arguments).double()
        began = Stopwatch(device)
        blocks = compile_blocks(backbone._modules(), "eager" if tiny else "inductor")
        if backbone.captured is not None:
            backbone.captured.clear()
        found = backbone.predict(*arguments).double()
        out: dict[str, Any] = {"blocks": blocks, "first_prediction_s": began.spent().wall}
        out["cosine_to_plain"] = float(torch.cosine_similarity(plain.flatten(), found.flatten(), dim=0))
        out["prediction_ms"] = milliseconds(lambda: backbone.predict(*arguments), device)
        if device.type == "cuda":
            out["kernel_ms"] = kernel_milliseconds(lambda: backbone.predict(*arguments))
    print(out, flush=True)
    for name in ("texgen", "intex"):
        out[f"painting_{name}"] = painting(backbone, name, tiny, repeats=1)
        print(out[f"painting_{name}"], flush=True)
    method = _painter(backbone, "texgen", tiny)
    score = CLIPScore(clip_l14(device, tiny, max_batch=8, recompute=True))
    for label, strategy in (("exact", Exact()), ("last_1", LastK(1))):  # passes with gradients are plain
        out[label] = _step(method, torus("torus", 48, 24), strategy, score, 6)
    out["checks"] = {"compiled prediction as plain": out["cosine_to_plain"] > 0.999}
    return out


def scoring(device: torch.device, tiny: bool) -> dict[str, Any]:
    """Images per second of CLIP ViT-L/14 in each precision, 8-bit resize by PIL included; deviations."""
    count, side = (4, 64) if tiny else (64, 512)
    images = torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(0)).to(device)
    prompts = [f"a red torus number {i}" for i in range(8)]
    exact, out = None, {"threads": torch.get_num_threads()}
    for precision in ("float32", "tf32", "float16"):
        clip = clip_l14(device, tiny, eight_bit=True, max_batch=32, precision=precision)
        score = CLIPScore(clip)
        with torch.no_grad():
            found = score.score_matrix(images, prompts)
            exact = found if exact is None else exact
            watch = Stopwatch(device)
            for _ in range(2):
                score.score_matrix(images, prompts)
            took = watch.spent().wall / 2
        out[precision] = {
            "images_s": count / took,
            "largest_deviation": float((found - exact).abs().max()),
        }
    return out
