"""The page docs/settings.md, written from the settings: ``python -m flows.reference.settings_page > docs/settings.md``."""

from flows.reference.settings_list import Group, groups

HEAD = """# Settings

Every setting of a run. In a profile (YAML) they stand under their group, on the command line after `--set`, and in the
forms of `ato up` under the same names:

```sh
ato run pipeline --set collect.n_tokens=100000 --set operators.leaps=[1,2] --estimate
ato settings collect        # this page in the terminal, one group
```

What is left out keeps its default; a changed setting gives the stages that depend on it new keys. Words are explained in
the [glossary](glossary.md), columns in [tables](tables.md).
"""


def settings_page() -> str:
    """All settings with type, default and meaning, as Markdown."""
    return "\n".join([HEAD, *map(_section, groups())])


def _section(group: Group) -> str:
    rows = "".join(
        f"| `{s.path}` | {_cell(s.type)} | `{_cell(s.default)}` | {_cell(s.meaning)} |\n" for s in group.settings
    )
    return f"## {group.name}\n\n{group.meaning}\n\n| setting | type | default | meaning |\n|---|---|---|---|\n{rows}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    print(settings_page(), end="")
