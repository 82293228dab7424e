"""What pages share to show a run while it trains; imports no page."""
