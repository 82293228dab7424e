"""Channels in, plotly figures out."""
