"""Entities that a model may know: sets of them, questions and graded answers, features of knowing, interventions."""
