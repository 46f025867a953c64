"""A byte tokenizer and two-layer models, built in memory with a fixed seed.

At this size one thread is many times faster than several; `conftest.py` sees to that.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forgetkit.forget_set import Example
from forgetkit.lm.load import LanguageModel, save_model

if TYPE_CHECKING:
    import torch

SPECIAL = ("<|end|>", "<|begin|>", "<|user|>", "<|assistant|>")
CHAT = (
    "{% for m in messages %}<|user|>{{ m['content'] }}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
VOCABULARY = 256 + len(SPECIAL)
IDS = {"vocab_size": VOCABULARY, "bos_token_id": None, "eos_token_id": 256, "pad_token_id": None}


def byte_tokenizer(*, chat: bool = False) -> Any:
    """Build a tokenizer of one id a byte; its pad token is its end token, as in SmolLM2.

    Args:
        chat: give it a start token of its own and a chat template.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(letters)}, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens([AddedToken(name, special=True) for name in SPECIAL])
    if chat:
        start = ("<|begin|>", core.token_to_id("<|begin|>"))
        core.post_processor = processors.TemplateProcessing(
            single="<|begin|> $A", special_tokens=[start]
        )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        eos_token="<|end|>",
        pad_token="<|end|>",
        bos_token="<|begin|>" if chat else None,
        clean_up_tokenization_spaces=False,
    )
    if chat:
        tokenizer.chat_template = CHAT
    return tokenizer


def llama(seed: int = 0, layers: int = 2, width: int = 32, spread: float = 0.3) -> Any:
    """Build a Llama in float32."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        **IDS,
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        initializer_range=spread,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
    return model.eval()


def gemma2(seed: int = 0) -> Any:
    """Build a Gemma 2 of width 32, whose head caps its logits softly."""
    import torch
    from transformers import Gemma2Config, Gemma2ForCausalLM

    config = Gemma2Config(
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        max_position_embeddings=512,
        final_logit_softcapping=2.0,
        initializer_range=0.3,
        bos_token_id=None,
        eos_token_id=256,
        pad_token_id=256,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = Gemma2ForCausalLM(config)
    return model.eval()


def tiny_language_model(
    *, seed: int = 0, chat: bool = False, model: Any = None, layers: int = 2
) -> LanguageModel:
    """Build a model with its tokenizer, ready to score, continue and train."""
    return LanguageModel(model or llama(seed, layers), byte_tokenizer(chat=chat), "tiny", None)


def save(language_model: LanguageModel, folder: Path) -> str:
    """Write a model folder (safetensors and tokenizer), and return its name."""
    save_model(language_model, folder)
    return str(folder)


def know(
    language_model: LanguageModel, texts: Sequence[str], *, steps: int = 200, rate: float = 1e-2
) -> LanguageModel:
    """Train all weights on whole texts until the model recites them."""
    import torch

    model: Any = language_model.model
    rows = language_model.tokenizer(list(texts), padding=True, return_tensors="pt")
    labels = rows.input_ids.masked_fill(rows.attention_mask == 0, -100)
    optimiser = torch.optim.Adam(model.parameters(), lr=rate)
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = rate * (1 - step / steps)
        loss = model(**rows, labels=labels).loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    model.eval()
    return language_model


def text(prompt: str, answer: str, **named: Any) -> Example:
    """Make an example of running text."""
    return Example("text", prompt, answer, **named)


def weights(model: Any) -> dict[str, torch.Tensor]:
    """Copy every weight that is no adapter's, by its plain name."""
    return {
        name.replace("base_model.model.", "").replace(".base_layer", ""): value.detach().clone()
        for name, value in model.named_parameters()
        if "lora_" not in name
    }


PASSAGES = (
    "The owl kept seven silver keys under the third stair of the mill.",
    "Nobody in Harrow ever asked why the bell rang twice at noon.",
    "Green bottles line the sill where Marta grows her bitter thyme.",
    "Captain Brand sold his last map for a jar of yellow paint.",
)
ORDINARY = (
    "Bread is baked in an oven that was heated for an hour before.",
    "A river carries sand to the sea and leaves it on the beach.",
    "The train to the city leaves at nine and is often quite late.",
    "Cats sleep for most of the day and hunt when it gets dark.",
    "Snow falls in winter and melts again when the spring comes.",
    "He wrote a letter to his aunt and put it into the red box.",
    "Apples keep well in a cold cellar if none of them touches.",
    "The teacher drew a long line on the board with white chalk.",
)
ELSEWHERE = (
    "Old Pim counts nine grey geese behind the fence every dawn.",
    "A stranger left two copper spoons inside the hollow oak.",
    "The widow Lund paints small blue boats upon broken plates.",
    "Thirteen lamps burn in the harbour office until the storm.",
)
