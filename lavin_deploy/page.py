"""Parts of a page that needs nothing but itself: text, numbers, tables, bars and pictures.

Every function returns :class:`Html`; any other text that it is given is escaped.
"""

from __future__ import annotations

import base64
import html
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lavin_deploy.arrays import U8

STYLE = """
:root { color-scheme: light dark; --ink: #1d2228; --paper: #fdfdfc; --faint: #667080;
  --rule: #d9dde2; --shade: #f2f4f6; --bar: #4c78a8; --mark: #d08a2e; --good: #2c7a4b;
  --bad: #b3372f; }
@media (prefers-color-scheme: dark) { :root { --ink: #dfe3e8; --paper: #16191d; --faint: #97a1ae;
  --rule: #343b44; --shade: #20252b; --bar: #6f9fd0; --mark: #e0a458; --good: #6cc08f;
  --bad: #ee8379; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 76rem; padding: 1.5rem 2rem 4rem; color: var(--ink);
  background: var(--paper); font: 15px/1.5 system-ui, "Segoe UI", "DejaVu Sans", sans-serif; }
h1 { font-size: 1.6rem; margin: 0 0 .2rem; overflow-wrap: anywhere; }
h2 { font-size: 1.25rem; margin: 2.6rem 0 .6rem; padding-top: .8rem;
  border-top: 2px solid var(--rule); overflow-wrap: anywhere; }
h3 { font-size: 1rem; margin: 1.5rem 0 .3rem; overflow-wrap: anywhere; }
p { margin: .3rem 0 .6rem; max-width: 60rem; overflow-wrap: anywhere; }
a { color: inherit; }
nav { display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; }
.faint { color: var(--faint); }
.good { color: var(--good); font-weight: 600; }
.bad { color: var(--bad); font-weight: 600; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .87rem; margin: .3rem 0; }
th, td { padding: .22rem .8rem .22rem 0; text-align: left; vertical-align: top;
  border-bottom: 1px solid var(--rule); }
th { color: var(--faint); font-weight: 600; vertical-align: bottom; }
th.n, td.n { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
td { min-width: 3rem; max-width: 34rem; overflow-wrap: break-word; }
td code, td strong, td span { white-space: nowrap; }
code, svg text { font-family: ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; }
code { font-size: .92em; }
details { margin: .3rem 0; }
summary { cursor: pointer; color: var(--faint); }
svg { display: block; }
svg text { font-size: 12px; fill: var(--ink); }
svg .tick { fill: var(--faint); font-size: 11px; }
svg line { stroke: var(--rule); }
svg rect { fill: var(--bar); }
svg rect.marked { fill: var(--mark); }
.shots { display: flex; flex-wrap: wrap; gap: .8rem; margin: .4rem 0 1.2rem; }
figure { margin: 0; width: 160px; }
figure img { width: 160px; display: block; background: var(--shade); }
figure img.small { image-rendering: pixelated; }
.sheet { display: block; max-width: none; }
figcaption { font-size: .8rem; line-height: 1.35; margin-top: .25rem; overflow-wrap: anywhere; }
@media print { h2, figure { break-inside: avoid; } }
"""

ROW, PLOT, DECADES = 19, 430, 6
CHARACTER, LONGEST = 7.3, 52


class Html(str):
    """Markup that goes into a page as it is."""


Cell = str | bool | int | float | None


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A bar of a chart: a name, a value (at least 0; None where unknown), an emphasis."""

    name: str
    value: float | None
    marked: bool = False


def text(cell: Cell) -> Html:
    """Write a value: text escaped, numbers short, None as a dash, and Html as it is."""
    if isinstance(cell, Html):
        return cell
    if cell is None:
        return Html('<span class="faint">–</span>')
    if isinstance(cell, bool):
        return Html("yes" if cell else "no")
    if isinstance(cell, int):
        return Html(f"{cell:,}".replace(",", "\u202f"))
    return Html(html.escape(number(cell) if isinstance(cell, float) else cell))


def number(value: float) -> str:
    """Write a number with four digits at most, as 0.0123 or 1.2e-04."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    if 0.01 <= abs(value) < 10_000:
        return f"{value:.4g}" if abs(value) < 100 else f"{value:.0f}"
    return f"{value:.1e}"


def error(value: float | None) -> str | None:
    """Write an error in scientific notation whatever its size, so that a column can be compared."""
    if value is None or value == 0:
        return None if value is None else "0"
    return f"{value:.1e}"


def near_one(value: float | None) -> Cell:
    """Write a cosine so that what it lacks of one can be read."""
    if value is None or abs(1 - value) >= 0.01:
        return value
    return "1" if value == 1 else f"1 {'-' if value < 1 else '+'} {abs(1 - value):.1e}"


def size(count: int | None) -> str | None:
    """Write a number of bytes in decimal units."""
    if count is None:
        return None
    if count >= 1e9:
        return f"{count / 1e9:.2f} GB"
    return f"{count / 1e6:.1f} MB" if count >= 1e5 else f"{count / 1e3:.1f} kB"


def join(parts: Iterable[Html], between: str = "") -> Html:
    """Return the parts as one."""
    return Html(between.join(parts))


