"""Curate: raw records in; splits fit for training out, and a ledger of everything left behind.

Every record that comes in is either kept, in exactly one split, or dropped, with the step, the
reason and the evidence. `pipeline` is the way as a whole. First what concerns one record at a time,
chunk by chunk, in workers (`sifting`, which `engine` runs on one machine or many):

    reading        a line becomes a record, or the ledger says why not
    quality        it says something, in a fitting length and language (`lengths`, `language`)
    personal_data  it holds nothing private (`redaction`)

A worker leaves its records in a part on disk (`parts`), with the little that later steps compare
them by (`turns`, `ngrams`, `normalise`). Those see all records at once, as numbers (`decisions`):

    duplicates     it is not in the data already, or nearly
    contamination  it does not give away a benchmark
    splits         its group decides whether it trains, validates or tests
    heldout        it does not give away a record of another split

Then the records go to their files, the dropped ones into the ledger (`assembly`, `ledger`), and
people get something to read (`report`, `card`, `samples`, `advice`). What is compared is normalised
text; what is written is the user's own.
"""

from tasks.curate.run.pipeline import curate

__all__ = ["curate"]
