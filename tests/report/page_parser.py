"""Reads a page as a browser does, and fails where one would have to guess."""

import html.parser

VOID = {"meta", "img", "path", "use", "rect", "br"}


class Page(html.parser.HTMLParser):
    """Collects text, sections and references; fails on tags that do not match."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.open, self.sources, self.words, self.sections = [], [], [], []
        self.feed(content)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.sources += [attributes[k] for k in ("src", "href") if k in attributes]
        if tag == "section":
            self.sections.append(attributes["id"])
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.sources += [value for key, value in attributes if key in ("src", "href")]

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.words.append(data)
