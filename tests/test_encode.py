from __future__ import annotations

import pytest
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st

from forgetkit.errors import InputError
from forgetkit.forget_set import Example
from forgetkit.lm.encode import (
    FORWARD_COST,
    LAUNCH_COST,
    Encoded,
    collate,
    encode,
    length_buckets,
    like_lengths,
    per_example,
    render_prompt,
)

TOKENIZER = tiny.byte_tokenizer()
CHATTY = tiny.byte_tokenizer(chat=True)
END = TOKENIZER.eos_token_id


def pair(prompt: str, answer: str) -> Example:
    return Example("pair", prompt, answer, template="chat")


def test_prompt_and_answer_join_to_the_ids_of_the_whole_text() -> None:
    encoded = encode(TOKENIZER, tiny.text("one two", " three"))
    assert list(encoded.prompt_ids + encoded.answer_ids) == TOKENIZER("one two three").input_ids
    assert len(encoded) == len("one two three")


def test_the_answer_starts_where_the_unpadded_prompt_ends() -> None:
    """Trap 1: the start is counted on the example's own ids, whatever the padding."""
    short, long = tiny.text("ab", "cd"), tiny.text("a much longer prompt", "xyz")
    batch = collate([encode(TOKENIZER, e) for e in (short, long)], END)
    ours = batch["row"] == 0
    assert batch["position"][ours].tolist() == [1, 2]
    assert batch["target"][ours].tolist() == TOKENIZER("cd").input_ids
    assert batch["length"].tolist() == [2, 3]


def test_every_target_is_the_token_after_its_position() -> None:
    """Trap 6: targets are the ids themselves; no -100 stands anywhere."""
    examples = [tiny.text("ab", "cd"), tiny.text("a", ""), tiny.text("é", " ü")]
    batch = collate([encode(TOKENIZER, e, with_end=True) for e in examples], END)
    after = batch["input_ids"][batch["row"], batch["position"] + 1]
    assert torch.equal(after, batch["target"])
    assert int(batch["target"].min()) >= 0


def test_pad_equal_to_end_hides_no_end_token() -> None:
    """Trap 2: padding is known by the mask alone; the last answer token may be the pad id."""
    assert TOKENIZER.pad_token_id == END
    examples = [tiny.text("ab", "cd"), tiny.text("a much longer prompt", "xyz")]
    batch = collate([encode(TOKENIZER, e, with_end=True) for e in examples], END)
    assert batch["attention_mask"].sum(1).tolist() == [5, 24]
    assert batch["input_ids"][0, 4] == END
    assert batch["target"][2] == END
    assert batch["length"].tolist() == [3, 4]


def test_another_pad_id_changes_the_padding_only() -> None:
    """Trap 2: no pad id is hard-coded."""
    encoded = [encode(TOKENIZER, e) for e in (tiny.text("ab", "cd"), tiny.text("abcdef", "x"))]
    one, other = collate(encoded, END), collate(encoded, 7)
    assert one["input_ids"][0, 4:].tolist() == [END] * 3
    assert other["input_ids"][0, 4:].tolist() == [7] * 3
    assert all(torch.equal(one[k], other[k]) for k in one if k != "input_ids")


@pytest.mark.parametrize("most", [1, 2, 3, 7, 30])
@pytest.mark.parametrize("tokenizer", [TOKENIZER, CHATTY])
def test_truncation_keeps_a_prompt_token_and_the_limit(tokenizer: object, most: int) -> None:
    example = tiny.text("a prompt of some length", " and an answer of some length")
    encoded = encode(tokenizer, example, max_tokens=most)
    assert encoded.prompt_ids
    assert len(encoded) <= max(most, 1)


def test_truncation_keeps_the_end_of_the_prompt_and_the_start_of_the_answer() -> None:
    encoded = encode(TOKENIZER, tiny.text("0123456789", "abcdefghij"), max_tokens=8)
    assert TOKENIZER.decode(encoded.prompt_ids) == "6789"
    assert TOKENIZER.decode(encoded.answer_ids) == "abcd"


def test_a_start_token_survives_truncation() -> None:
    encoded = encode(CHATTY, tiny.text("0123456789", "abc"), max_tokens=8)
    assert encoded.prompt_ids[0] == CHATTY.bos_token_id
    assert CHATTY.decode(encoded.prompt_ids[1:]) == "789"


def test_a_chat_prompt_is_rendered_once_and_without_a_second_start_token() -> None:
    ids = render_prompt(CHATTY, "hi", "chat")
    assert CHATTY.decode(ids) == "<|user|>hi<|assistant|>"
    assert render_prompt(CHATTY, "hi", "plain")[0] == CHATTY.bos_token_id


def test_a_pair_without_a_chat_template_takes_the_papers_form() -> None:
    encoded = encode(TOKENIZER, pair("Why?", "So."))
    assert TOKENIZER.decode(encoded.prompt_ids) == "### Question: Why?\n### Answer:"
    assert TOKENIZER.decode(encoded.answer_ids) == " So."


def test_an_answer_takes_no_start_token() -> None:
    encoded = encode(CHATTY, tiny.text("ab", "cd"))
    assert CHATTY.bos_token_id not in encoded.answer_ids


def test_an_empty_prompt_is_refused() -> None:
    with pytest.raises(InputError, match="empty prompt"):
        collate([encode(TOKENIZER, tiny.text("", "answer"))], END)


def test_values_are_summed_by_example_and_an_empty_one_gets_zero() -> None:
    total = per_example(torch.tensor([1.0, 2.0, 4.0]), torch.tensor([0, 0, 2]), 3)
    assert total.tolist() == [3.0, 0.0, 4.0]


@given(st.lists(st.integers(1, 60), max_size=40), st.integers(1, 200))
def test_buckets_hold_every_example_once_within_the_limit(lengths: list[int], most: int) -> None:
    buckets = length_buckets(lengths, most)
    assert sorted(i for bucket in buckets for i in bucket) == list(range(len(lengths)))
    for bucket in buckets:
        widest = max(lengths[i] for i in bucket)
        assert len(bucket) == 1 or widest * len(bucket) <= most


@given(st.lists(st.integers(1, 500), max_size=12), st.sampled_from(["cpu", "cuda"]))
def test_rows_are_grouped_by_length_as_cheaply_as_can_be(lengths: list[int], device: str) -> None:
    groups = like_lengths(lengths, device)
    price = FORWARD_COST if device == "cpu" else LAUNCH_COST
    assert sorted(i for group in groups for i in group) == list(range(len(lengths)))

    def cost(parts: list[list[int]]) -> int:
        return sum(max(map(lengths.__getitem__, p)) * len(p) + price for p in parts if p)

    order = sorted(range(len(lengths)), key=lambda i: (lengths[i], i))
    for cut in range(len(order)):
        assert cost(groups) <= cost([order[:cut], order[cut:]])


@given(st.text(min_size=1, max_size=30), st.text(max_size=30), st.integers(2, 80))
def test_any_text_is_encoded_within_the_limit(prompt: str, answer: str, most: int) -> None:
    encoded = encode(TOKENIZER, tiny.text(prompt, answer), max_tokens=most, with_end=True)
    assert isinstance(encoded, Encoded)
    assert 1 <= len(encoded.prompt_ids) <= max(1, most // 2)
    assert len(encoded) <= most
