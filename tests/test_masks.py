"""Which tokens of an answer take the loss, and how much an example and a token weigh."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import tiny
import torch

from forgetkit.errors import InputError
from forgetkit.forget_set import Example, ForgetSet
from forgetkit.lm.adapter import add_lora
from forgetkit.lm.encode import Encoded, encode
from forgetkit.lm.load import LanguageModel
from forgetkit.lm.mask import protected_tokens
from forgetkit.lm.step import Item, Step, join_splits
from forgetkit.registry import entries
from forgetkit.unlearn import UnlearnConfig, make_method
from forgetkit.unlearn.assembly import objective
from forgetkit.unlearn.schedule import schedule
from forgetkit.unlearn.token_weights import EntropyWeighted
from forgetkit.unlearn.watch import Validation

METHODS = tuple(entry.name for entry in entries("methods"))
# at the defaults these have no loss left on answers that the model does not know
GENTLE: dict[str, dict[str, float]] = {"simnpo": {"beta": 0.1}, "satimp": {"beta1": 0.1}}
CUT = 12


def moved(model: Any = None) -> LanguageModel:
    """Return a model whose adapter says something else than its base."""
    base = tiny.tiny_language_model(model=model or tiny.llama(layers=3))
    language_model = add_lora(base, rank=4, alpha=8, dropout=0.0, seed=0)
    drawn = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, value in language_model.model.named_parameters():
            if "lora_B" in name:
                value.copy_(0.1 * torch.randn(value.shape, generator=drawn))
    return language_model


def rows(language_model: LanguageModel, forget: list[Encoded]) -> list[Item]:
    """Return items of the forget examples given, each with a mismatch and a retain example."""

    def ids(text: str) -> Encoded:
        return encode(language_model.tokenizer, tiny.text(text[:9], text[9:28]))

    texts = zip(tiny.ORDINARY, tiny.ORDINARY[4:], strict=True)
    pairs = zip(forget, texts, strict=False)
    return [{"forget": [f], "mismatch": [ids(m)], "retain": [ids(r)]} for f, (m, r) in pairs]


def passages(language_model: LanguageModel, **named: Any) -> list[Encoded]:
    texts = [tiny.text(p[:CUT], p[CUT:]) for p in tiny.PASSAGES]
    return [encode(language_model.tokenizer, text, **named) for text in texts]


def losses_of(language_model: LanguageModel, name: str, items: list[Item]) -> dict[str, float]:
    step = Step(language_model.model, join_splits(items, 256))
    return {k: float(v.detach()) for k, v in make_method(name, GENTLE.get(name, {}))(step).items()}


def test_a_token_that_holds_a_protected_character_counts() -> None:
    """In bytes: é is two tokens of one character, and both hold it."""
    tokenizer = tiny.byte_tokenizer()
    assert protected_tokens(tokenizer, "aéb", [(1, 2)]) == [False, True, True, False]
    assert protected_tokens(tokenizer, "abcd", [(0, 1), (3, 4)]) == [True, False, False, True]
    encoded = encode(tokenizer, tiny.text("x", "abcd"), protected=[(1, 3)])
    assert encoded.places() == [1, 2]
    assert encode(tokenizer, tiny.text("x", "abcd")).places() == [0, 1, 2, 3]


def test_the_end_token_counts_where_the_protected_text_goes_to_the_end() -> None:
    tokenizer, example = tiny.byte_tokenizer(), tiny.text("x", "abcd")
    assert encode(tokenizer, example, with_end=True, protected=[(2, 4)]).places() == [2, 3, 4]
    assert encode(tokenizer, example, with_end=True, protected=[(0, 2)]).places() == [0, 1]


def test_a_mask_moves_with_the_space_that_a_plain_pair_gets() -> None:
    tokenizer = tiny.byte_tokenizer()
    for answer in ("abc", "  abc"):
        start = answer.index("b")
        example = Example("pair", "x", answer, template="chat")
        encoded = encode(tokenizer, example, protected=[(start, start + 1)])
        assert [chr(encoded.answer_ids[n]) for n in encoded.places()] == [
            chr(tokenizer("b").input_ids[0])
        ]


def test_a_tokenizer_that_knows_no_places_is_refused() -> None:
    class Slow:
        is_fast = False

    slow: Any = Slow()
    with pytest.raises(InputError, match="fast tokenizer"):
        protected_tokens(slow, "abc", [(0, 1)])


@pytest.mark.parametrize("name", METHODS)
def test_a_mask_of_everything_changes_no_bit_of_any_loss(name: str) -> None:
    language_model = moved()
    whole = rows(language_model, passages(language_model))
    masked = rows(language_model, passages(language_model, protected=[(0, 99)]))
    assert all(item["forget"][0].counted for item in masked)
    assert losses_of(language_model, name, whole) == losses_of(language_model, name, masked)


@pytest.mark.parametrize("name", ["ga", "npo", "simnpo", "wga", "undial", "ihl", "pdu"])
def test_masked_tokens_take_no_loss_and_are_still_read(name: str) -> None:
    """The loss of the last part of an answer is that of an answer which begins there."""
    language_model = moved()
    texts = [tiny.text(p[: CUT + 7], p[CUT + 7 :]) for p in tiny.PASSAGES]
    later = [encode(language_model.tokenizer, text) for text in texts]
    masked = passages(language_model, protected=[(7, 99)])
    expected = losses_of(language_model, name, rows(language_model, later))
    found = losses_of(language_model, name, rows(language_model, masked))
    assert found == pytest.approx(expected, rel=1e-5)
    whole = losses_of(language_model, name, rows(language_model, passages(language_model)))
    assert whole["forget"] != pytest.approx(found["forget"], rel=1e-3)


def test_ceu_ignores_the_first_token_of_the_answer_not_of_the_mask() -> None:
    language_model = moved()
    one = encode(language_model.tokenizer, tiny.text("The owl", "xyz"), protected=[(1, 2)])
    assert losses_of(language_model, "ceu", [{"forget": [one]}])["forget"] > 0


def test_a_mask_that_leaves_no_token_gives_no_slope() -> None:
    language_model = moved()
    tokenizer = language_model.tokenizer
    cut = encode(tokenizer, tiny.text("The owl", "abcdef"), max_tokens=10, protected=[(5, 6)])
    assert cut.places() == []
    items: list[Item] = [{"forget": [cut, passages(language_model)[0]]}]
    assert losses_of(language_model, "ga", items)["forget"] < 0


@pytest.mark.parametrize("name", METHODS)
def test_an_example_of_weight_two_counts_as_one_that_is_there_twice(name: str) -> None:
    """Weights are scaled to a mean of 1: two and one become 4/3 and 2/3."""
    language_model = moved()
    first, second = passages(language_model)[:2]
    heavy = [replace(first, weight=4 / 3), replace(second, weight=2 / 3)]

    def forget_loss(forget: list[Encoded]) -> float:
        items = rows(language_model, forget)
        for item, encoded in zip(items, forget, strict=True):
            other = first is encoded or encoded.weight > 1
            answer = tiny.ORDINARY[0 if other else 1][9:28]
            mismatch = encode(language_model.tokenizer, tiny.text("It", answer))
            item["mismatch"] = [replace(mismatch, weight=encoded.weight)]  # type: ignore[index]
        found = losses_of(language_model, name, items)
        return found["forget"] + found.get("mismatch", 0.0)

    twice = forget_loss([first, first, second])
    assert forget_loss(heavy) == pytest.approx(twice, rel=1e-5)
    assert abs(forget_loss([first, second]) - twice) > 1e-6


def content_of(**named: Any) -> ForgetSet:
    forget = [tiny.text(p[:CUT], p[CUT:], **named) for p in tiny.PASSAGES]
    retain = [tiny.text(t[:9], t[9:]) for t in tiny.ORDINARY]
    splits = {"forget": forget, "mismatch": [], "retain": retain, "holdout": []}
    return ForgetSet(splits, {})


def scheduled(content: ForgetSet, name: str = "npo") -> list[Item]:
    config = UnlearnConfig(method=name, batch_size=2, retain_share=1)
    language_model, validation = tiny.tiny_language_model(), Validation.of(content)
    return list(schedule(content, make_method(name, {}), config, language_model, 2, validation))


def test_training_reads_masks_and_weights_of_the_forget_set() -> None:
    content = content_of(answer_mask=((3, 8),))
    forget = [
        replace(e, weight=w) for e, w in zip(content.splits["forget"], (1, 1, 1, 5), strict=True)
    ]
    items = scheduled(ForgetSet({**content.splits, "forget": forget}, {}))
    weights = {e.example_id: e.weight / 2 for e in forget}
    for item in items:
        (encoded,) = item["forget"]
        assert encoded.places() == [3, 4, 5, 6, 7]
        assert encoded.weight == weights[encoded.example_id]
        assert all(row.weight == 1 and not row.counted for row in item["retain"])


def test_the_end_of_a_retain_answer_that_was_cut_is_not_learned() -> None:
    content = content_of()
    rows = [
        replace(e, kind="pair", answer_mask=((0, len(e.answer) - 1),) if number % 2 else ())
        for number, e in enumerate(content.splits["retain"])
    ]
    cut = {e.example_id for e in rows if e.answer_mask}
    seen = [
        (row.example_id in cut, row)
        for item in scheduled(ForgetSet({**content.splits, "retain": rows}, {}))
        for row in item["retain"]
    ]
    assert {was_cut for was_cut, _ in seen} == {True, False}
    for was_cut, row in seen:
        last = len(row.answer_ids) - 1
        assert (last in row.places()) is not was_cut


@pytest.mark.parametrize("weight", [-1.0, float("nan")])
def test_a_weight_that_is_no_weight_is_refused(weight: float) -> None:
    with pytest.raises(InputError, match="weight is no number from 0 on"):
        scheduled(content_of(weight=weight))


def test_weights_of_zero_alone_are_refused() -> None:
    with pytest.raises(InputError, match="every weight is 0"):
        scheduled(content_of(weight=0.0))


@pytest.mark.parametrize("architecture", ["llama", "gemma2"])
def test_entropy_weights_are_as_worked_out(architecture: str) -> None:
    """Each token counts H_t n / (H_1 + ... + H_n), H the entropy of what the model expects."""
    language_model = moved(None if architecture == "llama" else tiny.gemma2())
    items = rows(language_model, passages(language_model))
    expected = []
    for item in items:
        (encoded,) = item["forget"]
        ids = torch.tensor([encoded.prompt_ids + encoded.answer_ids])
        with torch.no_grad():
            logits = language_model.model(input_ids=ids).logits[0, len(encoded.prompt_ids) - 1 : -1]
        share = logits.double().log_softmax(1)
        entropy = -(share.exp() * share).sum(1)
        nll = -share.gather(1, ids[0, len(encoded.prompt_ids) :, None]).squeeze(1)
        expected.append(float((entropy * nll).sum() / entropy.sum()))
    step = Step(language_model.model, join_splits(items, 256))
    found = EntropyWeighted(make_method("ga", {}))(step)["forget"]
    assert float(found.detach()) == pytest.approx(-sum(expected) / 4, rel=1e-4)


def test_entropy_weights_take_no_gradient_and_leave_retain_as_it_is() -> None:
    language_model = moved()
    items = rows(language_model, passages(language_model))
    step = Step(language_model.model, join_splits(items, 256))
    assert not step.entropy("forget").requires_grad
    weighed = EntropyWeighted(make_method("graddiff", {}))(step)
    plain = losses_of(language_model, "graddiff", items)
    assert float(weighed["retain_nll"].detach()) == plain["retain_nll"]
    assert abs(float(weighed["forget"].detach()) - plain["forget"]) > 1e-4


def test_an_answer_without_any_entropy_counts_evenly() -> None:
    language_model = moved()
    items = rows(language_model, passages(language_model))
    step = Step(language_model.model, join_splits(items, 256))
    step.weigh("forget", torch.zeros_like(step.entropy("forget")))
    found = float(make_method("ga", {})(step)["forget"].detach())
    assert found == losses_of(language_model, "ga", items)["forget"]


def test_token_weights_are_chosen_by_the_configuration() -> None:
    method = make_method("npo", {})
    assert objective(method, UnlearnConfig()) is method
    chosen = objective(method, UnlearnConfig(token_weights="entropy"))
    assert isinstance(chosen, EntropyWeighted)
