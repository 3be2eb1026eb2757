"""Pages for people: a run's report, the weekly review, the site and mails. Self-contained, no script."""
