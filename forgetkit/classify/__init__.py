"""Score texts for harm, and judge whether an answer complies, refuses or derails.

classifier = open_classifier("bundled")
classifier.score(["How do I bake bread?"])  # (1, 3)
"""

from __future__ import annotations

from pathlib import Path

from forgetkit.classify.protocol import Classifier, pair_text
from forgetkit.errors import UsageError

__all__ = ["Classifier", "open_classifier", "pair_text"]


def open_classifier(
    name: str, *, checkpoint: Path | None = None, digest: str | None = None
) -> Classifier:
    """Open a classifier by name.

    Args:
        name: ``bundled``; a folder that `train-filter` wrote; ``detoxify:original``,
            ``detoxify:unbiased``, ``detoxify:multilingual``; or a folder or hub id of a
            transformers sequence classifier with safetensors.
        checkpoint: a detoxify checkpoint on disk.
        digest: SHA-256 that checkpoint must begin with (8 to 64 hexadecimal digits).

    Raises:
        UsageError: unknown detoxify model, or a checkpoint given to another classifier.
        InputError: the model is not at hand or cannot be used.
        TamperedError: a digest differs.
    """
    kind, _, variant = name.partition(":")
    if kind == "detoxify":
        from forgetkit.classify.detoxify_models import open_detoxify

        return open_detoxify(variant, checkpoint=checkpoint, digest=digest)
    if checkpoint is not None or digest is not None:
        raise UsageError("only detoxify models take a checkpoint and a digest", where=name)
    from forgetkit.classify.linear import is_filter, open_bundled, open_filter

    if name == "bundled":
        return open_bundled()
    if is_filter(Path(name)):
        return open_filter(Path(name))
    from forgetkit.classify.sequence import open_sequence

    return open_sequence(name)
