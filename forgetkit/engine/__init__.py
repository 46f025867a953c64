"""Work on a corpus in tasks that meet in files: the same result for any number of workers.

A task is a stretch of the corpus; what it gives is written whole, with a receipt that says what it
was made of. A second run takes the receipts that still hold and does the rest.
"""

from forgetkit.engine.parts import Output, Part, once
from forgetkit.engine.run import ENGINES, Work, engine_of, run
from forgetkit.engine.task import Plan, Shard, Task, plan

__all__ = [
    "ENGINES",
    "Output",
    "Part",
    "Plan",
    "Shard",
    "Task",
    "Work",
    "engine_of",
    "once",
    "plan",
    "run",
]
