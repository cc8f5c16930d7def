"""Low-rank adapters (LoRA) on a UNet, by peft, stored in the format that diffusers reads.

One adapter named "default". The second factor starts at zero, so an untouched adapter changes nothing; the
first factor is seeded. Adapter weights are float32 at least, whatever precision the frozen base has.
"""

from __future__ import annotations

import json
import math
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from diffusers.loaders.lora_base import LORA_ADAPTER_METADATA_KEY
from peft import LoraConfig, get_peft_model_state_dict
from peft.tuners.lora import LoraLayer
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from texgen import seeds
from texgen.diffusion.lora_merge import fold, is_folded, unfold
from texgen.errors import DamagedFileError, damage_named
from texgen.storage.files import atomic_path

ADAPTER = "default"
FILE_NAME = "pytorch_lora_weights.safetensors"
ATTENTION_TARGETS = ("to_q", "to_k", "to_v", "to_out.0")
# Convolutions of the residual blocks and the last one: small UNets have no attention at full resolution, so
# that attention alone can hardly move what a texture looks like close by.
CONVOLUTION_TARGETS = ("conv1", "conv2", "conv_out")
LAYERS: dict[str, tuple[str, ...]] = {
    "attention": ATTENTION_TARGETS,
    "attention+convolutions": ATTENTION_TARGETS + CONVOLUTION_TARGETS,
}


def lora_layers(unet: nn.Module) -> list[tuple[str, LoraLayer]]:
    """All (name, layer) of the UNet that carry the adapter; empty when there is none."""
    return [
        (name, module)
        for name, module in unet.named_modules()
        if isinstance(module, LoraLayer) and ADAPTER in module.lora_A
    ]


def _require(unet: nn.Module) -> list[tuple[str, LoraLayer]]:
    layers = lora_layers(unet)
    if not layers:
        raise ValueError("The UNet has no LoRA adapter; call add_lora or load_lora first.")
    return layers


def add(
    unet: UNet2DConditionModel,
    rank: int,
    alpha: float | None = None,
    targets: tuple[str, ...] = ATTENTION_TARGETS,
    seed: int = 0,
) -> None:
    """Inject an adapter of `rank` into the layers whose names end in `targets`.

    The adapter's output is scaled by alpha / rank; alpha = None means alpha = rank (scale 1). Initial values:
    first factor Kaiming-uniform from `seed`, second factor zero. Raises ValueError when there is one already,
    when the rank is not positive or when no layer has such a name.
    """
    if lora_layers(unet):
        raise ValueError("The UNet already has a LoRA adapter; load a fresh backbone to add another.")
    if rank < 1:
        raise ValueError(f"LoRA rank is {rank}; it must be at least 1.")
    config = LoraConfig(
        r=rank,
        lora_alpha=rank if alpha is None else alpha,
        target_modules=list(targets),
        init_lora_weights=True,
    )
    with torch.random.fork_rng(devices=[]):  # peft draws from the global generator; leave it as it was
        unet.add_adapter(config, adapter_name=ADAPTER)
    for name, layer in _require(unet):
        first = layer.lora_A[ADAPTER].weight
        drawn = torch.empty(first.shape, dtype=torch.float32)
        nn.init.kaiming_uniform_(drawn, a=math.sqrt(5), generator=seeds.generator("lora", seed, name))
        with torch.no_grad():
            first.copy_(drawn)
    _promote(unet)
    _changed(unet)


def _promote(unet: nn.Module) -> None:
    """Half-precision adapter weights become float32: their updates are too small for 16 bits."""
    for _, layer in lora_layers(unet):
        for factor in (layer.lora_A[ADAPTER], layer.lora_B[ADAPTER]):
            if factor.weight.dtype in (torch.float16, torch.bfloat16):
                factor.to(torch.float32)


def parameters(unet: nn.Module) -> list[nn.Parameter]:
    """The adapter's parameters in a fixed order (layer by layer, first factor then second)."""
    return [factor[ADAPTER].weight for _, layer in _require(unet) for factor in (layer.lora_A, layer.lora_B)]


