"""Charts: from the names of channels, or from numbers, to Plotly figures."""
