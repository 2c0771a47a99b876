"""`python -m wsss_bench` is `wsss-bench`."""

import sys

from wsss_bench.cli import main

if __name__ == "__main__":
    sys.exit(main())
