"""HTML that is escaped by construction: text becomes markup only by passing through ``tag``."""

from __future__ import annotations

from html import escape


class Html(str):
    """Markup. A plain ``str`` is text and is escaped wherever it meets markup."""

    __slots__ = ()


_VOID = {"input", "br", "meta", "link", "hr"}


def tag(element: str, /, *children: str | None, **attributes: str) -> Html:
    """``tag("a", "text", href="/x")``. ``class_`` is written ``class``; a child that is None is left out."""
    shown = "".join(f' {key.rstrip("_").replace("_", "-")}="{escape(value)}"' for key, value in attributes.items())
    if element in _VOID:
        return Html(f"<{element}{shown}>")
    return Html(f"<{element}{shown}>{join(*children)}</{element}>")


def join(*children: str | None) -> Html:
    return Html("".join(child if isinstance(child, Html) else escape(child) for child in children if child is not None))


def document(title: str, *body: str) -> Html:
    """A whole page, which says what it is."""
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", f"{title} · local forge"),
        tag("link", rel="stylesheet", href="/_forge/style.css"),
    )
    banner = tag(
        "header",
        tag("a", "local forge", href="/"),
        tag("span", "a rehearsal stage on this machine, not GitHub: everything here is real git and nothing leaves it"),
    )
    return Html(f"<!doctype html>{tag('html', head, tag('body', banner, tag('main', *body)), lang='en')}")
