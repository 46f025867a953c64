from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import Field, ValidationError

from forgetkit.config import Config, choice, existing, parse, read_yaml, resolve
from forgetkit.errors import InputError, UsageError
from forgetkit.evaluate import EvaluateConfig
from forgetkit_cli.options import given


class Sample(Config):
    """Settings of a test."""

    steps: int = Field(3, ge=1, description="Steps.")
    rate: float = 0.5
    name: str = "default"


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "settings.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_configuration_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        Sample().steps = 4  # type: ignore[misc]


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan"), ".inf"])
def test_numbers_that_are_not_finite_are_refused(value: object) -> None:
    with pytest.raises(InputError, match="rate"):
        parse(Sample, {"rate": value}, "sample")


@pytest.mark.parametrize(
    "values", [["steps=1", "steps.x=3"], ["steps=1", "steps.x.y=3"], ["a.b=1", "a.b.c=2"]]
)
def test_a_part_of_a_single_value_cannot_be_set(values: list[str]) -> None:
    with pytest.raises(UsageError, match=f"--set {values[1]} names a part"):
        given(values)


def test_a_flag_wins_over_environment_file_and_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = written(tmp_path, "sample: {steps: 10, rate: 0.1, name: file}\nmine: {x: 1}")
    assert resolve(Sample, "sample", {}) == Sample()
    assert resolve(Sample, "sample", {}, file) == Sample(steps=10, rate=0.1, name="file")
    monkeypatch.setenv("FORGETKIT_SAMPLE_STEPS", "20")
    monkeypatch.setenv("FORGETKIT_SAMPLE_RATE", "0.2")
    monkeypatch.setenv("FORGETKIT_OTHER_NAME", "not ours")
    found = resolve(Sample, "sample", {"steps": 30, "rate": None}, file)
    assert found == Sample(steps=30, rate=0.2, name="file")


def test_an_unknown_key_names_the_nearest(tmp_path: Path) -> None:
    file = written(tmp_path, "sample: {step: 1}")
    with pytest.raises(InputError, match=r"settings\.yaml: step: unknown key.*'steps'") as caught:
        resolve(Sample, "sample", {}, file)
    assert caught.value.exit_code == 3
    assert "\n" not in str(caught.value)


def test_an_unknown_section_names_the_nearest(tmp_path: Path) -> None:
    file = written(tmp_path, "unlern: {steps: 1}")
    with pytest.raises(InputError, match=r"unlern: unknown section.*'unlearn'"):
        resolve(Sample, "sample", {}, file)


def test_an_unknown_key_in_a_nested_rule_names_the_nearest() -> None:
    values = {"acceptance": {"utility": {"mim": 0.9}}}
    with pytest.raises(InputError, match=r"acceptance\.utility\.mim: unknown key.*'min'"):
        parse(EvaluateConfig, values, "flags")


@pytest.mark.parametrize("value", ["0", "many", "2.5"])
def test_a_value_that_does_not_fit_names_its_field(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("FORGETKIT_SAMPLE_STEPS", value)
    with pytest.raises(InputError, match="steps") as caught:
        resolve(Sample, "sample", {})
    assert caught.value.found == repr(value)


@pytest.mark.parametrize(
    ("text", "line"), [("a: 1\nb: [1, 2\nc: 3\n", 3), ("a: 'open\n", 2), ("a: 1\n\tb: 2\n", 2)]
)
def test_broken_yaml_names_file_and_line(tmp_path: Path, text: str, line: int) -> None:
    with pytest.raises(InputError, match=rf"settings\.yaml:{line}: is not YAML") as caught:
        read_yaml(written(tmp_path, text))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["- 1\n", "word\n", "a: \x00\n", "!!python/object:os.system {}\n"])
def test_yaml_that_is_no_mapping_or_no_plain_data_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError):
        read_yaml(written(tmp_path, text))


def test_an_empty_file_has_no_settings(tmp_path: Path) -> None:
    assert read_yaml(written(tmp_path, "")) == {}


def test_a_missing_file_a_folder_and_bytes_are_input_errors(tmp_path: Path) -> None:
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00")
    for path in (tmp_path / "none.yaml", tmp_path, tmp_path / "bytes.yaml"):
        with pytest.raises(InputError):
            read_yaml(path)


def test_a_section_that_is_no_mapping_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="sample"):
        resolve(Sample, "sample", {}, written(tmp_path, "sample: 3"))


def test_a_path_must_exist_and_a_choice_must_be_known(tmp_path: Path) -> None:
    assert existing(str(tmp_path), "the corpus") == tmp_path
    with pytest.raises(InputError, match="the corpus does not exist"):
        existing(tmp_path / "none", "the corpus")
    assert choice("npo", ["npo", "ga"], "method") == "npo"
    with pytest.raises(UsageError, match="Did you mean 'npo'"):
        choice("npoo", ["npo", "ga"], "method")
