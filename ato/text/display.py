"""Texts of corpora and of other people, as readers may see them: nothing in them acts on a terminal or on what stands beside."""

_CONTROLS = {code: 0x2400 + code for code in range(0x20)} | {0x7F: 0x2421} | dict.fromkeys(range(0x80, 0xA0), 0xFFFD)
"""Control characters as their pictures; those of ISO 6429's second set have none."""
DIRECTIONS = "".join(map(chr, [*range(0x202A, 0x202F), *range(0x2066, 0x206A)]))
"""Characters that reverse what follows (Trojan Source, CVE-2021-42574)."""


def visible(text: str, keep: str = "") -> str:
    """Text with control characters and changes of direction shown instead of obeyed; ``keep`` names those that may stay.

    >>> visible("a\x1b[31mb\u202ec")
    'a\u241b[31mb\ufffdc'
    """
    table = {
        code: shown
        for code, shown in (_CONTROLS | dict.fromkeys(map(ord, DIRECTIONS), 0xFFFD)).items()
        if chr(code) not in keep
    }
    return text.translate(table)
