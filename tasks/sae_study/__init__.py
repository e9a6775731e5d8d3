"""Many sparse autoencoders trained on one stream of residuals, judged and compared."""
