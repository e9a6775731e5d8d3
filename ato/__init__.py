"""The science of activation transport: tensors in, numbers out."""
