"""What each client goes through. A case returns a word or a few for what the client did, and fails where it did something that
has no name here. What is expected of which client stands in its `differs`, else in `client.py`."""

import answers  # noqa: F401
import events  # noqa: F401
import going_on  # noqa: F401
from case import CASES as FOUND

# In the order of the tables.
GROUPS = ["Events", "Going on", "Answers"]
CASES = {name: FOUND[name] for group in GROUPS for name in FOUND if FOUND[name][1] == group}
