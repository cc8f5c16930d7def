"""Picture files as a viewer shows them: turned as EXIF says, in sRGB, whatever their mode."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Any

from texgen.errors import PlainError
from texgen.storage.files import read_bytes

PICTURES = (".png", ".jpg", ".jpeg", ".webp")
"""Endings of picture files that are looked for in folders, and written."""
ORIENTATION = 0x0112  # of EXIF; from 5 on width and height change places
TIFF_SIZE = (256, 257)  # tags of the width and the height that are stored
LARGEST_16_BIT = 65535


@contextmanager
def opened(path: str) -> Iterator[Any]:
    """An image file, of which the head alone has been read. Raises PlainError in one sentence."""
    from PIL import Image

    try:
        with Image.open(BytesIO(read_bytes(path))) as image:
            yield image
    except FileNotFoundError:
        raise PlainError(f"There is no image file {path!r}; check the path.") from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise PlainError(f"{path} cannot be read as an image ({error}).") from None


def shown_size(image: Any) -> tuple[int, int]:
    """(width, height) as a viewer shows an open image."""
    width, height = image.size
    if image.format == "TIFF":  # Pillow has turned this size already
        width, height = (image.tag_v2[tag] for tag in TIFF_SIZE)
    return (height, width) if image.getexif().get(ORIENTATION, 1) >= 5 else (width, height)


def read_image(path: str, background: tuple[float, ...]):
    """`[1, 3, H, W]` in [0, 1], composited over the background. Raises PlainError in one sentence."""
    with opened(path) as image:
        return composited(image, background)


def composited(image: Any, background: tuple[float, ...]):
    """`[1, 3, H, W]` in [0, 1] of an open image, over the background. Raises ValueError, see `as_shown`."""
    import numpy as np
    import torch

    pixels = torch.from_numpy(np.array(as_shown(image), dtype=np.float32))
    pixels = pixels.permute(2, 0, 1)[None] / 255
    alpha = pixels[:, 3:]
    return alpha * pixels[:, :3] + (1 - alpha) * torch.tensor(background)[:, None, None]


def as_shown(image: Any):
    """An open image as RGBA of 8 bits, or as an array `[H, W, 4]` of 0 to 255 where it has more.

    Raises ValueError for numbers that have no known white.
    """
    from PIL import ImageOps

    profile = image.info.get("icc_profile")
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith(("I", "F")):
        return _deep_grey(image)
    if image.mode == "LAB":
        return _from_lab(image)
    if profile:
        image = _in_srgb(image, profile)
    return image.convert("RGBA")


def _deep_grey(image: Any):
    import numpy as np

    values = np.array(image).astype(np.float64)
    top = float(values.max(initial=0.0))
    if image.mode == "F":
        white = 1.0 if 0 <= values.min(initial=0.0) and top <= 1 else None
    else:
        white = LARGEST_16_BIT if image.mode.startswith("I;16") or top > 255 else 255
    if white is None or top > white or values.min(initial=0.0) < 0:
        raise ValueError(f"its pixels are of kind {image.mode} and leave 0 to 1; save it with 8 or 16 bits")
    grey = np.repeat((values / white * 255)[..., None], 3, axis=2)
    return np.concatenate((grey, np.full_like(grey[..., :1], 255)), axis=2)


def _from_lab(image: Any):
    from PIL import ImageCms

    change = ImageCms.buildTransform(
        ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB"
    )
    found = ImageCms.applyTransform(image, change)
    assert found is not None  # None is for changes in place
    return found.convert("RGBA")


def _in_srgb(image: Any, profile: bytes):
    """The image with the colours that its profile says; a profile that cannot be used counts as sRGB."""
    from PIL import ImageCms

    alpha = image.getchannel("A") if image.mode in ("RGBA", "LA", "PA") else None
    if image.mode == "P":
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
        alpha = image.getchannel("A") if image.mode == "RGBA" else None
    plain = {"RGBA": "RGB", "LA": "L", "PA": "RGB", "1": "L", "RGBX": "RGB"}.get(image.mode, image.mode)
    try:
        found = ImageCms.profileToProfile(
            image.convert(plain), BytesIO(profile), ImageCms.createProfile("sRGB"), outputMode="RGB"
        )
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return image
    assert found is not None  # None is for changes in place
    if alpha is not None:
        found.putalpha(alpha)
    return found
