"""What a run will take: time, memory and disk, from rates measured on this machine."""
