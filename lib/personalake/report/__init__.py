"""The report: what a run did, what it cost and what it brought, as one self-contained HTML file."""
