from __future__ import annotations

import doctest
import math
from collections.abc import Sequence

import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st

import forgetkit.evaluate.membership as by_loss
import forgetkit.evaluate.truth as by_truth
import forgetkit.evaluate.words as by_words
from forgetkit.evaluate import EvaluateConfig
from forgetkit.evaluate.benchmarks import with_mmlu
from forgetkit.evaluate.metrics import compute
from forgetkit.evaluate.sample import Sample, add_rouge
from forgetkit.evaluate.tasks import task_metrics
from forgetkit.registry import entries
from forgetkit.results import Metric, mean

CONFIG = EvaluateConfig(bootstrap=100)
SAID = "one two three four"


def row(model: str, split: str, number: int, nll: float, said: str = SAID, **named: str) -> Sample:
    named = {"source": f"{split}{number}"} | named
    example = tiny.text("prompt", named.pop("answer", SAID), **named)
    sample = Sample(model, split, example, [-nll] * 3, [True] * 3, said, answer_tokens=3)
    sample.mean, sample.deviation = [-1.0] * 3, [0.5] * 3
    return sample


def computed(samples: Sequence[Sample], kind: str = "text", least: int = 100) -> dict[str, Metric]:
    add_rouge(samples)
    config = CONFIG.model_copy(update={"least_membership": least})
    return {m.name: m for m in compute(samples, kind, config)}


def sides(model: str, forget: Sequence[float], holdout: Sequence[float]) -> list[Sample]:
    rows = [row(model, "forget", i, loss) for i, loss in enumerate(forget)]
    return rows + [row(model, "holdout", i, loss) for i, loss in enumerate(holdout)]


@pytest.mark.parametrize("module", [by_loss, by_truth, by_words])
def test_the_worked_values_of_the_docstrings_hold(module: object) -> None:
    assert doctest.testmod(module).failed == 0  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("forget", "holdout", "area"),
    [([0.1, 0.2], [2.0, 3.0], 1.0), ([2.0, 3.0], [0.1, 0.2], 0.0), ([1.0, 1.0], [1.0, 1.0], 0.5)],
)
def test_membership_of_perfect_reverse_and_nothing(
    forget: list[float], holdout: list[float], area: float
) -> None:
    found = computed(sides("after", forget, holdout), least=2)
    for name, _ in by_loss.SCORES:
        assert found[name].after.value == area
    assert found["membership_closeness"].after.value == pytest.approx(1 - 2 * abs(area - 0.5))
    assert found["membership_loss"].after.n == 2


def test_membership_under_a_hundred_a_side_is_null() -> None:
    found = computed(sides("after", [0.1] * 99, [1.0] * 100))
    for name in ("membership_loss", "membership_closeness", "membership_tpr", "privacy_leakage"):
        assert found[name].after.value is None
    assert found["membership_loss"].after.reason == "fewer than 100 a side"
    assert found["membership_loss"].before.reason == "not measured"


def test_min_k_plus_standardises_each_token() -> None:
    """Log p -1 (mean -1, deviation .5) is 0 deviations away, -2 is -2; one of three is least."""
    sample = row("after", "forget", 0, 0.0)
    sample.log_probability = [-1.0, -2.0, -0.5]
    assert by_loss.min_k_plus_score(sample) == pytest.approx(-2.0)
    assert by_loss.min_k_score(sample) == -2.0
    sample.deviation = [0.0] * 3
    assert math.isfinite(by_loss.min_k_plus_score(sample) or 0.0)


def test_an_answer_without_tokens_has_no_membership_score() -> None:
    sample = Sample("after", "forget", tiny.text("p", ""))
    assert [score(sample) for _, score in by_loss.SCORES] == [None] * 4


def test_one_token_is_its_own_least_share() -> None:
    assert by_loss.least_mean([-3.0]) == -3.0


@given(st.floats(0, 1), st.integers(2, 300), st.integers(2, 300))
def test_the_interval_of_an_area_holds_it_and_never_shrinks_to_a_point(
    value: float, first: int, second: int
) -> None:
    low, high = by_loss.newcombe(value, first, second)
    assert 0 <= low <= value <= high <= 1
    assert high - low > 1e-4


def test_the_interval_of_an_area_is_newcombes() -> None:
    """Area .5 of 50 and 50: deviation about .058, so about .39 to .61."""
    low, high = by_loss.newcombe(0.5, 50, 50)
    assert (low, high) == pytest.approx((0.389, 0.611), abs=0.005)


def test_privacy_leakage_is_relative_to_the_retain_model() -> None:
    """Holdout above forget in 1 of 4 pairs after, 2 of 4 for the retain model: -50 %."""
    samples = sides("after", [1.0, 3.0], [2.0, 4.0]) + sides("retain_model", [1.0, 4.0], [2.0, 3.0])
    found = computed(samples, least=2)["privacy_leakage"]
    assert found.after.value == pytest.approx(-50.0)
    assert found.control.value == 0.0
    assert (found.control.low, found.control.high) == (None, None)
    alone = computed(sides("after", [1.0, 3.0], [2.0, 4.0]), least=2)["privacy_leakage"]
    assert (alone.after.value, alone.after.reason) == (None, "no retain model was given")


