"""Views of lessons: the card on the stage, the line on other pages, the list of all."""
