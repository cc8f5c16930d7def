"""Images for scoring as a viewer shows them: every orientation, colour space and mode that Pillow opens."""

from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from rewards.picture_files import ORIENTATION, opened, read_image, shown_size
from texgen.errors import PlainError
from workflow.cli.score import distinct_names

WHITE = (1.0, 1.0, 1.0)
# How a stored picture [H, W] becomes the one that is shown, by EXIF orientation.
SHOWN = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a, 1),
}


def numbers(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def read(path, background=WHITE):
    """[H, W, 3] in 0 to 255."""
    found = read_image(str(path), background)
    assert found.shape[:2] == (1, 3) and found.dtype == torch.float32
    return found[0].permute(1, 2, 0).numpy() * 255


@pytest.mark.parametrize("orientation", SHOWN)
@pytest.mark.parametrize("ending", ["png", "tiff"])
def test_an_image_is_turned_as_its_exif_says(orientation, ending, tmp_path):
    pixels, exif = numbers(3, 5, 3), Image.Exif()
    exif[ORIENTATION] = orientation
    path = tmp_path / f"turned.{ending}"
    Image.fromarray(pixels).save(path, exif=exif)
    wanted = SHOWN[orientation](pixels)
    assert np.allclose(read(path), wanted, atol=1e-3)
    with opened(str(path)) as image:
        assert shown_size(image) == (wanted.shape[1], wanted.shape[0])


def saved(path, image, **more):
    image.save(path, **more)
    return path


def test_grey_modes_keep_their_brightness(tmp_path):
    grey = numbers(4, 6)
    wanted = np.repeat(grey[..., None], 3, axis=2)
    assert np.allclose(read(saved(tmp_path / "l.png", Image.fromarray(grey))), wanted, atol=1e-3)
    bits = Image.fromarray(grey).point(lambda value: 255 * (value > 127)).convert("1")
    found = read(saved(tmp_path / "one.png", bits))
    assert np.allclose(found, 255.0 * (wanted > 127), atol=1e-3)
    deep = Image.fromarray(grey.astype(np.uint16) * 257)
    assert deep.mode == "I;16"
    assert np.allclose(read(saved(tmp_path / "deep.png", deep)), wanted, atol=1e-3)


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_alpha_lets_the_background_through(mode, tmp_path):
    pixels = numbers(4, 6, len(mode))
    found = read(saved(tmp_path / "a.png", Image.fromarray(pixels, mode)), (0.0, 0.5, 1.0))
    alpha = pixels[..., -1:] / 255
    colour = np.broadcast_to(pixels[..., :-1].astype(float), (4, 6, 3))
    assert np.allclose(found, alpha * colour + (1 - alpha) * np.array([0, 127.5, 255]), atol=1e-2)


def test_a_palette_with_a_transparent_entry(tmp_path):
    image = Image.fromarray(np.array([[0, 1], [2, 0]], dtype=np.uint8), "P")
    image.putpalette([10, 20, 30, 200, 100, 50, 0, 255, 0])
    opaque = read(saved(tmp_path / "p.png", image))
    assert np.allclose(opaque[0, 0], [10, 20, 30], atol=1e-3)
    holes = read(saved(tmp_path / "h.png", image, transparency=0), (0.0, 0.0, 1.0))
    assert np.allclose(holes[[0, 1], [0, 1]], [0, 0, 255], atol=1e-3)
    assert np.allclose(holes[0, 1], [200, 100, 50], atol=1e-3)


def test_printing_colours_become_screen_colours(tmp_path):
    ink = np.zeros((8, 8, 4), dtype=np.uint8)
    ink[:, 4:] = (0, 255, 255, 0)  # no ink, and magenta with yellow
    found = read(saved(tmp_path / "ink.tiff", Image.fromarray(ink, "CMYK")))
    assert found[0, 0].min() > 250
    assert found[0, 7, 0] > 200 and found[0, 7, 1:].max() < 60


def profile(name):
    return ImageCms.ImageCmsProfile(ImageCms.createProfile(name)).tobytes()


def swapped_profile():
    """sRGB's profile with its red and blue colourants exchanged, in the way that a wide one differs."""
    data = bytearray(profile("sRGB"))
    at = {}
    for index in range(int.from_bytes(data[128:132], "big")):
        entry = 132 + 12 * index
        at[bytes(data[entry : entry + 4])] = entry
    red, blue = at[b"rXYZ"], at[b"bXYZ"]
    data[red + 4 : red + 12], data[blue + 4 : blue + 12] = (
        bytes(data[blue + 4 : blue + 12]),
        bytes(data[red + 4 : red + 12]),
    )
    return bytes(data)


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_colours_are_those_of_the_profile(mode, tmp_path):
    pixels = np.full((4, 4, len(mode)), 255, dtype=np.uint8)
    pixels[..., :3] = (250, 10, 20)
    image = Image.fromarray(pixels, mode)
    plain = read(saved(tmp_path / "srgb.png", image, icc_profile=profile("sRGB")))
    assert np.abs(plain - (250, 10, 20)).max() <= 1.01
    turned = read(saved(tmp_path / "swapped.png", image, icc_profile=swapped_profile()))
    assert np.abs(turned - (20, 10, 250)).max() <= 3


def test_a_profile_that_is_none_counts_as_srgb(tmp_path):
    image = Image.fromarray(numbers(4, 4, 3))
    found = read(saved(tmp_path / "odd.png", image, icc_profile=b"this is no profile"))
    assert np.allclose(found, np.asarray(image), atol=1e-3)


def test_a_profile_keeps_the_alpha(tmp_path):
    pixels = np.full((2, 2, 4), 255, dtype=np.uint8)
    pixels[0, 0, 3] = 0
    path = saved(tmp_path / "a.png", Image.fromarray(pixels), icc_profile=profile("sRGB"))
    found = read(path, (1.0, 0.0, 0.0))
    assert np.allclose(found[0, 0], [255, 0, 0], atol=1e-3) and found[1, 1].min() > 253


@pytest.mark.parametrize("format_", ["png", "jpeg", "tiff", "webp"])
def test_a_file_that_is_cut_off_is_named(format_, tmp_path):
    stream = BytesIO()
    Image.fromarray(numbers(64, 64, 3)).save(stream, format=format_)
    path = tmp_path / f"cut.{format_}"
    path.write_bytes(stream.getvalue()[: len(stream.getvalue()) // 2])
    with pytest.raises(PlainError) as caught:
        read_image(str(path), WHITE)
    assert str(path) in str(caught.value) and "cannot be read as an image" in str(caught.value)


def test_numbers_without_a_known_white_are_refused(tmp_path):
    path = saved(tmp_path / "f.tiff", Image.fromarray(np.full((2, 2), 7.5, dtype=np.float32)))
    with pytest.raises(PlainError, match="save it with 8 or 16 bits"):
        read_image(str(path), WHITE)


def test_paths_are_cut_to_what_tells_them_apart():
    assert distinct_names(["a/x.png", "b/y.png"]) == ["x.png", "y.png"]
    assert distinct_names(["a/x.png", "b/x.png"]) == ["a/x.png", "b/x.png"]
    assert distinct_names(["one/a/x.png", "two/a/x.png", "one/y.png"]) == [
        "one/a/x.png",
        "two/a/x.png",
        "one/y.png",
    ]
    assert distinct_names(["x.png", "x.png"]) == ["x.png", "x.png"]
