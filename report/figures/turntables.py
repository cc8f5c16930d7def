"""Turntable videos of a run: per method one loop that turns several of its textures, as GIF and MP4."""

from __future__ import annotations

from pathlib import Path

import imageio_ffmpeg
import numpy as np
from PIL import Image, ImageDraw

from report.pictures import PICTURE_BACKGROUND, MeshPictures, pixels
from report.results import Results
from texgen.storage.files import atomic_path

FRAMES, SIZE, PER_SECOND = 36, 160, 12
ELEVATION = 15.0
MOST_OBJECTS = 6
COLOURS = 255
"""Of a GIF; one palette for the whole loop, so that still parts do not flicker."""


class Turntables:
    """frames: pictures of one turn. size: side of one object's picture; even, as video coders ask."""

    def __init__(self, results: Results, frames: int = FRAMES, size: int = SIZE) -> None:
        self.results, self.frames, self.size = results, frames, size - size % 2
        first: dict[str, dict] = {}
        for asset in results.assets:
            first.setdefault(asset["mesh"], asset)
        # One object of each mesh, then further prompts.
        rest = [asset for asset in results.assets if asset not in first.values()]
        self.assets = [*first.values(), *rest][:MOST_OBJECTS]
        self._looks: dict[str, MeshPictures] = {}

    def look(self, mesh: str) -> MeshPictures:
        """The cameras around a mesh, rasterised once for all methods."""
        if mesh not in self._looks:
            azimuths = [30.0 + 360.0 * k / self.frames for k in range(self.frames)]
            self._looks[mesh] = MeshPictures(
                self.results.mesh(mesh), azimuths, ELEVATION, self.size, background=PICTURE_BACKGROUND
            )
        return self._looks[mesh]

    def loop(self, method: str) -> np.ndarray:
        """[frames, H, W, 3] uint8: the objects side by side; a failed one is a grey cell that says so."""
        cells = []
        for asset in self.assets:
            if self.results.done(method, asset["asset"]):
                frames = self.look(asset["mesh"])(self.results.texture(method, asset["asset"]))
                cells.append(np.stack([pixels(frame) for frame in frames]))
            else:
                cells.append(np.stack([failed(self.size)] * self.frames))
        return np.concatenate(cells, axis=2)


def failed(size: int) -> np.ndarray:
    """[size, size, 3] uint8, grey with one word."""
    picture = Image.new("RGB", (size, size), (238, 238, 238))
    ImageDraw.Draw(picture).text((size // 2, size // 2), "failed", fill=(90, 90, 90), anchor="mm")
    return np.asarray(picture)


def write_gif(path: Path, loop: np.ndarray) -> None:
    """An endless GIF of frames [N, H, W, 3] uint8."""
    whole = Image.fromarray(np.concatenate(list(loop[:: max(1, len(loop) // 6)]), axis=0))
    palette = whole.quantize(COLOURS, method=Image.Quantize.MEDIANCUT)
    frames = [Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.NONE) for frame in loop]
    with atomic_path(path) as temporary:
        frames[0].save(
            temporary,
            format="GIF",
            save_all=True,
            append_images=frames[1:],
            duration=round(1000 / PER_SECOND),
            loop=0,
        )


def write_mp4(path: Path, loop: np.ndarray, turns: int = 2) -> None:
    """An H.264 film of frames [N, H, W, 3] uint8 (even sides), played `turns` times."""
    height, width = loop.shape[1:3]
    with atomic_path(path) as temporary:
        film = imageio_ffmpeg.write_frames(
            str(temporary),
            (width, height),
            fps=PER_SECOND,
            codec="libx264",
            pix_fmt_out="yuv420p",
            macro_block_size=2,
            ffmpeg_log_level="error",
            output_params=["-crf", "20", "-movflags", "+faststart", "-f", "mp4", "-threads", "1"],
        )
        film.send(None)
        try:
            for frame in np.concatenate([loop] * turns):
                film.send(np.ascontiguousarray(frame))
        finally:
            film.close()
