"""The tables and pictures of the docs, made from complete runs: `make docs-figures`."""