def tag(name: str, content: Cell, css: str = "") -> Html:
    """Wrap content into an element, with a class if one is given."""
    attribute = f' class="{html.escape(css)}"' if css else ""
    return Html(f"<{name}{attribute}>{text(content)}</{name}>")


def code(content: str) -> Html:
    """Write a name of a file, a module or an operator."""
    return tag("code", content)


def verdict(passed: bool | None, forced: bool = False) -> Html:
    """Write whether something passed, in its colour; None is a dash."""
    if passed is None:
        return text(None)
    if passed:
        return tag("span", "passed", "good")
    return tag("span", "failed, forced" if forced else "failed", "bad")


def table(heads: Sequence[str], rows: Sequence[Sequence[Cell]], numeric: str = "") -> Html:
    """Draw a table that scrolls sideways where it does not fit.

    Args:
        heads: a title for each column.
        rows: a cell for each column.
        numeric: a character for each column, ``n`` where it is to be flush right.
    """
    kinds = [kind.strip() for kind in numeric.ljust(len(heads))]
    head = join(tag("th", h, kind) for h, kind in zip(heads, kinds, strict=True))
    lines = (join(tag("td", c, k) for c, k in zip(row, kinds, strict=True)) for row in rows)
    body = join((tag("tr", line) for line in lines), "\n")
    return Html(
        f'<div class="wide"><table><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table>'
        "</div>\n"
    )


def folded(
    heads: Sequence[str], rows: Sequence[Sequence[Cell]], numeric: str = "", first: int = 12
) -> Html:
    """Draw a table of the first rows, and one of the others to unfold."""
    if len(rows) <= first + 3:
        return table(heads, rows, numeric)
    rest = table(heads, rows[first:], numeric)
    return join([table(heads, rows[:first], numeric), unfold(f"{len(rows) - first} more", rest)])


def unfold(summary: str, content: Html) -> Html:
    """Hide content behind a line to click."""
    return Html(f"<details><summary>{text(summary)}</summary>\n{content}</details>\n")


def bars(rows: Sequence[Bar]) -> Html:
    """Draw horizontal bars over a logarithmic axis as an inline SVG.

    The axis runs over whole powers of ten, six at most; a value below has a stub, an unknown value
    or zero has no bar.
    """
    values = [row.value for row in rows if row.value]
    top = math.ceil(math.log10(max(values))) if values else 0
    low = math.floor(math.log10(min(values))) if values else -1
    low = max(min(low, top - 1), top - DECADES)
    left = round(min(max(len(row.name) for row in rows), LONGEST) * CHARACTER) + 12
    height = len(rows) * ROW + 4
    parts = []
    for power in range(low, top + 1):
        x = left + PLOT * (power - low) / (top - low)
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{height}"/>')
        label = f"1e{power:+03d}"
        parts.append(
            f'<text class="tick" text-anchor="middle" x="{x:.1f}" y="{height + 14}">{label}</text>'
        )
    for line, row in enumerate(rows):
        y = line * ROW + 3
        length = 0.0
        if row.value:
            length = max(2.0, PLOT * (math.log10(row.value) - low) / (top - low))
        css = ' class="marked"' if row.marked else ""
        label_of_value = error(row.value) or "not measured"
        parts.append(
            f"<g><title>{text(row.name)}: {label_of_value}</title>"
            f'<text x="0" y="{y + 11}">{text(_shortened(row.name))}</text>'
            f'<rect{css} x="{left}" y="{y}" width="{length:.1f}" height="{ROW - 5}"/>'
            f'<text x="{left + length + 6:.1f}" y="{y + 11}">{label_of_value}</text></g>'
        )
    width = left + PLOT + 100
    content = "\n".join(parts)
    return Html(
        f'<div class="wide"><svg role="img" width="{width}" height="{height + 20}" '
        f'viewBox="0 0 {width} {height + 20}">\n{content}\n</svg></div>\n'
    )


def picture(image: U8, caption: Html) -> Html:
    """Show an image, losslessly inside the page.

    Args:
        image: (H, W, 3) uint8.
        caption: what stands below.
    """
    css = ' class="small"' if max(image.shape[:2]) < 160 else ""
    return Html(
        f'<figure><img{css} alt="" src="{_inside(image, "png")}">'
        f"<figcaption>{caption}</figcaption></figure>\n"
    )


def sheet(image: U8, about: str) -> Html:
    """Show a large picture as a JPEG inside the page, in a strip that scrolls sideways.

    Args:
        image: (H, W, 3) uint8.
        about: what it shows, for those who cannot see it.
    """
    data = _inside(image, "jpeg", quality=85, subsampling=0)
    return Html(
        f'<div class="wide"><img class="sheet" alt="{text(about)}" width="{image.shape[1]}" '
        f'height="{image.shape[0]}" src="{data}"></div>\n'
    )


def _inside(image: U8, kind: str, **how: int) -> str:
    """An image file as a data URI."""
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(image).save(stream, format=kind, optimize=True, **how)
    return f"data:image/{kind};base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"


def page(title: str, body: Html) -> str:
    """Return a whole HTML document."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{text(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n{body}"
        "</body>\n</html>\n"
    )


def _shortened(name: str) -> str:
    """Leave out the middle of a name that is too long for a chart."""
    if len(name) <= LONGEST:
        return name
    return f"{name[: LONGEST // 2 - 1]}…{name[-LONGEST // 2 :]}"