def test_the_interval_of_privacy_leakage_draws_the_same_rows_for_both_models() -> None:
    forget, holdout = [n % 17 / 10 for n in range(40)], [n % 13 / 8 for n in range(40)]
    same = sides("after", forget, holdout) + sides("retain_model", forget, holdout)
    found = computed(same, least=2)["privacy_leakage"].after
    assert (found.value, found.low, found.high) == (0.0, 0.0, 0.0)
    known = sides("after", [x / 3 for x in forget], holdout) + same[80:]
    found = computed(known, least=2)["privacy_leakage"].after
    assert -100 < (found.low or 0.0) < (found.value or 0.0) < (found.high or 0.0) < 0


def test_the_share_found_at_one_per_cent_counts_what_is_above_the_others() -> None:
    found = computed(sides("after", [0.1, 5.0], [1.0, 2.0]), least=2)["membership_tpr"]
    assert found.after.value == 0.5


def test_with_a_retain_model_the_control_is_its_forget_split() -> None:
    samples = sides("after", [0.5] * 3, [2.0] * 3) + sides("retain_model", [1.0] * 3, [2.0] * 3)
    assert computed(samples)["probability"].control.value == pytest.approx(math.exp(-1))
    assert computed(samples[:6])["probability"].control.value == pytest.approx(math.exp(-2))


def questions(model: str, right: float, wrong: float, count: int = 25) -> list[Sample]:
    """Return forget and retain rows, each with one paraphrase and two wrong answers."""
    found = []
    for split in ("forget", "retain"):
        for number in range(count):
            variant = ("retain", "real_authors", "world_facts")[number % 3]
            asked = row(model, split, number, right + number / 1000, variant=variant)
            name = asked.example.example_id
            found.append(asked)
            for kind, loss in (("paraphrase", right + number / 1000), ("perturbed", wrong)):
                found += [
                    row(model, "others", n, loss, pair_of=name, variant=kind)
                    for n in range(1 + (kind == "perturbed"))
                ]
    return found


def test_the_truth_ratio_compares_wrong_and_right_answers() -> None:
    """Losses 1 right and 2 wrong: R = e^(1 - 2) = .368; min(R, 1/R) is the same turned round."""
    one = questions("after", 1.0, 2.0, count=1)
    assert computed(one)["truth_ratio"].after.value == pytest.approx(math.exp(-1))
    assert computed(questions("after", 2.0, 1.0, count=1))["truth_ratio"].after.value == (
        pytest.approx(math.exp(-1))
    )
    assert computed(questions("after", 1.0, 1.0, count=1))["truth_ratio"].after.value == 1.0


def test_without_other_answers_tofus_numbers_are_null_and_say_why() -> None:
    found = computed(sides("after", [1.0], [1.0]))
    for name in ("truth_ratio", "model_utility"):
        assert found[name].after.value is None
        assert "no other answers" in found[name].after.reason
    assert found["forget_quality"].after.reason == "no retain model was given"


def test_forget_quality_is_one_for_the_retain_model_itself_and_small_for_another() -> None:
    retain = questions("retain_model", 2.0, 2.0)
    same = computed(questions("after", 2.0, 2.0) + retain)["forget_quality"].after
    assert (same.value, same.n) == (1.0, 25)
    assert (computed(questions("after", 0.1, 5.0) + retain)["forget_quality"].after.value or 1) < (
        1e-6
    )


def test_model_utility_is_the_harmonic_mean_of_nine() -> None:
    """Every loss 1, answers said whole, R = 1: truth 0, so utility 0; wrong answers at 2: .58."""
    assert computed(questions("after", 1.0, 1.0))["model_utility"].after.value == 0.0
    found = computed(questions("after", 0.0, 2.0))["model_utility"].after.value
    share, honest = 1 / (1 + 2 * math.exp(-2)), 1 - math.exp(-2)
    expected = 9 / (1 + 2 / share + 3 / 1 + 3 / honest)
    assert found == pytest.approx(expected, abs=0.01)


def test_model_utility_without_world_facts_says_so() -> None:
    samples = [s for s in questions("after", 1.0, 2.0) if s.example.variant != "world_facts"]
    assert "no world_facts rows" in computed(samples)["model_utility"].after.reason


def test_the_bleu_leak_rate_counts_what_is_above_random_pairs() -> None:
    words = [f"alpha{n} beta{n} gamma{n} delta{n} epsilon{n}" for n in range(20)]
    told = [row("after", "forget", n, 1.0, said=w, answer=w) for n, w in enumerate(words)]
    assert computed(told)["leak_rate_bleu"].after.value == 1.0
    kept = [row("after", "forget", n, 1.0, said="nothing", answer=w) for n, w in enumerate(words)]
    assert computed(kept)["leak_rate_bleu"].after.value == 0.0
    assert computed(told[:1])["leak_rate_bleu"].after.reason == "no two answers to compare"


