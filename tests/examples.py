"""The examples of CONTRIBUTING.md: each is a whole file, whose first line is its name."""

import re

from tests.conftest import PROJECT

TEXT = (PROJECT / "CONTRIBUTING.md").read_text(encoding="utf-8")
EXAMPLES = {
    match["name"]: match["code"]
    for match in re.finditer(
        r"^```(?:python|toml)\n(?P<code># (?P<name>\S+)\n.*?)^```$", TEXT, re.DOTALL | re.MULTILINE
    )
}
