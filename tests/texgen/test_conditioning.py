"""Cropping, filling and the control image against plain twins."""

import torch

from texgen.diffusion.conditioning import (
    Crop,
    control_image,
    fill_unknown,
    object_crop,
    unzoom,
    whole_frame,
    zoom,
)


def disc(size, row, column, radius):
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    return (((y - row) ** 2 + (x - column) ** 2) <= radius**2).double()[None, None]


def test_crop_is_centred_on_the_object_and_a_tenth_larger():
    crop = object_crop(disc(64, 30, 34, 10))
    assert crop.side == 24 and crop.frame == 64  # ceil(21 * 1.1)
    assert abs(crop.top + crop.side / 2 - 30.5) <= 0.5 and abs(crop.left + crop.side / 2 - 34.5) <= 0.5


def test_crop_that_leaves_the_frame_is_no_crop():
    assert object_crop(disc(64, 6, 30, 8)) == whole_frame(64)
    assert object_crop(torch.zeros(1, 1, 64, 64)) == whole_frame(64)


def test_zoom_and_back_keeps_a_smooth_image():
    ramp = torch.linspace(0, 1, 64, dtype=torch.float64)
    image = torch.stack([ramp.expand(64, 64), ramp[:, None].expand(64, 64)])[None]
    crop = Crop(10, 20, 32, 64)
    back = unzoom(zoom(image, crop, 16), crop)
    assert back.shape == image.shape
    inner = (..., slice(12, 40), slice(22, 50))
    torch.testing.assert_close(back[inner], image[inner], atol=1e-2, rtol=0)
    assert torch.equal(zoom(image, crop, 32), image[..., 10:42, 20:52])
    assert torch.equal(zoom(image, whole_frame(64), 64), image)


def test_unknown_pixels_continue_their_surroundings():
    image = torch.rand(1, 3, 17, 13, dtype=torch.float64)
    known = (torch.rand(1, 1, 17, 13) > 0.7).double()
    filled = fill_unknown(image, known)
    torch.testing.assert_close(filled * known, image * known)
    inside = image[(known > 0).expand_as(image)]
    assert inside.min() <= filled.min() and filled.max() <= inside.max()  # averages, nothing else
    constant = fill_unknown(torch.full_like(image, 0.3) * known, known)
    torch.testing.assert_close(constant, torch.full_like(image, 0.3))
    assert fill_unknown(image, known * 0).abs().max() == 0


def test_fill_is_linear_in_the_image():
    known = (torch.rand(1, 1, 8, 8) > 0.5).double()
    image = torch.rand(1, 1, 8, 8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: fill_unknown(x, known), image)


def test_control_image_layout():
    rgb, depth = torch.rand(1, 3, 4, 4), torch.rand(1, 1, 4, 4)
    known = torch.zeros(1, 1, 4, 4)
    known[..., :2] = 1
    control = control_image(rgb, known, depth)
    assert control.shape == (1, 6, 4, 4)
    assert torch.equal(control[:, :3, :, :2], rgb[..., :2])
    assert bool((control[:, :3, :, 2:] == -1).all())
    for channel in (3, 4, 5):
        assert torch.equal(control[:, channel], depth[:, 0])
