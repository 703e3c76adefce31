"""``python -m recolib``: the command line, as ``torchrun -m recolib`` needs it."""

from __future__ import annotations

import sys

from recolib.cli import main

if __name__ == "__main__":
    sys.exit(main())
