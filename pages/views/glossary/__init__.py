"""Views of the page Glossary."""
