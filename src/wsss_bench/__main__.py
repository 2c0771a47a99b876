"""`python -m wsss_bench` is `wsss-bench`."""

import sys

if __name__ == "__main__":
    if not getattr(sys.flags, "safe_path", False):
        del sys.path[0]  # the working directory, which `python -m` puts first (see `own_modules`)
    from wsss_bench.cli import main

    sys.exit(main())
