def draw(content, path):
    return []
