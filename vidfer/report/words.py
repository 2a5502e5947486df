"""Numbers as people read them."""

from __future__ import annotations

_MINUS, _THIN = "−", "\u202f"


def percent(share: float) -> str:
    """0.12 as 12 %; what is there is never 0 %."""
    value = share * 100
    if 0 < value < 1:
        return f"<{_THIN}1{_THIN}%"
    return f"{value:.0f}{_THIN}%"


def thousands(number: int) -> str:
    """12345 as 12 345."""
    return f"{number:,}".replace(",", _THIN)


def signed(value: float | None) -> str:
    """0.1234 as +0.12."""
    return "–" if value is None else f"{'+' if value >= 0 else _MINUS}{abs(value):.2f}"


def plain(value: float | None, digits: int = 2) -> str:
    """A number or a dash."""
    return "–" if value is None else f"{value:.{digits}f}"
