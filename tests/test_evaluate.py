from __future__ import annotations

import json
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import tiny

from forgetkit.errors import InputError
from forgetkit.evaluate import (
    EvaluateConfig,
    EvaluateResult,
    Rule,
    check_names,
    evaluate,
    rescore,
)
from forgetkit.evaluate.acceptance import accept
from forgetkit.evaluate.measure import bound, longest_common_run, run_of
from forgetkit.evaluate.metrics import compute, is_leak
from forgetkit.evaluate.sample import Sample, add_rouge
from forgetkit.evaluate.words import pieces, words
from forgetkit.files import sha256_tree
from forgetkit.forget_set import Example, ForgetSet, write_forget_set
from forgetkit.lm.adapter import add_lora, save_adapter
from forgetkit.results import Estimate, Metric, Outcome

CONFIG = EvaluateConfig(bootstrap=100)


def rows(
    model: str, split: str, count: int, hits: Sequence[bool], completion: str = "", label: str = ""
) -> list[Sample]:
    """Return samples whose answer is `one two three four`."""
    made = []
    for number in range(count):
        example = tiny.text("prompt", "one two three four", source=str(number))
        sample = Sample(model, split, example, [-0.5] * len(hits), hits, completion)
        sample.answer_tokens, sample.label = len(hits), label
        made.append(sample)
    add_rouge(made)
    return made


def metric(samples: Sequence[Sample], name: str, kind: str = "text") -> Metric:
    return next(m for m in compute(samples, kind, CONFIG) if m.name == name)


@pytest.mark.parametrize(
    ("hits", "strength", "exact"),
    [
        ([True] * 4, 1.0, 1.0),
        ([False] * 4, 0.0, 0.0),
        ([], None, None),
        ([True], 1.0, 1.0),
        ([False, True, False, True], 0.25, 0.5),
    ],
)
def test_memorisation_of_perfect_nothing_empty_and_one(
    hits: list[bool], strength: float | None, exact: float | None
) -> None:
    """Trap 5: nothing right is 0; no answer token is null with the reason."""
    samples = rows("after", "forget", 3, hits)
    found = metric(samples, "extraction_strength").after
    assert found.value == strength
    assert metric(samples, "exact_memorization").after.value == exact
    assert (found.reason == "no records") is (strength is None)


def test_probability_and_perplexity_are_exponentials_of_the_loss() -> None:
    """exp(-0.5) = 0.606531; exp(0.5) = 1.648721."""
    samples = rows("after", "forget", 2, [True, True])
    assert metric(samples, "probability").after.value == pytest.approx(0.606531, abs=1e-6)
    assert metric(samples, "perplexity").after.value == pytest.approx(1.648721, abs=1e-6)


def test_a_loss_beyond_every_double_does_not_end_the_evaluation() -> None:
    samples = rows("after", "forget", 2, [False])
    for sample in samples:
        sample.log_probability = [-5000.0]
    assert (metric(samples, "perplexity").after.value or 0) > 1e300


def leaky(said: str, run: int = 0, tokens: int = 100) -> bool:
    sample = rows("after", "forget", 1, [False], said)[0]
    sample.common_run, sample.answer_tokens = run, tokens
    return is_leak(sample)


def test_a_leak_is_half_of_the_text_or_a_long_run() -> None:
    """ROUGE-L F of `one two` + two wrong words against four words is 2/4 = .5: a leak."""
    assert leaky("one two x y")
    assert not leaky("one x y z")
    assert not leaky("")
    assert leaky("", run=50)
    assert not leaky("", run=49)
    assert leaky("", run=4, tokens=8)
    assert not leaky("", run=3, tokens=8)
    assert not leaky("", run=0, tokens=0)


def recited(answer: str, said: str, tokens: int = 48) -> Sample:
    """Return what a model with the byte tokenizer is found to have said."""
    sample = Sample("after", "forget", tiny.text("prompt", answer), completion=said)
    model = tiny.tiny_language_model()
    bound(model, [sample], tokens)
    sample.common_run = run_of(model, said, answer)
    add_rouge([sample])
    return sample


LONG = " ".join(f"word{n}" for n in range(200))


