"""From corpus files to pages: listing, reading, extraction, language, page filters, rows of the ingest stage."""
