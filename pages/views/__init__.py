"""What the pages place: a folder for each page, and `shared` for several."""
