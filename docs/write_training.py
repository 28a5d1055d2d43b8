"""Write the table of hyperparameters into docs/training.md, from their declarations: `make docs`."""

import re
import sys
from pathlib import Path

from drydock.hyperparameters import markdown_table

PAGE = Path(__file__).with_name("training.md")
# Its header, and all rows below it.
TABLE = re.compile(r"^\| Name \| Accepted \|.*\n(?:\|.*\n)*", re.MULTILINE)


def with_table(text: str) -> str:
    """The page with the table of the declarations. Raises ValueError where it has no place for one."""
    page, count = TABLE.subn(lambda _: markdown_table(), text)
    if count != 1:
        raise ValueError(f"{count} tables begin with `| Name | Accepted |` in the page, not one")
    return page


def main() -> None:
    """Rewrite the page."""
    try:
        page = with_table(PAGE.read_text(encoding="utf-8"))
    except ValueError as error:
        sys.exit(f"{PAGE}: {error}")
    PAGE.write_text(page, encoding="utf-8")
    print(f"wrote {PAGE}")


if __name__ == "__main__":
    main()
