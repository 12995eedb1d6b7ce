"""The process of `mpengine relay`: it follows engines as any subscriber does, and hands their results to a broker."""
