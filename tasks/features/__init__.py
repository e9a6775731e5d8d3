"""Stage `features`: statistics, scores, selection and examples."""
