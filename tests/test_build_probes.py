from __future__ import annotations

import numpy as np
import tiny

from forgetkit.build.control import word_surprise
from forgetkit.build.outliers import outliers
from forgetkit.build.probes import rephrased
from forgetkit.build.relearn import halves
from forgetkit.forget_set import Example


def window(work: str, group: str, start: int) -> Example:
    return tiny.text(
        f"{group} {start}", " said", work_id=work, group=group,
        source=f"{work}[{start}:{start + 50}:{start + 100}]",
    )  # fmt: skip


def test_a_text_is_asked_for_in_six_ways_with_the_same_answer() -> None:
    example = tiny.text("The owl kept", " seven keys.", answer_mask=((1, 6),))
    found = rephrased([example], 24)
    assert len({e.variant for e in found}) == len(found) == 6
    assert {e.pair_of for e in found} == {example.example_id}
    for probe in found:
        assert "The owl kept" in probe.prompt
        assert probe.answer == (" seven keys." if probe.template == "plain" else "seven keys.")
        ((start, end),) = probe.answer_mask
        assert probe.answer[start:end] == "seven"


def test_a_question_keeps_its_answer_and_its_words_in_every_way() -> None:
    found = rephrased([Example("pair", "How Old?", "Nine.", template="chat")], 24)
    assert len(found) == 5
    assert all("how old?" in e.prompt.lower() and e.answer == "Nine." for e in found)


def test_probes_are_taken_evenly_and_none_where_none_are_asked() -> None:
    forget = [tiny.text(f"p{n}", " a") for n in range(100)]
    assert len({e.pair_of for e in rephrased(forget, 10)}) == 10
    assert rephrased(forget, 0) == []


def test_works_stay_whole_on_one_side_of_the_relearning_cut() -> None:
    forget = [window(w, f"{w}{n}", n * 1000) for w in "uvwx" for n in range(5)]
    cut = halves(forget, 0)
    assert cut.cut_by == "work"
    assert cut.sizes() == {"A": 10, "B": 10}
    for work in "uvwx":
        assert len({e.part for e in cut.forget if e.work_id == work}) == 1
    assert [e.example_id for e in cut.forget] == [e.example_id for e in forget]


def test_neighbouring_passages_of_one_work_stay_together() -> None:
    """The first two stand 100 code points apart, the third far away."""
    forget = [window("w", "b", 0), window("w", "a", 200), window("w", "c", 9000)]
    cut = halves(forget, 0)
    assert cut.cut_by == "passage"
    first, second, third = (e.part for e in cut.forget)
    assert first == second != third


def test_one_passage_cannot_be_cut() -> None:
    cut = halves([window("w", "a", 0), window("w", "a", 50)], 0)
    assert cut.cut_by == ""
    assert {e.part for e in cut.forget} == {""}


def test_pairs_of_one_cluster_are_cut_by_their_prompts() -> None:
    pairs = [Example("pair", f"q{n // 2}", f"a{n}", group="g") for n in range(6)]
    cut = halves(pairs, 0)
    assert cut.cut_by == "prompt"
    for first, second in zip(cut.forget[::2], cut.forget[1::2], strict=True):
        assert first.part == second.part


def test_the_seed_decides_which_half_is_which() -> None:
    forget = [window("w", f"g{n}", n * 5000) for n in range(8)]
    parts = {"".join(e.part for e in halves(forget, seed).forget) for seed in range(6)}
    assert len(parts) > 1
    assert halves(forget, 3) == halves(forget, 3)


def test_outliers_in_length_words_and_meaning_are_reported() -> None:
    usual = [tiny.text(f"a{n % 3}", " b" * (8 + n % 3), source=str(n)) for n in range(20)]
    long, other = tiny.text("a", " b" * 90), tiny.text("z", " b" * 9)

    def encode(texts: list[str]) -> object:
        rows = [(0.0, 1.0) if t.startswith("z") else (1.0, 0.0) for t in texts]
        return np.array(rows, np.float32)

    found = outliers([*usual, long, other], word_surprise(["a b " * 9]), encode)  # type: ignore[arg-type]
    assert (long.example_id, "words", 91.0) in found
    assert [one[:2] for one in found if one[1] == "meaning"] == [(other.example_id, "meaning")]
    assert outliers(usual[:5], word_surprise(["a"]), None) == []
