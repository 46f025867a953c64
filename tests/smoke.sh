#!/usr/bin/env bash
# Builds the wheel and runs it in an empty environment that holds the runtime dependencies only.
# Usage: make smoke (needs .venv; installs from the package index or pip's cache).
set -euo pipefail
cd "$(dirname "$0")/.."

root=$PWD
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT

.venv/bin/python -m build --quiet --wheel --no-isolation --outdir "$place/dist" .
.venv/bin/python -m venv "$place/venv"
pip=("$place/venv/bin/python" -m pip install --quiet -c "$root/constraints.txt")
"${pip[@]}" torch==2.13.0
"${pip[@]}" "$place"/dist/forgetkit-*.whl
"$place/venv/bin/python" -m pip check

# Away from the checkout, so that only the installed wheel can answer.
cd "$place"
forgetkit=$place/venv/bin/forgetkit
"$forgetkit" --help >/dev/null
"$forgetkit" list methods >/dev/null
venv/bin/python -c "import forgetkit"
venv/bin/python -c "
from importlib.resources import files
[files('forgetkit.report').joinpath('templates', name).read_bytes() for name in ('report.html', 'report.css')]"

passage="The lamp in the north window burned until the last boat had passed the point and the keeper "
passage+="counted each of them twice in the grey book that nobody but the sea would ever ask to read"
printf '%s\n' "$passage" >work.txt
printf '{"id": "copy", "text": "As the old book has it: %s."}\n' "$passage" >corpus.jsonl
printf '{"id": "other", "text": "Nothing of the kind is written in this second document."}\n' >>corpus.jsonl
"$forgetkit" mine corpus.jsonl --works work.txt --detector verbatim --out mined --quiet
venv/bin/python - <<'PYTHON'
import pyarrow.parquet as parquet

rows = parquet.read_table("mined/spans.parquet", columns=["doc_id"]).to_pylist()
if {row["doc_id"] for row in rows} != {"copy"}:
    raise SystemExit(f"smoke: expected a span in the document 'copy' only, found {rows}")
PYTHON
echo "smoke: the wheel works with its runtime dependencies only"
