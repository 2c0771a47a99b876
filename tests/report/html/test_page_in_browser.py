"""The page in headless Chromium, opened from disk as a reader opens it."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import pytest
from page_world import PageWorld
from PIL import Image

from wsss_bench.artifacts.palette import voc_palette
from wsss_bench.report.html.page import write_page

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = pytest.mark.slow

CLASSES = (*(f"class {k}" for k in range(169)), "<script>alert(1)</script>", "a \"quoted\" & 'cat'")
ODD = "x\"<script>document.title = 'broken'</script>&'"
PHONE = {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        own = Path(driver.chromium.executable_path)
        found = shutil.which("chromium") or (str(own) if own.is_file() else None)
        if found is None:
            pytest.skip("no chromium is installed")
        opened = driver.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    """The page of three methods, one of two random seeds, on a data set of 171 classes; sent elsewhere."""
    world = PageWorld(tmp_path_factory.mktemp("runs"), CLASSES, number=30, prefix="a/")
    for random_seed in (0, 1):
        world.add_method("cam", 4 + random_seed, random_seed)
    world.add_method("clims", 2, extra=["clip"])
    world.add_method(ODD, 3)
    index = write_page(world.plan, world.leaderboard(), world.root)
    return Path(shutil.move(index.parent, tmp_path_factory.mktemp("mailed") / "a report")) / index.name


@pytest.fixture
def open_page(browser, index):
    """Opens the page; at the end there was no error, and nothing came from elsewhere."""
    contexts, problems = [], []

    def opened(path=index, **options):
        contexts.append(browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **options}))
        page = contexts[-1].new_page()
        page.on("console", lambda message: problems.append(message.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on(
            "request",
            lambda one: problems.append(one.url) if not one.url.startswith(("file:", "data:")) else 0,
        )
        page.goto(path.as_uri())
        return page

    yield opened
    for context in contexts:
        context.close()
    assert problems == []


def visible(page):
    """Cells of the visible rows of the leaderboard."""
    rows = page.locator("#scores tbody tr:visible")
    return [row.locator("td, th").all_inner_texts() for row in rows.all()]


def test_it_opens_with_the_scores_that_rank(open_page):
    page = open_page()
    assert page.title() == "toy · wsss_bench"
    assert [row[1] for row in visible(page)] == ["clims", ODD, "cam"]
    assert page.locator("#shown").inner_text() == "3 of 24 scores"
    assert page.locator(".chart .main-svg").count() > 0
    assert page.locator("#scores tbody tr:visible svg circle").count() == 4  # a dot for each random seed


def test_sorting_and_filtering(open_page):
    page = open_page()
    by_score, by_name = (page.locator("#scores thead button", has_text=text) for text in ("mIoU", "Method"))
    by_score.click()
    assert [row[1] for row in visible(page)] == ["clims", ODD, "cam"]
    by_score.click()
    assert [row[1] for row in visible(page)] == ["cam", ODD, "clims"]
    assert page.locator("th:has-text('mIoU')").first.get_attribute("aria-sort") == "ascending"
    by_name.click()
    assert [row[1] for row in visible(page)] == ["cam", "clims", ODD]
    by_name.press("Enter")
    assert [row[1] for row in visible(page)] == [ODD, "clims", "cam"]
    page.get_by_label("Extra data").select_option("clip")
    assert [row[1] for row in visible(page)] == ["clims"]
    page.get_by_label("Read-out").select_option("")
    page.get_by_label("Product").select_option("seeds of train")
    assert sorted(row[5].split()[0] for row in visible(page)) == ["fixed", "heldout", "oracle"]
    page.get_by_label("Track").select_option("image-level")
    assert page.locator("#shown").inner_text() == "3 of 24 scores"


def test_a_score_without_a_rank_says_why_to_pointer_keyboard_and_tap(open_page):
    page = open_page(has_touch=True)
    page.get_by_label("Read-out").select_option("ms raw")
    dash = page.locator("#scores tbody tr:visible .tip.none").first
    tip = page.get_by_role("tooltip")
    for reach in (dash.hover, dash.focus, dash.tap):
        reach()
        assert tip.inner_text() == "Segmentations rank in single scale without CRF (ss raw)."
        page.mouse.move(0, 0)
        page.locator("body").click(position={"x": 1, "y": 1})
        assert tip.is_hidden()


def test_figures_follow_the_choices(open_page):
    page = open_page()
    chart = page.locator("[data-chart=cost]")
    assert chart.locator(".xtitle").text_content() == "CPU hours"
    chart.get_by_label("Cost").select_option(label="trainable parameters")
    assert chart.locator(".xtitle").text_content() == "trainable parameters"
    chart.get_by_label("Score").select_option(label="seeds of train")
    assert chart.locator(".xtitle").text_content() == "trainable parameters"  # the same choice as before
    assert ODD in chart.locator(".textpoint").all_text_contents()


def test_the_heat_map_of_many_classes_scrolls_filters_and_compares(open_page):
    page = open_page()
    table = page.locator("table.heat")
    # 30 images show 30 classes and no others; background is the first column
    assert table.locator("thead th").count() == 1 + 1 + 30
    scroll = page.locator("#heat-map .scroll")
    assert scroll.evaluate("e => e.scrollWidth > e.clientWidth") is True
    page.get_by_label("Classes with").fill("CLASS 2")
    assert table.locator("thead th").all_inner_texts()[1:] == [
        "class 2",
        *(f"class {k}" for k in range(20, 30)),
    ]
    page.get_by_label("Difference to").select_option(label="clims")
    cells = [row.locator("td").all_inner_texts() for row in table.locator("tbody tr").all()]
    assert set(cells[1]) == {"0.0"}
    assert all(text.startswith("-") for text in cells[0])


def test_steps_through_the_images(open_page):
    page = open_page()
    place, why = page.locator("#place"), page.locator("#why")
    page.locator("#pictures").scroll_into_view_if_needed()
    assert place.inner_text() == "1 of 24"
    first = why.inner_text()
    page.keyboard.press("ArrowRight")
    assert place.inner_text() == "2 of 24"
    assert why.inner_text() != first
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    assert place.inner_text() == "24 of 24"
    page.locator("#slider").focus()
    page.keyboard.press("ArrowRight")  # moves the slider
    assert place.inner_text() == "24 of 24"
    page.get_by_role("button", name="next image").click()
    assert why.inner_text() == first
    page.locator("[data-rule=worst] button").first.click()
    assert "the worst of cam" in why.inner_text()
    page.get_by_label("Split").select_option(label="val: segmentation")
    assert page.locator("#matrix thead th").all_inner_texts() == ["", "cam", "clims", ODD]
    assert page.locator("#matrix tbody th").all_inner_texts() == ["mask", "errors"]


def test_pictures_are_those_of_the_cells(open_page, index):
    page = open_page()
    cell = page.get_by_role("img", name="mask of cam, seed", exact=True)
    style = cell.evaluate("e => [e.style.backgroundImage, e.style.backgroundPosition]")
    file = style[0].removeprefix('url("').removesuffix('")')
    assert (index.parent / file).is_file()
    page.get_by_label("errors", exact=True).check()
    errors = page.get_by_role("img", name="errors of cam, seed", exact=True)
    assert errors.evaluate("e => e.style.backgroundPosition") != style[1]
    image_id = page.locator("#why").inner_text().partition(":")[0]
    with Image.open(io.BytesIO(page.locator("#truth").screenshot())) as shown:
        colour = shown.convert("RGB").getpixel((shown.width * 20 // 48, shown.height // 2))
    value = 1 + int(image_id[-3:])
    assert colour == tuple(voc_palette()[3 * value : 3 * value + 3])


def test_the_slider_compares_two_pictures(open_page):
    page = open_page()
    right = page.locator("#right-picture")
    page.get_by_label("left picture", exact=True).select_option("cam: seed")
    page.get_by_label("right picture", exact=True).select_option("clims: seed, errors")
    assert right.get_attribute("aria-label") == "clims: seed, errors"
    page.locator("#slider").fill("20")
    assert right.evaluate("e => e.style.clipPath") == "inset(0px 0px 0px 20%)"
    page.keyboard.press("Escape")
    page.get_by_role("button", name="next image").click()
    assert page.get_by_label("right picture", exact=True).input_value() == "clims: seed, errors"


def test_dark_and_light(open_page):
    page = open_page(color_scheme="dark")
    background = "() => getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(background)
    ink = page.locator("[data-chart=cost] .xtitle").evaluate("e => getComputedStyle(e).fill")
    page.get_by_role("button", name="Light").click()
    assert page.evaluate(background) == "rgb(250, 250, 248)" != dark
    assert page.locator("[data-chart=cost] .xtitle").evaluate("e => getComputedStyle(e).fill") != ink
    assert page.get_by_role("button", name="Dark").get_attribute("aria-pressed") == "false"


def test_a_phone_scrolls_tables_and_not_the_page(open_page):
    page = open_page(viewport=PHONE, has_touch=True)
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    assert page.locator("#leaderboard .scroll").first.evaluate("e => e.scrollWidth > e.clientWidth") is True
    page.locator("summary", has_text="stages").last.click()
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]


def test_a_page_without_results_opens(open_page, tmp_path):
    world = PageWorld(tmp_path)
    cell = world.cell("cam")
    world.score(cell, "seed", "train", [], world.stage("seed", cell, {}, state="new"), state="new")
    page = open_page(write_page(world.plan, world.leaderboard(), tmp_path))
    assert page.locator("#leaderboard").get_by_text("No result yet.").is_visible()
