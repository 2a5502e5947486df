"""What vidfer's pages share: one style, and nothing from outside.

All that stands in a page is escaped, and it may load nothing and run no script but its own, which a policy in it says,
too. A page is a folder with a template and a style of its own, on top of `page.css`.
"""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import jinja2
from markupsafe import Markup

from vidfer.output.labels import COLOURS
from vidfer.output.words import thousands
from vidfer.types import EMOTIONS, U8
from vidfer.version import __version__

_STYLE = Path(__file__).with_name("page.css")
_QUALITY = 82


def rendered(template: Path, style: Path, script: Path | None = None, **values: Any) -> str:
    """A page as HTML.

    Args:
        template: Jinja; gets `css`, `script`, `policy`, `version` and `today` besides the values.
        style: What the page adds to the common style.
        script: The only one that may run.
        values: What the template shows.
    """
    css = styles(style)
    code = None if script is None else script.read_text(encoding="utf-8")
    allowed = f"script-src {_hash(code)}; " if code is not None else ""
    return _template(template).render(
        policy=(
            f"default-src 'none'; img-src data:; style-src {_hash(css)}; {allowed}base-uri 'none'; form-action 'none'"
        ),
        css=Markup(css),
        script=Markup(code or ""),
        version=__version__,
        today=datetime.now(UTC).strftime("%Y-%m-%d"),
        **values,
    )


def picture_address(image: U8) -> str:
    """A picture uint8[H,W,3] RGB as the address of an image that needs no file."""
    _, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    return f"data:image/jpeg;base64,{base64.b64encode(data.tobytes()).decode()}"


@cache
def _template(path: Path) -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(path.parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=False,
        keep_trailing_newline=True,
    )
    environment.filters["thousands"] = thousands
    return environment.get_template(path.name)


@cache
def styles(own: Path) -> str:
    """The common style with that of a page behind it."""
    # Neutral has a shade of its own in each scheme: it is what is left over, and as bright as the others it would be
    # all one sees. On white it is a warm grey, since red-blind people see the colour of surprise as a cool one.
    colours = "".join(f"--e-{name}:#{bytes(rgb).hex()};" for name, rgb in COLOURS.items() if name != "neutral")
    fills = "".join(f".e-{name}{{fill:var(--e-{name})}}" for name in EMOTIONS)
    texts = "".join(path.read_text(encoding="utf-8") for path in (_STYLE, own))
    return f":root{{{colours}}}\n{texts}{fills}\n"


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
