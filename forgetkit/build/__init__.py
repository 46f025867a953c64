"""Build a forget set: what to forget, what to say instead, what to keep, and the control.

from forgetkit.build import build, BuildConfig, Inputs
build(Inputs(spans=Path("mined/spans.parquet"), ...), Path("forget_set"))
"""

from forgetkit.build.config import BuildConfig
from forgetkit.build.inputs import Inputs
from forgetkit.build.stage import BuildResult, build, plan_build, recited

__all__ = ["BuildConfig", "BuildResult", "Inputs", "build", "plan_build", "recited"]
