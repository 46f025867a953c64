from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import tiny
import torch

from forgetkit.errors import InputError
from forgetkit.lm.generate import Continuation, Sampling, continuations
from forgetkit.lm.load import LanguageModel, load_model

PROMPTS = [p[:n] for n, p in zip((4, 12, 30, 19), tiny.PASSAGES, strict=True)]


@cache
def taught() -> LanguageModel:
    return tiny.know(tiny.tiny_language_model(), tiny.PASSAGES)


def ids(texts: list[str]) -> list[list[int]]:
    return [list(taught().tokenizer(text).input_ids) for text in texts]


def greedy(language_model: LanguageModel, prompt: list[int], tokens: int) -> str:
    """Decode one token after another, with no cache and no library."""
    model: Any = language_model.model
    new: list[int] = []
    with torch.no_grad():
        for _ in range(tokens):
            row = torch.tensor([prompt + new])
            new.append(int(model(input_ids=row).logits[0, -1].argmax()))
            if new[-1] == language_model.tokenizer.eos_token_id:
                break
    text: str = language_model.tokenizer.decode(new, skip_special_tokens=True)
    return text


def said(language_model: LanguageModel, prompts: list[list[int]], **named: Any) -> list[str]:
    return [c.text for c in continuations(language_model, prompts, **named)]


@pytest.mark.parametrize("batch_size", [1, 2, 64])
def test_padded_batches_continue_as_each_prompt_alone(batch_size: int) -> None:
    """Trap 1, trap 2: padding on the left, known by the mask, changes no text."""
    found = said(taught(), ids(PROMPTS), max_new_tokens=24, batch_size=batch_size)
    assert found == [greedy(taught(), prompt, 24) for prompt in ids(PROMPTS)]


def test_an_untaught_model_is_continued_greedily_too() -> None:
    language_model = tiny.tiny_language_model(seed=3)
    found = said(language_model, ids(PROMPTS), max_new_tokens=16)
    assert found == [greedy(language_model, prompt, 16) for prompt in ids(PROMPTS)]


def test_the_order_of_prompts_changes_no_text() -> None:
    forwards = said(taught(), ids(PROMPTS), max_new_tokens=12)
    backwards = said(taught(), ids(PROMPTS)[::-1], max_new_tokens=12)
    assert forwards == backwards[::-1]


def test_settings_that_come_with_the_model_do_not_bend_greedy_decoding() -> None:
    """A folder's generation_config.json may ask for sampling or penalties."""
    expected = said(taught(), ids(PROMPTS), max_new_tokens=24)
    other = tiny.tiny_language_model()
    other.model.load_state_dict(taught().model.state_dict())
    other.model.generation_config.do_sample = True
    other.model.generation_config.temperature = 9.0
    other.model.generation_config.repetition_penalty = 3.0
    other.model.generation_config.no_repeat_ngram_size = 1
    other.model.generation_config.min_new_tokens = 20
    assert said(other, ids(PROMPTS), max_new_tokens=24) == expected


def test_a_continuation_stops_at_the_end_token() -> None:
    language_model = tiny.tiny_language_model()
    texts = [p + "<|end|>" for p in tiny.PASSAGES]
    tiny.know(language_model, texts)
    found = said(language_model, ids([p[:30] for p in tiny.PASSAGES]), max_new_tokens=80)
    assert found == [p[30:] for p in tiny.PASSAGES]


def test_a_continuation_stops_at_an_end_token_that_only_the_model_names() -> None:
    """A folder's generation_config.json lists the token that ends a turn beside the usual one."""
    language_model = tiny.tiny_language_model()
    language_model.model.load_state_dict(taught().model.state_dict())
    (stop,) = language_model.tokenizer(".").input_ids
    language_model.model.generation_config.eos_token_id = [
        language_model.tokenizer.eos_token_id,
        stop,
    ]
    found = said(language_model, ids([p[:30] for p in tiny.PASSAGES]), max_new_tokens=80)
    assert found == [p[30:-1] for p in tiny.PASSAGES]


