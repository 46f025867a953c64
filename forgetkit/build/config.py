"""Settings of `build`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from forgetkit.config import Config


class BuildConfig(Config):
    """Settings of `build`: how passages become examples, and how many of what."""

    kind: Literal["auto", "text", "pair"] = Field(
        "auto",
        description="What the set holds where the inputs give both: text, or pairs and facts; "
        "auto: pairs where there are any. A set holds one kind; build one of each.",
    )
    prompt_words: int = Field(
        16, ge=4, le=400, description="Words of a passage that a text prompt shows."
    )
    answer_words: int = Field(
        32, ge=4, le=800, description="Words of the continuation that takes the loss."
    )
    stride_words: int = Field(
        16, ge=1, description="Words between the starts of two windows of one passage."
    )
    starts: tuple[Literal["sliding", "sentences", "opening"], ...] = Field(
        ("sliding", "sentences", "opening"),
        min_length=1,
        description="Where the windows of a passage start: every stride_words, at sentences, and "
        "at its first words with a quarter of the prompt, so that the rest of what the first "
        "prompt shows is an answer once.",
    )
    other_prompt_words: tuple[int, ...] = Field(
        (32,), description="More prefix lengths in words; each gives windows of its own."
    )
    answer_tokens: int = Field(
        128,
        ge=4,
        description="Most tokens of a text answer by the target model's tokenizer, when a model "
        "is given; a longer one ends at the last word that fits.",
    )
    weight_by_copies: bool = Field(
        False, description="Weigh a passage by its copies in the corpus (mean 1)."
    )
    template: Literal["chat", "plain"] = Field(
        "chat",
        description="Pairs in the chat template of the model, or in the plain one of Yao 2023.",
    )
    rank_by_memorization: bool = Field(
        True, description="Score candidates by the target model and set aside what it cannot say."
    )
    known_at: float = Field(
        0.25,
        ge=0,
        le=1,
        description="Least extraction strength, in [0, 1], that some window of a passage must "
        "have for the passage to count as known.",
    )
    mismatch: Literal["ordinary", "refusal", "neutral", "right", "alternative"] = Field(
        "ordinary",
        description="What the model shall say instead: other text, a refusal, a neutral "
        "sentence, the right answer of a fact, or another answer of the model's own.",
    )
    mismatch_answers: int = Field(
        1, ge=1, le=16, description="Mismatched answers a forget prompt gets (K)."
    )
    retain_size: int = Field(200, ge=1, description="Retain examples to train on.")
    retain_answers: Literal["given", "own"] = Field(
        "given",
        description="What the retain split answers: what its rows say, or what the target model "
        "itself says to their prompts, up to own_answer_tokens, so that ordinary answers keep "
        "manner and length; rows that have no answer are taken then too.",
    )
    neighbour_share: float = Field(
        0.5, ge=0, le=1, description="Share of retain that is nearest to the forget set, in [0, 1]."
    )
    about: tuple[str, ...] = Field(
        (),
        description="Authors and topics of what is to be forgotten, beside those that its rows "
        "name: ordinary rows whose column author, topic, subject or category says one of them "
        "come first among the neighbours.",
    )
    probe_size: int = Field(
        200,
        ge=0,
        description="Retain rows to evaluate on, never trained on; published probes come whole.",
    )
    general_size: int = Field(200, ge=0, description="General rows to evaluate on.")
    holdout_size: int = Field(
        0, ge=0, description="Holdout examples; 0: as many as forget examples, at least 40."
    )
    rephrased_size: int = Field(
        24,
        ge=0,
        description="Forget examples asked for in other ways, as probes; each in five or six ways.",
    )
    own_answer_tokens: int = Field(
        64, ge=8, le=512, description="Length of the target model's own answers, in tokens."
    )
    max_tokens: int = Field(
        512,
        ge=32,
        description="Longest prompt and answer in tokens of the model, when one is given; a "
        "forget example that is longer is refused, another one is set aside.",
    )
    allow_truncation: bool = Field(
        False, description="Keep examples longer than max_tokens; later stages cut them."
    )
    least_examples: int = Field(
        3, ge=1, description="A split with fewer examples than this is refused."
    )
    shared_words: int = Field(
        13, ge=5, description="A run of so many words in two splits is an overlap."
    )
    near_copy: float = Field(
        0.7,
        ge=0.1,
        le=1,
        description="Two texts whose word 5-grams have this Jaccard similarity, in (0, 1], "
        "are near copies.",
    )
    same_meaning: float = Field(
        0.9,
        gt=0,
        le=1,
        description="Two texts whose embeddings have this cosine, in (0, 1], say the same.",
    )
    compare_meaning: bool | None = Field(
        None,
        description="Compare forget with the other splits by meaning too. By default where "
        "neighbours are sought (the texts are embedded anyway) and the set has at most 4,000 rows.",
    )
    allow_overlap: bool = Field(
        False, description="Go on when splits overlap; the pairs are written into the manifest."
    )
    allow_unlike_holdout: bool = Field(
        False, description="Go on when holdout differs from forget in length or surprise."
    )
    broad_share: float = Field(
        0.3,
        gt=0,
        le=1,
        description="A passage with this share of its word 4-grams in the ordinary data, in "
        "(0, 1], is ordinary language: the request may be over-broad.",
    )
    show_examples: bool = Field(
        False, description="Print examples in the data card; they are redacted otherwise."
    )
    seed: int = Field(0, ge=0, description="Seed of every choice.")

    @field_validator("other_prompt_words")
    @classmethod
    def _positive(cls, lengths: tuple[int, ...]) -> tuple[int, ...]:
        if any(length < 2 for length in lengths):
            raise ValueError("a prefix needs two words")
        return lengths
