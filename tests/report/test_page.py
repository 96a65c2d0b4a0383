"""The page as a reader, a browser and a screen reader meet it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from browser import CHROMIUM, FLAGS

from textmill.report.outputs import ranked_outputs
from textmill.report.page import SECTIONS, render_page
from textmill.report.results import Results
from textmill.report.settings import ReportSettings
from textmill.report.slices import Slice
from textmill.report.words import Words
from textmill.tasks.settings import TaskSettings

Make = Callable[..., Results]
TASKS = {"translate": TaskSettings("en", target_language="zh")}
HOSTILE = "<script>alert(1)</script>\" onload='x' {{ 7 * 7 }}"


def rendered(results: Results, language: str = "en") -> str:
    return render_page(results, TASKS, ReportSettings(language))  # type: ignore[arg-type]


class Page(HTMLParser):
    """headings: their levels in order. ids, targets: anchors and where links lead. unnamed: pictures and regions without a text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        self.headings = [int(tag[1]) for tag, _ in self.tags if re.fullmatch(r"h\d", tag)]
        self.ids = {attributes["id"] for _, attributes in self.tags if "id" in attributes}
        self.targets = {str(attributes["href"])[1:] for tag, attributes in self.tags if tag == "a"}
        self.unnamed = [
            tag
            for tag, attributes in self.tags
            if attributes.get("role") in ("img", "region") and not attributes.get("aria-label") and not attributes.get("aria-labelledby")
        ]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_page_is_a_function_of_its_arguments(make: Make, language: str) -> None:
    assert rendered(make(), language) == rendered(make(), language)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_headings_links_and_text_alternatives_are_in_order(make: Make, language: str) -> None:
    page, words = Page(rendered(make(), language)), Words(language)
    assert page.headings[0] == 1 and page.headings.count(1) == 1
    assert all(after <= before + 1 for before, after in zip(page.headings, page.headings[1:], strict=False))
    assert set(SECTIONS) <= page.targets <= page.ids
    assert not page.unnamed and sum(attributes.get("role") == "img" for _, attributes in page.tags) == 4
    assert all(attributes.get("scope") for tag, attributes in page.tags if tag == "th")
    assert all(attributes.get("tabindex") == "0" for _, attributes in page.tags if attributes.get("role") == "region")
    regions = [attributes.get("aria-label") for _, attributes in page.tags if attributes.get("role") == "region"]
    titles = {words.plain(f"section_{name}") for name in SECTIONS}
    assert len(set(regions)) == len(regions) and not titles & set(regions), "each landmark has a name of its own"
    (html,) = [attributes for tag, attributes in page.tags if tag == "html"]
    assert html["lang"] == {"en": "en", "zh": "zh-Hans"}[language]


def test_texts_of_the_corpus_say_which_language_they_are_in(make: Make) -> None:
    results = make()
    worst = results.tasks[0].predictions["exported"].sort_values("score", kind="stable").iloc[0]
    for column, language in (("source", "en"), ("reference", "zh"), ("hypothesis", "zh")):
        assert f'lang="{language}">{worst[column]}<' in rendered(results)


def test_markup_in_texts_and_names_is_shown_as_text(make: Make) -> None:
    results = make()
    (of_task,) = results.tasks
    for table in of_task.predictions.values():
        table.loc[:, ["source", "reference", "hypothesis"]] = HOSTILE
    slices = {name: [replace(each, name=HOSTILE) for each in rows] for name, rows in of_task.slices.items() if name != "length"}
    results.clean_samples["rejected"] = {
        HOSTILE: [dict.fromkeys(("source", "target", "clean_source", "clean_target", "origin"), HOSTILE) | {"line": 1}]
    }
    results.corpus["clean"]["warnings"] = [HOSTILE]
    results.corpus["collect"]["sources"][0] |= {"origin": HOSTILE, "bad": {HOSTILE: {"rows": 1, "first": HOSTILE}}}
    results.params["train"]["max_steps"] = HOSTILE
    results.params["export"]["name"] = HOSTILE
    hostile = replace(of_task, slices=slices, test=of_task.test.assign(origin=HOSTILE))
    page = rendered(replace(results, tasks=[hostile]))
    clean = rendered(make())
    assert page.count("<script") == clean.count("<script") and "onload='x'" not in page
    assert "alert(1)" in page and "{{ 7 * 7 }}" in page


