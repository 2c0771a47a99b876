"""What every method must do, checked on the small mini world: `wsss-bench contract NAME`.

Each check is a function of a `Subject`, the method under test, and raises `Failure` with a sentence that says
what to change, or `LeftOut` with the reason. `checks.py` lists them.
"""
