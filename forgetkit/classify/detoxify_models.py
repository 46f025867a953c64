"""Detoxify's published models, opened by our own loader: weights only, digest checked first.

Detoxify (Hanu and Unitary, https://github.com/unitaryai/detoxify, Apache-2.0; measured with 0.5.4)
publishes checkpoints whose own loader unpickles them. Here a file is hashed before anything reads
it, then read with ``weights_only=True``; the architecture comes from ``arch.args`` inside it.
The official file names end in the first eight digits of their SHA-256; pin the whole digest with
``digest`` where eight are not enough.
"""

from __future__ import annotations

import re
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

from forgetkit.classify.sequence import SequenceClassifier
from forgetkit.errors import InputError, TamperedError, UsageError, nearest
from forgetkit.files import sha256_file

RELEASES = "https://github.com/unitaryai/detoxify/releases/download/"
OFFICIAL = {
    "original": "v0.1-alpha/toxic_original-c1212f89.ckpt",
    "unbiased": "v0.3-alpha/toxic_debiased-c7548aa0.ckpt",
    "multilingual": "v0.4-alpha/multilingual_debiased-0b549669.ckpt",
}
RENAMED = {
    "toxic": "toxicity",
    "identity_hate": "identity_attack",
    "severe_toxic": "severe_toxicity",
}
FAMILIES = (
    "BertForSequenceClassification",
    "RobertaForSequenceClassification",
    "XLMRobertaForSequenceClassification",
    "AlbertForSequenceClassification",
)


def open_detoxify(
    variant: str, *, checkpoint: Path | None = None, digest: str | None = None
) -> SequenceClassifier:
    """Open one of detoxify's models.

    Args:
        variant: ``original``, ``unbiased`` or ``multilingual``.
        checkpoint: a file on disk; without one, torch's hub cache is used and, if the file is
            not there, the official one is fetched into it.
        digest: SHA-256 the file must begin with (8 to 64 hexadecimal digits); without one, the
            digits at the end of the official file name.

    Raises:
        UsageError: unknown variant or malformed digest.
        InputError: no file, or a file that is no such checkpoint.
        TamperedError: the digest differs.
    """
    if variant not in OFFICIAL:
        raise UsageError(f"unknown detoxify model '{variant}'", mend=nearest(variant, OFFICIAL))
    path = checkpoint or _cached(variant)
    _check_digest(path, digest or _official_digest(variant))
    return _build(f"detoxify:{variant}", path)


def _official_digest(variant: str) -> str:
    return OFFICIAL[variant].rsplit("-", 1)[1].removesuffix(".ckpt")


def _cached(variant: str) -> Path:
    import torch

    path = Path(torch.hub.get_dir()) / "checkpoints" / OFFICIAL[variant].rsplit("/", 1)[1]
    if path.is_file():
        return path
    url = RELEASES + OFFICIAL[variant]
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        torch.hub.download_url_to_file(
            url, str(path), hash_prefix=_official_digest(variant), progress=False
        )
    except (OSError, RuntimeError) as error:
        raise InputError(
            "the detoxify checkpoint is not here and cannot be fetched",
            where=str(path),
            found=str(error),
            mend=f"Put the file of {url} there, or name one with checkpoint.",
        ) from error
    return path


def _check_digest(path: Path, wanted: str) -> None:
    if not re.fullmatch(r"[0-9a-f]{8,64}", wanted.lower()):
        raise UsageError("a digest has 8 to 64 hexadecimal digits", found=repr(wanted))
    if not path.is_file():
        raise InputError("no such checkpoint", where=str(path))
    found = sha256_file(path)
    if not found.startswith(wanted.lower()):
        raise TamperedError(
            "the checkpoint has another digest",
            where=str(path),
            found=f"sha256 {found}, wanted {wanted}",
            mend="Fetch it again, or pin its digest if you trust the file.",
        )


def _build(name: str, path: Path) -> SequenceClassifier:
    """Build the model that a checkpoint describes, around its weights."""
    import transformers

    loaded = _read(path)
    config, state = _parts(loaded, path)
    arch = config["arch"]["args"]
    family, folder = str(arch["model_name"]), str(arch["model_type"])
    if family not in FAMILIES:
        raise InputError("unknown architecture", where=str(path), found=family)
    model_class = getattr(transformers, family)
    try:
        plan = model_class.config_class.from_pretrained(folder, num_labels=int(arch["num_classes"]))
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise InputError(
            "the configuration and tokenizer this checkpoint names are not at hand",
            where=folder,
            found=str(error).splitlines()[0],
            mend=f"Put the folder of {folder} into the hub cache while online.",
        ) from error
    model = model_class(plan)
    _fill(model, state, path)
    names = tuple(RENAMED.get(str(c), str(c)) for c in config["dataset"]["args"]["classes"])
    categories = names[: int(arch["num_classes"])]
    return SequenceClassifier(name, categories, model, tokenizer, is_multi_label=True)


def _read(path: Path) -> Any:
    import torch

    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise InputError(
            "is no checkpoint of plain tensors; nothing in it was run",
            where=str(path),
            found=str(error).splitlines()[0][:120],
        ) from error


def _parts(loaded: Any, path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    try:
        config, state = loaded["config"], loaded["state_dict"]
        for name in ("model_name", "model_type", "num_classes"):
            config["arch"]["args"][name]
        config["dataset"]["args"]["classes"]
    except (KeyError, TypeError, IndexError) as error:
        raise InputError(
            "is no detoxify checkpoint", where=str(path), found=f"no {error}"
        ) from error
    return config, state


def _fill(model: Any, state: dict[str, Any], path: Path) -> None:
    """Load weights; position-id buffers of older transformers are the only extra allowed."""
    kept = {key: value for key, value in state.items() if not key.endswith("position_ids")}
    try:
        missing, extra = model.load_state_dict(kept, strict=False)
    except RuntimeError as error:
        raise InputError(
            "the weights do not fit", where=str(path), found=str(error)[:120]
        ) from error
    if missing or extra:
        names = ", ".join([*missing, *extra][:3])
        raise InputError("the weights do not fit the architecture", where=str(path), found=names)
