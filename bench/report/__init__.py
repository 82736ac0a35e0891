"""What ``./charloom bench`` measures and writes: a module for each section, and what they share."""
