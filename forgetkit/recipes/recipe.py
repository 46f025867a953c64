"""What a recipe says: data, settings and methods at each size, and the published numbers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator, model_validator

from forgetkit.build import BuildConfig
from forgetkit.build.ready import chosen_part
from forgetkit.config import Config, choice, parse, read_yaml
from forgetkit.errors import InputError
from forgetkit.evaluate import EvaluateConfig
from forgetkit.recipes.columns import check_columns
from forgetkit.registry import lookup
from forgetkit.unlearn import TeachConfig, UnlearnConfig

MISMATCH = "mismatch"


class Source(Config):
    """Some rows: a local path, or a data set of the hub."""

    path: Path | None = Field(None, description="File or folder; relative to the recipe.")
    hub: str = Field("", description="Data set of the Hugging Face hub, or a local one's folder.")
    part: str = Field("", description="Its configuration, where it has several.")
    split: str = Field("train", description="Its split; train[:100] takes the first hundred rows.")
    rows: int | None = Field(None, ge=1, description="Take so many rows of the path, the first.")
    columns: dict[str, str] = Field(
        default_factory=dict, description="New name of a column: its name there; empty: all."
    )
    add: dict[str, str] = Field(
        default_factory=dict, description="Columns with the same text in every row, such as work."
    )

    @model_validator(mode="after")
    def _names_one(self) -> Source:
        if (self.path is None) == bool(self.hub):
            return self
        raise ValueError("name a path or a data set of the hub, and not both")


class Data(Config):
    """The data of a recipe by its part in it."""

    teach: tuple[Source, ...] = Field((), description="What the target model is taught first.")
    teach_retain: tuple[Source, ...] = Field(
        (), description="What the retain model is taught; empty: there is no retain model."
    )
    mix: tuple[Source, ...] = Field((), description="Ordinary text mixed into teaching.")
    forget: tuple[Source, ...] = Field((), description="Ready forget data.")
    prompts: tuple[Source, ...] = Field(
        (), max_length=1, description="Prompts whose answers by the target model are to go."
    )
    retain: tuple[Source, ...] = Field((), description="Ordinary data to keep.")
    holdout: tuple[Source, ...] = Field((), description="Data like forget, never trained on.")
    probes: tuple[Source, ...] = Field(
        (), description="Retain rows to measure; the name of the file is their group."
    )
    rephrased: tuple[Source, ...] = Field(
        (), description="Forget questions and answers in other words, and wrong answers."
    )
    general: tuple[Source, ...] = Field((), description="Ordinary text to measure utility on.")
    refusals: tuple[Source, ...] = Field((), max_length=1, description="Answers that refuse.")

    @field_validator("*", mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        """Read a path as a source, and one source as a list of one."""
        listed = value if isinstance(value, list | tuple) else [value]
        return [{"path": one} if isinstance(one, str) else one for one in listed]


class Size(Config):
    """One size of the experiment."""

    model: str = Field(description="Model: alias, folder or hub id.")
    data: Data
    teach: TeachConfig = Field(default_factory=TeachConfig)
    build: BuildConfig = Field(default_factory=BuildConfig)
    unlearn: dict[str, Any] = Field(
        default_factory=dict, description="Settings of `unlearn` that all methods share."
    )
    methods: dict[str, dict[str, Any]] = Field(
        min_length=1,
        description="Rows of the table: a name, and settings of `unlearn`; `mismatch`, of `build`, "
        "gives the row a set with other answers to the same forget examples.",
    )
    evaluate: EvaluateConfig = Field(default_factory=EvaluateConfig)

    def rows(self, names: Sequence[str] = ()) -> list[str]:
        """Return the rows that are named, or all of them.

        Raises:
            UsageError: a name is unknown.
        """
        return [choice(name, list(self.methods), "row") for name in names or self.methods]


class Recipe(Config):
    """A published experiment."""

    title: str
    source: str = Field(description="Where it was published.")
    columns: tuple[str, ...] = Field(min_length=1, description="Metrics that the table shows.")
    published: dict[str, dict[str, float]] = Field(
        default_factory=dict, description="Published numbers: row, then metric."
    )
    published_note: str = Field("", description="What they were measured on.")
    sizes: dict[str, Size] = Field(min_length=1)

    def size(self, name: str) -> Size:
        """Return one size.

        Raises:
            UsageError: it has none of that name, or no run of it has one of the columns.
        """
        found = self.sizes[choice(name, list(self.sizes), "size")]
        check_columns(self.columns, found.evaluate, where=f"sizes.{name}")
        return found


def load_recipe(path: Path) -> Recipe:
    """Read a recipe; its paths become absolute, and its methods are checked.

    Raises:
        InputError: an unknown key, metric or method, or a path that does not exist.
    """
    recipe = parse(Recipe, read_yaml(path), where=str(path))
    for column in recipe.columns:
        lookup("metrics", column.removesuffix("_unseen"))
    sizes = {}
    for name, size in recipe.sizes.items():
        for row in size.methods:
            where = f"{path}: sizes.{name}.methods.{row}"
            arm(size, row, where=where)
            set_of(size, row, where=where)
        sizes[name] = size.model_copy(update={"data": _placed(size.data, path)})
    return recipe.model_copy(update={"sizes": sizes})


def arm(size: Size, row: str, where: str = "methods", seed: int = 0) -> UnlearnConfig:
    """Return the settings of one method: its own before the shared ones.

    Raises:
        InputError: an unknown key or a value out of range.
        UsageError: the method is unknown.
    """
    own = {name: value for name, value in size.methods[row].items() if name != MISMATCH}
    values = {"method": row} | size.unlearn | own | {"seed": seed}
    config = parse(UnlearnConfig, values, where=where)
    lookup("methods", config.method)
    return config


def set_of(size: Size, row: str, where: str = "methods") -> BuildConfig:
    """Return the settings of the forget set that a method reads.

    Raises:
        InputError: an unknown kind of mismatch.
    """
    own = {name: value for name, value in size.methods[row].items() if name == MISMATCH}
    return parse(BuildConfig, size.build.model_dump() | own, where=where)


def _placed(data: Data, recipe: Path) -> Data:
    base = recipe.resolve().parent

    def place(source: Source) -> Source:
        if source.path is None:
            return source
        full = base / source.path
        if not chosen_part(full)[0].exists():
            where = f"{recipe}: data"
            raise InputError("no such file or folder", where=where, found=str(source.path))
        return source.model_copy(update={"path": full})

    roles = {name: tuple(map(place, getattr(data, name))) for name in Data.model_fields}
    return data.model_copy(update=roles)
