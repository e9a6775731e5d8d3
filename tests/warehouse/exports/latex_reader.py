r"""A strict reader of the LaTeX that is written: it knows a few commands, and refuses everything else.

It reads as TeX does: categories of characters, groups, mathematics, ligatures, and the optional argument that an end of a
line would take.
"""

import re
import unicodedata

WORDS = {
    "textbackslash": "\\",
    "textasciicircum": "^",
    "textasciitilde": "~",
    "textless": "<",
    "textgreater": ">",
    "textbar": "|",
    "textquotesingle": "'",
    "textasciigrave": "`",
    "textquoteright": "’",
    "textquotedblright": "”",
    "ldots": "…",
    "textperiodcentered": "·",
    "textbullet": "•",
    "textdegree": "°",
    "S": "§",
    "texteuro": "€",
    "pounds": "£",
    "textcopyright": "©",
    "textvisiblespace": " ",
    "textmu": "µ",
    "ss": "ß",
    "ae": "æ",
    "AE": "Æ",
    "oe": "œ",
    "OE": "Œ",
    "o": "ø",
    "O": "Ø",
    "l": "ł",
    "L": "Ł",
    "i": "ı",
    "textquestiondown": "¿",
    "textexclamdown": "¡",
}
ACCENTS = dict(zip("`'^~=u.\"rHvck", "\u0300\u0301\u0302\u0303\u0304\u0306\u0307\u0308\u030a\u030b\u030c\u0327\u0328"))
RAISED = {"textsuperscript": "^", "textsubscript": "_"}
MATHS = {
    r"\hookleftarrow": "\n",
    r"\mapsto": "\t",
    r"\alpha": "α",
    r"\Omega": "Ω",
    r"\leq": "≤",
    r"\times": "×",
    r"\rightarrow": "→",
    "-": "−",
}
TOKEN = re.compile(r"\\([A-Za-z]+|.)|(.)", re.DOTALL)


class Latex:
    """Reads the text of one cell."""

    def __init__(self, source: str):
        assert source.isascii(), source
        self.source, self.at = source, 0

    def text(self, until: str = "") -> str:
        """What is typeset, up to a closing brace or the end."""
        found = []
        while self.at < len(self.source):
            rest = self.source[self.at :]
            if until and rest.startswith(until):
                self.at += len(until)
                return "".join(found)
            for ligature, sign in (("---", "—"), ("--", "–"), ("``", "“")):
                if rest.startswith(ligature):
                    self.at += len(ligature)
                    found.append(sign)
                    break
            else:
                found.append(self.sign())
        assert not until, f"no {until} in {self.source!r}"
        return "".join(found)

    def sign(self) -> str:
        """One token with its arguments."""
        token = TOKEN.match(self.source, self.at)
        self.at = token.end()
        command, plain = token.groups()
        if plain is not None:
            return self.plain(plain)
        if command in "{}$&#%_":
            return command
        if command in ACCENTS:
            return unicodedata.normalize("NFC", self.argument() + ACCENTS[command])
        if command in RAISED:
            return f"{RAISED[command]}({self.argument()})"
        if command == "symbol":
            assert self.argument() == "34"
            return '"'
        if command == "texttt":
            return chr(int(self.argument().removeprefix("U+"), 16))
        assert command in WORDS, f"\\{command} in {self.source!r}"
        assert self.argument() == "", "a word that eats the space after it"
        return WORDS[command]

    def plain(self, sign: str) -> str:
        """A character that is no command."""
        if sign == "{":
            return self.text("}")
        if sign == "$":
            end = self.source.index("$", self.at)
            formula, self.at = self.source[self.at : end], end + 1
            return MATHS.get(formula, formula)
        if sign == "~":
            return " "
        if sign == "`":
            return "‘"
        assert sign not in '\\}&#%_^<>|"', f"{sign} acts in {self.source!r}"
        assert not (sign in ",'" and self.source.startswith(sign, self.at)), f"a ligature in {self.source!r}"
        return sign

    def argument(self) -> str:
        """A group in braces, which must follow."""
        assert self.source.startswith("{", self.at), self.source
        self.at += 1
        return self.text("}")


def typeset(source: str) -> str:
    """What LaTeX typesets for a source in text mode."""
    return Latex(source).text()


def table(source: str) -> tuple[str, list[str], list[list[str]]]:
    """Caption, headings and cells of a table, after its structure was checked."""
    lines = [line for line in source.splitlines() if not line.startswith("%")]
    text = "\n".join(lines)
    for name in ("table", "tabular", "longtable"):
        assert text.count(rf"\begin{{{name}}}") == text.count(rf"\end{{{name}}}") <= 1
    places = re.search(r"\\begin\{(?:tabular|longtable)\}\{([lr]*)\}", text)[1]
    caption, label = re.search(r"^\\caption\{(.*)\}\\label\{([a-z0-9:-]*)\}", text, re.MULTILINE).groups()
    assert label.startswith("tab:")
    assert [text.count(rf"\{rule}rule") >= 1 for rule in ("top", "mid", "bottom")] == [True] * 3
    rows = [line for line in lines if line.endswith(r" \\") and not line.startswith(r"\caption")]
    for row in rows:
        assert not row.lstrip().startswith(("[", "*")), "the line before would take it as its argument"
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)&", row.removesuffix(r" \\"))] for row in rows]
    assert {len(row) for row in cells} == {len(places)}
    heads = 2 if r"\begin{longtable}" in text else 1
    assert cells[:heads] == cells[:1] * heads
    return typeset(caption), [typeset(cell) for cell in cells[0]], cells[heads:]