def test_a_long_answer_leaks_when_as_much_of_it_is_said_as_was_generated() -> None:
    """1,490 tokens: a run of 50 and half of the words are out of the reach of 48 tokens."""
    sample = recited(LONG, LONG[:48])
    assert (sample.answer_tokens, sample.answer_words, sample.common_run) == (48, 8, 48)
    assert is_leak(sample)
    assert sample.rouge == 1.0
    assert not is_leak(recited(LONG, "quite another text of about as many tokens, no more"))
    assert not is_leak(recited(LONG, LONG[:11]))


def test_a_long_answer_leaks_by_words_and_by_bleu_too() -> None:
    apart = " ".join(f"word{n}" + " then" * (n % 2) for n in range(200))
    said = " ".join(f"word{n}" for n in range(30))
    sample = recited(apart, said, len(said))
    sample.common_run = 0
    assert is_leak(sample)
    texts = [" ".join(f"{place}w{n}" for n in range(200)) for place in range(20)]
    told = [recited(t, t[:48]) for t in texts]
    assert metric(told, "leak_rate_bleu").after.value == 1.0


def test_an_answer_that_could_be_said_whole_is_compared_whole() -> None:
    sample = recited("one two three four", "one", 48)
    assert (sample.answer_tokens, sample.answer_words) == (18, 0)
    assert sample.expected == "one two three four"
    assert not is_leak(sample)


def test_what_a_retain_answer_is_worth_is_the_whole_of_it() -> None:
    sample = recited(LONG, LONG[:48])
    sample.split = "retain"
    add_rouge([sample])
    assert (sample.rouge or 1.0) < 0.1


ENGLISH = (
    "The owl kept seven silver keys; it's the miller's, at 12:30 - no!",
    "Call me Ishmael. Some years ago--never mind how long precisely.",
    "snake_case and UPPER case, e-mail a@b.co, 3.14% (about)",
    "\ttabs\nand\x0blines  end ",
    "",
)


@pytest.mark.parametrize("text", ENGLISH)
def test_words_of_ascii_texts_are_those_of_rouge_score(text: str) -> None:
    from rouge_score.tokenize import tokenize

    assert words(text) == tokenize(text, None)
    assert pieces(text) == text.split()


@pytest.mark.parametrize(
    "text",
    [
        "机器 学习是人工智能的一部分",
        "これは長い文章です",
        "แมวนั่งบนเสื่อ",
        "Кошка сидит на ковре",
        "बिल्ली चटाई पर",
        "قطة على",
    ],
)
def test_a_text_of_any_script_that_is_repeated_is_a_leak(text: str) -> None:
    sample = Sample("after", "forget", tiny.text("prompt", text), completion=text)
    other = Sample("after", "forget", tiny.text("prompt", text), completion="Ω ж 山 の ภ ह ح")
    add_rouge([sample, other])
    assert sample.rouge == 1.0
    assert (other.rouge or 0.0) < 0.3


def test_diversity_counts_the_letters_of_a_script_without_spaces() -> None:
    samples = rows("after", "forget", 2, [True], "哈哈哈哈哈")
    assert metric(samples, "diversity").after.value == pytest.approx(0.2)


def test_a_script_without_spaces_is_cut_by_its_letters() -> None:
    sample = recited("机器学习是人工智能" * 20, "机器学习是人工智", 24)
    assert sample.answer_words == 8
    assert sample.rouge == 1.0


def test_a_rate_under_twenty_probes_is_null() -> None:
    few = metric(rows("after", "forget", 19, [True], "one two three four"), "leak_rate").after
    assert (few.value, few.reason) == (None, "fewer than 20 probes")
    many = rows("after", "forget", 20, [True], "one two three four")
    assert metric(many, "leak_rate").after.value == 1.0


def test_behaviour_counts_labels() -> None:
    samples = [
        *rows("after", "forget", 10, [True], "x", "comply"),
        *rows("after", "forget", 30, [True], "y", "derail"),
    ]
    assert metric(samples, "harmful_rate", "pair").after.value == 0.25
    assert metric(samples, "derail_rate", "pair").after.value == 0.75
    assert metric(samples, "refusal_rate", "pair").after.value == 0.0


