"""The web page in a real browser: started by clicks, watched while it trains, tried out by hand."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

pytestmark = pytest.mark.oracle
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]  # fmt: skip
PATIENCE_MS = 60_000
THREE = [(60, 60), (110, 35), (160, 60), (150, 100), (105, 110), (160, 130), (165, 170), (110, 195), (55, 170)]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api", reason="needs playwright (pip install playwright)")
    if CHROMIUM is None:
        pytest.skip("needs Chromium (apt-get install chromium)")
    with api.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield started
        started.close()


@pytest.fixture(scope="module")
def url(serve: Callable[..., Any]) -> str:
    return str(serve().url)


@pytest.fixture
def page(browser: Any, url: str) -> Iterator[Any]:
    """The page, freshly opened; nothing may break in it, and it may ask nobody but its server."""
    broken: list[str] = []
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    page.on("pageerror", lambda error: broken.append(str(error)))
    page.on("console", lambda said: broken.append(said.text) if "Content Security" in said.text else None)
    page.on("request", lambda asked: None if asked.url.startswith((url, "data:")) else broken.append(asked.url))
    page.goto(url)
    yield page
    context.close()
    assert broken == []


def begin(page: Any, title: str) -> None:
    page.click(f"#start >> text={title}")


def ended(page: Any, name: str) -> None:
    page.wait_for_selector(f".head:has(h2:text-is('{name}')) .state[data-state=succeeded]")


def test_a_drawn_three_is_read_by_a_network_trained_with_one_click(page: Any) -> None:
    begin(page, "Read handwriting")
    ended(page, "digits")
    page.wait_for_selector(".confusion td.right")
    assert page.locator(".chart canvas").count() >= 2
    assert "val" in page.locator(".chart canvas").first.get_attribute("aria-label")
    box = page.locator(".paper").bounding_box()
    page.mouse.move(box["x"] + THREE[0][0], box["y"] + THREE[0][1])
    page.mouse.down()
    for x, y in THREE[1:]:
        page.mouse.move(box["x"] + x, box["y"] + y, steps=6)
    page.mouse.up()
    page.wait_for_selector(".answer:text-is('3')")


def test_a_flower_is_named_as_its_sliders_move(page: Any) -> None:
    begin(page, "Name a flower")
    ended(page, "iris")
    page.wait_for_selector(".form input[type=range]")
    for slider, largest in zip(page.locator(".form input[type=range]").all(), (False, False, True, True), strict=True):
        slider.focus()
        slider.press("End" if largest else "Home")
    page.wait_for_selector(".answer:text-is('virginica')")


def test_a_text_goes_on_and_the_next_words_can_be_taken(page: Any) -> None:
    begin(page, "Continue a text")
    ended(page, "python-text")
    page.locator(".word").first.click()
    assert len(page.locator(".writing textarea").input_value().split()) == 4
    page.click(".writing button.main")
    page.wait_for_selector(".told mark:text-matches('[a-z]+ .+ [a-z]+')")


def chosen(page: Any, name: str, content: str) -> str:
    """The job that the page begins for a file."""
    page.set_input_files("input[type=file]", {"name": name, "mimeType": "", "buffer": content.encode()})
    page.wait_for_selector(".verdict.good:has-text('It fits')")
    return str(page.locator(".source textarea").input_value())


def test_a_table_of_ones_own_becomes_a_model_by_two_clicks(page: Any) -> None:
    rows = "".join(f"{at % 7},{at % 5},{int(at % 7 > 3)}\n" for at in range(80))
    job = chosen(page, "things.csv", f"size,weight,label\n{rows}")
    assert '"target": "label"' in job
    assert '"softmax"' in job
    assert "size (number), weight (number), label (number)" in page.locator("dialog").inner_text()
    page.click("dialog button.main")
    ended(page, "things.csv")
    page.wait_for_selector(".confusion td.right")


def test_a_table_that_ends_in_free_text_is_begun_with_the_last_column_that_can_be_learned(page: Any) -> None:
    rows = "".join(f"{at % 7},{'ab'[at % 2]},note {at} of {at * 7} things\n" for at in range(80))
    job = chosen(page, "notes.csv", f"size,kind,note\n{rows}")
    assert '"target": "kind"' in job
    page.wait_for_selector("dialog button.main:enabled")


def test_in_a_narrow_window_what_was_begun_comes_into_sight(page: Any) -> None:
    page.set_viewport_size({"width": 380, "height": 700})
    begin(page, "Name a flower")
    ended(page, "iris")
    assert page.locator("#run").bounding_box()["y"] < 350


def test_long_numbers_and_dates_stay_inside_a_narrow_page(page: Any, url: str) -> None:
    page.set_viewport_size({"width": 380, "height": 800})
    rows = "".join(f"2024-0{at % 9 + 1}-11,{at * 123_456_789.5},{at * 2_500.25}\n" for at in range(60))
    sent = {"files": {"file": ("sales.csv", f"day,turnover,price\n{rows}")}, "data": {"types": "day:date"}}
    dataset = httpx.post(f"{url}/v1/datasets", **sent).json()["id"]  # type: ignore[arg-type]
    spec = {"dataset": {"id": dataset, "dates": {"day": {"parts": ["month"]}}}, "training": {"epochs": 2},
            "network": {"layers": [{"kind": "dense"}]}}  # fmt: skip
    httpx.post(f"{url}/v1/jobs", json={"type": "train", "name": "sales", "spec": spec})
    page.click("#jobs >> text=sales")
    ended(page, "sales")
    assert page.locator(".form output").first.inner_text()[:5] == "2024-"
    assert page.evaluate("document.documentElement.scrollWidth") == 380


def test_a_row_without_a_value_is_asked_about_as_such(page: Any, url: str) -> None:
    rows = ",,no\n" * 30
    sent = {"files": {"file": ("gaps.csv", f"age,kind,bought\n1,a,yes\n3,b,no\n{rows}")}}
    dataset = httpx.post(f"{url}/v1/datasets", **sent).json()["id"]  # type: ignore[arg-type]
    spec = {"dataset": {"id": dataset}, "training": {"epochs": 2}, "network": {"layers": [{"kind": "dense"}]}}
    httpx.post(f"{url}/v1/jobs", json={"type": "train", "name": "gaps", "spec": spec})
    page.click("#jobs >> text=gaps")
    ended(page, "gaps")
    page.wait_for_selector(".form .answer:has-text('no')")
    while page.locator(".form output").first.inner_text() != "none":
        page.click("text=A row from the data")
    with page.expect_request("**/predict") as asked:
        page.select_option(".form select", "a")
    assert asked.value.post_data_json == {"rows": [{"age": None, "kind": "a"}]}


def test_a_column_of_dates_is_read_as_such_by_one_more_click(page: Any) -> None:
    chosen(page, "days.csv", "day,sold\n" + "".join(f"2024-01-{at % 28 + 1:02d},{at}.5\n" for at in range(60)))
    note = page.locator("dialog > .quiet")
    assert "day (category)" in note.inner_text() or "day (text)" in note.inner_text()
    page.click("dialog >> text=Read it as date")
    page.wait_for_selector("dialog >> text=day (number), sold (number)")
    page.wait_for_selector(".verdict.good:has-text('It fits')")
    assert note.locator("button").count() == 0


def test_a_text_of_ones_own_becomes_a_language_model(page: Any) -> None:
    assert '"ngram"' in chosen(page, "lines.txt", "the cat sat on the mat\nthe dog sat on the cat\n" * 40)
    page.click("dialog button.main")
    ended(page, "lines.txt")


def test_a_file_that_cannot_be_read_is_told_where_it_was_chosen(page: Any) -> None:
    page.set_input_files("input[type=file]", {"name": "a.xlsx", "mimeType": "", "buffer": b"PK\x03\x04"})
    page.wait_for_selector("#start >> text=save the sheet as CSV")


def test_a_fault_is_marked_where_it_stands_and_gone_when_mended(page: Any) -> None:
    begin(page, "Write your own")
    source = page.locator(".source textarea")
    right = source.input_value()
    source.fill(right.replace('"cosine"', '"cosin"'))
    page.wait_for_selector(".faults button")
    assert page.locator(".source mark").inner_text() == '"kind": "cosin"'
    assert "/spec/optimizer/schedule/kind" in page.locator(".faults").inner_text()
    assert page.locator("dialog button.main").is_disabled()
    source.fill(right)
    page.wait_for_selector(".verdict.good:has-text('It fits')")
    assert page.locator(".source mark").count() == 0


def test_a_long_job_is_cancelled_and_keeps_its_model(page: Any) -> None:
    begin(page, "Write your own")
    source = page.locator(".source textarea")
    source.fill(
        source.input_value()
        .replace('"epochs": 30', '"epochs": 5000')
        .replace('"digits",\n  "spec"', '"long",\n  "spec"')
    )
    page.wait_for_selector(".verdict.good:has-text('It fits')")
    page.click("dialog button.main")
    page.wait_for_selector(".head:has(h2:text-is('long'))")
    page.wait_for_selector(".bars")
    page.click(".head >> text=Cancel")
    page.wait_for_selector(".head .state[data-state=cancelled]")
    assert page.locator(".paper").count() == 1


def test_more_windows_than_a_browser_has_connections_show_a_job_as_it_learns(page: Any, url: str) -> None:
    dataset, layers = {"sample": "digits"}, [{"kind": "flatten"}, {"kind": "dense"}]
    spec = {"dataset": dataset, "network": {"layers": layers}, "training": {"epochs": 100_000}}
    job = httpx.post(f"{url}/v1/jobs", json={"type": "train", "name": "seen", "spec": spec}).json()["id"]
    windows = [page.context.new_page() for _ in range(8)]
    for each in windows:
        each.goto(f"{url}/#{job}")
        each.wait_for_selector(".head:has(h2:text-is('seen')) .state[data-state=running]")
    steps = "() => document.querySelector('.facts').innerText.match(/steps\\s+([\\d,]+)/)?.[1]"
    for each in (windows[0], windows[-1]):
        before = each.evaluate(steps)
        each.wait_for_function(f"(before) => ({steps})() !== before", arg=before, timeout=PATIENCE_MS)
    httpx.post(f"{url}/v1/jobs/{job}/cancel")
    for each in windows:
        each.wait_for_selector(".head .state[data-state=cancelled]", timeout=PATIENCE_MS)


def test_a_search_shows_its_candidates_and_every_trial_is_a_link_to_its_run(page: Any, url: str) -> None:
    train = {"dataset": {"sample": "iris"}, "network": {"layers": [{"kind": "dense"}]}, "training": {"epochs": 3},
             "metrics": ["accuracy"]}  # fmt: skip
    rates = {"kind": "grid", "fields": {"optimizer.learning_rate": [0.001, 0.1]}}
    spec = {"folds": 3, "monitor": "val_accuracy", "candidates": rates, "train": train}
    job = httpx.post(f"{url}/v1/jobs", json={"type": "search", "name": "folds", "spec": spec}).json()
    page.goto(f"{url}/#{job['id']}")
    ended(page, "folds")
    page.wait_for_selector(".trials .best:has-text('learning_rate 0.1')")
    assert page.locator(".trials a").count() == 6
    page.click(".trials .best >> text=fold 2")
    page.wait_for_selector(".trials .best a[aria-current]:text-is('fold 2')")
    assert page.url.endswith(f"#{job['id']}/{job['run_ids'][4]}")
    page.goto(url)
    page.goto(f"{url}/#{job['id']}")
    page.reload()
    page.wait_for_selector(".trials .best a[aria-current]:text-is('fold 1')")
    best = max(each["best"]["val_accuracy"]["value"] for each in _runs(url, job["id"]))
    page.wait_for_selector(f"#jobs li:has-text('folds') >> text=validation accuracy {100 * best:.1f} %")


def _runs(url: str, job_id: str) -> list[Any]:
    return list(httpx.get(f"{url}/v1/runs", params={"job": job_id}).json()["data"])


def test_the_keyboard_reaches_every_job(page: Any) -> None:
    begin(page, "Name a flower")
    page.wait_for_url("**/#job_*")
    last = page.locator("#jobs a").last
    last.focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("#jobs li:last-child a[aria-current]")


def test_the_reference_finds_a_word_and_tells_its_members(page: Any, url: str) -> None:
    page.goto(f"{url}/docs#submit_v1_jobs_post")
    page.wait_for_selector("#submit_v1_jobs_post[open] >> text=Train")
    page.fill("#find", "adam")
    assert page.locator("article details:visible > summary > code").all_inner_texts() == ["adam", "adamw"]
    page.click("article summary:has-text('adamw')")
    page.wait_for_selector("text=Largest length of the whole gradient.")


def test_a_server_that_wants_a_key_is_used_with_one(browser: Any, serve: Callable[..., Any]) -> None:
    server = serve()
    asked = {"name": "me", "scope": "admin"}
    words = httpx.post(f"{server.url}/v1/keys", json=asked).json()["key"]
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    page.goto(server.url)
    for tried in ("nw_wrong", words):
        page.fill("dialog input[type=password]", tried)
        page.click("dialog button[type=submit]")
        if tried != words:
            page.wait_for_selector("dialog >> text=This key opens nothing here")
    begin(page, "Name a flower")
    ended(page, "iris")
    assert page.locator(".chart canvas").count() >= 2
    context.close()


def test_older_jobs_are_shown_when_asked_for_and_stay_as_new_ones_come(page: Any, url: str) -> None:
    spec = {"dataset": {"sample": "xor"}, "training": {"epochs": 1}, "network": {"layers": [{"kind": "dense"}]}}
    for name in ("oldest", *(f"later {at}" for at in range(45)), "newest"):
        job = httpx.post(f"{url}/v1/jobs", json={"type": "train", "name": name, "spec": spec}).json()["id"]
    page.wait_for_selector("#jobs li:first-child:has-text('newest') .state[data-state=succeeded]")
    assert page.locator("#jobs li").count() == 40
    assert page.locator("#jobs li:has-text('oldest')").count() == 0
    page.click("#jobs >> text=Show older")
    page.wait_for_selector("#jobs li:has-text('oldest') >> text=train")  # with its score
    assert page.evaluate("[...document.querySelectorAll('#jobs li a')].indexOf(document.activeElement)") == 40
    page.click("#jobs li:has-text('oldest')")
    ended(page, "oldest")
    httpx.post(f"{url}/v1/jobs/{job}/fork", json={"name": "after all"})
    page.wait_for_selector("#jobs li:first-child:has-text('after all')")
    everyone = {each["id"] for each in httpx.get(f"{url}/v1/jobs?limit=1000").json()["data"]}
    while page.locator("#jobs >> text=Show older").is_visible():
        before = page.locator("#jobs li").count()
        page.click("#jobs >> text=Show older")
        page.wait_for_function("(n) => document.querySelectorAll('#jobs li').length > n", arg=before)
    shown = [link.get_attribute("href")[1:] for link in page.locator("#jobs li a").all()]
    assert len(shown) == len(set(shown))
    assert set(shown) == everyone
