"""What people read about a curation: the page, the data card, samples and advice."""
