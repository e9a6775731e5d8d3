"""Files and the network: hashes, tensor files, embedded data, HTTP."""
