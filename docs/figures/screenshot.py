"""Picture of the page of an experiment, by a headless Chromium."""

from __future__ import annotations

import io
import shutil
import tempfile
from pathlib import Path

from PIL import Image

from figures.results import Results
from wsss_bench.report.html.page import write_page

SECTIONS = ("leaderboard", "pictures")
GALLERY = "val: segmentation"
WINDOW = 1240, 4000
"""Width and height; so high that the page does not scroll under its heading."""
WIDTH = 1000
"""Of the picture, in pixels."""


def screenshot(results: Results, file: Path) -> str:
    """Write the page anew, and a picture of its first sections.

    Returns:
        Why the picture was left as it is; empty if it was made.
    """
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return "playwright is not installed"
    with sync_playwright() as driver, tempfile.TemporaryDirectory() as folder:
        own = Path(driver.chromium.executable_path)
        program = shutil.which("chromium") or (str(own) if own.is_file() else None)
        if program is None:
            return "no Chromium is installed"
        page_file = write_page(results.plan, results.board, Path(folder))
        browser = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_page(
            viewport={"width": WINDOW[0], "height": WINDOW[1]}, color_scheme="light", reduced_motion="reduce"
        )
        page.goto(page_file.resolve().as_uri())
        page.wait_for_load_state("networkidle")
        page.locator("#gallery").select_option(label=GALLERY)
        page.wait_for_load_state("networkidle")
        parts = [page.locator(f"section#{name}").screenshot(animations="disabled") for name in SECTIONS]
        browser.close()
    images = [Image.open(io.BytesIO(part)).convert("RGB") for part in parts]
    whole = Image.new("RGB", (images[0].width, sum(image.height for image in images)), "white")
    top = 0
    for image in images:
        whole.paste(image, (0, top))
        top += image.height
    height = round(whole.height * WIDTH / whole.width)
    whole.resize((WIDTH, height), Image.Resampling.LANCZOS).save(file, "WEBP", quality=85, method=6)
    return ""
