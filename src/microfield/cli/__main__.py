"""``python -m microfield.cli``."""

import sys

from microfield.cli import main

sys.exit(main())