def gpt2(window: int) -> LanguageModel:
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(
        vocab_size=tiny.VOCABULARY, n_positions=window, n_embd=16, n_layer=1, n_head=2,
        bos_token_id=None, eos_token_id=256, initializer_range=0.5,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = GPT2LMHeadModel(config)
    return tiny.tiny_language_model(model=model.eval())


def test_a_prompt_longer_than_the_window_keeps_its_end() -> None:
    language_model = gpt2(32)
    long = ids([tiny.PASSAGES[0]])
    found = said(language_model, long, max_new_tokens=12)
    assert found == [greedy(language_model, long[0][-20:], 12)]
    assert said(language_model, long, max_new_tokens=100) == [
        greedy(language_model, long[0][-1:], 31)
    ]


def test_a_prompt_is_shortened_as_scoring_shortens_it() -> None:
    from forgetkit.lm.encode import encode

    model = tiny.tiny_language_model(chat=True, seed=3)
    example = tiny.text(tiny.PASSAGES[0], " x")
    prompt = list(model.tokenizer(example.prompt).input_ids)
    kept = list(encode(model.tokenizer, example, max_tokens=24).prompt_ids)
    assert len(kept) == 12
    (found,) = said(model, [prompt], max_new_tokens=16, max_tokens=24)
    assert found == greedy(model, kept, 16) != greedy(model, prompt, 16)


def test_no_prompt_gives_no_text() -> None:
    assert said(taught(), [], max_new_tokens=5) == []


def test_an_empty_prompt_is_refused() -> None:
    with pytest.raises(InputError, match="prompt is empty"):
        said(taught(), [[5], []], max_new_tokens=5)


def test_progress_counts_every_prompt() -> None:
    seen: list[int] = []
    said(taught(), ids(PROMPTS), max_new_tokens=2, batch_size=2, advance=seen.append)
    assert sum(seen) == len(PROMPTS)


def test_a_saved_model_says_the_same(tmp_path: Any) -> None:
    loaded = load_model(tiny.save(taught(), tmp_path / "model"), dtype="float32")
    expected = said(taught(), ids(PROMPTS), max_new_tokens=24)
    assert said(loaded, ids(PROMPTS), max_new_tokens=24) == expected


@pytest.mark.parametrize("batch_size", [1, 2, 4])
def test_rows_that_end_early_change_no_other_row(batch_size: int) -> None:
    language_model = tiny.tiny_language_model()
    texts = [p[: 40 + 6 * n] + "<|end|>" for n, p in enumerate(tiny.PASSAGES)]
    tiny.know(language_model, texts)
    prompts = ids([p[:20] for p in tiny.PASSAGES])
    found = said(language_model, prompts, max_new_tokens=60, batch_size=batch_size)
    assert found == [greedy(language_model, prompt, 60) for prompt in prompts]
    assert [len(text) for text in found] == [20, 26, 32, 38]


def test_a_soft_capped_model_is_continued_as_the_library_does() -> None:
    language_model = tiny.tiny_language_model(model=tiny.gemma2())
    found = said(language_model, ids(PROMPTS), max_new_tokens=16)
    assert found == [greedy(language_model, prompt, 16) for prompt in ids(PROMPTS)]


def test_the_same_seed_draws_the_same_text_and_another_seed_another() -> None:
    language_model = tiny.tiny_language_model(seed=3)
    first, again, other = (
        said(language_model, ids(PROMPTS), max_new_tokens=16, sampling=Sampling(seed))
        for seed in (1, 1, 2)
    )
    assert first == again != other
    assert first != said(language_model, ids(PROMPTS), max_new_tokens=16)


def test_a_temperature_near_nothing_is_greedy() -> None:
    cold = Sampling(0, temperature=1e-4)
    found = said(taught(), ids(PROMPTS), max_new_tokens=24, sampling=cold)
    assert found == said(taught(), ids(PROMPTS), max_new_tokens=24)


@pytest.mark.parametrize("sampling", [None, Sampling(5)])
def test_the_scores_of_what_is_said_are_those_of_reading_it(sampling: Sampling | None) -> None:
    language_model = taught()
    prompts = ids(PROMPTS)
    found = continuations(
        language_model, prompts, max_new_tokens=12, batch_size=2, sampling=sampling
    )
    for prompt, continuation in zip(prompts, found, strict=True):
        new = list(language_model.tokenizer(continuation.text, add_special_tokens=False).input_ids)
        model: Any = language_model.model
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([prompt + new])).logits[0, len(prompt) - 1 : -1]
        read = logits.log_softmax(1).gather(1, torch.tensor(new)[:, None]).squeeze(1)
        assert list(continuation.log_probability) == pytest.approx(read.tolist(), abs=1e-4)
        assert continuation.nll == pytest.approx(-float(read.mean()), abs=1e-4)


def test_a_continuation_that_ends_at_once_has_no_score() -> None:
    assert Continuation("", ()).nll is None