def test_a_model_that_beats_every_baseline_is_green_and_one_that_does_not_is_red(make: Make) -> None:
    good, bad = rendered(make()), rendered(make(is_good=False))
    assert 'class="box good"' in good and 'class="box bad"' not in good
    assert 'class="box bad"' in bad and 'class="box good"' not in bad
    assert "not shown to beat the copied source on chrF" in bad


@pytest.mark.parametrize("rows", [90, 280])
def test_a_small_test_set_is_warned_of(make: Make, rows: int) -> None:
    assert f"has only {rows} examples" in rendered(make(rows=rows))


def test_a_large_test_set_is_not_warned_of(make: Make) -> None:
    results = make()
    results.tasks[0].systems["exported"]["examples"] = 500
    assert 'class="box warning"' not in rendered(results)


def test_one_fold_is_not_compared_with_itself(make: Make) -> None:
    assert "ensemble vs. fold 0" in rendered(make()) and "ensemble vs. fold 0" not in rendered(make(folds=1))


def test_a_row_without_a_score_is_no_example_of_a_good_output(make: Make) -> None:
    task = make().tasks[0]
    table = task.predictions["exported"]
    table.loc[5, "score"] = float("nan")
    ranked = ranked_outputs(task)
    assert len(ranked) == len(table) - 1 and ranked["score"].is_monotonic_increasing
    table["score"] = float("nan")
    assert len(ranked_outputs(task)) == len(table), "there is nothing else to show"


def test_the_examples_of_all_tasks_are_counted(make: Make) -> None:
    results = make()
    (task,) = results.tasks
    both = replace(results, tasks=[replace(task, name="first"), replace(task, name="second")])
    assert "Scored on 180 test examples." in render_page(both, dict.fromkeys(("first", "second"), task.task), ReportSettings())


def test_settings_that_differ_from_the_default_recipe_are_listed(make: Make) -> None:
    page = rendered(make())
    assert '<code>train.max_steps</code></th><td class="code">1900</td><td class="code">20</td>' in page
    assert "report.language" not in page and "label_smoothing</code></th>" not in page
    assert "are those of" in rendered(replace(make(), params=make().default_params))


@pytest.mark.parametrize(("name", "shown"), [("auto", "textmill-en-zh"), ("toy", "toy")])
def test_the_command_that_serves_the_model_has_its_registered_name(make: Make, name: str, shown: str) -> None:
    results = make()
    results.params["export"]["name"] = name
    assert f"models:/{shown}@newest" in rendered(results)


def test_the_example_of_a_call_names_the_task_that_its_source_is_of(make: Make) -> None:
    results = make()
    several = replace(results, tasks=[replace(results.tasks[0], name="ui")], export=results.export | {"tasks": ["answer", "ui"]})
    assert "task=&#34;ui&#34;" in rendered(several) and "task=" not in rendered(results)


def test_no_mark_of_a_slice_is_beyond_the_end_of_its_axis(make: Make) -> None:
    results = make()
    slices = {"source": [Slice("a", 50, 20.0, 15.0, 25.0, 95.0), Slice("b", 40, 10.0, 5.0, 15.0, 8.0)]}
    places = re.findall(r"left:([\d.]+)%", rendered(replace(results, tasks=[replace(results.tasks[0], slices=slices)])))
    assert places and max(map(float, places)) <= 100


def test_the_page_asks_no_network(make: Make) -> None:
    page = rendered(make())
    assert not re.findall(r"https?://(?!127\.0\.0\.1)[^\s\"<]+", page) and "@import" not in page and "url(" not in page
    assert all(source.startswith("speed/") for source in re.findall(r'src="([^"]*)"', page))


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_a_phone_shows_the_page_without_scrolling_sideways_and_a_key_leads_past_the_top(make: Make, tmp_path: Path) -> None:
    from playwright.sync_api import sync_playwright

    results = make()
    results.tasks[0].predictions["exported"].loc[:, "hypothesis"] = "x" * 400
    (tmp_path / "report.html").write_text(rendered(results), encoding="utf-8")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS.split())
        page = browser.new_page(viewport={"width": 390, "height": 844})
        page.goto((tmp_path / "report.html").as_uri())
        page.evaluate("for (const each of document.querySelectorAll('details')) each.open = true")
        width = page.evaluate("document.scrollingElement.scrollWidth")
        page.keyboard.press("Tab")
        focused = page.evaluate("[document.activeElement.className, document.activeElement.getBoundingClientRect().left >= 0]")
        browser.close()
    assert width <= 390 and focused == ["skip", True]
