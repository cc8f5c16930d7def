"""The miniature's own byte-pair tokenizer, in CLIP's format, trained on captions of its world."""

from __future__ import annotations

import json
from collections.abc import Iterable
from string import ascii_lowercase, digits

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from torch import Tensor
from transformers import CLIPTokenizer

from texgen.miniature.scale import CAPTION_LENGTH

SPECIAL = ("<|startoftext|>", "<|endoftext|>")


def make_tokenizer(texts: Iterable[str], size: int = 1500) -> CLIPTokenizer:
    """A `CLIPTokenizer` whose vocabulary is learned from ``texts``; unseen words fall into letters."""
    bpe = Tokenizer(models.BPE(end_of_word_suffix="</w>", unk_token=SPECIAL[1]))
    bpe.normalizer = normalizers.Lowercase()
    bpe.pre_tokenizer = pre_tokenizers.Whitespace()
    letters = list(ascii_lowercase + digits + ".,-'!?")
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        min_frequency=2,
        special_tokens=list(SPECIAL),
        initial_alphabet=letters,
        end_of_word_suffix="</w>",
        show_progress=False,
    )
    # Each letter alone as a word, so that every letter also has an end-of-word token.
    bpe.train_from_iterator([*texts, *letters * 2], trainer)

    model = json.loads(bpe.to_str())["model"]
    merges = [tuple(m) if not isinstance(m, str) else tuple(m.split(" ")) for m in model["merges"]]
    vocabulary = dict(model["vocab"])
    for letter in letters:
        vocabulary.setdefault(letter + "</w>", len(vocabulary))
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=CAPTION_LENGTH)


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
