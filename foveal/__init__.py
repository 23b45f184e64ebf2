"""foveal"""
