"""`python -m mpengine` is the same as `mpengine`."""

import sys

from mpengine.cli import main

sys.exit(main())
