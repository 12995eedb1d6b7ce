"""The process of `mpengine web`: it follows engines as any subscriber does, and serves browsers and monitoring."""
