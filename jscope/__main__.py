"""`python -m jscope`: see `jscope.cli`."""

import sys

from jscope.cli import main

if __name__ == "__main__":
    sys.exit(main())
