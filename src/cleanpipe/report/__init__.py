"""The report: one offline page about a run, what it shows, and its short form in Markdown."""
