"""A version that was made again, in a terminal."""

from perpetune.render.console import console, escape, print_table
from tasks.reproduce import (
    Reproduction,
    losses_sentence,
    verdict_sentence,
    weights_sentence,
)


def show_reproduction(result: Reproduction) -> None:
    """Whether it is the same, and what differs."""
    colour = "green" if result.identical else "red"
    console.print(f"[{colour}]{escape(verdict_sentence(result))}[/]")
    rows = [(check.name, "same" if check.same else "differs", check.how) for check in result.data]
    rows += [
        (file.name, "same" if file.same else "differs", f"SHA-256 {file.reproduced or 'missing'}")
        for file in result.adapter
    ]
    print_table(f"version {result.version} of {result.model}", ["what", "", "from"], rows)
    console.print(losses_sentence(result.losses))
    if result.weights:
        console.print(escape(weights_sentence(result.weights)))
    if result.environment:
        print_table(
            "Environment",
            ["what", "recorded", "here", "can change bits"],
            [
                (item.what, item.recorded, item.here, "yes" if item.decisive else "no")
                for item in result.environment
            ],
        )
    for note in result.notes:
        console.print(escape(note))
    console.print(escape(f"report: {result.folder / 'reproduction.md'}"), soft_wrap=True)
