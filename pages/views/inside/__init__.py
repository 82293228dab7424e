"""The views of the page Inside: each looks at one model of one moment and asks one thing. They import no page."""
