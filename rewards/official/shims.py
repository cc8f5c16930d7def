"""What the official packages need today to be imported at all; loaded inside their environment only.

- `torchvision`: PyPI serves it for one CUDA build of torch only. The few transforms that scoring uses are
  here, on PIL and on torch; where the real package imports, it is used.
- `timm`: image-reward pins a version that transformers would import and fail on; it is told not to.
- `fairscale`, `clint`, `turtle`: imported for training, downloads and nothing at all.
- `clip`: OpenAI's package is not on PyPI. `load` and `tokenize` are those of open_clip, which took them over.
- `ImageReward`: its package imports ReFL and `datasets`; empty packages in its place import its scores only.
- `bert-base-uncased`: read from the folder that it was downloaded into.
"""

from __future__ import annotations

import enum
import importlib.util
import sys
import types
from pathlib import Path


class _Stub(types.ModuleType):
    """A module any name can be imported from; what is not defined fails when it is called."""

    def __getattr__(self, name: str):
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {"__init__": _refuse, "__doc__": "Not available to the official packages."})


def _refuse(self, *arguments, **options) -> None:
    raise RuntimeError(f"{type(self).__name__} is not available in the environment of the official packages.")


def _module(name: str, **members) -> types.ModuleType:
    module = _Stub(name)
    module.__path__ = []  # type: ignore[attr-defined]
    module.__spec__ = importlib.util.spec_from_loader(name, loader=None)
    for key, value in members.items():
        setattr(module, key, value)
    sys.modules[name] = module
    parent, _, child = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], child, module)
    return module


def install() -> str:
    """Put every shim in its place; returns which torchvision is used."""
    _module("fairscale")
    _module("fairscale.nn")
    _module("fairscale.nn.checkpoint")
    _module("fairscale.nn.checkpoint.checkpoint_activations", checkpoint_wrapper=lambda module: module)
    _module("clint")
    _module("clint.textui", progress=None)
    sys.modules["turtle"] = types.SimpleNamespace(forward=None)  # type: ignore[assignment]
    for name in ("ImageReward", "ImageReward.models"):
        spec = importlib.util.find_spec("ImageReward") if name == "ImageReward" else None
        root = (
            Path(spec.submodule_search_locations[0]) if spec else Path(sys.modules["ImageReward"].__path__[0])
        )
        package = types.ModuleType(name)
        package.__path__ = [str(root if name == "ImageReward" else root / "models")]
        sys.modules[name] = package
    used = _torchvision()
    _clip()
    import transformers.utils.import_utils

    transformers.utils.import_utils._timm_available = False
    return used


# What `clip.load` hands out: the model and the transform that `lend_clip` was given.
_LENT: dict[str, tuple] = {}


def lend_clip(model, transform) -> None:
    """Make `clip.load`, whatever it is asked for, return this model and this transform."""
    _LENT["clip"] = (model, transform)


def _clip() -> None:
    import open_clip

    def tokenize(texts, context_length=77, truncate=False):
        return open_clip.tokenize([texts] if isinstance(texts, str) else texts, context_length)

    _module("clip", load=lambda *arguments, **options: _LENT["clip"], tokenize=tokenize)


def bert_from(folder: str) -> None:
    """Let the official code open BERT's tokenizer, which it asks for by name, from a folder."""
    from transformers import BertTokenizer

    original = BertTokenizer.from_pretrained.__func__

    def from_pretrained(cls, name, *arguments, **options):
        return original(cls, folder if name == "bert-base-uncased" else name, *arguments, **options)

    BertTokenizer.from_pretrained = classmethod(from_pretrained)


