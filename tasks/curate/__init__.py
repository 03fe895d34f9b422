"""Curate: raw records in; splits fit for training out, and a ledger of everything left behind.

Every record that comes in is either kept, in exactly one split, or dropped, with the step, the
reason and the evidence. One record's way, a module each:

    reading        a line becomes a record, or the ledger says why not
    quality        it is long enough, says something, and not the same thing over and over
    duplicates     it is not in the data already
    contamination  it does not give away a benchmark
    splits         its group decides whether it trains, validates or tests
    advice         what a person should know before spending hours on this data
    report         all of it on one page

A step takes records and returns `(kept, dropped)`; `pipeline` is the list of the steps. Comparison
happens on normalised text (`normalise`); what is written is the user's own.
"""

from tasks.curate.pipeline import curate

__all__ = ["curate"]