def save(unet: UNet2DConditionModel, folder: str | Path) -> Path:
    """Write `folder/pytorch_lora_weights.safetensors`; returns its path.

    Keys and metadata are diffusers' own: the file loads in plain diffusers by
    `pipeline.load_lora_weights(folder)` and by
    `unet.load_lora_adapter(folder, weight_name="pytorch_lora_weights.safetensors", prefix="unet")`.
    """
    _require(unet)
    state = get_peft_model_state_dict(unet, adapter_name=ADAPTER)
    state = {f"unet.{key}": value.detach().cpu().contiguous() for key, value in state.items()}
    metadata = {"format": "pt", LORA_ADAPTER_METADATA_KEY: _metadata(unet)}
    path = Path(folder) / FILE_NAME
    with atomic_path(path) as temporary:
        save_file(state, temporary, metadata=metadata)
    return path


def _metadata(unet: UNet2DConditionModel) -> str:
    """The adapter's configuration as diffusers stores it: one JSON object, keys prefixed by "unet."."""
    config = unet.peft_config[ADAPTER].to_dict()
    return json.dumps(
        {f"unet.{key}": sorted(value) if isinstance(value, set) else value for key, value in config.items()},
        sort_keys=True,
    )


def adapter_tensors(path: Path, remedy: str) -> dict[str, Tensor]:
    """All tensors of an adapter's file. Raises DamagedFileError, which names the remedy, where it is cut."""
    try:
        return load_file(path)
    except SafetensorError as error:
        raise DamagedFileError(f"{path} is not a complete adapter ({error}); {remedy}.") from error


def load(unet: UNet2DConditionModel, folder: str | Path) -> None:
    """Read an adapter written by `save` (or by diffusers) from a folder or a .safetensors file.

    Replaces the values of the present adapter when its shapes agree, or injects the stored one into a UNet
    that has none. Raises FileNotFoundError when there is no file, DamagedFileError when it
    cannot be read, ValueError when names or shapes differ.
    """
    path = Path(folder)
    path = path if path.suffix == ".safetensors" else path / FILE_NAME
    if not path.is_file():
        raise FileNotFoundError(f"There is no LoRA file {path}; give the folder that save_lora wrote.")
    try:
        with safe_open(path, "pt") as file:
            has_prefix = all(key.startswith("unet.") for key in file.keys())  # noqa: SIM118 (no iterator)
    except SafetensorError as error:
        raise DamagedFileError(
            f"{path} is not a complete adapter ({error}); delete it and train the model again."
        ) from error
    if lora_layers(unet):
        folded = is_folded(unet)
        unmerge(unet)
        _overwrite(unet, path)
        if folded:
            merge(unet)
        return
    with torch.random.fork_rng(devices=[]), damage_named(path):
        unet.load_lora_adapter(
            str(path.parent),
            weight_name=path.name,
            prefix="unet" if has_prefix else None,
            adapter_name=ADAPTER,
            local_files_only=True,
        )
    if not lora_layers(unet):
        raise DamagedFileError(
            f"{path} holds no LoRA weights that fit this UNet; give the adapter of this backbone."
        )
    _refuse_leftovers(unet, path)
    _promote(unet)
    _changed(unet)


def _refuse_leftovers(unet: nn.Module, path: Path) -> None:
    """diffusers drops tensors that fit no layer, with a warning; the rest alone is another adapter."""
    fitting = {f"{name}.{factor}.weight" for name, _ in _require(unet) for factor in ("lora_A", "lora_B")}
    with safe_open(path, "pt") as file:
        given = {key: _peft_key(key) for key in file.keys() if not key.startswith("text_encoder")}  # noqa: SIM118
    odd = sorted(key for key, name in given.items() if name not in fitting and not key.endswith("alpha"))
    if odd:
        raise DamagedFileError(
            f"{path} has {len(odd)} tensors for layers that this UNet lacks, first {odd[0]!r}; give the "
            "adapter of this backbone."
        )


