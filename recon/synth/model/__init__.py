"""The head model that synthetic subjects are drawn from, and who they are."""
