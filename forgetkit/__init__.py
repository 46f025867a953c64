"""forgetkit takes a takedown from the request to the evidence.

Rooms: `mine`, `dedupe`, `review`, `build`, `unlearn`, `evaluate`, `report`; `takedown` walks them.
"""

__version__ = "0.1.0"