def _overwrite(unet: UNet2DConditionModel, path: Path) -> None:
    wanted = {}
    for name, layer in _require(unet):
        wanted[f"{name}.lora_A.weight"] = layer.lora_A[ADAPTER].weight
        wanted[f"{name}.lora_B.weight"] = layer.lora_B[ADAPTER].weight
    given: dict[str, Tensor] = {_peft_key(key): value for key, value in load_file(path).items()}
    if set(given) != set(wanted):
        odd = sorted(set(given) ^ set(wanted))
        raise ValueError(
            f"{path} and the UNet's adapter differ in {len(odd)} tensors, first {odd[0]!r}; "
            "load it into a backbone without adapter."
        )
    for key, parameter in wanted.items():
        if given[key].shape != parameter.shape:
            raise ValueError(
                f"{path}: {key} has shape {tuple(given[key].shape)}, the UNet's adapter "
                f"{tuple(parameter.shape)} (another rank?); load it into a fresh backbone."
            )
    with torch.no_grad():
        for key, parameter in wanted.items():
            parameter.copy_(given[key])


def _peft_key(key: str) -> str:
    """A stored key ("unet.x.lora.down.weight" or "x.lora_A.weight") as peft names it inside the UNet."""
    key = key.removeprefix("unet.")
    return key.replace(".lora.down.", ".lora_A.").replace(".lora.up.", ".lora_B.")


@contextmanager
def disabled(unet: UNet2DConditionModel) -> Iterator[None]:
    """Inside the context the UNet computes without its adapter; without one the context does nothing.

    peft changes `requires_grad` when it switches adapters; the flags are put back on leaving.
    """
    if not lora_layers(unet):
        yield
        return
    flags = [(parameter, parameter.requires_grad) for parameter in parameters(unet)]
    folded = is_folded(unet)
    unmerge(unet)  # or peft would
    unet.disable_adapters()
    unet._lora_off = True
    try:
        yield
    finally:
        unet.enable_adapters()
        unet._lora_off = False
        if folded:
            merge(unet)
        for parameter, flag in flags:
            parameter.requires_grad_(flag)


def set_scale(unet: nn.Module, scale: float) -> None:
    """Multiply the adapter's output by `scale` (on top of alpha / rank): 0 = base model, 1 = as trained."""
    folded = is_folded(unet)
    unmerge(unet)
    for _, layer in _require(unet):
        layer.set_scale(ADAPTER, scale)
    _changed(unet)
    if folded:
        merge(unet)


def merge(unet: nn.Module) -> None:
    """Fold the adapter into the UNet's weights, so that an evaluation costs no more than without one.

    In every precision: the sum is rounded once, which in 16 bits errs no more than rounding the base did. The
    weights as they were are kept, so that `unmerge` is exact. No gradient reaches a merged adapter. Does
    nothing where it is merged already.
    """
    layers = _require(unet)
    if not is_folded(unet):
        fold(unet, layers, ADAPTER)


def unmerge(unet: nn.Module) -> None:
    """Put back the weights that `merge` changed, to the bit; does nothing where nothing is merged."""
    if is_folded(unet):
        unfold(unet, _require(unet), ADAPTER)


@contextmanager
def merged(unet: nn.Module) -> Iterator[None]:
    """Inside the context the adapter is folded into the weights; without one it does nothing.

    For evaluations without gradient between two steps of a training.
    """
    if not lora_layers(unet) or is_folded(unet):
        yield
        return
    merge(unet)
    try:
        yield
    finally:
        unmerge(unet)


def state(unet: nn.Module) -> tuple[Hashable, ...]:
    """What a captured evaluation of the UNet depends on besides the values of its tensors: which adapter
    there is, at which strength, switched off or merged. Cheap: it is asked before every evaluation."""
    return getattr(unet, "_lora_changes", 0), getattr(unet, "_lora_off", False), is_folded(unet)


def _changed(unet: nn.Module) -> None:
    unet._lora_changes = getattr(unet, "_lora_changes", 0) + 1
