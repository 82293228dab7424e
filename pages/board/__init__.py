"""The live board: its place on a page, and the JavaScript that draws it."""