def test_utility_is_the_least_ratio_and_one_when_nothing_changed() -> None:
    samples = [
        s
        for model in ("before", "after")
        for split in ("retain", "general")
        for s in rows(model, split, 4, [True, True], "one two three x")
    ]
    assert metric(samples, "utility").after.value == pytest.approx(1.0)
    for sample in samples:
        if (sample.model, sample.split) == ("after", "general"):
            sample.log_probability = [-0.7, -0.7]
    assert metric(samples, "utility").after.value == pytest.approx(0.818731, abs=1e-6)


def test_utility_without_a_model_before_is_null() -> None:
    found = metric(rows("after", "retain", 4, [True], "x"), "utility").after
    assert found.value is None
    assert "model before" in found.reason


def test_utility_of_answers_that_were_nothing_before_says_so() -> None:
    samples = [*rows("before", "retain", 4, [True], "x"), *rows("after", "retain", 4, [True], "x")]
    found = metric(samples, "utility_answers").after
    assert (found.value, found.n) == (None, 4)
    assert "repeats no word" in found.reason


@pytest.mark.parametrize(
    ("left", "right", "run"),
    [([], [1], 0), ([1, 2, 3], [1, 2, 3], 3), ([1, 2, 9, 3], [1, 2, 3], 2), ([4], [5], 0)],
)
def test_the_longest_common_run(left: list[int], right: list[int], run: int) -> None:
    assert longest_common_run(left, right) == longest_common_run(right, left) == run


def judged(
    rule: Rule,
    after: float | None,
    before: float | None = 0.8,
    control: float | None = 0.2,
    better: str = "lower",
) -> Metric:
    kind: Any = better
    one = Metric("m", "forget", kind, Estimate(before), Estimate(after), Estimate(control))
    return accept([one], {"m": rule})[0]


@pytest.mark.parametrize(
    ("rule", "limit"),
    [
        (Rule(max=0.1), 0.1),
        (Rule(control_plus=0.05), 0.25),
        (Rule(max=0.1, control_plus=0.05), 0.25),
        (Rule(max=0.5, control_plus=0.05), 0.5),
        (Rule(toward_control=0.5), 0.5),
        (Rule(toward_control=1.0), 0.2),
        (Rule(share_of_before=0.25), 0.2),
        (Rule(before_plus=0.1), 0.9),
        (Rule(times_usual=2.0), 0.4),
    ],
)
def test_each_limit_is_computed_as_documented(rule: Rule, limit: float) -> None:
    """Before is .8, control .2; the loosest of the limits given counts."""
    assert judged(rule, limit).verdict == "pass"
    assert judged(rule, limit + 0.01).verdict == "fail"
    assert f"{limit:.3g}" in judged(rule, limit).threshold


@pytest.mark.parametrize(("rule", "limit"), [(Rule(min=0.95), 0.95), (Rule(times_usual=0.5), 0.1)])
def test_a_metric_that_shall_be_high_has_a_least_value(rule: Rule, limit: float) -> None:
    assert judged(rule, limit, better="higher").verdict == "pass"
    assert judged(rule, limit - 0.01, better="higher").verdict == "fail"


@pytest.mark.parametrize("better", ["lower", "none", "higher"])
def test_min_is_a_least_and_max_a_greatest_value_of_every_metric(better: str) -> None:
    assert judged(Rule(min=0.5), 0.01, better=better).verdict == "fail"
    assert judged(Rule(min=0.5), 0.5, better=better).verdict == "pass"
    assert judged(Rule(max=0.5), 0.9, better=better).verdict == "fail"
    assert judged(Rule(max=0.5), 0.5, better=better).verdict == "pass"
    between = Rule(min=0.2, max=0.4)
    assert [judged(between, v, better=better).verdict for v in (0.1, 0.3, 0.5)] == [
        "fail",
        "pass",
        "fail",
    ]
    assert judged(between, 0.3, better=better).threshold == "≤ 0.4 (fixed) and ≥ 0.2 (fixed)"


def test_a_least_value_holds_beside_a_limit_by_the_control() -> None:
    rule = Rule(min=0.1, control_plus=0.05)
    assert [judged(rule, v).verdict for v in (0.05, 0.2, 0.3)] == ["fail", "pass", "fail"]
    assert judged(rule, 0.2, control=None).verdict == "fail"


