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


def clock(seconds: float, decimals: int = 1) -> str:
    """Seconds as 0:07.3, 12:30.0, 1:02:03.0."""
    ticks = round(seconds * 10**decimals)
    whole, part = divmod(ticks, 10**decimals)
    hours, minutes = divmod(whole // 60, 60)
    text = f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"
    return f"{text}.{part:0{decimals}}" if decimals else text


def duration(seconds: float) -> str:
    """How long: 7.3 s, from a minute on 1:02."""
    return f"{seconds:.1f} s" if seconds < 60 else clock(seconds, 0)


def signed(value: float | None) -> str:
    """0.1234 as +0.12."""
    return "–" if value is None else f"{'+' if value >= 0 else _MINUS}{abs(value):.2f}"


def plain(value: float | None, digits: int = 2) -> str:
    """A number or a dash."""
    return "–" if value is None else f"{value:.{digits}f}".replace("-", _MINUS)
