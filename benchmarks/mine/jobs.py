"""Run one measured job: its own process, one core, one thread, a result file; keep what it said."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from environments import ENVIRONMENTS, ready

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PATHS = (HERE, HERE / "peers", HERE.parent, ROOT, ROOT / "cli")
THREADS = ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "RAYON", "NUMBA", "POLARS", "VECLIB_MAXIMUM")


@dataclass(frozen=True)
class Job:
    """A script and the environment that runs it; ours when it names none.

    Slow ones (under 4 MB a CPU second) read the small data, a tenth, unless `--slow-full` is given.
    """

    name: str
    script: str
    environment: str | None = None
    argument: str = ""
    slow: bool = False


PEERS = (
    Job("near rensa", "peers/near_rensa.py", "rensa"),
    Job("near datasketch", "peers/near_datasketch.py", "datasketch", slow=True),
    Job("near text-dedup", "peers/near_text_dedup.py", "text-dedup", slow=True),
    Job("near datatrove", "peers/near_datatrove.py", "datatrove", slow=True),
    Job("near semhash", "peers/near_semhash.py", "semhash", slow=True),
    Job("spans dolma", "peers/spans_dolma.py", "dolma"),
    Job("spans n-gram set", "peers/spans_ngram_set.py", "rensa"),
    Job("spans datatrove", "peers/spans_datatrove.py", "datatrove", slow=True),
    Job("linear scikit-learn", "peers/linear_sklearn.py"),
    Job("static model2vec", "peers/static_model2vec.py", "semhash"),
    Job("minilm sentence-transformers", "peers/minilm_default.py"),
)
OURS = (
    Job("spans forgetkit", "ours/spans.py"),
    Job("near forgetkit", "ours/near.py"),
    Job("linear forgetkit", "ours/linear.py"),
    Job("static forgetkit", "ours/static.py"),
    Job("minilm forgetkit", "ours/minilm.py"),
)


def run(job: Job, data: Path, cache: Path, core: int | None, limit: int) -> dict[str, Any]:
    """Return what the job measured, or `{"failed": reason}`; on one core where one is named."""
    try:
        python = _python(job, cache)
    except (RuntimeError, OSError, subprocess.SubprocessError) as error:
        return {"failed": f"cannot be installed: {str(error)[:200]}"}
    scratch = Path(tempfile.mkdtemp(prefix="job-", dir=cache))
    out = scratch / "result.json"
    command = [str(python), str(HERE / job.script), str(data), str(scratch), str(out)]
    if job.argument:
        command.append(job.argument)
    if core is not None and shutil.which("taskset"):
        command = ["taskset", "-c", str(core), *command]
    environment = os.environ | {f"{name}_NUM_THREADS": "1" for name in THREADS}
    environment |= {"TOKENIZERS_PARALLELISM": "false", "PYTHONHASHSEED": "0"}
    environment |= {"HF_HUB_OFFLINE": "1", "PYTHONPATH": os.pathsep.join(map(str, PATHS))}
    try:
        done = subprocess.run(
            command,
            env=environment,
            cwd=scratch,  # datatrove writes logs to where it stands
            capture_output=True,
            text=True,
            timeout=limit,
            check=False,
        )
        if done.returncode or not out.is_file():
            said = [line for line in done.stderr.splitlines() if line.strip()] or ["?"]
            return {"failed": f"exit {done.returncode}: {said[-1][:200]}"}
        found: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
        return found
    except subprocess.TimeoutExpired:
        return {"failed": f"took longer than {limit} s of wall time"}
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _python(job: Job, cache: Path) -> Path:
    if job.environment is None:
        return Path(sys.executable)
    wanted = next(env for env in ENVIRONMENTS if env.name == job.environment)
    return ready(wanted, cache / "venvs")
