"""What the pages place: one folder a page. They import no page."""
