"""Any text as LaTeX that every engine compiles and nothing in it acts: plain ASCII, with what T1 fonts have."""

import re
import unicodedata
from itertools import pairwise

from ato.text.display import visible

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\symbol{34}",
    "'": r"\textquotesingle{}",
    "`": r"\textasciigrave{}",
    "[": r"{[}",  # an argument of the end of the line before it
    "]": r"{]}",
    "*": r"{*}",
}
"""ASCII that LaTeX gives a meaning."""
_JOINED = ("-–—", ",")
"""Signs of which LaTeX makes another one where they meet: a dash, a quotation mark."""
_SIGNS = {
    "–": "--",
    "—": "---",
    "‘": "`{}",
    "’": r"\textquoteright{}",
    "“": "``{}",
    "”": r"\textquotedblright{}",
    "…": r"\ldots{}",
    "·": r"\textperiodcentered{}",
    "•": r"\textbullet{}",
    "°": r"\textdegree{}",
    "§": r"\S{}",
    "€": r"\texteuro{}",
    "£": r"\pounds{}",
    "©": r"\textcopyright{}",
    "␣": r"\textvisiblespace{}",
    "⎵": r"\textvisiblespace{}",
    "\u00a0": "~",
    "µ": r"\textmu{}",
    "ß": r"\ss{}",
    "æ": r"\ae{}",
    "Æ": r"\AE{}",
    "œ": r"\oe{}",
    "Œ": r"\OE{}",
    "ø": r"\o{}",
    "Ø": r"\O{}",
    "ł": r"\l{}",
    "Ł": r"\L{}",
    "ı": r"\i{}",
    "¿": r"\textquestiondown{}",
    "¡": r"\textexclamdown{}",
}
_MATHS = {
    "−": "-",
    "±": r"\pm",
    "×": r"\times",
    "÷": r"\div",
    "≤": r"\leq",
    "≥": r"\geq",
    "≠": r"\neq",
    "≈": r"\approx",
    "∞": r"\infty",
    "∈": r"\in",
    "√": r"\surd",
    "∑": r"\sum",
    "∂": r"\partial",
    "Δ": r"\Delta",
    "←": r"\leftarrow",
    "→": r"\rightarrow",
    "↑": r"\uparrow",
    "↓": r"\downarrow",
    "↔": r"\leftrightarrow",
    "⇒": r"\Rightarrow",
    "↵": r"\hookleftarrow",
    "⇥": r"\mapsto",
    "ℓ": r"\ell",
    "‖": r"\|",
} | {
    letter: f"\\{name}"
    for letter, name in zip(
        "αβγδεζηθικλμνξπρςστυφχψωΓΘΛΞΠΣΥΦΨΩ",
        re.findall(
            r"\w+",
            "alpha beta gamma delta varepsilon zeta eta theta iota kappa lambda mu nu xi pi rho varsigma sigma tau upsilon phi "
            "chi psi omega Gamma Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega",
        ),
        strict=True,
    )
}
_ACCENTS = {
    "\u0300": "`",
    "\u0301": "'",
    "\u0302": "^",
    "\u0303": "~",
    "\u0304": "=",
    "\u0306": "u",
    "\u0307": ".",
    "\u0308": '"',
    "\u030a": "r",
    "\u030b": "H",
    "\u030c": "v",
    "\u0327": "c",
    "\u0328": "k",
}
_LINE = {"\n": "↵", "\t": "⇥"}


def latex(text: str) -> str:
    r"""A text as LaTeX of ASCII characters for text mode; what no LaTeX font has is named by its code point.

    Spaces at both ends are visible, those inside keep their number; line breaks and tabs are arrows, as on the pages.

    >>> latex(" the 50 % of r²_α")
    '\\textvisiblespace{}the 50 \\% of r\\textsuperscript{2}\\_$\\alpha$'
    """
    shown = unicodedata.normalize("NFC", visible(text, keep="\n\t"))
    inner = shown.strip(" ")
    before, after = shown[: len(shown) - len(shown.lstrip(" "))], shown[len(shown.rstrip(" ")) :] if inner else ""
    spaces = r"\textvisiblespace{}"
    body = re.sub(r"(?<= ) ", "\u00a0", inner)
    signs = (
        _character(sign) + "{}" * any(sign in group and following in group for group in _JOINED)
        for sign, following in pairwise(f"{body}.")
    )
    return spaces * len(before) + "".join(signs) + spaces * len(after)


def prose(text: str) -> str:
    """A sentence as LaTeX: as ``latex``, but brackets and apostrophes as they are typed, and no visible spaces."""
    found = latex(" ".join(text.split())).replace("{[}", "[").replace("{]}", "]")
    return re.sub(r"(?<=\w)\\textquotesingle\{\}(?=\w)", "'", found)


def _character(character: str) -> str:
    character = _LINE.get(character, character)
    if character in _SPECIAL:
        return _SPECIAL[character]
    if character.isascii():
        return character
    if character in _SIGNS:
        return _SIGNS[character]
    if character in _MATHS:
        return f"${_MATHS[character]}$"
    return _composed(character) or f"\\texttt{{U+{ord(character):04X}}}"


def _composed(character: str) -> str | None:
    """A raised or lowered sign, or an ASCII letter with one accent; None for any other character."""
    kind, _, parts = unicodedata.decomposition(character).rpartition(">")
    codes = [chr(int(code, 16)) for code in parts.split()]
    if len(codes) == 1 and kind in ("<super", "<sub"):
        inner = _character(codes[0])
        name = "textsuperscript" if kind == "<super" else "textsubscript"
        return None if "U+" in inner else f"\\{name}{{{inner}}}"
    if len(codes) == 2 and not kind and codes[0].isascii() and codes[0].isalpha() and codes[1] in _ACCENTS:
        return f"\\{_ACCENTS[codes[1]]}{{{codes[0]}}}"
    return None
