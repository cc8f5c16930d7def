"""The miniature's own byte-pair tokenizer, in CLIP's format, trained on captions of its world."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from string import ascii_lowercase, digits

import numpy as np
import torch
from torch import Tensor
from transformers import CLIPTokenizer

from texgen.miniature.caption_words import VIEWS
from texgen.miniature.captions import caption
from texgen.miniature.materials import draw_paint
from texgen.miniature.scale import CAPTION_LENGTH
from texgen.miniature.shapes import SHAPES

SPECIAL = ("<|startoftext|>", "<|endoftext|>")


LETTERS = ascii_lowercase + digits + ".,-'!?"
END = "</w>"


def make_tokenizer(texts: Iterable[str], size: int = 1500) -> CLIPTokenizer:
    """A `CLIPTokenizer` whose vocabulary is learned from ``texts``; unseen words fall into letters.

    Equal texts give equal vocabularies: ids are part of what the text encoder learns.
    """
    words = Counter(word for text in texts for word in re.findall(r"[a-z]+|[0-9]|[^\sa-z0-9]+", text.lower()))
    # every letter, and every letter that ends a word, so that any word has a spelling
    pieces = [*SPECIAL, *LETTERS, *(letter + END for letter in LETTERS)]
    merges = learn_merges(words, size - len(pieces))
    pieces += dict.fromkeys("".join(pair) for pair in merges)
    vocabulary = {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=CAPTION_LENGTH)


def learn_merges(words: Mapping[str, int], count: int) -> list[tuple[str, str]]:
    """At most ``count`` byte-pair merges (Sennrich et al. 2016) of pairs met at least twice.

    Among equally frequent pairs the first in alphabetical order is merged. (The trainer of the `tokenizers`
    package breaks such ties, and numbers the letters, in the random order of its hash tables.)
    """
    spellings = {word: (*word[:-1], word[-1] + END) for word in sorted(words)}
    merges: list[tuple[str, str]] = []
    while len(merges) < count:
        pairs: Counter[tuple[str, str]] = Counter()
        for word, pieces in spellings.items():
            for pair in itertools.pairwise(pieces):
                pairs[pair] += words[word]
        if not pairs:
            break
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        if pairs[best] < 2:
            break
        merges.append(best)
        spellings = {word: _merged(pieces, best) for word, pieces in spellings.items()}
    return merges


def _merged(pieces: tuple[str, ...], pair: tuple[str, str]) -> tuple[str, ...]:
    """``pieces`` with each occurrence of ``pair`` joined, from the left."""
    out: list[str] = []
    for piece in pieces:
        if out and (out[-1], piece) == pair:
            out[-1] += piece
        else:
            out.append(piece)
    return tuple(out)


def open_tokenizer(folder: Path) -> CLIPTokenizer:
    """The tokenizer that an earlier training left in ``folder``, else a new one from a sample of captions.

    A prolonged training so keeps its vocabulary; words that came later fall into known pieces.
    """
    if (folder / "tokenizer.json").exists():
        return CLIPTokenizer.from_pretrained(folder)
    return make_tokenizer(sample_captions())


def sample_captions(count: int = 6000) -> list[str]:
    """Captions of random paints, shapes, views and lights; always the same ones, whatever the data."""
    rng = np.random.default_rng(0)
    generator = torch.Generator().manual_seed(0)
    shapes, views = sorted(SHAPES), sorted(VIEWS)
    captions = []
    for i in range(count):
        spec = draw_paint(generator)
        view, soft = views[int(rng.integers(len(views)))], bool(rng.random() < 0.15)
        captions.append(caption(spec.material, spec.colours, shapes[i % len(shapes)], rng, view, soft))
    return captions


def tokenize(tokenizer: CLIPTokenizer, texts: list[str]) -> Tensor:
    """Token ids ``[B, CAPTION_LENGTH]``."""
    return tokenizer(
        texts, padding="max_length", truncation=True, max_length=CAPTION_LENGTH, return_tensors="pt"
    ).input_ids


def text_settings(vocabulary: int, end_token: int, width: int) -> dict[str, int]:
    """Fields of a `CLIPTextConfig` for captions of this world: three layers of the given width."""
    return {
        "vocab_size": vocabulary,
        "hidden_size": width,
        "intermediate_size": 3 * width,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "max_position_embeddings": CAPTION_LENGTH,
        "bos_token_id": 0,
        "eos_token_id": end_token,
        "pad_token_id": end_token,
    }
