"""HTML inside of Markdown, reduced to what people see: comments, hidden elements and attributes go, words stay. Pure.

Left to right, each construct where it begins. In a region that starts with HTML a browser's lenient reading counts, elsewhere
Markdown's strict one, under which ``a < b`` and ``Map<K, V>`` are text.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from infra.core.code_spans import Region

Report = Callable[[str, str], None]
"""Told of each hidden passage: what it was, and its text."""

_START = re.compile(r"<(?=[A-Za-z/!?])")
_ATTRIBUTE = r"""\s++[A-Za-z_:][\w.:-]*+(?:\s*+=\s*+(?:[^\s"'=<>`]++|'[^']*+'|"[^"]*+"))?"""
_STRICT = re.compile(rf"<([A-Za-z][A-Za-z0-9-]*+)((?:{_ATTRIBUTE})*+)\s*+/?>")
_LENIENT = re.compile(r"""<([A-Za-z][^\s/>]*+)((?:[^"'>]++|"[^"]*+"|'[^']*+')*+)>""")
_CLOSING = re.compile(r"</([A-Za-z][A-Za-z0-9-]*+)\s*+>")
_LENIENT_CLOSING = re.compile(r"</([A-Za-z][^\s>]*+)[^>]*+>")
_PAIR = re.compile(r"""([^\s"'=<>/]++)(?:\s*+=\s*+(?:"([^"]*+)"|'([^']*+)'|([^\s"'>]++)))?""")
_SPECIAL = (("<!--", "-->", 2), ("<![CDATA[", "]]>", 9), ("<?", "?>", 2), ("<!", ">", 2), ("</", ">", 2))
"""How a construct that is not shown begins and ends, and how much of its beginning the end may not reuse."""

_VOID = frozenset(
    {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track", "wbr"}
)
_NEVER_SHOWN = frozenset(
    {
        *(
            "script",
            "style",
            "template",
            "head",
            "title",
            "noscript",
            "noembed",
            "noframes",
            "iframe",
            "object",
            "applet",
        ),
        *("svg", "math", "textarea", "select", "datalist", "audio", "video", "canvas", "dialog", "rp", "xml"),
    }
)
_SHOWN = frozenset(
    re.findall(
        r"\w+",
        "a abbr address article aside b bdi bdo big blockquote body br button caption center cite code col colgroup dd del details dfn "
        "div dl dt em fieldset figcaption figure font footer form h1 h2 h3 h4 h5 h6 header hr html i img input ins kbd label legend li "
        "main mark nav ol p picture pre q rb rt rtc ruby s samp section small source span strike strong sub summary sup table tbody td "
        "tfoot th thead time tr tt u ul var wbr",
    )
)
_FLAGS = frozenset({"open", "checked", "disabled", "nowrap", "noshade", "compact", "reversed", "async", "alt"})
_AUTOLINK = re.compile(r"<(?:https?|ftp|mailto):[^\s<>]*+>|<[\w.+-]{1,64}@[\w.-]{1,255}>", re.IGNORECASE)
_ANGLE_TARGET = re.compile(r"""<[^<>\n]*+>(?:\s++(?:"[^"]*+"|'[^']*+'|\([^()]*+\)))?\s*+\)""")
_LOOK_BACK = 1_000
_SILENT = re.compile(r"[\w%#.:/+-]{0,40}", re.ASCII)
"""Attribute values that cannot be a sentence; attributes are dropped in any case, but of these nobody need be told."""
_PLAIN_ALT = re.compile(
    r"(?:image|img|screenshot|screen shot|picture|photo|logo|icon|diagram|badge|build status)?[\s\d:._-]*+(?:at|am|pm|[\s\d:._-])*+"
    r"|[\w.-]{1,40}\.(?:png|jpe?g|gif|webp|svg|bmp)",
    re.IGNORECASE,
)
_WHITE = r"(?:white|snow|ivory|ghostwhite|floralwhite|transparent|#f{3,4}|#f{6}(?:f{2})?|rgba?\(255,255,255(?:,[\d.]+)?\)|rgba\(\d+,\d+,\d+,0?\.?0*\))"
_HIDING_STYLE = re.compile(
    r"display:none|visibility:(?:hidden|collapse)|content-visibility:hidden|opacity:0*(?:\.0[\d.]*)?(?:%|;|!|$)|filter:opacity\(0"
    r"|(?:font-size|font|line-height|zoom):(?:[a-z]+)*0*(?:[01](?:\.\d*)?(?:px|pt)|(?:\.0\d*|0)[a-z%]*)(?:;|!|/|$)"
    rf"|(?:^|;)color:{_WHITE}(?:;|!|$)|-webkit-text-fill-color:{_WHITE}"
    r"|(?:left|right|top|bottom|text-indent|margin[a-z-]*|translate[xy]?)[:(]-\d{3,}|text-indent:\d{4,}"
    r"|(?:max-)?(?:width|height):0[a-z%]*(?:;|!|$)|clip(?:-path)?:|transform:scale[xy]?\(0"
)
_CSS_NOISE = re.compile(r"\s+|/\*.*?\*/|\\")
_SAFE_URL = re.compile(r"(?:https?://|mailto:)[^\s<>\"'`]{1,500}|[A-Za-z0-9_.~/#?&=%:+,;@()!*-]{1,200}", re.IGNORECASE)


def shown(text: str, regions: Sequence[Region], report: Report) -> str:
    """The text with only those tags that show something, without attributes but for the addresses of links and pictures."""
    return _Reading(text, tuple(regions), report).read()


def safe_url(url: str) -> bool:
    """An address a person could mean: no script, no data, no blank, not endless."""
    return _SAFE_URL.fullmatch(url) is not None and not re.match(r"(?:data|javascript|vbscript):", url, re.IGNORECASE)


def is_plain_alt(alt: str) -> bool:
    """A picture's description that a program wrote: "image", a file name, a screenshot's time."""
    return _PLAIN_ALT.fullmatch(alt.strip()) is not None


@dataclass(slots=True)
class _Reading:
    text: str
    regions: tuple[Region, ...]
    report: Report
    out: list[str] = field(default_factory=list)
    place: int = 0

    def read(self) -> str:
        regions = iter(self.regions)
        region = next(regions, None)
        for found in _START.finditer(self.text):
            at = found.start()
            if at < self.place:
                continue
            while region is not None and region.end <= at:
                region = next(regions, None)
            self._construct(at, loose=region is not None and region.start <= at)
        return "".join([*self.out, self.text[self.place :]])

    def _construct(self, at: int, *, loose: bool) -> None:
        text = self.text
        if _AUTOLINK.match(text, at) or (_ANGLE_TARGET.match(text, at) and self._ends_link_text(at)):
            return
        tag = (_LENIENT if loose else _STRICT).match(text, at)
        if tag is not None:
            self._open_tag(tag)
            return
        closing = (_LENIENT_CLOSING if loose else _CLOSING).match(text, at)
        if closing is not None:
            self._name(closing[1], at, closing.end(), f"</{closing[1]}>")
            return
        for begin, end, own in _SPECIAL:
            if text.startswith(begin, at):
                stop = text.find(end, at + own)
                if stop >= 0 and begin != "</":
                    self._hide("HTML comment", at, stop + len(end))
                elif loose and begin != "</":
                    self._hide("HTML comment", at, len(text))  # a browser looks for the end until there is no more text
                return
        if loose:
            self._hide("hidden HTML element", at, len(text))  # a tag that never ends swallows the rest

    def _open_tag(self, tag: re.Match[str]) -> None:
        name, attributes = tag[1].lower(), _attributes(tag[2])
        if name in _NEVER_SHOWN or _hides(name, attributes):
            end = tag.end() if name in _VOID else self._end_of(name, tag.end())
            self._hide("hidden HTML element", tag.start(), end)
            return
        address = {"a": "href", "img": "src"}.get(name, "")
        url = attributes.pop(address, "") if address else ""
        words = [key for key, value in attributes.items() if not value and key not in _FLAGS]
        if words:
            self.report("HTML attribute that is not shown", " ".join(words))
        for key, value in attributes.items():
            if not (_SILENT.fullmatch(value) or (key == "alt" and is_plain_alt(value)) or key == "style"):
                self.report("image description" if key == "alt" else "HTML attribute that is not shown", value)
        if url and not safe_url(url):
            self.report("link target", url)
            url = ""
        written = f'{tag[1]} {address}="{url}"' if url else tag[1]
        self._name(tag[1], tag.start(), tag.end(), f"<{written}>")

    def _name(self, name: str, start: int, end: int, written: str) -> None:
        """Browsers show nothing for an element they do not know. ``List<String>`` was meant as it stands, and stays."""
        if name.lower() in _SHOWN or len(name) <= 2 or (start and self.text[start - 1].isalnum() and len(name) <= 30):
            self._take(start, end, written)
        else:
            self._hide("unknown HTML element", start, end)

    def _ends_link_text(self, at: int) -> bool:
        """True when ``](`` stands before this place, and the nearest bracket that is shown opens it."""
        before = "".join([*self.out[-20:], self.text[self.place : at]])[-_LOOK_BACK:]
        words = before[:-2].rpartition("\n\n")[2]
        opened = words.rfind("[")
        return before.endswith("](") and opened > words.rfind("]") and words[max(0, opened - 1) : opened] != "\\"

    def _end_of(self, name: str, start: int) -> int:
        """Behind the closing tag of an element, counting those of its name that are inside; the end of the text if there is none."""
        depth = 1
        for found in re.compile(rf"<(/?){re.escape(name)}(?=[\s/>])[^>]*+>", re.IGNORECASE).finditer(self.text, start):
            depth += -1 if found[1] else 1
            if depth == 0:
                return found.end()
        return len(self.text)

    def _hide(self, what: str, start: int, end: int) -> None:
        self.report(what, self.text[start:end])
        self._take(start, end, "")

    def _take(self, start: int, end: int, instead: str) -> None:
        self.out += [self.text[self.place : start], instead]
        self.place = end


def _attributes(text: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for found in _PAIR.finditer(text):
        value = next((part for part in (found[2], found[3], found[4]) if part is not None), "")
        pairs.setdefault(found[1].lower(), html.unescape(value))  # the first of two counts, as in browsers
    return pairs


def _hides(name: str, attributes: dict[str, str]) -> bool:
    style = _CSS_NOISE.sub("", attributes.get("style", "")).lower()
    return (
        "hidden" in attributes
        or _HIDING_STYLE.search(style) is not None
        or (name == "input" and attributes.get("type", "").lower() == "hidden")
        or (name == "font" and re.fullmatch(_WHITE, attributes.get("color", "").replace(" ", "").lower()) is not None)
    )
