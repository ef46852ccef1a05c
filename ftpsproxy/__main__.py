"""`python -m ftpsproxy` is the command `ftpsproxy`."""

import sys

from ftpsproxy.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
