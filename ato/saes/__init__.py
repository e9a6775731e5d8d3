"""Sparse autoencoders: encoding, files, pretrained ones, training and quality."""

from ato.saes.architectures import ARCHITECTURES
from ato.saes.autoencoder import ActiveFeatures, SparseAutoencoder
from ato.saes.files import load_sae, save_sae
from ato.saes.shared_encoding import SAEConsumer, SharedEncoding

__all__ = [
    "ARCHITECTURES",
    "ActiveFeatures",
    "SAEConsumer",
    "SharedEncoding",
    "SparseAutoencoder",
    "load_sae",
    "save_sae",
]
