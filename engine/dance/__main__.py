"""``python -m dance`` is the command ``dance``."""

import sys

from .cli import main

sys.exit(main())
