"""``python -m recolib.cli``, where the script ``recolib`` is not on the path."""

from __future__ import annotations

import sys

from recolib.cli.app import main

if __name__ == "__main__":
    sys.exit(main())
