"""`python -m idiolect` is the command `idiolect`."""

import sys

from idiolect.cli import main

if __name__ == "__main__":
    sys.exit(main())
