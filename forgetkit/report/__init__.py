"""Report: one self-contained page from the results of an evaluation.

report(Path("case/evaluation"), Path("case/report.html"))
"""

from forgetkit.report.page import report
from forgetkit.report.summary import table

__all__ = ["report", "table"]
