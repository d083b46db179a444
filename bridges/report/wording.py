"""Numbers, durations, dates and commits as the page words them."""


def count(number: int, noun: str) -> str:
    """``1 face``, ``2,000 faces``, ``3 identities``."""
    plural = noun[:-1] + "ies" if noun.endswith("y") else noun + "s"
    return f"{number:,} {noun if number == 1 else plural}"


def duration(seconds: float | None) -> str:
    """``12 s``, ``3 min 05 s``, or a dash when unknown."""
    if seconds is None:
        return "–"
    whole = round(seconds)
    return f"{whole} s" if whole < 60 else f"{whole // 60} min {whole % 60:02d} s"


def moment(text: str | None) -> str | None:
    """An ISO 8601 time to the minute: ``2026-11-26 07:19 UTC``."""
    return text and f"{text[:10]} {text[11:16]} UTC"


def short_commit(commit: str | None) -> str | None:
    """The first twelve digits of a commit, with its + if files were changed."""
    return commit and commit[:12] + "+" * commit.endswith("+")


def percent(value: float | None) -> str:
    """A fraction in per cent with one decimal, or a dash when unknown."""
    return "–" if value is None else f"{100 * value:.1f} %"


def number(value: float, decimals: int) -> str:
    """Fixed-point, with a true minus sign as on the axes, and none before a zero."""
    text = f"{value:.{decimals}f}".replace("-", "−")
    return text.removeprefix("−") if float(value) > -0.5 * 10**-decimals else text