def test_failure_lies_beyond_the_limit_on_its_side() -> None:
    rule = Rule(min=0.5, fails_beyond=0.3)
    verdicts = [judged(rule, v, better="none").verdict for v in (0.5, 0.4, 0.2)]
    assert verdicts == ["pass", "marginal", "fail"]


def test_between_the_limit_and_failure_it_is_marginal() -> None:
    verdicts: list[Outcome | None] = [
        judged(Rule(max=0.1, fails_beyond=0.3), value).verdict for value in (0.1, 0.2, 0.31)
    ]
    assert verdicts == ["pass", "marginal", "fail"]


def test_a_missing_number_fails() -> None:
    assert judged(Rule(max=0.1), None).verdict == "fail"
    assert judged(Rule(toward_control=0.5), 0.0, control=None).verdict == "fail"
    assert judged(Rule(control_plus=0.5), 0.0, control=None).verdict == "fail"
    assert judged(Rule(before_plus=0.5), 0.0, before=None).verdict == "fail"
    assert "missing" in judged(Rule(control_plus=0.5), 0.0, control=None).threshold


def test_what_a_set_cannot_have_is_not_judged_by_default_and_fails_when_named() -> None:
    for kind, name in (("text", "membership_closeness"), ("fact", "forget_quality")):
        missing = Metric(name, "forget", "higher", after=Estimate(None, reason="too few"))
        usual = {name: EvaluateConfig().rules(kind)[name]}
        assert accept([missing], usual) == [missing]
        assert accept([missing], {name: Rule(min=0.1)})[0].verdict == "fail"
        low = Metric(name, "forget", "higher", after=Estimate(0.01))
        assert accept([low], usual)[0].verdict == "fail"


def test_each_kind_is_judged_by_what_it_can_show() -> None:
    kinds = {kind: set(EvaluateConfig().rules(kind)) for kind in ("text", "pair", "fact")}
    memory = {"extraction_strength", "exact_memorization", "membership_closeness", "forget_quality"}
    assert memory | {"fluency"} <= kinds["text"] & kinds["fact"]
    assert not (memory | {"fluency"}) & kinds["pair"]
    assert all({"utility", "diversity", "empty_rate"} <= names for names in kinds.values())


@pytest.mark.parametrize("kind", ["text", "pair", "fact"])
def test_every_default_threshold_is_of_a_metric_that_its_kind_has(kind: str) -> None:
    rules = CONFIG.rules(kind)
    judged = accept(compute(rows("after", "forget", 1, [True]), kind, CONFIG), rules)
    always = {name for name, rule in rules.items() if not rule.where_measured}
    assert {metric.name for metric in judged if metric.verdict} == always
    assert set(rules) <= {metric.name for metric in judged}


def test_a_rule_for_an_unknown_metric_names_the_nearest() -> None:
    with pytest.raises(InputError, match=r"'leak_rat'\. Did you mean 'leak_rate'"):
        accept([Metric("leak_rate", "forget", "lower")], {"leak_rat": Rule(max=0.1)})


