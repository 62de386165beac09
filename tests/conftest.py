"""Settings of the tests alone; `conftest.py` in the root has those that hold for docstrings and documents, too."""

import os

from hypothesis import settings

# The first call of anything compiles it, which takes longer than any deadline that would tell something.
settings.register_profile("default", deadline=None)
# The examples are the same in every run: a failure in CI is a failure at home.
settings.register_profile("ci", parent=settings.get_profile("default"), derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "default")