def _torchvision() -> str:
    try:
        import torchvision

        return f"torchvision {torchvision.__version__}"
    except (ImportError, RuntimeError):  # absent, or of another build of torch
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
    import torch

    _module("torchvision", __version__="0.29.0")
    functional = {"resize": resize, "pad": pad, "to_tensor": to_tensor, "normalize": normalize}
    _module(
        "torchvision.transforms",
        InterpolationMode=InterpolationMode,
        Compose=Compose,
        Resize=Resize,
        CenterCrop=CenterCrop,
        ToTensor=ToTensor,
        Normalize=Normalize,
        RandomResizedCrop=RandomResizedCrop,
    )
    _module("torchvision.transforms.functional", InterpolationMode=InterpolationMode, **functional)
    _module("torchvision.ops")
    _module("torchvision.ops.misc", FrozenBatchNorm2d=type("FrozenBatchNorm2d", (torch.nn.Module,), {}))
    for name in ("datasets", "datasets.folder", "io", "models", "models.feature_extraction", "utils"):
        _module(f"torchvision.{name}")
    return "shim of torchvision's transforms"


class InterpolationMode(enum.Enum):
    """Names of resampling filters, as torchvision has them."""

    NEAREST = "nearest"
    BILINEAR = "bilinear"
    BICUBIC = "bicubic"
    BOX = "box"
    HAMMING = "hamming"
    LANCZOS = "lanczos"


class Compose:
    """Functions one after the other."""

    def __init__(self, transforms) -> None:
        self.transforms = transforms

    def __call__(self, image):
        for transform in self.transforms:
            image = transform(image)
        return image


class Resize:
    """Shortest side to a size, or both to a pair (height, width)."""

    def __init__(self, size, interpolation=InterpolationMode.BILINEAR, max_size=None, antialias=True) -> None:
        self.size, self.interpolation = size, interpolation

    def __call__(self, image):
        return resize(image, self.size, self.interpolation)


class CenterCrop:
    """Middle of an image at least as large; half pixels round to even."""

    def __init__(self, size) -> None:
        self.height, self.width = (size, size) if isinstance(size, int) else size

    def __call__(self, image):
        width, height = image.size
        top, left = round((height - self.height) / 2), round((width - self.width) / 2)
        return image.crop((left, top, left + self.width, top + self.height))


class RandomResizedCrop:
    """Training only: made along with the other transforms, never called."""

    def __init__(self, *arguments, **options) -> None:
        pass

    __call__ = _refuse


class ToTensor:
    """PIL image -> float tensor [C, H, W] in [0, 1]."""

    def __call__(self, image):
        return to_tensor(image)


class Normalize:
    """(x - mean) / std per channel."""

    def __init__(self, mean, std, inplace=False) -> None:
        self.mean, self.std = mean, std

    def __call__(self, tensor):
        return normalize(tensor, self.mean, self.std)


def to_tensor(image):
    """PIL image -> float tensor [C, H, W] in [0, 1]."""
    import numpy as np
    import torch

    array = np.array(image, copy=True)
    array = array[:, :, None] if array.ndim == 2 else array
    return torch.from_numpy(array).permute(2, 0, 1).contiguous().float().div(255)


def normalize(tensor, mean, std):
    """(tensor - mean) / std per channel."""
    import torch

    mean, std = (torch.as_tensor(value, dtype=tensor.dtype)[:, None, None] for value in (mean, std))
    return (tensor - mean) / std


def resize(image, size, interpolation=InterpolationMode.BILINEAR, max_size=None, antialias=True):
    """PIL images by PIL; tensors [C, H, W] by torch with antialiasing, as torchvision since 0.17."""
    import torch
    from PIL import Image

    tensor = isinstance(image, torch.Tensor)
    height, width = image.shape[-2:] if tensor else image.size[::-1]
    size = [size] if isinstance(size, int) else list(size)
    if len(size) == 1:
        short, long = sorted((height, width))
        other = int(size[0] * long / short)
        target = (size[0], other) if height <= width else (other, size[0])
    else:
        target = tuple(size)
    if target == (height, width):
        return image
    if tensor:
        return torch.nn.functional.interpolate(
            image[None], target, mode=interpolation.value, align_corners=False, antialias=True
        )[0]
    return image.resize(target[::-1], getattr(Image.Resampling, interpolation.name))


def pad(image, padding, fill=0, padding_mode="constant"):
    """Tensor with a border (left, top, right, bottom) of a constant."""
    import torch

    left, top, right, bottom = padding
    return torch.nn.functional.pad(image, (left, right, top, bottom), value=float(fill))
