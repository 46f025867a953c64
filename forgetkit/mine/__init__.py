"""Find the spans of a corpus that a request is about.

from forgetkit.mine import mine, MineConfig
result = mine([Path("corpus")], Path("mined"), works=[Path("works")])
"""

from forgetkit.mine.config import MineConfig
from forgetkit.mine.result import MineResult
from forgetkit.mine.stage import mine, mine_shard, preview

__all__ = ["MineConfig", "MineResult", "mine", "mine_shard", "preview"]
