"""Prompts that a model cannot read as they are: empty, too long, of words that it does not know."""

import warnings

import pytest
from reference.tiny_models import write_tokenizer
from tokenizers import Tokenizer, pre_tokenizers, processors
from tokenizers.models import WordLevel
from transformers import PreTrainedTokenizerFast

from texgen.diffusion.prompts import PromptWarning, prompt_problems, require_words, warn_of_prompt
from texgen.errors import PlainError
from texgen.miniature.tokenizer import make_tokenizer

KNOWN = ["a red brick cow", "a blue wooden cow", "a red wooden vase", "a blue brick vase"]


@pytest.fixture(scope="module")
def learned():
    """As CLIP's, with merges: it knows the words of `KNOWN` and spells all others by letters."""
    return make_tokenizer(KNOWN * 3, size=300)


@pytest.fixture(scope="module")
def whole_words():
    """Of whole words, as BERT's kind: what it lacks becomes one unknown token."""
    words = ["[UNK]", "[CLS]", "[SEP]", *dict.fromkeys(" ".join(KNOWN).split())]
    made = Tokenizer(WordLevel({word: number for number, word in enumerate(words)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1))
    return PreTrainedTokenizerFast(
        tokenizer_object=made, unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )


@pytest.mark.parametrize("prompt", ["", " ", "\t \n", "\u3000"])
def test_an_empty_prompt_is_refused_and_has_no_other_problem(prompt, learned):
    with pytest.raises(PlainError, match="The prompt is empty; say what the texture shows"):
        require_words(prompt)
    assert prompt_problems(learned, prompt, 4) == []
    require_words("red")


@pytest.mark.parametrize("prompt", [*KNOWN, "A RED brick, wooden cow!", "(red) vase; blue cow?"])
def test_a_prompt_of_known_words_has_no_problem(prompt, learned):
    assert prompt_problems(learned, prompt, 32) == []


@pytest.mark.parametrize("kind", ["learned", "whole_words"])
def test_the_limit_counts_the_special_tokens(kind, request):
    tokenizer = request.getfixturevalue(kind)
    prompt = "a red brick cow"
    length = len(tokenizer(prompt).input_ids)
    assert length == 6
    assert prompt_problems(tokenizer, prompt, length) == []
    (problem,) = prompt_problems(tokenizer, prompt, length - 1)
    assert "has 6 tokens; only the first 5 count, and 'cow' is left out" in problem
    (problem,) = prompt_problems(tokenizer, prompt, length - 3)
    assert "'red brick cow' is left out" in problem


def test_what_is_too_long_for_one_model_is_not_for_another(learned, tmp_path):
    spelled = write_tokenizer(tmp_path)  # without merges: one token a letter
    prompt = "a red brick cow"
    assert prompt_problems(learned, prompt, 10) == []
    assert any("only the first 10 count" in each for each in prompt_problems(spelled, prompt, 10))


@pytest.mark.parametrize("prompt", ["zyzzyva", "xqj wvk", "牛"])
@pytest.mark.parametrize("kind", ["learned", "whole_words"])
def test_a_prompt_without_one_known_word_is_named(kind, prompt, request):
    found = prompt_problems(request.getfixturevalue(kind), prompt, 64)
    assert len(found) == 1 and f"Not one word of the prompt {prompt!r} is known" in found[0]


def test_single_unknown_words_are_listed_once(whole_words):
    (problem,) = prompt_problems(whole_words, "a red marble cow, marble of onyx", 64)
    assert problem.endswith("that do not count: marble, of, onyx.")


def test_both_problems_are_told(whole_words):
    found = prompt_problems(whole_words, "onyx " * 20, 8)
    assert len(found) == 2 and "has 22 tokens" in found[0] and "Not one word" in found[1]


def test_punctuation_alone_is_no_word(learned):
    assert not any("Not one word" in each for each in prompt_problems(learned, "...", 64))


def test_each_problem_is_one_warning_of_its_own_kind(whole_words):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn_of_prompt(whole_words, "a red brick cow", 64)
        assert caught == []
        warn_of_prompt(whole_words, "onyx " * 20, 8)
    assert [each.category for each in caught] == [PromptWarning, PromptWarning]
    assert all("\n" not in str(each.message) for each in caught)