def test_a_hallucination_is_clearly_closer_to_the_wrong_answer() -> None:
    samples = []
    for number, wrong in enumerate([0.9] * 10 + [0.84] * 10):
        asked = row("after", "forget", number, 1.0)
        asked.similarity = wrong
        name = asked.example.example_id
        right = row("after", "others", number, 1.0, pair_of=name, variant="truth")
        right.similarity = 0.75
        samples += [asked, right]
    assert computed(samples, "fact")["hallucination_rate"].after.value == 0.5
    assert computed(samples[::2], "fact")["hallucination_rate"].after.value is None
    assert computed(samples, "fact")["similarity"].after.value == pytest.approx(0.87)


def test_an_answer_to_another_question_is_no_hallucination() -> None:
    """Cosines near 0 differ by more than a tenth of themselves, which says nothing."""
    samples = []
    for number in range(20):
        asked = row("after", "forget", number, 1.0)
        asked.similarity = 0.08
        name = asked.example.example_id
        right = row("after", "others", number, 1.0, pair_of=name, variant="truth")
        right.similarity = -0.01
        samples += [asked, right]
    assert computed(samples, "fact")["hallucination_rate"].after.value == 0.0


def test_similarity_that_was_not_asked_for_is_null() -> None:
    found = computed(sides("after", [1.0], [1.0]))["similarity"].after
    assert found.reason == "similarity was not asked for"


def test_muse_and_semeval_are_means_of_rouge() -> None:
    samples = [row("after", "forget", n, 1.0, said="one two x y") for n in range(3)]
    samples += [row("after", "retain", n, 1.0) for n in range(3)]
    found = computed(samples)
    assert found["muse_verbatim"].after.value == pytest.approx(0.5)
    assert found["muse_knowledge"].after.value is None
    assert found["muse_utility"].after.value == 1.0
    assert found["semeval_aggregate"].after.value == pytest.approx(2 / (1 / 0.5 + 1))
    assert found["semeval_score"].after.value is None
    assert computed(samples, "pair")["muse_knowledge"].after.value == pytest.approx(0.5)


def test_semevals_score_is_the_mean_of_three_where_mmlu_was_run() -> None:
    """Aggregate 2/3, membership 1 (the same losses), MMLU .3: .656."""
    samples = [row("after", "forget", n, 1.0, said="one two x y") for n in range(2)]
    samples += [row("after", "holdout", n, 1.0) for n in range(2)]
    samples += [row("after", "retain", n, 1.0) for n in range(2)]
    alone = list(computed(samples, least=2).values())
    assert (
        "--tasks mmlu"
        in next(m for m in with_mmlu(alone) if m.name == "semeval_score").after.reason
    )
    task = {"task": "mmlu", "measure": "acc", "better": "higher", "role": "after"}
    run = task_metrics([task | {"value": 0.3, "error": 0.01, "n": 100}])
    found = {m.name: m for m in with_mmlu(alone + run)}["semeval_score"]
    assert found.after.value == pytest.approx((2 / 3 + 1 + 0.3) / 3)
    assert found.before.value is None
    few = list(computed(samples).values())
    assert "a side" in {m.name: m for m in with_mmlu(few + run)}["semeval_score"].after.reason


def test_means_of_several_groups_have_a_seeded_interval() -> None:
    samples = questions("after", 1.0, 2.0)
    for place, sample in enumerate(samples):
        sample.completion = "one two x y" if place // 4 % 2 else SAID
    found = computed(samples)
    for name in ("model_utility", "semeval_aggregate"):
        one = found[name].after
        assert (one.low or 1.0) < (one.value or 0.0) < (one.high or 0.0) < 1.0
        assert one == computed(samples)[name].after


def test_perplexity_draws_as_often_as_it_is_told() -> None:
    samples = [row("after", "forget", n, n / 10) for n in range(9)]
    expected = mean([n / 10 for n in range(9)], CONFIG.seed, CONFIG.bootstrap)
    found = computed(samples)["perplexity"].after
    assert found.low == pytest.approx(math.exp(expected.low or 0.0))


def test_the_paired_test_sees_a_loss_that_rose_on_every_row() -> None:
    before = [row("before", "general", n, 1.0) for n in range(30)]
    after = [row("after", "general", n, 1.1 + n / 1000) for n in range(30)]
    assert (computed(before + after)["utility_p_value"].after.value or 1) < 1e-5
    same = [row("after", "general", n, 1.0) for n in range(30)]
    assert computed(before + same)["utility_p_value"].after.value == 1.0


@pytest.mark.parametrize("kind", ["text", "pair", "fact"])
def test_every_metric_is_registered_with_direction_source_and_worked_value(kind: str) -> None:
    known = {e.name: e for e in entries("metrics")}
    assert all(e.better and e.worked and e.source and e.reads for e in known.values())
    samples = [*sides("after", [1.0], [1.0]), row("after", "prompts", 0, 1.0)]
    for name, metric in computed(samples, kind).items():
        entry = known[name.removesuffix("_unseen")]
        assert (entry.better, entry.version) == (metric.better, metric.version), name
