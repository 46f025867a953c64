"""Any sequence classifier of transformers, by folder or hub id; safetensors only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from forgetkit.errors import InputError, load_errors

if TYPE_CHECKING:
    from transformers import PreTrainedModel

BATCH = 16  # texts a forward pass; changes speed and memory, no score
LENGTH = 512  # tokens read of each text; the rest is cut


class SequenceClassifier:
    """Score texts by a sequence-classification head.

    One label, or a head marked multi-label, is read through a sigmoid, any other by softmax.
    """

    def __init__(
        self,
        name: str,
        categories: tuple[str, ...],
        model: PreTrainedModel,
        tokenizer: Any,
        *,
        is_multi_label: bool,
    ) -> None:
        self.name, self.categories = name, categories
        self._model, self._tokenizer = model.eval(), tokenizer
        self._is_multi_label = is_multi_label

    @property
    def is_exclusive(self) -> bool:
        """Say whether a text has exactly one label (softmax), so that one must mean no harm."""
        return not self._is_multi_label

    def score(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Return scores in [0, 1], shape (n, categories); texts beyond 512 tokens are cut."""
        found = np.empty((len(texts), len(self.categories)), dtype=np.float32)
        self._model = _on_device(self._model)  # not before: those who only scan need no GPU
        for start in range(0, len(texts), BATCH):
            batch = list(texts[start : start + BATCH])
            found[start : start + len(batch)] = self._forward(batch)
        return found

    def _forward(self, texts: list[str]) -> npt.NDArray[np.float32]:
        import torch

        limit = min(LENGTH, int(getattr(self._model.config, "max_position_embeddings", LENGTH)))
        encoded = self._tokenizer(
            texts, return_tensors="pt", padding=True, truncation=True, max_length=limit
        )
        with torch.inference_mode():
            logits = self._model(**encoded.to(self._model.device)).logits.float()  # (B, C)
        scores = logits.sigmoid() if self._is_multi_label else logits.softmax(dim=-1)
        named = scores[:, : len(self.categories)]  # a head may have more outputs than names
        return np.asarray(named.cpu().numpy(), dtype=np.float32)


def open_sequence(name: str) -> SequenceClassifier:
    """Open a sequence classifier from a folder or a hub id.

    Raises:
        InputError: there is no such model, it has no safetensors, or its code would have to run.
    """
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    try:
        model = AutoModelForSequenceClassification.from_pretrained(
            name, use_safetensors=True, trust_remote_code=False
        )
        tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=False)
    except load_errors() as error:
        raise InputError(
            "is no sequence classifier that can be opened",
            where=name,
            found=(str(error).splitlines() or [type(error).__name__])[0],
            mend="Name a folder with config.json, tokenizer and model.safetensors, or a hub id.",
        ) from error
    _pad(name, model, tokenizer)
    labels = model.config.id2label
    categories = tuple(str(labels[place]) for place in sorted(labels))
    multi = model.config.problem_type == "multi_label_classification" or len(categories) == 1
    return SequenceClassifier(name, categories, model, tokenizer, is_multi_label=multi)


def _on_device(model: PreTrainedModel) -> PreTrainedModel:
    """Put a model on the GPU, where there is one."""
    import torch

    return model.to("cuda") if torch.cuda.is_available() else model


def _pad(name: str, model: PreTrainedModel, tokenizer: Any) -> None:
    """Give a model without a padding token (GPT-2) its end of text for one."""
    if tokenizer.pad_token_id is None:
        if tokenizer.eos_token_id is None:
            raise InputError("has a tokenizer without a padding token", where=name)
        tokenizer.pad_token = tokenizer.eos_token
    if model.config.pad_token_id is None:
        model.config.pad_token_id = tokenizer.pad_token_id
