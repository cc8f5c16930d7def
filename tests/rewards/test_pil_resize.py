"""PIL's resize as products of matrices: every byte is PIL's."""

import numpy as np
import pytest
import torch
from PIL import Image

from rewards.preference.pil_resize import resize_on_device
from rewards.preference.preprocess import Preprocessing, preprocess

CASES = [
    ((512, 512), (224, 224)),
    ((300, 517), (224, 386)),
    ((64, 64), (224, 224)),
    ((37, 90), (224, 544)),
    ((225, 224), (225, 223)),
    ((224, 224), (224, 224)),
    ((1, 7), (3, 30)),
    ((1031, 1031), (31, 31)),
]


def by_pil(pixels: torch.Tensor, target: tuple[int, int]) -> torch.Tensor:
    """`[3, H, W]` uint8 -> `[3, height, width]`."""
    image = Image.fromarray(pixels.permute(1, 2, 0).numpy())
    return torch.from_numpy(np.array(image.resize(target[::-1], Image.Resampling.BICUBIC))).permute(2, 0, 1)


@pytest.mark.parametrize(("source", "target"), CASES)
def test_every_byte_is_that_of_pil(source, target):
    generator = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 256, (3, *source), generator=generator, dtype=torch.uint8)
    edges = ((torch.rand(3, *source, generator=generator) < 0.5) * 255).to(torch.uint8)  # overshoots
    found = resize_on_device(torch.stack([noise, edges]), target)
    for ours, pixels in zip(found, (noise, edges), strict=True):
        assert torch.equal(ours, by_pil(pixels, target).double())


def test_an_image_that_grows_on_one_side_only_is_refused():
    with pytest.raises(ValueError, match=r"\(10, 10\) to \(5, 20\)"):
        resize_on_device(torch.zeros(1, 3, 10, 10), (5, 20))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_prepares_the_same_images():
    images = torch.rand(4, 3, 300, 200, generator=torch.Generator().manual_seed(1))
    wanted = preprocess(images, Preprocessing(224), eight_bit=True)
    torch.testing.assert_close(preprocess(images.cuda(), Preprocessing(224), eight_bit=True).cpu(), wanted)
