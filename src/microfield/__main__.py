"""``python -m microfield``."""

import sys

from microfield.cli import main

sys.exit(main())
