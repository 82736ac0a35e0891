"""Whether a page is in Japanese: what a visitor sees or hears there in English all the same.

Knows no view. What is marked as English, code, and what a model writes may be in any language.
"""

import re

from playwright.sync_api import Page

NAMES = {
    *("API", "CSV", "GPU", "GRU", "ID", "JSON", "KEY", "LSTM", "MIDI", "ONNX", "PDF", "RNN", "TXT"),
    *("ABC", "CPU", "HTML", "HTTP", "JavaScript", "MP3", "SHA", "SVG", "TensorBoard", "URL", "UTF"),
    *("Andrej", "Karpathy", "Ctrl", "Enter", "Esc", "LaTeX", "Linux", "Shakespeare", "Tab", "ZIP"),
    *("Apache", "MIT", "Unicode", "WAV"),
    # Lower-case words that name things.
    *(
        "bpc",
        "charloom",
        "curl",
        "gram",
        "n",
        "openapi",
        "json",
        "top",
        "k",
        "p",
        "ms",
        "zip",
        "kB",
    ),
    *("all", "auto", "bytes", "characters", "latest", "step", "toy", "list", "quoting", "loom"),
}
"""Words that are the same in Japanese: names, abbreviations, values of the API."""

SEEN = """() => {
    const skipped = "script, style, pre, code, kbd, samp, noscript, textarea, " +
        "[translate=no], .code, .text, .sample, .sample-text, .sample-line, .name, .label-of";
    const isShown = (element) =>
        (element.closest("select") ?? element).checkVisibility({ visibilityProperty: true });
    const found = [];
    const note = (element, words) => {
        if (!words?.trim() || element.closest(skipped) || element.closest("[lang]").lang !== "ja")
            return;
        const isButton = Boolean(element.closest("button, a.button, summary, label, h1, h2, h3"));
        found.push([words.trim(), isButton, element.outerHTML.slice(0, 160)]);
    };
    const texts = document.createTreeWalker(document.documentElement, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {
        const element = texts.currentNode.parentElement;
        if (element.tagName === "TITLE" || isShown(element)) note(element, texts.currentNode.data);
    }
    const heard = ["label", "description", "valuetext"].map((name) => `aria-${name}`);
    heard.push("title", "placeholder", "alt");
    for (const name of heard)
        for (const element of document.querySelectorAll(`[${name}]`))
            if (isShown(element)) note(element, element.getAttribute(name));
    return found;
}"""


def left_in_english(page: Page) -> list[tuple[str, str]]:
    """What a visitor sees or hears in English: the words, and the element that they are in."""
    left = []
    for words, is_label, element in page.evaluate(SEEN):
        # Only words count, and no names of models or jobs.
        latin = [word for word in re.findall(r"[A-Za-z']+", words) if word not in NAMES]
        runs = re.findall(r"[A-Za-z']{2,}(?: [A-Za-z']{2,})+", words)
        sentence = any(len(set(run.split()) - NAMES) > 1 for run in runs)
        if sentence or (is_label and any(re.fullmatch(r"[A-Z][a-z]+", word) for word in latin)):
            left.append((words, element))
    return left


def in_japanese(page: Page) -> bool:
    """Whether a page is: what is left in English is what the test fails with."""
    assert page.locator("html").get_attribute("lang") == "ja"
    left = left_in_english(page)
    # Not a test module, so pytest would not say what.
    assert left == [], left
    return True
