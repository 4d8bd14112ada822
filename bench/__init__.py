"""`python -m bench`: hubferry against its peers, in one run, with ratios. See README.md here."""
