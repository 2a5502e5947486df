"""A page, read by the parser of the standard library: what does not nest is an error."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}


@dataclass
class Element:
    name: str
    attributes: dict[str, str | None]
    children: list[Element] = field(default_factory=list)
    text: str = ""

    def all(self):
        for child in self.children:
            yield child
            yield from child.all()

    def find(self, name=None, **wanted):
        """Elements of a name with attributes of these values; `class_` is one of the classes."""
        wanted_class = wanted.pop("class_", None)
        return [
            one
            for one in self.all()
            if (name is None or one.name == name)
            and (wanted_class is None or wanted_class in (one.attributes.get("class") or "").split())
            and all(one.attributes.get(key.replace("_", "-")) == value for key, value in wanted.items())
        ]

    @property
    def whole_text(self):
        return " ".join(f"{self.text} {' '.join(child.whole_text for child in self.children)}".split())


class _Parser(HTMLParser):
    def __init__(self):
        super().__init__()
        self.root = Element("", {})
        self.open = [self.root]
        self.doctype = None

    def handle_decl(self, decl):
        self.doctype = decl

    def handle_starttag(self, tag, attrs):
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"an attribute stands twice: {tag} {attrs}"
        element = Element(tag, dict(attrs))
        self.open[-1].children.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open[-1].name == tag, f"</{tag}> ends <{self.open[-1].name} {self.open[-1].attributes}>"
        self.open.pop()

    def handle_data(self, data):
        self.open[-1].text += data


def parse(html: str) -> Element:
    parser = _Parser()
    parser.feed(html)
    parser.close()
    assert parser.doctype == "DOCTYPE html"
    assert parser.open == [parser.root], f"not closed: {[one.name for one in parser.open[1:]]}"
    return parser.root
