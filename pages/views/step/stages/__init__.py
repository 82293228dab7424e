"""The nine stages of a step as a learner sees them: a module for what each one shows. They import no page."""
