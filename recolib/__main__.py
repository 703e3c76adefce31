"""``python -m recolib``: the command line, as ``torchrun -m recolib`` needs it."""

import sys

from recolib.cli import main

if __name__ == "__main__":
    sys.exit(main())