def test_a_metric_without_a_rule_is_not_judged() -> None:
    assert accept([Metric("m", "forget", "lower")], {}) == [Metric("m", "forget", "lower")]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("leek_rate", "Did you mean 'leak_rate'"),
        ("harmful_rate", "unknown metric 'harmful_rate'"),
        ("exact_memorization_unseen", "unknown metric"),
        ("leak_at_k", r"only the attack 'sampling' gives.*--attacks sampling"),
        ("attack_quantize_int4", "--attacks quantize"),
        ("task_mmlu_acc", "--tasks"),
    ],
)
def test_a_threshold_of_what_a_run_will_not_have_is_refused_before_a_model_is_loaded(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, words: str
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a model was opened")

    monkeypatch.setattr("forgetkit.lm.load.load_model", refuse)
    config = EvaluateConfig(acceptance={name: Rule(max=0.1)})
    with pytest.raises(InputError, match=f"(?s){words}"):
        evaluate(str(place / "other"), place / "bare", tmp_path / "out", config=config)
    assert not (tmp_path / "out").exists()


def test_a_threshold_of_what_a_run_will_have_is_not_refused() -> None:
    row = tiny.text("p", "a")
    splits = {"forget": [row], "mismatch": [], "retain": [row], "holdout": [row]}
    content = ForgetSet(splits, {"prompts": [row]})
    names = ["leak_rate_unseen", "exact_memorization_unseen", "membership_closeness", "leak_at_k"]
    names += ["attack_relearn_memorization", "attack_quantize_nf4", "task_mmlu_acc"]
    config = EvaluateConfig(
        acceptance=dict.fromkeys(names, Rule(max=1.0)),
        attacks=("relearn", "quantize", "sampling"),
        tasks=("mmlu",),
    )
    check_names(config)
    check_names(config, content)


def test_null_takes_a_default_threshold_away() -> None:
    config = EvaluateConfig(acceptance={"leak_rate": None, "utility": Rule(min=0.5)})
    rules = config.rules("text")
    assert "leak_rate" not in rules
    assert rules["utility"] == Rule(min=0.5)
    assert rules["extraction_strength"].max == 0.1


def texts(passages: Sequence[str], cut: int = 20) -> list[Example]:
    return [tiny.text(p[:cut], p[cut:], source=f"{cut}") for p in passages]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Hold a target model, another one, an adapter and two forget sets (one without probes)."""
    folder = tmp_path_factory.mktemp("evaluate")
    target = tiny.know(tiny.tiny_language_model(), tiny.PASSAGES + tiny.ORDINARY)
    tiny.save(target, folder / "target")
    tiny.save(tiny.know(tiny.tiny_language_model(), tiny.ORDINARY), folder / "other")
    adapted = add_lora(tiny.tiny_language_model(), rank=2, alpha=4, dropout=0.0, seed=0)
    save_adapter(adapted.model, folder / "adapter")
    forget = [e for cut in (20, 24, 28, 32, 36) for e in texts(tiny.PASSAGES, cut)]
    splits = {
        "forget": forget,
        "mismatch": [],
        "retain": texts(tiny.ORDINARY),
        "holdout": texts(tiny.ELSEWHERE),
    }
    probes = {"retain": texts(tiny.ORDINARY), "general": texts(tiny.ORDINARY, 8)}
    write_forget_set(folder / "bare", ForgetSet(splits, probes), "x")
    probes |= {"prompts": texts(tiny.PASSAGES, 15)}
    write_forget_set(folder / "set", ForgetSet(splits, probes), "x")
    return folder


def run(place: Path, out: Path, model: str = "other", **named: Any) -> EvaluateResult:
    values: Mapping[str, Any] = {"before": str(place / "target")} | named
    config = EvaluateConfig(dtype="float32", bootstrap=100, answer_tokens=40)
    return evaluate(str(place / model), place / "set", out, config=config, **values)


def test_a_model_that_never_saw_the_text_passes_on_memorisation(
    place: Path, tmp_path: Path
) -> None:
    found = run(place, tmp_path / "out").results
    strength = found.metric("extraction_strength")
    assert strength.before.value == 1.0
    assert (strength.after.value or 0) < 0.1
    assert strength.verdict == "pass"
    leaks = found.metric("leak_rate")
    assert (leaks.before.value, leaks.after.value, leaks.verdict) == (1.0, 0.0, "pass")
    assert found.metric("leak_rate_unseen").after.reason == "fewer than 20 probes"
    assert found.metric("leak_rate_unseen").verdict == found.verdict == "fail"


def test_results_and_samples_are_written_and_private(place: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(place, out)
    assert sorted(p.name for p in out.iterdir()) == [
        ".results.json.started",
        "results.json",
        "samples.parquet",
    ]
    assert stat.S_IMODE((out / "samples.parquet").stat().st_mode) == 0o600
    table = pq.read_table(out / "samples.parquet")
    assert table.num_rows == 2 * (20 + 4 + 4 + 8 + 8)
    before = sha256_tree(out)
    assert run(place, out).seconds == 0
    assert sha256_tree(out) == before


def test_evaluation_is_reproducible(place: Path, tmp_path: Path) -> None:
    run(place, tmp_path / "a")
    run(place, tmp_path / "b")
    assert sha256_tree(tmp_path / "a") == sha256_tree(tmp_path / "b")


def test_the_scores_of_saying_and_of_reading_give_the_same_fluency(
    place: Path, tmp_path: Path
) -> None:
    """Before is scored while it is said, after by the target model's reading of it.

    What a tiny model says to holdout prompts may hold tokens that no text gives back.
    """
    run(place, tmp_path / "out", "target")
    rows = pq.read_table(tmp_path / "out" / "samples.parquet").to_pylist()
    values: dict[tuple[str, str], list[float | None]] = {}
    for row in rows:
        values.setdefault((row["model"], row["split"]), []).append(row["fluency_nll"])
    said = values["before", "forget"] + values["before", "prompts"]
    read = values["after", "forget"] + values["after", "prompts"]
    assert len(said) == 24
    assert said == pytest.approx(read, abs=1e-4)
    assert None not in values["before", "holdout"]
    assert set(values["after", "holdout"]) == {None}  # of texts no yardstick of anything


def test_without_a_model_before_nothing_is_judged_by_default(place: Path, tmp_path: Path) -> None:
    found = run(place, tmp_path / "out", before=None).results
    assert found.verdict is None
    assert all(m.verdict is None and not m.threshold for m in found.metrics)
    assert any("only thresholds that were named" in note for note in found.notes)
    assert found.metric("utility").after.value is None


def test_what_is_named_is_judged_without_a_model_before(place: Path, tmp_path: Path) -> None:
    named = {
        "extraction_strength": Rule(max=0.1),
        "exact_memorization": Rule(toward_control=0.5),
        "utility": Rule(min=0.95),
        "leak_rate": None,
    }
    config = EvaluateConfig(dtype="float32", bootstrap=100, answer_tokens=8, acceptance=named)
    found = evaluate(str(place / "other"), place / "set", tmp_path, config=config).results
    verdicts = {m.name: m.verdict for m in found.metrics if m.verdict}
    assert verdicts == {
        "extraction_strength": "pass",
        "exact_memorization": "fail",
        "utility": "fail",
    }
    assert "missing" in found.metric("exact_memorization").threshold
    assert "model before" in found.metric("utility").after.reason
    assert found.verdict == "fail"
    rescored = rescore(tmp_path)
    assert {m.name: m.verdict for m in rescored.metrics if m.verdict} == verdicts


def test_with_an_adapter_the_model_without_it_is_before(place: Path, tmp_path: Path) -> None:
    """An adapter that was never trained changes nothing: every utility ratio is 1."""
    found = run(place, tmp_path / "out", "target", before=None, adapter=place / "adapter").results
    strength = found.metric("extraction_strength")
    assert strength.before.value == strength.after.value == 1.0
    assert strength.verdict == found.verdict == "fail"
    assert found.metric("utility").after.value == pytest.approx(1.0, abs=1e-4)
    assert found.models["before"]["name"] == f"{place.name}/target"


def test_a_set_without_probes_is_judged_and_says_what_is_missing(
    place: Path, tmp_path: Path
) -> None:
    config = EvaluateConfig(dtype="float32", bootstrap=100, answer_tokens=8)
    target = str(place / "target")
    found = evaluate(target, place / "bare", tmp_path / "out", before=target, config=config)
    unseen = found.results.metric("leak_rate_unseen")
    assert (unseen.after.value, unseen.after.reason) == (None, "not measured")
    assert unseen.verdict == "fail"


def test_a_folder_that_is_no_forget_set_is_refused(place: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no forget set"):
        evaluate(str(place / "target"), tmp_path, tmp_path / "out")


def test_results_hold_the_thresholds_in_force(place: Path, tmp_path: Path) -> None:
    run(place, tmp_path / "out")
    content = json.loads((tmp_path / "out" / "results.json").read_text("utf-8"))
    assert content["configuration"]["acceptance"]["leak_rate"] == {"max": 0.01}


def test_a_metric_without_a_value_fails_for_that_and_not_for_its_control() -> None:
    few = Estimate(None, 12, reason="fewer than 20 probes")
    lacking = Metric("leak_rate", "forget", "lower", after=few, control=few)
    (judged,) = accept([lacking], {"leak_rate": Rule(control_plus=0.05)})
    assert (judged.verdict, judged.threshold) == ("fail", "could not be computed")
