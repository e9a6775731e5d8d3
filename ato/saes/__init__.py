"""Sparse autoencoders: encoding, files, pretrained ones, training and quality."""

from ato.saes.architectures import ARCHITECTURES, TRAINABLE
from ato.saes.autoencoder import ActiveFeatures, SparseAutoencoder
from ato.saes.files import load_sae, save_sae
from ato.saes.shared_encoding import SAEConsumer, SharedEncoding

__all__ = [
    "ARCHITECTURES",
    "TRAINABLE",
    "ActiveFeatures",
    "SAEConsumer",
    "SharedEncoding",
    "SparseAutoencoder",
    "load_sae",
    "save_sae",
]
