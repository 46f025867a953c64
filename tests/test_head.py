from __future__ import annotations

import math
from typing import Any

import pytest
import tiny
import torch

from forgetkit.lm.encode import answer_hidden, answer_logits, collate, encode, head_weight
from forgetkit.lm.head import (
    BLOCK,
    PIECE,
    best_tokens,
    kl_divergence,
    scores_of_logits,
    token_kl,
    token_nll,
    token_nll_kl,
    token_scores,
)
from forgetkit.lm.score import answer_scores, score
from forgetkit.lm.step import Step, join_splits

SIZES = (0, 1, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE + 3)
WIDTH, WORDS = 16, 2 * BLOCK + 7


def drawn(size: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return hidden states (N, D), a head (V, D) and targets (N,)."""
    random = torch.Generator().manual_seed(seed)
    hidden = torch.randn(size, WIDTH, generator=random)
    weight = torch.randn(WORDS, WIDTH, generator=random)
    return hidden, weight, torch.randint(0, WORDS, (size,), generator=random)


def slope(values: torch.Tensor, hidden: torch.Tensor, size: int) -> torch.Tensor:
    """Return the gradient of a weighted sum of per-token values."""
    share = torch.linspace(-1, 2, size) if size else torch.zeros(0)
    (values * share).sum().backward()  # type: ignore[no-untyped-call]
    assert hidden.grad is not None
    return hidden.grad


@pytest.mark.parametrize("size", SIZES)
def test_cross_entropy_in_pieces_equals_the_plain_one(size: int) -> None:
    hidden, weight, target = drawn(size)
    ours, plain = (hidden.clone().requires_grad_() for _ in range(2))
    found = token_nll(ours, weight, target)
    expected = torch.nn.functional.cross_entropy(plain @ weight.T, target, reduction="none")
    assert found.shape == (size,)
    assert torch.allclose(found, expected, atol=1e-5)
    assert torch.allclose(slope(found, ours, size), slope(expected, plain, size), atol=1e-5)


@pytest.mark.parametrize("size", SIZES)
def test_kl_in_pieces_equals_the_plain_one(size: int) -> None:
    """Trap 3: values and gradients are those of KL(ref || model) on full logits."""
    hidden, weight, _ = drawn(size)
    reference = drawn(size, seed=1)[0]
    ours, plain = (hidden.clone().requires_grad_() for _ in range(2))
    found = token_kl(ours, reference, weight)
    expected = kl_divergence(reference @ weight.T, plain @ weight.T)
    assert torch.allclose(found, expected, atol=1e-4)
    assert torch.allclose(slope(found, ours, size), slope(expected, plain, size), atol=1e-4)


@pytest.mark.parametrize("size", SIZES)
def test_cross_entropy_and_kl_of_one_pass_equal_those_of_two(size: int) -> None:
    hidden, weight, target = drawn(size)
    reference = drawn(size, seed=1)[0]
    ours, plain = (hidden.clone().requires_grad_() for _ in range(2))
    nll, kl = token_nll_kl(ours, reference, weight, target, ratio=1 / 3)
    expected_nll, expected_kl = token_nll(plain, weight, target), token_kl(plain, reference, weight)
    assert torch.allclose(nll, expected_nll, atol=1e-5)
    assert torch.allclose(kl, expected_kl, atol=1e-5)
    found, expected = nll + 3 * kl, expected_nll + 3 * expected_kl
    assert torch.allclose(slope(found, ours, size), slope(expected, plain, size), atol=1e-4)


def test_another_ratio_than_the_one_given_is_an_error() -> None:
    hidden, weight, target = drawn(3)
    nll, kl = token_nll_kl(hidden.requires_grad_(), hidden + 1, weight, target, ratio=2.0)
    with pytest.raises(RuntimeError, match="ratio"):
        (nll + kl).sum().backward()  # type: ignore[no-untyped-call]


def test_a_token_learnt_by_heart_costs_next_to_nothing() -> None:
    """A difference of two large numbers would leave 1e-6 of it, or less than 0."""
    weight = torch.eye(WORDS, WIDTH) * 30
    nll = token_nll(torch.eye(WIDTH), weight, torch.arange(WIDTH))
    expected = math.log1p((WORDS - 1) * math.exp(-30))
    assert torch.allclose(nll, torch.full((WIDTH,), expected), atol=1e-7)
    assert float(nll.min()) >= 0


def test_kl_of_equal_states_is_zero_with_zero_gradient() -> None:
    """Trap 3: a cross-entropy would not be."""
    hidden, weight, _ = drawn(9)
    ours = hidden.clone().requires_grad_()
    found = token_kl(ours, hidden, weight)
    assert torch.allclose(found, torch.zeros(9), atol=1e-5)
    assert torch.allclose(slope(found, ours, 9), torch.zeros(9, WIDTH), atol=1e-5)


@pytest.mark.parametrize("size", SIZES)
def test_scores_in_pieces_equal_the_plain_ones(size: int) -> None:
    hidden, weight, target = drawn(size)
    values, hits = token_scores(hidden, weight, target)
    logits = hidden @ weight.T
    expected = logits.log_softmax(1)[torch.arange(size), target]
    assert torch.allclose(values, expected, atol=1e-5)
    assert torch.equal(hits, logits.argmax(1) == target)


@pytest.mark.parametrize("size", SIZES)
def test_mean_and_deviation_in_blocks_equal_the_plain_ones(size: int) -> None:
    """Logits that rise and fall over the blocks, so that sums made before a higher one fade."""
    hidden, weight, target = drawn(size)
    weight *= torch.linspace(0.3, 2.0, WORDS)[:, None].flip(0).roll(BLOCK // 2, 0)
    found = token_scores(hidden, weight, target, spread=True)
    expected = scores_of_logits((hidden.double() @ weight.double().T), target, spread=True)
    for ours, plain in zip(found, expected, strict=True):
        assert torch.allclose(ours.double(), plain.double(), atol=2e-6, rtol=2e-6)


def test_of_equal_logits_the_first_is_the_best() -> None:
    weight = torch.zeros(WORDS, WIDTH)
    target = torch.tensor([0, 1, BLOCK, WORDS - 1])
    values, hits = token_scores(torch.ones(4, WIDTH), weight, target)
    assert hits.tolist() == [True, False, False, False]
    assert torch.allclose(values, torch.full((4,), -math.log(WORDS)))
    weight[BLOCK + 3] = weight[BLOCK + 7] = weight[2 * BLOCK + 1] = 1
    best, value = best_tokens(torch.ones(1, WIDTH), weight)
    assert best.tolist() == [BLOCK + 3]
    assert float(value) == pytest.approx(-math.log(3 + (WORDS - 3) * math.exp(-WIDTH)))


EXAMPLES = [
    tiny.text("Ab", "c de"),
    tiny.text("A longer prompt", " and answer"),
    tiny.text("x", ""),
]


def batch_of(language_model: Any) -> dict[str, torch.Tensor]:
    encoded = [encode(language_model.tokenizer, e) for e in EXAMPLES]
    return collate(encoded, language_model.tokenizer.pad_token_id)


@pytest.mark.parametrize("architecture", ["llama", "gemma2"])
def test_scores_are_the_whole_models_own_numbers(architecture: str) -> None:
    """Trap 6: every position is masked by where the answer lies, -100 never is an index."""
    model = tiny.llama() if architecture == "llama" else tiny.gemma2()
    language_model = tiny.tiny_language_model(model=model)
    batch = batch_of(language_model)
    with torch.no_grad():
        values, hits = answer_scores(model, batch)
        for index, example in enumerate(EXAMPLES):
            encoded = encode(language_model.tokenizer, example)
            ids = torch.tensor([encoded.prompt_ids + encoded.answer_ids])
            logits = model(input_ids=ids).logits[0].float()
            first = len(encoded.prompt_ids)
            ours = values[batch["row"] == index]
            table = logits[first - 1 : -1].log_softmax(1)
            expected = table[torch.arange(len(ours)), ids[0, first:]]
            assert torch.allclose(ours, expected, atol=1e-4)
            assert torch.equal(hits[batch["row"] == index], table.argmax(1) == ids[0, first:])


def test_a_capped_head_takes_the_way_of_full_logits() -> None:
    assert head_weight(tiny.llama()) is not None
    assert head_weight(tiny.gemma2()) is None


def test_the_cap_changes_the_numbers_so_the_plain_product_would_be_wrong() -> None:
    model = tiny.gemma2()
    batch = batch_of(tiny.tiny_language_model(model=model))
    with torch.no_grad():
        product = answer_hidden(model, batch) @ model.get_output_embeddings().weight.T
        assert not torch.allclose(product, answer_logits(model, batch), atol=1e-3)


def test_a_biased_head_takes_the_way_of_full_logits() -> None:
    model = tiny.llama()
    model.lm_head = torch.nn.Linear(32, tiny.VOCABULARY, bias=True)
    assert head_weight(model) is None


def test_a_step_gives_the_same_numbers_on_both_ways() -> None:
    """A step of a model whose head is trained uses full logits, and finds the same."""
    language_model = tiny.tiny_language_model()
    items = [{"forget": [encode(language_model.tokenizer, e)]} for e in EXAMPLES]
    model: Any = language_model.model
    whole = Step(model, join_splits(items, 256)).nll("forget")[0]
    model.requires_grad_(False)
    pieces = Step(model, join_splits(items, 256)).nll("forget")[0]
    assert torch.allclose(whole, pieces, atol=1e-4)
    own = [-sum(s.log_probability) for s in score(language_model, EXAMPLES)]
    assert torch.allclose(pieces, torch.tensor(own), atol=1e-4)


@pytest.mark.parametrize("model", [tiny.llama(), tiny.gemma2()], ids=["trained", "capped"])
def test_a_head_that_gives_logits_runs_at_answer_positions_only(model: Any) -> None:
    language_model = tiny.tiny_language_model(model=model)
    rows = [tiny.text("a long prompt with many words ", "yes"), tiny.text("a short one ", "no")]
    encoded = [encode(language_model.tokenizer, row) for row in rows]
    made: list[torch.Size] = []
    head = model.get_output_embeddings()
    handle = head.register_forward_hook(lambda _head, _given, out: made.append(out.shape))
    step = Step(model, join_splits([{"forget": encoded}], 256))
    nll, length = step.nll("forget")
    handle.remove()
    # positions that predict an answer token in one row or the other, at most
    assert sum(shape[0] * shape[1] for shape in made) <= 2 * int(length.sum())
    for row, found in zip(encoded, nll, strict=True):
        ids = torch.tensor([row.prompt_ids + row.answer_ids])
        logits = model(input_ids=ids).logits[0, len(row.prompt_ids) - 1 : -1].float()
        expected = torch.nn.functional.cross_entropy(
            logits, torch.tensor(row.answer_ids), reduction="sum"
        )
        assert torch.allclose(found, expected, rtol=1e-4)


def test_the_spread_of_a_token_is_as_worked_out() -> None:
    """Logits (ln 3, 0): p = .75, .25; mean .75 ln .75 + .25 ln .25, deviation sqrt(.1875) ln 3."""
    hidden, weight = torch.eye(2)[:1], torch.tensor([[math.log(3), 0.0], [0.0, 0.0]])
    target = torch.tensor([0])
    found = [float(c[0]) for c in token_scores(hidden, weight, target, spread=True)]
    assert found == pytest.approx([-0.287682, 1.0, -0.562335, 0.475713], abs=1e-5)


@pytest.mark.parametrize("size", SIZES)
def test_the_spread_changes_no_score(size: int) -> None:
    hidden, weight, target = drawn(size)
    plain, found = (token_scores(hidden, weight, target, spread=s) for s in (False, True))
    assert [len(c) for c in found] == [size] * 4
    assert all(torch.equal(a, b) for a, b in zip(plain, found[:2], strict=True))


@pytest.mark.parametrize("vocabulary", [1, 255, 256, 1000])
@pytest.mark.parametrize("tokens", [0, 3])
def test_scores_are_those_of_the_exact_softmax(vocabulary: int, tokens: int) -> None:
    torch.manual_seed(vocabulary)
    logits = torch.randn(tokens, vocabulary) * 4 + 20
    target = torch.randint(0, vocabulary, (tokens,))
    exact = logits.double().log_softmax(1)
    mean = (exact.exp() * exact).sum(1)
    deviation = ((exact.exp() * exact**2).sum(1) - mean**2).clamp_min(0).sqrt()
    expected = (exact.gather(1, target[:, None]).squeeze(1), mean, deviation)
    said, hit, *spread = scores_of_logits(logits.clone(), target, spread=True)
    plain = scores_of_logits(logits, target)
    assert torch.equal(plain[0], said)
    assert torch.equal(plain[1], hit)
    assert hit.tolist() == (logits.argmax(1) == target).tolist() if tokens else hit.numel() == 0
    for ours, theirs in zip((said, *spread), expected, strict=True):
        assert ours.dtype == torch.float32
        assert torch.allclose(ours.double(), theirs, atol=2e-6, rtol=2e-6)
